"""Small windows: what does not fit is never sent, and everything goes on."""

import json
from typing import Annotated

import msgspec
import pytest
from aiohttp import ClientSession

from famulus.agent.room import Learned, fitted, size
from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ContextOverflow
from famulus.core.messages import Message, Origin, Text, ToolCall, ToolResult, Usage
from famulus.core.plugins import find, own_names, settings_type
from famulus.core.protocols import Context, Done, ModelCard
from famulus.core.settings import Secret, doc
from famulus.core.tools import tool
from famulus.models.openai_chat import OpenAIChat
from famulus.policy.command import Limits
from famulus.policy.plain import Plain
from famulus.testing.check_tool import services
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call, Wrong
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

CARD = ModelCard(name="small", id="small", provider="openai", context_tokens=4096)


class Arguments(msgspec.Struct):
    lines: Annotated[int, doc("How many lines.")] = 1


@tool()
async def report(context: Context, arguments: Arguments) -> str:
    """Write a report of so many lines."""
    return "".join(f"line {n} of the report\n" for n in range(arguments.lines))


class Small(FakeOpenAI):
    """A server with a window of `most` tokens, which counts three bytes of a body as one."""

    def __init__(self, most=4096):
        super().__init__()
        self.most = most
        self.refused = 0
        self.sizes = []

    def check(self, headers, body):
        super().check(headers, body)
        tokens = len(json.dumps(body, ensure_ascii=False).encode()) // 3
        self.sizes.append(tokens)
        if tokens > self.most:
            self.refused += 1
            raise Wrong(
                f"This model's maximum context length is {self.most} tokens. However, your "
                f"messages resulted in {tokens} tokens.",
                kind="context_length_exceeded",
                param="messages",
            )


@pytest.fixture
async def small():
    async with Small() as vendor:
        yield vendor


def wire(vendor, session, card=CARD):
    provider = Provider(type="openai", base_url=vendor.url, api_key=Secret(vendor.key))
    return OpenAIChat(card, provider, ModelEntry(), session)


def own_tools():
    """All that are built in, but for those that need a sandbox, a network or a ledger to run."""
    given = services(egress=object(), sandbox=Plain("none", Limits()), ledger=object())
    modules = [find("tools", name) for name in own_names("tools")]
    return [module.build(settings_type(module)(), given) for module in modules]


async def test_hello_and_tool_calls_fit_with_every_tool_there_is(small, talk):
    small.say(
        Answer(text=("Hello.",)),
        Answer(calls=(Call("calculator", '{"expression": "17.5% * 230"}'),)),
        Answer(text=("40.25",)),
        Answer(
            calls=(Call("write_file", '{"path": "a.txt", "content": "' + "long " * 100 + '"}'),)
        ),
        Answer(calls=(Call("read_file", '{"path": "a.txt"}'),)),
        Answer(text=("It is long.",)),
    )
    async with ClientSession() as session, talk(wire(small, session), tools=own_tools()) as talking:
        assert (await talking.say("hello")).text == "Hello."
        assert (await talking.say("what is 17.5% of 230?")).text == "40.25"
        assert (await talking.say("write it down and read it")).text == "It is long."
        results = [
            part for each in await talking.said() if each.role == "tool" for part in each.parts
        ]
    assert small.refused == 0
    assert [each.ok for each in results] == [True] * 3
    assert results[0].text.startswith("40.25")
    assert len(small.journal[0].raw) <= 6000


async def test_sixty_turns_fit(small, talk):
    async with ClientSession() as session, talk(wire(small, session), tools=own_tools()) as talking:
        for n in range(60):
            small.forget()
            small.say(*[Answer(text=(f"answer {n} " * 20,))] * 2)
            assert f"answer {n}" in (await talking.say(f"question {n} " * 30)).text
    assert small.refused == 0
    assert max(small.sizes) > 1500  # the window is made use of


async def test_long_results_fit_however_many_there_are(small, talk):
    long = Call("report", '{"lines": 5000}', id="a")
    rounds = [
        Answer(calls=(long, Call("report", f'{{"lines": {4000 + n}}}', id="b"))) for n in range(6)
    ]
    small.say(*rounds, Answer(text=("Done.",)))
    async with ClientSession() as session, talk(wire(small, session), tools=[report]) as talking:
        assert (await talking.say("go on")).text == "Done."
    assert small.refused == 0
    results = [each for each in small.journal[1].body["messages"] if each["role"] == "tool"]
    assert all("kept in" in each["content"] for each in results)
    assert sum(len(each["content"]) for each in results) <= 4096 * 3 // 4


