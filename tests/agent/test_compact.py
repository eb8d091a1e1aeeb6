"""What falls out of a window is condensed, once; where that fails, nothing else does."""

import asyncio
from itertools import pairwise

import pytest

from famulus.agent.summaries import condense, transcript
from famulus.core.errors import ModelUnavailable
from famulus.core.messages import Message, Note, Origin, Text, ToolCall, ToolResult
from famulus.core.protocols import Caller
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

CONDENSED = "The user is called Ann and asked many questions."
KEY = "test:main:1"


class Talkative(Scripted):
    """Answers at length, and condenses with `summary` when it is asked to."""

    def __init__(self, summary=CONDENSED):
        super().__init__([self._answer] * 1000)
        self.summary = summary

    def _answer(self, request):
        return self.summary if is_compaction(request) else "answer " * 20

    @property
    def compactions(self):
        return [each for each in self.requests if is_compaction(each)]

    @property
    def asked(self):
        return [each for each in self.requests if not is_compaction(each)]


def is_compaction(request):
    return request.caller.kind == "compaction"


async def long_talk(talking, turns=60, first=0):
    return [await talking.say(f"question {n} " * 10) for n in range(first, first + turns)]


def moves(requests):
    starts = [(request.messages[0], request.messages[2:3]) for request in requests[2:]]
    return sum(a != b for a, b in pairwise(starts))


async def test_what_falls_out_is_condensed_once_and_stands_at_the_beginning(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000) as talking:
        await talking.say("I am Ann.")
        await long_talk(talking)
        found = await talking.messages.search("Ann", session=KEY)
        everything = await talking.said()
    assert 3 <= len(model.compactions) <= 10
    assert moves(model.asked) == len(model.compactions)
    assert "User: I am Ann." in model.compactions[0].messages[0].text
    assert f"Earlier summary: {CONDENSED}" in model.compactions[1].messages[0].text
    for request in model.compactions:
        assert request.tools == ()
        assert len(request.messages) == 1
    first, second, third = model.asked[-1].messages[:3]
    assert CONDENSED in first.text
    assert [first.role, second.role, third.role] == ["user", "assistant", "user"]
    assert len(everything) == 2 * 61  # nothing was deleted
    roles = [said.message.role for said, _ in found]
    assert roles.count("summary") == len(model.compactions)
    assert "user" in roles


async def test_a_restart_finds_the_summary_again(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000) as talking:
        await long_talk(talking, 30)
    before = model.requests[-1]
    calls = len(model.compactions)
    async with talk(model, history_tokens=2000) as talking:
        await talking.say("and now?")
    assert len(model.compactions) == calls
    after = model.requests[-1]
    assert after.messages[: len(before.messages)] == before.messages


async def test_a_model_that_does_not_stop_is_left(talk):
    model = Talkative("never ending " * 5000)
    async with talk(model, history_tokens=2000) as talking:
        await long_talk(talking, 30)
    assert model.closed == len(model.compactions) >= 1


@pytest.mark.parametrize(
    "summary", ["", "much too long " * 1000, ModelUnavailable("openai does not answer.")]
)
async def test_a_summary_that_fails_is_done_without(talk, summary):
    model = Talkative(summary)
    async with talk(model, history_tokens=2000) as talking:
        answers = await long_talk(talking)
    assert all(answer.text.startswith("answer") for answer in answers)
    assert 3 <= len(model.compactions) <= 10
    assert all(request.messages[0].text.startswith("question") for request in model.asked)


async def test_a_summary_that_failed_leaves_the_earlier_one(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000) as talking:
        await long_talk(talking, 30)
        model.summary = ""
        await long_talk(talking, 30, first=30)
    assert CONDENSED in model.asked[-1].messages[0].text


async def test_condensing_can_be_off(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000, compaction=False) as talking:
        await long_talk(talking)
        assert "agent.compaction is false" in await compact_now(talking)
    assert model.compactions == []
    assert moves(model.asked) >= 3


async def test_it_is_announced_when_that_is_wanted(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000, announce_compaction=True) as talking:
        await long_talk(talking, 30)
        rows = await talking.database.fetch("select payload from outbox")
    told = [row["payload"] for row in rows if "I condensed the beginning" in row["payload"]]
    assert len(told) == len(model.compactions) >= 1


