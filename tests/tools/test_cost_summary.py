import json

import pytest

from famulus.core.errors import ToolError
from famulus.core.plugins import Unavailable
from famulus.core.protocols import Spent, Summary
from famulus.testing.check_tool import ToolContract, context, services
from famulus.tools import cost_summary


class Ledger:
    """Keeps what it was asked for."""

    def __init__(self, calls: int = 3, **more) -> None:
        self.asked = []
        spent = {"calls": calls, "input_tokens": 1200, "output_tokens": 34, "cost_usd": 0.0125}
        spent |= more
        self._summary = Summary(
            total=Spent(**spent),
            by_day=(Spent(name="2026-01-31", **spent),),
            by_model=(Spent(name="large", **spent),),
            by_session=(),
        )

    async def summary(self, *, days: int, person: str = "") -> Summary:
        self.asked.append((days, person))
        return self._summary


def built(ledger):
    return cost_summary.build(cost_summary.Settings(), services(ledger=ledger))


class TestCostSummary(ToolContract):
    example = '{"days": 7}'

    @pytest.fixture
    def tool(self):
        return built(Ledger())


@pytest.mark.anyio
async def test_days_and_models_are_told_with_their_cost(workspace):
    answer = await built(Ledger()).call(context(workspace), "{}")
    lines = answer.parts[0].text.splitlines()
    assert lines[1:] == [
        "total 0.012500 3 1200 0 34",
        "2026-01-31 0.012500 3 1200 0 34",
        "large 0.012500 3 1200 0 34",
    ]


@pytest.mark.anyio
async def test_what_an_unknown_price_hides_is_told(workspace):
    for cost_usd, told in ((0.0, "unknown"), (0.0125, "0.012500")):
        ledger = Ledger(unpriced_calls=2, cost_usd=cost_usd)
        answer = await built(ledger).call(context(workspace), "{}")
        head, total, *_ = answer.parts[0].text.splitlines()
        assert head.endswith(" calls_of_unknown_price_not_in_usd")
        assert total == f"total {told} 3 1200 0 34 2"


@pytest.mark.anyio
@pytest.mark.parametrize(("person", "whose"), [("owner", ""), ("bob", "bob")])
async def test_guest_is_told_of_their_own_calls_only(workspace, person, whose):
    ledger = Ledger()
    await built(ledger).call(context(workspace, person=person), json.dumps({"days": 9999}))
    assert ledger.asked == [(366, whose)]


@pytest.mark.anyio
async def test_no_day_is_an_error_and_no_call_is_none(workspace):
    with pytest.raises(ToolError):
        await built(Ledger()).call(context(workspace), '{"days": 0}')
    answer = await built(Ledger(calls=0)).call(context(workspace), '{"days": 2}')
    assert answer.parts[0].text == "No model was called in the last 2 days."


def test_without_a_ledger_there_is_no_tool():
    with pytest.raises(Unavailable):
        built(None)