async def test_a_window_that_is_smaller_than_was_thought_is_learned(talk):
    card = msgspec.structs.replace(CARD, context_tokens=128_000)
    async with (
        Small() as vendor,
        ClientSession() as session,
        talk(wire(vendor, session, card), tools=[report], compaction=False) as talking,
    ):
        for n in range(60):
            vendor.forget()
            vendor.say(Answer(text=(f"answer {n} " * 20,)))
            assert f"answer {n}" in (await talking.say(f"question {n} " * 30)).text
    assert 1 <= vendor.refused <= 6


async def test_a_message_that_no_window_holds_is_answered_honestly(small, talk):
    async with ClientSession() as session, talk(wire(small, session)) as talking:
        answer = await talking.say("word " * 4000)
        assert "too long" in answer.text
        assert (await talking.say("hello")).text == "Hello."
    assert small.refused <= 2


async def test_what_was_too_long_is_tried_once_more_with_less(talk):
    error = ContextOverflow("too long")
    model = Scripted([*["answer " * 50] * 10, error, "short now", "and on"])
    async with talk(model, compaction=False) as talking:
        for n in range(10):
            await talking.say(f"question {n}")
        assert (await talking.say("one more")).text == "short now"
        assert (await talking.say("again")).text == "and on"
    assert len(model.requests[11].messages) < len(model.requests[10].messages)
    assert model.requests[11].messages[-1].text == "one more"


async def test_a_model_that_finds_everything_too_long_ends_the_turn(talk):
    model = Scripted([ContextOverflow("openai finds the conversation too long.")] * 2)
    async with talk(model) as talking:
        answer = await talking.say("hello")
    assert "too long" in answer.text
    assert len(model.requests) <= 2


def result(text, n="1"):
    return Message("tool", (ToolResult(n, "report", (Text(text, Origin.OUTSIDE),)),))


def test_results_of_earlier_rounds_give_way_first_then_the_past_then_the_middle_of_the_last():
    past = [Message("user", (Text("before " * 100, Origin.OWNER),))]
    asked = Message("user", (Text("asked", Origin.OWNER),))
    called = Message("assistant", (ToolCall("1", "report", "{}"),))
    record = [asked, called, result("first " * 300), called, result("last " * 300)]
    everything = size(past) + size(record)
    assert fitted(past, size(past), record, everything) == ((*past, *record), everything)

    messages, _ = fitted(past, size(past), record, everything - 100)
    assert messages[:3] == (*past, asked, called)
    assert "1,800 characters were left out" in messages[3].parts[0].text
    assert messages[3].parts[0].parts[0].origin is Origin.OUTSIDE
    assert messages[5] == record[4]

    messages, shown = fitted(past, size(past), record, 1500)
    assert messages[0] == asked
    assert shown <= 1500
    assert messages[-1].parts[0].text.startswith("last last")
    assert messages[-1].parts[0].text.endswith("last ")


def test_tokens_are_learned_from_what_a_model_reports():
    learned = Learned()
    first = learned.room(CARD, fixed_bytes=1000, history_tokens=16_000)
    learned.counted(2000, 1000)
    dense = learned.room(CARD, fixed_bytes=1000, history_tokens=16_000)
    assert dense.history_bytes < first.history_bytes
    learned.counted(100_000, 1000)  # a server that leaves out what it had cached
    assert learned.room(CARD, fixed_bytes=1000, history_tokens=16_000).messages_bytes < 4096 * 4
    learned.counted(60, 10)
    assert learned.room(CARD, fixed_bytes=0, history_tokens=500).history_bytes == 500 * 4


def test_there_is_always_some_room():
    room = Learned().room(CARD, fixed_bytes=100_000, history_tokens=16_000)
    assert room.messages_bytes >= 4096 * 3 // 8


async def test_what_another_model_finds_too_long_costs_this_one_nothing(talk):
    too_long = ContextOverflow("It is too long for the one that looks at pictures.")
    too_long.model = "eyes"
    counted = Usage(input_tokens=100_000)

    class Counting(Scripted):
        """Its answers are of another model, too, which counts each byte."""

        async def stream(self, request):
            async for chunk in super().stream(request):
                done = isinstance(chunk, Done)
                yield msgspec.structs.replace(chunk, card="eyes", usage=counted) if done else chunk

    model = Counting(["Yes."] * 5 + [too_long] + ["Yes."] * 5, card=CARD)
    async with talk(model) as talking:
        for number in range(9):
            await talking.say(f"question {number} {'at length ' * 30}")
    last = model.requests[-1].messages
    assert "question 0" in last[0].text


def test_what_is_cut_to_fit_stays_private():
    result = ToolResult("1", "report", (Text("line\n" * 500, Origin.TOOL),))
    rounds = [Message("tool", (result,), private=True)] * 2
    shown = fitted([], 0, rounds, 1500).messages
    assert [each.private for each in shown] == [True, True]
    assert size(shown) < size(rounds)
