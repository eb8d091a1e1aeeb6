"""Many tools cost no more than a few: the others are found when they are needed."""

from typing import Annotated

import msgspec
import pytest

from famulus.agent.deferred import find_tools, split
from famulus.core.events import ToolFinished, ToolStarted
from famulus.core.messages import Text, ToolCall
from famulus.core.protocols import Context, Replay
from famulus.core.settings import doc
from famulus.core.tools import FunctionTool
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

USED = []


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    city: Annotated[str, doc("Which city.")] = "Rome"


def made(name, description, replay=Replay.SAFE):
    async def function(context: Context, arguments: Arguments) -> str:
        USED.append((name, arguments.city))
        return f"{name} of {arguments.city}"

    function.__name__, function.__doc__ = name, description
    return FunctionTool(function, effects=(), replay=replay)


CORE = [made("calculator", "Calculates."), made("shell", "Runs a command.")]
OTHERS = [made(f"other_{n}", f"Does the thing number {n}.") for n in range(40)]
WEATHER = made("weather_forecast", "Tells how warm it will be and whether it rains.")
STARS = made("stars", "Shows the night sky above a city.", Replay.UNSAFE)
TOOLS = [*CORE, *OTHERS, WEATHER, STARS]
BUDGET = 500


@pytest.fixture(autouse=True)
def nothing_used():
    USED.clear()


def use(name, arguments, **more):
    given = msgspec.json.encode({"name": name, "arguments": arguments, **more}).decode()
    return ToolCall("u1", "use_tool", given)


def look(query):
    return ToolCall("f1", "find_tools", msgspec.json.encode({"query": query}).decode())


async def test_tools_within_the_budget_are_all_shown(talk):
    model = Scripted(["hi"])
    async with talk(model, tools=CORE, tools_budget=4000) as talking:
        await talking.say("hello")
    assert [each.name for each in model.requests[0].tools] == ["calculator", "shell"]


async def test_the_first_tools_are_shown_and_the_others_are_found_and_used(talk):
    model = Scripted([look("rain weather"), use("weather_forecast", {"city": "Oslo"}), "done"])
    async with talk(model, tools=TOOLS, tools_budget=BUDGET) as talking:
        await talking.say("will it rain?")
        told = [each for each in talking.events if isinstance(each, ToolStarted | ToolFinished)]
    names = [each.name for each in model.requests[0].tools]
    assert names == ["calculator", "find_tools", "shell", "use_tool"]
    assert all(request.tools is model.requests[0].tools for request in model.requests)
    size = len(msgspec.json.encode(model.requests[0].tools))
    assert size < BUDGET + 1500
    found = model.requests[1].messages[-1].parts[0].text
    assert '"name":"weather_forecast"' in found
    assert '"description":"Which city."' in found
    (result,) = model.requests[2].messages[-1].parts
    assert (result.call_id, result.text) == ("u1", "weather_forecast of Oslo")
    assert [each.name for each in told] == ["find_tools"] * 2 + ["weather_forecast"] * 2


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("1", "use_tool", '{"name": "weather_forecast", "city": "Oslo"}'),
        use("weather_forecast", '{"city": "Oslo"}'),
        use("weather_forecast", "{'city': 'Oslo',}"),
        ToolCall("1", "weather_forecast", '{"city": "Oslo"}'),
    ],
)
async def test_a_model_that_calls_it_another_way_is_understood(talk, call):
    async with talk(Scripted([call, "done"]), tools=TOOLS, tools_budget=BUDGET) as talking:
        await talking.say("go")
    assert USED == [("weather_forecast", "Oslo")]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (use("nothing", {}), "There is no tool 'nothing'"),
        (use("use_tool", {}), "There is no tool 'use_tool'"),
        (ToolCall("1", "use_tool", "{}"), "needs the name of a tool"),
        (ToolCall("1", "use_tool", "{not json"), "not valid JSON"),
        (use("weather_forecast", {"town": "Oslo"}), "Wrong arguments for weather_forecast"),
        (use("weather_forecast", [1]), "Wrong arguments for weather_forecast"),
    ],
)
async def test_what_is_wrong_goes_back_to_the_model(talk, call, text):
    model = Scripted([call, "sorry"])
    async with talk(model, tools=TOOLS, tools_budget=BUDGET) as talking:
        assert (await talking.say("go")).text == "sorry"
    (result,) = model.requests[1].messages[-1].parts
    assert not result.ok
    assert text in result.text
    assert not USED


async def test_a_found_tool_keeps_its_own_rule_for_what_a_crash_interrupts(talk):
    steps = []

    async def watch(context: Context, arguments: Arguments) -> str:
        rows = await talking.database.fetch("select name, status from step order by n")
        steps.extend((row["name"], row["status"]) for row in rows)
        return "seen"

    watched = FunctionTool(watch, effects=(), replay=Replay.UNSAFE)
    model = Scripted([use("watch", {}), "done"])
    async with talk(model, tools=[*TOOLS, watched], tools_budget=BUDGET) as talking:
        await talking.say("go")
    assert steps[-1] == ("tool:watch", "intent")


async def test_the_same_found_call_again_and_again_is_stopped(talk):
    model = Scripted([use("stars", {})] * 4)
    async with talk(model, tools=TOOLS, tools_budget=BUDGET, max_repeats=3) as talking:
        answer = await talking.say("go")
    assert len(USED) == 3
    assert "the same tool calls" in answer.text


async def found(query, tools=TOOLS):
    answer = await find_tools(tools).call(None, msgspec.json.encode({"query": query}).decode())
    (part,) = answer.parts
    assert isinstance(part, Text)
    return part.text


async def test_the_best_fit_comes_first():
    assert '"name":"stars"' in (await found("show me the skies at night")).splitlines()[1]
    assert '"name":"weather_forecast"' in (await found("forecasts")).splitlines()[1]


async def test_no_fit_gives_the_names():
    assert "weather_forecast" in await found("xyzzy")
    assert "stars" in await found("")


async def test_many_and_large_tools_stay_small():
    large = [made(f"large_{n}", "large " * 300) for n in range(500)]
    assert len(await found("large", large)) < 4000
    assert len(find_tools(large).description) < 800


def test_the_split_is_the_same_whenever_it_is_made():
    shown, deferred = split(TOOLS, BUDGET)
    assert shown == CORE
    assert deferred == [*OTHERS, WEATHER, STARS]
    assert split(TOOLS, 0) == ([], TOOLS)
