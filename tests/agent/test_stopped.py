"""What a user has seen of an answer stays when the turn ends before its end."""

import asyncio

import msgspec
import pytest

from famulus.agent.dispatch import UNKNOWN
from famulus.core.errors import ModelUnavailable
from famulus.core.messages import Origin, Text, ToolCall
from famulus.core.protocols import Context, Effect, Replay, TextDelta
from famulus.core.tools import tool
from famulus.testing.scripted import CARD, Scripted

pytestmark = pytest.mark.anyio


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    word: str = "x"


@tool(effects=[Effect.READS])
async def echo(context: Context, arguments: Arguments) -> str:
    """Say it again."""
    return f"echo {arguments.word}"


class Halting(Scripted):
    """Streams the first words of an entry that ends with `…`, and then hangs or fails."""

    def __init__(self, script, *, error=None):
        super().__init__(script)
        self.hangs = asyncio.Event()
        self._error = error

    async def stream(self, request):
        entry = self._script[len(self.requests)]
        if not (isinstance(entry, str) and entry.endswith("…")):
            async for chunk in super().stream(request):
                yield chunk
            return
        self.requests.append(request)
        for word in entry.removesuffix("…").split():
            yield TextDelta(f"{word} ")
        self.hangs.set()
        if self._error:
            raise self._error
        await asyncio.Event().wait()


async def test_text_that_was_shown_stays_after_a_stop(talk):
    model = Halting(["The moon is round …", "And it is far."])
    async with talk(model) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("tell me of the moon"))
        await model.hangs.wait()
        await talking.engine.cancel("test:main:1")
        answer = await asked
        said = await talking.said()
        await talking.say("go on")
    assert answer.text == "The moon is round\n\nStopped."
    assert said[-1].text == answer.text
    assert model.requests[1].messages[1].text == answer.text


async def test_text_that_was_shown_stays_when_the_turn_takes_too_long(talk):
    model = Halting(["The moon is round …"])
    async with talk(model, turn_timeout=0.2) as talking:
        answer = await talking.say("tell me of the moon")
        said = await talking.said()
    reason = "I stopped: this took longer than 0.2 seconds."
    assert answer.text == f"The moon is round\n\n{reason}"
    assert said[-1].text == answer.text


async def test_text_that_was_shown_stays_when_the_model_fails_for_good(talk):
    model = Halting(["The moon is round …"], error=ModelUnavailable("openai is gone."))
    async with talk(model) as talking:
        answer = await talking.say("tell me of the moon")
    assert answer.text.startswith("The moon is round\n\nI could not get an answer")
    assert answer.failed


async def test_results_of_the_calls_that_ended_stay_after_a_stop(talk):
    reached = asyncio.Event()

    @tool(effects=[Effect.EXECUTES], replay=Replay.UNSAFE)
    async def hang(context: Context, arguments: Arguments) -> str:
        """Hang."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    look = ToolCall("1", "echo", '{"word": "a"}')
    both = [ToolCall("2", "echo", '{"word": "b"}'), ToolCall("3", "hang", "{}")]
    model = Scripted([look, both, "and on"])
    async with talk(model, tools=[echo, hang]) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("go"))
        await reached.wait()
        async with asyncio.timeout(5):
            while not await talking.database.fetch(
                "select 1 from step where n = 4 and status = 'done'"
            ):
                await asyncio.sleep(0.005)
        await talking.engine.cancel("test:main:1")
        assert (await asked).text == "Stopped."
        await talking.say("next")
    results = [
        (part.call_id, part.ok, part.text)
        for message in model.requests[2].messages
        if message.role == "tool"
        for part in message.parts
    ]
    assert results[:2] == [("1", True, "echo a"), ("2", True, "echo b")]
    assert results[2][:2] == ("3", False)


async def test_what_was_said_before_a_call_stays_after_a_stop(talk):
    reached = asyncio.Event()

    @tool()
    async def hang(context: Context, arguments: Arguments) -> str:
        """Hang."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    model = Scripted([[Text("Let me look.", Origin.ASSISTANT), ToolCall("1", "hang", "{}")]])
    async with talk(model, tools=[hang]) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("go"))
        await reached.wait()
        await talking.engine.cancel("test:main:1")
        answer = await asked
        said = await talking.said()
    assert answer.text == "Let me look.\n\nStopped."
    assert said[-1].text == answer.text


async def test_what_is_kept_of_a_private_turn_is_private(talk):
    reached = asyncio.Event()

    @tool()
    async def hang(context: Context, arguments: Arguments) -> str:
        """Hang."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    both = [ToolCall("1", "echo", "{}"), ToolCall("2", "hang", "{}")]
    model = Scripted([both], card=msgspec.structs.replace(CARD, local=True))
    async with talk(model, tools=[echo, hang]) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("go", private=True))
        await reached.wait()
        await talking.engine.cancel("test:main:1")
        await asked
        said = await talking.said()
    assert [(each.role, each.private) for each in said] == [
        ("user", True),
        ("assistant", True),
        ("tool", True),
        ("assistant", True),
    ]


def hanging(reached):
    @tool(effects=[Effect.EXECUTES], replay=Replay.UNSAFE)
    async def hang(context: Context, arguments: Arguments) -> str:
        """Hang."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    return hang


@pytest.mark.parametrize("private", [False, True])
async def test_what_was_done_stays_when_a_turn_is_given_up_after_restarts(talk, private):
    reached = asyncio.Event()
    tools = [echo, hanging(reached)]
    words = Text("Let me look.", Origin.ASSISTANT)
    calls = [ToolCall("1", "echo", "{'word': 'a'}"), ToolCall("2", "hang", "{}")]
    model = Scripted([[words, *calls], "and on"], card=msgspec.structs.replace(CARD, local=private))
    async with talk(model, tools=tools) as talking, asyncio.TaskGroup() as group:
        asked = group.create_task(talking.say("go", private=private))
        async with asyncio.timeout(5):
            await reached.wait()
            while not await talking.database.fetch(
                "select 1 from step where n = 2 and status = 'done'"
            ):
                await asyncio.sleep(0.005)
        await talking.database.execute("update turn set strikes = 9")
        asked.cancel()
    async with talk(model, tools=tools) as talking:
        await talking.say("next", private=private)
        said = await talking.said()
    assert [each.role for each in said] == [
        *("user", "assistant", "tool", "assistant"),
        *("user", "assistant"),
    ]
    assert all(each.private == private for each in said)
    assert said[1].calls[0].arguments == '{"word":"a"}'
    assert [part.text for part in said[2].parts] == ["echo a", UNKNOWN]
    assert said[3].text.startswith("Let me look.\n\nI could not finish this: it failed 9 attempts")
    assert model.requests[1].messages[2].text == said[2].text
