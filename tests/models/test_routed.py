import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import anyio
import pytest

from famulus.core.config import Rule
from famulus.core.errors import ModelUnavailable
from famulus.core.messages import (
    Image,
    Message,
    Origin,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from famulus.core.protocols import (
    Chunk,
    Done,
    ModelCard,
    Request,
    Restarted,
    TextDelta,
    ToolSpec,
)
from famulus.models.classify import compiled
from famulus.models.routed import Routed
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

LOCAL = ModelCard(name="small", id="small", provider="ollama", local=True)
LARGE = ModelCard(name="large", id="large", provider="vendor", inputs=("text", "image"))
AGENT = ModelCard(name="agent", id="agent", provider="vendor")
TOOLS = tuple(ToolSpec(name, "", {}) for name in ("calculator", "current_datetime", "shell"))
LONG = "This is a rather long answer of the small model, longer than what is held back. " * 2


def user(text: str, *parts: Part) -> Message:
    return Message("user", (Text(text, Origin.OWNER), *parts))


def request(*messages: Message) -> Request:
    return Request(system="s", messages=messages, tools=TOOLS)


class House:
    def __init__(
        self,
        simple: Sequence[object] = (),
        complex_: Sequence[object] = (),
        tool: Sequence[object] = (),
        *,
        rules: Sequence[Rule] = (),
        local: ModelCard = LOCAL,
        local_timeout: float = 20,
        shadow: Sequence[object] | None = None,
    ) -> None:
        self.simple = Scripted(simple, card=local)
        self.complex = Scripted(complex_, card=LARGE)
        self.tool = Scripted(tool, card=LARGE)
        self.shadow = Scripted(shadow or (), card=AGENT)
        self.routed = Routed(
            simple=self.simple,
            complex=self.complex,
            tool=self.tool,
            rules=compiled(rules),
            local_tools=("calculator", "current_*"),
            local_timeout=local_timeout,
            shadow=self.shadow if shadow is not None else None,
        )

    async def answer(self, *messages: Message) -> list[Chunk]:
        return [chunk async for chunk in self.routed.stream(request(*messages))]


def shown(chunks: Sequence[Chunk]) -> str:
    """What the user ends up with on the screen."""
    text = ""
    for chunk in chunks:
        if isinstance(chunk, Restarted):
            text = ""
        elif isinstance(chunk, TextDelta):
            text += chunk.text
    assert sum(isinstance(chunk, Done) for chunk in chunks) == 1
    assert isinstance(chunks[-1], Done)
    return text


async def test_simple_message_is_answered_by_the_simple_model_alone() -> None:
    house = House(["Hi there!"])
    assert shown(await house.answer(user("hello"))) == "Hi there!"
    assert house.complex.requests == []
    assert [tool.name for tool in house.simple.requests[0].tools] == [
        "calculator",
        "current_datetime",
    ]


async def test_other_messages_go_to_their_models_with_all_tools() -> None:
    house = House([], ["because"], ["done"])
    assert shown(await house.answer(user("explain TCP"))) == "because"
    assert shown(await house.answer(user("list my files"))) == "done"
    assert house.tool.requests[0].tools == TOOLS
    assert house.routed.card is LARGE


async def test_small_cards_own_patterns_limit_its_tools_too() -> None:
    card = ModelCard(name="s", id="s", provider="ollama", local=True, tools=("calc*", "shell"))
    house = House(["4"], local=card)
    await house.answer(user("2+2"))
    assert [tool.name for tool in house.simple.requests[0].tools] == ["calculator"]


@pytest.mark.parametrize(
    "failure",
    [
        ModelUnavailable("connection refused"),
        "",
        "  \n",
        (),
        ToolCall("1", "calculator", "{"),
        ToolCall("1", "calculator", "[1]"),
        ToolCall("1", "shell", "{}"),
        (Text("I will look.", Origin.ASSISTANT), ToolCall("1", "no_such_tool", "{}")),
    ],
)
async def test_failed_simple_answer_is_replaced_and_nobody_notices(failure: object) -> None:
    house = House([failure], ["The good answer"])
    chunks = await house.answer(user("hello"))
    assert shown(chunks) == "The good answer"
    assert not any(isinstance(chunk, Restarted) for chunk in chunks)
    assert house.complex.requests[0].tools == TOOLS


async def test_refusal_is_replaced() -> None:
    class Refusing(Scripted):
        async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
            yield TextDelta("I must not")
            parts = (Text("I must not", Origin.ASSISTANT),)
            yield Done(parts=parts, usage=Usage(), reason="refusal", model="small")

    large = Scripted(["Of course"], card=LARGE)
    routed = Routed(
        simple=Refusing([], card=LOCAL), complex=large, tool=large, rules=compiled(), local_tools=()
    )
    assert shown([c async for c in routed.stream(request(user("hello")))]) == "Of course"


@pytest.mark.parametrize(
    "words",
    [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I have no feelings about this.",
        "很抱歉，我无法回答这个问题。",
        "Es tut mir leid, aber ich kann dir dabei leider nicht helfen.",
        "I’m sorry, I cannot assist with this request, " + "whatever the reason for it is. " * 5,
    ],
)
async def test_refusal_in_words_is_replaced(words: str) -> None:
    house = House([words], ["Of course"])
    chunks = await house.answer(user("hello"))
    assert shown(chunks) == "Of course"
    assert not any(isinstance(chunk, Restarted) for chunk in chunks)


@pytest.mark.parametrize(
    "words", ["I can help with that!", "Sorry to hear that.", "I cannot wait!"]
)
async def test_friendly_words_are_no_refusal(words: str) -> None:
    assert shown(await House([words]).answer(user("hello"))) == words


class Breaking(Scripted):
    """Streams some text and then ends in a way of its own. `ended` when its stream is left."""

    def __init__(self, text: str, error: Exception | None = None) -> None:
        super().__init__([], card=LOCAL)
        self.text, self.error, self.ended = text, error, False

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        try:
            if self.text:
                yield TextDelta(self.text)
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.ended = True


def routed_over(simple: Scripted, complex_: Scripted, **settings: float) -> Routed:
    return Routed(
        simple=simple,
        complex=complex_,
        tool=complex_,
        rules=compiled(),
        local_tools=(),
        **settings,
    )


@pytest.mark.parametrize(("characters", "taken_back"), [(79, 0), (81, 1)])
async def test_answer_that_dies_on_the_way_is_replaced(characters: int, taken_back: int) -> None:
    simple = Breaking("x" * characters, ModelUnavailable("connection lost"))
    routed = routed_over(simple, Scripted(["The good answer"], card=LARGE))
    chunks = [chunk async for chunk in routed.stream(request(user("hello")))]
    assert shown(chunks) == "The good answer"
    assert sum(isinstance(chunk, Restarted) for chunk in chunks) == taken_back
    assert cast("Done", chunks[-1]).route == "escalated: connection lost"


@pytest.mark.parametrize("beginning", ["", "x" * 79])
async def test_silent_local_model_is_replaced_and_its_stream_closed(beginning: str) -> None:
    simple = Breaking(beginning)
    routed = routed_over(simple, Scripted(["The good answer"], card=LARGE), local_timeout=0.01)
    chunks = [chunk async for chunk in routed.stream(request(user("hello")))]
    assert shown(chunks) == "The good answer"
    assert cast("Done", chunks[-1]).route == "escalated: it was silent for 0.01 s"
    assert simple.ended


async def test_leaving_while_the_local_model_is_silent_closes_it() -> None:
    simple = Breaking("")
    with anyio.move_on_after(0.02) as scope:
        async for _ in routed_over(simple, Scripted([])).stream(request(user("hello"))):
            pass
    assert scope.cancelled_caught
    assert simple.ended


async def test_answer_that_was_cut_off_is_replaced() -> None:
    class Cut(Scripted):
        async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
            yield TextDelta("Hello th")
            parts = (Text("Hello th", Origin.ASSISTANT),)
            yield Done(parts=parts, usage=Usage(), reason="length", model="small")

    routed = routed_over(Cut([], card=LOCAL), Scripted(["Hello there"], card=LARGE))
    assert shown([c async for c in routed.stream(request(user("hello")))]) == "Hello there"


async def route_of(house: House, *messages: Message) -> str:
    done = (await house.answer(*messages))[-1]
    assert isinstance(done, Done)
    return done.route


async def test_answer_says_why_its_model_was_chosen() -> None:
    house = House(["Hi!", ""], ["because", "Hi!"], ["files"])
    assert await route_of(house, user("hello")) == "simple: small talk (score 20)"
    assert house.simple.requests[0].caller.reason == "simple: small talk (score 20)"
    assert await route_of(house, user("explain TCP")) == 'complex: word "explain" (score 6)'
    assert await route_of(house, user("list my files")) == (
        'tool: word "list", word "my", word "files" (score 9)'
    )
    assert await route_of(house, user("hello")) == "escalated: it said nothing"
    assert house.complex.requests[1].caller.reason == "escalated: it said nothing"
    trace = Message("assistant", (ToolCall("1", "shell", "{}"),))
    house = House([], ["done"])
    assert (await route_of(house, user("hello"), trace)).startswith("taken over: simple")


async def test_shadow_decides_and_logs_but_the_agents_model_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="famulus.models.routed")
    house = House(shadow=["Hi!", "because"])
    assert house.routed.card is AGENT
    assert await route_of(house, user("hello")) == "shadow: simple: small talk (score 20)"
    await house.answer(user("explain TCP"))
    assert house.simple.requests == house.complex.requests == []
    assert house.shadow.requests[0].tools == TOOLS
    assert [message.partition(" reasons")[0] for message in caplog.messages] == [
        "would have gone class=simple model=small",
        "would have gone class=complex model=large",
    ]


