from collections.abc import Sequence

import pytest

from famulus.core.messages import Image, Message, Origin, Part, Text, ToolCall, ToolResult
from famulus.core.protocols import Chunk, Done, ModelCard, Request, TextDelta, ToolSpec
from famulus.models.matched import Matched
from famulus.testing.scripted import Scripted

PICTURE = Image("b" * 64, "image/png", Origin.OUTSIDE, "cat.png")
BLIND = ModelCard(name="blind", id="blind-1", provider="x")
SEEING = ModelCard(
    name="eyes", id="eyes-1", provider="x", inputs=("text", "image"), tools=("read_*",)
)


def user(*parts: Part) -> Message:
    return Message("user", parts)


def text(said: str, origin: Origin = Origin.OWNER) -> Text:
    return Text(said, origin)


ANSWER = Message("assistant", (text("A cat.", Origin.ASSISTANT),))
CALL = Message("assistant", (ToolCall("1", "look", "{}"),))


async def asked(model: Matched, *messages: Message, tools: Sequence[str] = ()) -> list[Chunk]:
    specs = tuple(ToolSpec(name, "", {}) for name in tools)
    request = Request(system="", messages=messages, tools=specs)
    return [chunk async for chunk in model.stream(request)]


@pytest.mark.anyio
async def test_picture_goes_to_the_model_that_can_see() -> None:
    blind, eyes = Scripted([], card=BLIND), Scripted(["A cat."], card=SEEING)
    chunks = await asked(Matched(blind, eyes), user(text("What is this?"), PICTURE))
    assert isinstance(chunks[-1], Done)
    assert chunks[-1].model == "eyes-1"


@pytest.mark.anyio
async def test_all_rounds_of_a_turn_with_a_picture_stay_with_the_model_that_can_see() -> None:
    blind, eyes = Scripted([], card=BLIND), Scripted(["Done."], card=SEEING)
    result = Message("tool", (ToolResult("1", "look", (text("ok", Origin.TOOL),)),))
    await asked(Matched(blind, eyes), user(PICTURE), CALL, result)
    assert len(eyes.requests) == 1


@pytest.mark.anyio
async def test_the_next_turn_goes_back_to_the_chosen_model() -> None:
    blind, eyes = Scripted(["Hello."], card=BLIND), Scripted([], card=SEEING)
    await asked(Matched(blind, eyes), user(PICTURE), ANSWER, user(text("Thanks")))
    assert len(blind.requests) == 1


@pytest.mark.anyio
async def test_user_is_told_before_any_call_that_nobody_can_see() -> None:
    blind = Scripted([], card=BLIND)
    *deltas, done = await asked(Matched(blind), user(text("What is this?"), PICTURE))
    assert isinstance(done, Done)
    assert deltas == [TextDelta(part.text) for part in done.parts if isinstance(part, Text)]
    said = Message("assistant", done.parts).text
    assert said.startswith("blind cannot see pictures, so I have not asked it. Set agent.vision")
    assert not blind.requests


@pytest.mark.anyio
async def test_an_older_picture_is_no_reason_to_refuse() -> None:
    blind = Scripted(["Hello."], card=BLIND)
    await asked(Matched(blind), user(PICTURE), ANSWER, user(text("Thanks")))
    assert blind.requests[0].messages[0].parts == (PICTURE,)


@pytest.mark.anyio
@pytest.mark.parametrize("can_switch", [True, False])
async def test_picture_of_a_tool_is_shown_where_it_can_be_and_never_refused(
    *, can_switch: bool
) -> None:
    blind, eyes = Scripted(["Text."], card=BLIND), Scripted(["A cat."], card=SEEING)
    result = Message("tool", (ToolResult("1", "look", (PICTURE,)),))
    matched = Matched(blind, eyes if can_switch else None)
    await asked(matched, user(text("Look")), CALL, result)
    assert (len(blind.requests), len(eyes.requests)) == ((0, 1) if can_switch else (1, 0))


@pytest.mark.anyio
async def test_a_model_that_sees_is_asked_itself() -> None:
    first, other = Scripted(["A cat."], card=SEEING), Scripted([], card=SEEING)
    await asked(Matched(first, other), user(PICTURE))
    assert len(first.requests) == 1


@pytest.mark.anyio
async def test_the_model_that_takes_over_gets_only_the_tools_it_is_trusted_with() -> None:
    blind, eyes = Scripted([], card=BLIND), Scripted(["A cat."], card=SEEING)
    await asked(Matched(blind, eyes), user(PICTURE), tools=("read_file", "shell"))
    assert [tool.name for tool in eyes.requests[0].tools] == ["read_file"]
