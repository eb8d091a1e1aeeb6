"""Limits on what one turn may use."""

import re
import tomllib

import msgspec
import pytest

from famulus.core.messages import ToolCall, Usage
from famulus.core.prices import Price
from famulus.core.protocols import Context, ModelCard
from famulus.core.tools import tool
from famulus.testing.scripted import CARD, Scripted

pytestmark = pytest.mark.anyio

PRICED = ModelCard(
    name="priced", id="priced", provider="scripted", price=Price(input=1.0, output=10.0)
)


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    word: str = "x"


@tool()
async def echo(context: Context, arguments: Arguments) -> str:
    """Say it again."""
    return f"echo {arguments.word}"


def stubborn(**given):
    """A model that calls as long as it may."""

    def answer(request):
        if not request.may_call:
            return "As far as I got."
        return ToolCall("1", "echo", f'{{"word": "{len(request.messages)}"}}')

    return Scripted([answer] * 100, **given)


async def test_a_turn_ends_with_an_answer_before_it_passes_its_tokens(talk):
    model = stubborn(usage=Usage(input_tokens=900, output_tokens=100))
    async with talk(model, tools=[echo], turn_tokens=5000) as talking:
        answer = await talking.say("go")
    assert answer.text == (
        "As far as I got.\n\n(I came to an end early: one turn may use no more than 5,000 tokens "
        "(agent.turn_tokens).)"
    )
    assert len(model.requests) == 4
    assert answer.usage.input_tokens + answer.usage.output_tokens == 4000


async def test_a_turn_ends_with_an_answer_before_it_passes_its_cost(talk):
    model = stubborn(usage=Usage(input_tokens=900, output_tokens=10, cost_usd=0.001))
    async with talk(model, tools=[echo], turn_cost_usd=0.0041) as talking:
        answer = await talking.say("go")
    assert "As far as I got." in answer.text
    assert "$0.0041 (agent.turn_cost_usd)" in answer.text
    assert len(model.requests) == 3


async def test_a_call_that_could_not_fit_is_not_made(talk):
    model = Scripted(["never"])
    async with talk(model, turn_tokens=5000) as talking:
        answer = await talking.say("word " * 6000)
    assert not model.requests
    assert answer.failed
    assert "agent.turn_tokens is 5,000" in answer.text


async def test_a_call_that_would_cost_too_much_is_not_made(talk):
    model = Scripted(["never"], card=PRICED)
    async with talk(model, turn_cost_usd=0.001) as talking:
        answer = await talking.say("word " * 6000)
    assert not model.requests
    assert "agent.turn_cost_usd is 0.001" in answer.text


async def test_the_answer_gets_no_longer_than_what_is_left(talk):
    model = Scripted(["ok", "ok"], card=PRICED)
    async with talk(model, turn_tokens=5000) as talking:
        await talking.say("go")
    async with talk(model, turn_cost_usd=0.01) as talking:
        await talking.say("go")
    assert 3000 < model.requests[0].max_tokens < 5000
    assert 500 < model.requests[1].max_tokens < 1000


async def test_without_limits_the_answer_has_no_bound(talk):
    model = Scripted(["ok"])
    async with talk(model) as talking:
        await talking.say("go")
    assert model.requests[0].max_tokens == 0


async def test_a_limit_on_cost_does_not_let_a_model_go_on_whose_cost_nobody_knows(talk):
    model = stubborn()
    async with talk(model, tools=[echo], turn_cost_usd=1.0) as talking:
        answer = await talking.say("go")
    assert len(model.requests) == 1
    assert "what scripted costs is not known" in answer.text


async def test_the_price_that_is_asked_for_can_be_written_as_it_is_shown(talk):
    card = msgspec.structs.replace(CARD, name="acme/big.model", id="big.model:free")
    model = Scripted([ToolCall("1", "echo", "{}"), "never"], card=card)
    async with talk(model, tools=[echo], turn_cost_usd=1.0) as talking:
        answer = await talking.say("go")
    shown = re.search(r"such as (.+ = \{.+\}),", answer.text)[1]
    assert tomllib.loads(shown) == {"big.model:free": {"input": 3.0, "output": 15.0}}


async def test_a_limit_on_cost_lets_a_model_of_this_machine_go_on(talk):
    model = Scripted(
        [ToolCall("1", "echo", "{}"), "done"], card=msgspec.structs.replace(CARD, local=True)
    )
    async with talk(model, tools=[echo], turn_cost_usd=1.0) as talking:
        assert (await talking.say("go")).text == "done"


async def test_the_last_call_of_a_turn_may_not_call_tools_but_is_told_the_same_ones(talk):
    model = stubborn()
    async with talk(model, tools=[echo], max_tool_rounds=2) as talking:
        answer = await talking.say("go")
    assert answer.text.startswith("As far as I got.")
    assert [request.may_call for request in model.requests] == [True, True, False]
    assert len({msgspec.json.encode(request.tools) for request in model.requests}) == 1