async def test_what_was_shown_of_a_failed_answer_is_taken_back() -> None:
    broken = (Text(LONG, Origin.ASSISTANT), ToolCall("1", "shell", "{}"))
    house = House([broken], ["The good answer"])
    chunks = await house.answer(user("hello"))
    assert sum(isinstance(chunk, Restarted) for chunk in chunks) == 1
    assert shown(chunks) == "The good answer"


async def test_long_simple_answer_streams_in_order() -> None:
    house = House([LONG])
    chunks = await house.answer(user("hello"))
    assert shown(chunks) == LONG
    assert len(chunks) > 5


async def test_bug_is_not_mistaken_for_a_failing_model() -> None:
    house = House([], ["never"])
    with pytest.raises(AssertionError):
        await house.answer(user("hello"))
    assert house.complex.requests == []


async def test_rounds_of_a_turn_stay_with_the_model_that_began_it() -> None:
    call = ToolCall("1", "calculator", '{"expression": "2+2"}')
    result = Message("tool", (ToolResult("1", "calculator", (Text("4", Origin.TOOL),)),))
    house = House([call, "It is 4."])
    await house.answer(user("2+2"))
    chunks = await house.answer(user("2+2"), Message("assistant", (call,)), result)
    assert shown(chunks) == "It is 4."
    assert house.complex.requests == []


