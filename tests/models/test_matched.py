from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Agent, Config, ModelEntry, Provider, Router
from famulus.core.messages import (
    Image,
    Message,
    Origin,
    Part,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)
from famulus.core.protocols import Chunk, Done, ModelCard, Request, TextDelta, ToolSpec
from famulus.core.settings import Secret
from famulus.models.matched import Matched
from famulus.models.named import Models
from famulus.testing.check_model import read
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
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


# ---------------------------------------------------------------- what only the server knows


@pytest.fixture
async def blind() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(capabilities=("completion",)) as server:
        yield server


@pytest.fixture
async def eyes() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as vendor:
        yield vendor


def built(
    server: FakeOllama,
    eyes: FakeOpenAI,
    session: aiohttp.ClientSession,
    *,
    simple: str = "",
    **agent: Any,
) -> Models:
    config = Config(
        providers={
            "o": Provider(type="ollama", base_url=server.url),
            "v": Provider(type="openai", base_url=eyes.url, api_key=Secret(eyes.key)),
        },
        models={"written": ModelEntry(provider="o", id="llama3.2", inputs=("text", "image"))},
        agent=Agent(**{"model": "o/llama3.2", **agent}),
        router=Router(simple=simple),
    )
    return Models(config, session=lambda: session, clock=Clock(), environment={})


def picture(said: str = "Look.") -> Request:
    return Request(system="", messages=(user(text(said), PICTURE),), media={PICTURE.blob: b"png"})


@pytest.mark.anyio
@pytest.mark.parametrize("agent", [{}, {"model": "written"}, {"fallbacks": ("v/m",)}])
async def test_user_is_told_when_only_the_server_knows_that_a_model_cannot_see(
    blind: FakeOllama, eyes: FakeOpenAI, session: aiohttp.ClientSession, agent: dict[str, Any]
) -> None:
    *_, done = await read(built(blind, eyes, session, **agent).main(), picture())
    assert isinstance(done, Done)
    assert "cannot see pictures, so I have not asked it" in text_of(done.parts)
    assert not blind.journal
    assert not eyes.journal


@pytest.mark.anyio
async def test_model_for_pictures_takes_over_when_the_server_says_no(
    blind: FakeOllama, eyes: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    *_, done = await read(built(blind, eyes, session, vision="v/m").main(), picture())
    assert isinstance(done, Done)
    assert text_of(done.parts) == "Hello."
    assert b"image_url" in eyes.journal[0].raw
    assert not blind.journal


@pytest.mark.anyio
async def test_picture_of_an_earlier_turn_is_no_reason_to_refuse_either(
    blind: FakeOllama, eyes: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    past = (*picture().messages, ANSWER, user(text("And now?")))
    request = msgspec.structs.replace(picture(), messages=past)
    await read(built(blind, eyes, session).main(), request)
    assert len(blind.journal) == 1


@pytest.mark.anyio
async def test_model_that_its_server_lets_see_is_asked(
    eyes: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    async with FakeOllama(capabilities=("completion", "vision")) as server:
        await read(built(server, eyes, session).main(), picture())
    assert server.journal[0].body["messages"][0]["images"]


@pytest.mark.anyio
async def test_simple_message_goes_on_to_the_complex_model_where_the_simple_one_cannot_see(
    blind: FakeOllama, eyes: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    models = built(blind, eyes, session, model="v/m", simple="o/llama3.2")
    *_, done = await read(models.main(), picture("Hello!"))
    assert isinstance(done, Done)
    assert done.route.startswith("escalated: ")
    assert b"image_url" in eyes.journal[0].raw