async def test_what_it_used_counts_for_the_turn(talk):
    model = Talkative()
    async with talk(model, history_tokens=2000) as talking:
        answers = await long_talk(talking, 30)
    assert sum(answer.usage.input_tokens for answer in answers) == 10 * len(model.requests)


async def test_a_conversation_is_condensed_now(talk):
    model = Talkative()
    async with talk(model) as talking:
        assert await compact_now(talking) == "There is nothing to condense yet."
        await long_talk(talking, 10)
        told = await compact_now(talking)
        assert told.startswith("18 messages are condensed to 48 characters.")
        assert await compact_now(talking) == "There is nothing to condense yet."
        await talking.say("go on")
        assert len(await talking.said()) == 22
    shown = model.requests[-1].messages
    assert CONDENSED in shown[0].text
    assert [each.role for each in shown] == ["user", "assistant"] * 2 + ["user"]
    assert "question 9" in shown[2].text


async def test_condensing_now_says_why_it_could_not(talk):
    model = Talkative(ModelUnavailable("openai does not answer."))
    async with talk(model) as talking:
        await long_talk(talking, 10)
        assert "openai does not answer." in await compact_now(talking)
        await talking.say("go on")
    assert len(model.requests[-1].messages) == 21


async def test_a_turn_that_is_continued_condenses_no_second_time(talk):
    """The program stops while the model answers, behind the summary."""
    reached = asyncio.Event()

    class Hanging(Talkative):
        async def stream(self, request):
            if not is_compaction(request) and self.compactions:
                reached.set()
                await asyncio.Event().wait()
            async for chunk in super().stream(request):
                yield chunk

    async with (
        talk(Hanging(), history_tokens=2000) as talking,
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(long_talk(talking, 1000))
        await reached.wait()
        running.cancel()
    after = Talkative("another summary")
    async with talk(after, history_tokens=2000) as talking:
        await talking.say("and on")
    assert after.compactions == []
    assert CONDENSED in after.requests[0].messages[0].text
    assert len(after.requests) == 2


async def compact_now(talking):
    return await talking.agent.compact(KEY, person="owner", channel="test", at=0.0)


# ---------------------------------------------------------------- the summary itself


def said():
    return [
        Message("user", (Text("What does it say?", Origin.OWNER), Note("[Mon 12:00 UTC]"))),
        Message("assistant", (ToolCall("1", "web_fetch", '{"url": "https://a"}'),)),
        Message("tool", (ToolResult("1", "web_fetch", (Text("w" * 900, Origin.OUTSIDE),)),)),
        Message("assistant", (Text("It says w.", Origin.ASSISTANT),)),
    ]


def test_a_transcript_says_who_said_what_and_cuts_results():
    lines = transcript("Before.", said(), 10_000).splitlines()
    assert lines[0] == "Earlier summary: Before."
    assert lines[1] == "User: What does it say?"
    assert lines[2] == 'Assistant called web_fetch {"url": "https://a"}'
    assert lines[3].startswith("web_fetch returned: www")
    assert len(lines[3]) < 500
    assert lines[4] == "Assistant: It says w."


def test_a_transcript_keeps_to_its_room_with_the_newest():
    messages = [Message("user", (Text(f"number {n} ärger", Origin.OWNER),)) for n in range(100)]
    text = transcript("Before. " * 100, messages, 1000)
    assert len(text.encode()) <= 1100
    assert text.startswith("Earlier summary: Before.")
    assert text.endswith("User: number 99 ärger")


async def test_what_came_from_outside_stays_from_outside():
    for messages, origin in ((said(), Origin.OUTSIDE), (said()[:1] * 30, Origin.ASSISTANT)):
        made = await condense(
            Scripted(["Short."]),
            None,
            messages,
            most_bytes=1000,
            input_bytes=10_000,
            caller=Caller(),
            session=KEY,
        )
        assert made.text == "Short."
        assert made.origin is origin


async def test_a_few_words_are_not_worth_a_call():
    model = Scripted([])
    made = await condense(
        model,
        None,
        [Message("user", (Text("Hi", Origin.OWNER),))],
        most_bytes=1000,
        input_bytes=10_000,
        caller=Caller(),
        session=KEY,
    )
    assert not made.text
    assert made.problem