@pytest.mark.parametrize(
    "trace",
    [ToolCall("1", "shell", "{}"), Reasoning("hm", "vendor")],
)
async def test_turn_that_was_taken_over_is_not_given_back(trace: Part) -> None:
    house = House([], ["done"])
    assert shown(await house.answer(user("hello"), Message("assistant", (trace,)))) == "done"


async def test_picture_goes_to_a_model_that_sees() -> None:
    house = House([], ["a cat"])
    picture = Image("00", "image/png", Origin.OWNER)
    assert shown(await house.answer(user("hello", picture))) == "a cat"


async def test_only_the_users_own_last_words_are_classified() -> None:
    house = House(["Hi!"])
    await house.answer(user("explain TCP"), Message("assistant", ()), user("hello"))
    assert len(house.simple.requests) == 1


async def test_leaving_the_stream_closes_the_models_stream() -> None:
    house = House([LONG])
    stream = cast("AsyncGenerator[Chunk]", house.routed.stream(request(user("hello"))))
    async with aclosing(stream):
        await anext(stream)
    assert house.simple.closed == 1


async def test_decision_is_logged_with_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="famulus.models.routed")
    await House(["Hi!"]).answer(user("hello"))
    assert caplog.messages == ["routed class=simple model=small reasons=small talk → simple 20"]
