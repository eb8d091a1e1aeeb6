import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import pytest

from famulus.core.config import Rule
from famulus.core.errors import ModelRejected, ModelUnavailable
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
    ) -> None:
        self.simple = Scripted(simple, card=local)
        self.complex = Scripted(complex_, card=LARGE)
        self.tool = Scripted(tool, card=LARGE)
        self.routed = Routed(
            simple=self.simple,
            complex=self.complex,
            tool=self.tool,
            rules=compiled(rules),
            local_tools=("calculator", "current_*"),
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


PRIVATE = [Rule(class_="local", pattern="#private")]


async def test_private_text_stays_on_the_local_model_even_when_it_fails() -> None:
    house = House([ModelUnavailable("down"), ""], rules=PRIVATE)
    with pytest.raises(ModelUnavailable, match="down"):
        await house.answer(user("explain my will #private"))
    assert shown(await house.answer(user("explain my will #private"))) == ""
    assert house.complex.requests == []


async def test_private_text_is_not_sent_to_a_simple_model_elsewhere() -> None:
    house = House(["never"], rules=PRIVATE, local=LARGE)
    with pytest.raises(ModelRejected, match=r"router\.simple"):
        await house.answer(user("#private hello"))
    assert house.simple.requests == []


async def test_private_turns_are_left_out_of_what_others_see_later() -> None:
    house = House([], ["because"], rules=PRIVATE)
    call = ToolCall("1", "calculator", '{"expression": "SECRET"}')
    result = Message("tool", (ToolResult("1", "calculator", (Text("SECRET", Origin.TOOL),)),))
    await house.answer(
        user("good morning"),
        Message("assistant", (Text("Morning!", Origin.ASSISTANT),)),
        user("my SECRET #private"),
        Message("assistant", (call,)),
        result,
        Message("assistant", (Text("SECRET it is", Origin.ASSISTANT),)),
        user("explain TCP"),
    )
    seen = house.complex.requests[0].messages
    assert "SECRET" not in repr(seen)
    assert [message.role for message in seen] == ["user", "assistant"] * 2 + ["user"]
    assert seen[1].text == "Morning!"
    assert seen[-1].text == "explain TCP"


async def test_leaving_the_stream_closes_the_models_stream() -> None:
    house = House([LONG])
    stream = cast("AsyncGenerator[Chunk]", house.routed.stream(request(user("hello"))))
    async with aclosing(stream):
        await anext(stream)
    assert house.simple.closed == 1


async def test_decision_is_logged_with_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="famulus.models.routed")
    await House(["Hi!"]).answer(user("hello"))
    assert caplog.messages == ["routed class=simple model=small reasons=greeting → simple 10"]
