"""`famulus usage`, on a ledger with three days, and after a real question."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from famulus.cli.ask import command as ask
from famulus.cli.usage import command
from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.messages import Usage
from famulus.state.budget import Budget
from famulus.state.limits import NANO
from famulus.state.spending import UNKNOWN, Bill, Call
from famulus.store.sqlite import SQLite
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer

TODAY = datetime.now(UTC).replace(hour=12)


class Past(Clock):
    days = 0

    def now(self) -> datetime:
        return TODAY - timedelta(days=self.days)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FAMULUS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def _spend(home, *spent: tuple[int, str, float | None]) -> None:
    """A cost of None is one that is not known."""
    clock = Past()
    async with SQLite(home / "famulus.db") as database, Budget(database, Cost(), clock=clock) as b:
        for days, model, cost_usd in spent:
            clock.days = days
            usage = Usage(input_tokens=1000, output_tokens=50, cached_tokens=400)
            price = UNKNOWN if cost_usd is None else ""
            call = Call(provider="p", model=model, session="web:main:1", price=price)
            bill = Bill(usage=usage, cost_nano=round((cost_usd or 0) * NANO), outcome="ok")
            b.book(call, bill)


def famulus(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_json_has_totals_by_day_by_model_and_by_session(home):
    asyncio.run(_spend(home, (0, "large", 0.5), (1, "large", 0.25), (1, "small", 0.125)))
    shown = json.loads(famulus("--json"))
    tokens = {
        "input_tokens": 1000, "output_tokens": 50, "cached_tokens": 400, "unpriced_calls": 0,
    }  # fmt: skip
    assert shown["total"] == {
        "calls": 3, "input_tokens": 3000, "output_tokens": 150, "cached_tokens": 1200,
        "cost_usd": 0.875, "unpriced_calls": 0,
    }  # fmt: skip
    assert [row["cost_usd"] for row in shown["by_day"]] == [0.375, 0.5]
    assert shown["by_day"][1] == {"day": f"{TODAY:%Y-%m-%d}", "calls": 1, "cost_usd": 0.5} | tokens
    assert [row["model"] for row in shown["by_model"]] == ["large", "small"]
    assert [row["session_id"] for row in shown["by_session"]] == ["web:main:1"]


def test_table_and_days_are_for_people(home):
    asyncio.run(_spend(home, (0, "large", 1.5), (40, "old", 9.0)))
    table = famulus()
    assert "model   cost  calls  input  cached  output" in table
    assert "large  $1.50      1  1,000     400      50" in table
    assert "old" not in table
    assert "old" in famulus("--days", "41")


def test_unknown_price_is_said_and_not_shown_as_nothing(home):
    asyncio.run(_spend(home, (0, "mystery", None), (0, "large", 1.5), (1, "mystery", None)))
    table = famulus()
    assert "large      $1.50" in table
    assert "mystery  unknown      2" in table
    assert "total  $1.50 + ?" in table
    assert "2 calls have no known price and no part in the cost: see [cost.prices]." in table
    shown = json.loads(famulus("--json"))
    assert shown["total"]["unpriced_calls"] == 2
    assert [(each["model"], each["unpriced_calls"]) for each in shown["by_model"]] == [
        ("large", 0),
        ("mystery", 2),
    ]


def test_plot_draws_a_bar_a_day(home):
    asyncio.run(_spend(home, (0, "m", 2.0), (1, "m", 0.5), (2, "m", 0.0)))
    bars = [line.split() for line in famulus("--plot").splitlines()]
    assert [bar[1:] for bar in bars] == [["$0.00"], ["$0.5000", "█" * 10], ["$2.00", "█" * 40]]


def test_plot_draws_tokens_where_nothing_costs_anything(home):
    asyncio.run(_spend(home, (0, "m", 0.0)))
    assert famulus("--plot").split()[1:] == ["1,050", "█" * 40]


def test_empty_ledger_says_so(home):
    asyncio.run(_spend(home))
    assert famulus() == famulus("--plot") == "No model was called in the last 30 days.\n"
    assert json.loads(famulus("--json"))["by_day"] == []


@pytest.mark.anyio
async def test_question_is_booked_and_a_limit_is_told_as_the_answer(home):
    async with FakeOpenAI() as vendor:
        vendor.say(Answer(text=("Four.",), input_tokens=1000, output_tokens=100))
        config = f"""
            [providers.p]
            type = "openai"
            base_url = "{vendor.url}"
            api_key = "{vendor.key}"
            [models.m]
            provider = "p"
            id = "gpt-x"
            max_tokens = 1000
            price = {{ input = 2.0, output = 10.0 }}
            [agent]
            model = "m"
            [cost]
            daily_limit_usd = 0.03
        """
        (home / "famulus.toml").write_text(config)

        def asked(code: int) -> dict:
            result = CliRunner().invoke(ask, ["--json", "2+2?"])
            assert result.exit_code == code, result.output
            return json.loads(result.output)

        first = await asyncio.to_thread(asked, 0)
        (home / "famulus.toml").write_text(config.replace("0.03", "0.004"))
        second = await asyncio.to_thread(asked, 1)
        shown = json.loads(await asyncio.to_thread(famulus, "--json"))
    assert first["reply"] == "Four."
    assert first["usage"]["cost_usd"] == 0.003
    assert second["reply"].startswith("The daily limit of $0.004 is too small for this call")
    assert shown["total"]["cost_usd"] == 0.003
    assert shown["by_model"][0]["model"] == "gpt-x"
    assert len(vendor.journal) == 1


def test_the_router_s_reasons_are_summed_up(home):
    reasons = ("simple: small talk (score 20)", "simple: a sum", "complex: code", "")

    async def spend():
        async with (
            SQLite(home / "famulus.db") as database,
            Budget(database, Cost(), clock=Clock()) as budget,
        ):
            for reason in reasons:
                bill = Bill(usage=Usage(input_tokens=10), cost_nano=NANO, outcome="ok")
                budget.book(Call(provider="p", model="m", reason=reason), bill)

    asyncio.run(spend())
    shown = json.loads(famulus("--json"))["by_reason"]
    assert [(each["reason"], each["calls"]) for each in shown] == [("simple", 2), ("complex", 1)]
    assert "Prices of 20" in famulus()
