"""How many calls of one answer are run, and how many of them at the same time."""

import asyncio

import msgspec
import pytest

from famulus.core.messages import ToolCall
from famulus.core.protocols import Context, Effect, Replay
from famulus.core.tools import tool
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    number: int = 0


class Crowd:
    """Tools that note how many of their calls run at the same time. A call ends once no other has
    come for a few rounds of the loop, so that the crowd gets as large as it may.
    """

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0

        @tool(effects=[Effect.READS])
        async def look(context: Context, arguments: Arguments) -> str:
            """Look."""
            return await self._stay()

        @tool(effects=[Effect.EXECUTES], replay=Replay.UNSAFE)
        async def run(context: Context, arguments: Arguments) -> str:
            """Run."""
            return await self._stay()

        self.look, self.run = look, run

    async def _stay(self) -> str:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        seen = -1
        while seen != self.calls:
            seen = self.calls
            await asyncio.sleep(0.02)
        self.now -= 1
        return "done"


@pytest.fixture
def crowd():
    return Crowd()


def calls(name, count):
    return [ToolCall(f"c{n}", name, f'{{"number": {n}}}') for n in range(count)]


async def test_calls_beyond_the_most_are_not_run_and_the_model_is_told(talk, crowd):
    model = Scripted([calls("look", 300), "done"])
    async with talk(model, tools=[crowd.look]) as talking:
        assert (await talking.say("go")).text == "done"
    results = model.requests[1].messages[-1].parts
    assert crowd.calls == 64
    assert [each.call_id for each in results] == [f"c{n}" for n in range(300)]
    assert [each.ok for each in results] == [True] * 64 + [False] * 236
    assert "300 calls at once" in results[64].text
    assert "first 64" in results[64].text


async def test_calls_run_side_by_side_only_so_far(talk, crowd):
    model = Scripted([calls("look", 40), "done"])
    async with talk(model, tools=[crowd.look], parallel_calls=5) as talking:
        await talking.say("go")
    assert (crowd.calls, crowd.most) == (40, 5)


async def test_commands_of_one_turn_run_side_by_side_only_so_far(talk, crowd):
    model = Scripted([calls("run", 12), "done"])
    async with talk(model, tools=[crowd.run], parallel_commands=3) as talking:
        await talking.say("go")
    assert (crowd.calls, crowd.most) == (12, 3)


async def test_commands_of_all_turns_together_run_side_by_side_only_so_far(talk, crowd):
    model = Scripted([calls("run", 4)] * 4 + ["done"] * 4)
    async with talk(model, tools=[crowd.run], commands=6) as talking, asyncio.TaskGroup() as group:
        for chat in "abcd":
            group.create_task(talking.say("go", chat=chat))
    assert (crowd.calls, crowd.most) == (16, 6)


async def test_a_call_that_waits_for_others_is_not_taken_for_begun(talk):
    reached, goes_on = asyncio.Event(), asyncio.Event()

    @tool(effects=[Effect.EXECUTES], replay=Replay.UNSAFE)
    async def run(context: Context, arguments: Arguments) -> str:
        """Run."""
        reached.set()
        await goes_on.wait()
        return "done"

    model = Scripted([calls("run", 3), "done"])
    async with talk(model, tools=[run], commands=1) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("go"))
        await reached.wait()
        begun = await talking.database.fetch("select name from step where name = 'tool:run'")
        goes_on.set()
        await asked
    assert len(begun) == 1


async def test_a_time_out_of_the_tool_itself_is_told_as_one(talk):
    @tool()
    async def fetch(context: Context, arguments: Arguments) -> str:
        """Fetch."""
        raise TimeoutError("no answer from 192.0.2.1")

    model = Scripted([ToolCall("1", "fetch", "{}"), "I see"])
    async with talk(model, tools=[fetch]) as talking:
        await talking.say("go")
    (result,) = model.requests[1].messages[-1].parts
    assert not result.ok
    assert "longer than" not in result.text
    assert "no answer from 192.0.2.1" in result.text
