import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import ollama
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import (
    ConfigError,
    ContextOverflow,
    ModelError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    RateLimited,
)
from famulus.core.messages import (
    Image,
    Message,
    Note,
    Origin,
    Reasoning,
    ToolCall,
    ToolResult,
    Usage,
)
from famulus.core.protocols import Model, ModelCard, ReasoningDelta, Request, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.ollama import Loaded, Ollama
from famulus.testing.check_model import CheckModel, answer_of, ask, read
from famulus.testing.conversations import BLOB, MEDIA, TOOL, conversations, owner, said
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_vendor import Answer, Call, FakeVendor, Fault, Wrong

CARD = ModelCard(name="llama", id="llama3.2", provider="ollama", inputs=("text", "image"))
PLAIN = ModelEntry()
PICTURE = "iVBORw0KGgo="
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as vendor:
        yield vendor


@pytest.fixture
def model(vendor: FakeOllama, session: aiohttp.ClientSession) -> Ollama:
    return build(vendor, session)


def build(
    vendor: FakeOllama,
    session: aiohttp.ClientSession,
    entry: ModelEntry = PLAIN,
    card: ModelCard = CARD,
    **provider: object,
) -> Ollama:
    fields = {
        "type": "ollama",
        "api_key": Secret(vendor.key),
        "base_url": vendor.url,
        "timeout": Seconds(5),
    }
    return Ollama(card, Provider(**(fields | provider)), entry, session)


@asynccontextmanager
async def sdk(vendor: FakeOllama) -> AsyncIterator[ollama.AsyncClient]:
    """The vendor's own client."""
    client = ollama.AsyncClient(vendor.url, headers={"authorization": f"Bearer {vendor.key}"})
    try:
        yield client
    finally:
        await client.close()


class TestOllamaKeepsTheContract(CheckModel):
    async def test_usage_is_reported(self, model: Model, vendor: FakeVendor) -> None:
        """All but what was cached, which Ollama does not tell."""
        vendor.say(Answer(text=("Hi",), input_tokens=100, output_tokens=5))
        assert answer_of(await read(model, ask("Hello"))).usage == Usage(100, 5)


CONVERSATION = Request(
    system="Be brief.",
    tools=(TOOL,),
    media=MEDIA,
    messages=(
        Message("user", (owner("What is in these?"), Image(BLOB, "image/png", Origin.OWNER))),
        Message(
            "assistant",
            (
                Reasoning("Hm.", "ollama"),
                said("Let me look."),
                ToolCall("call_1", "read_file", '{"path": "a.txt"}'),
                ToolCall("call_2", "read_file", '{"path": "b.txt"}'),
            ),
        ),
        Message("tool", (ToolResult("call_1", "read_file", (owner("A"),)),)),
        Message("tool", (ToolResult("call_2", "read_file", (owner("No such file."),), ok=False),)),
        Message("assistant", (Reasoning("Done.", "ollama"), said("It is A."))),
        Message("user", (Note("It is nine."), owner("And now?"))),
    ),
)


async def test_the_body_means_what_the_vendors_client_sends(
    vendor: FakeOllama, model: Ollama
) -> None:
    await read(model, CONVERSATION)
    calls = [
        {"function": {"name": "read_file", "arguments": {"path": path}}}
        for path in ("a.txt", "b.txt")
    ]
    asked: dict[str, Any] = {
        "model": "llama3.2",
        "stream": True,
        "keep_alive": "10m",
        "options": {"num_ctx": 8192},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": TOOL.name,
                    "description": TOOL.description,
                    "parameters": TOOL.schema,
                },
            }
        ],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is in these?", "images": [PICTURE]},
            {
                "role": "assistant",
                "thinking": "Hm.",
                "content": "Let me look.",
                "tool_calls": calls,
            },
            {"role": "tool", "tool_name": "read_file", "content": "A"},
            {
                "role": "tool",
                "tool_name": "read_file",
                "content": "The call failed.\nNo such file.",
            },
            {"role": "assistant", "content": "It is A."},
            {"role": "user", "content": "And now?\nIt is nine."},
        ],
    }
    async with sdk(vendor) as client:
        async for _ in await client.chat(**asked):
            pass
    ours, theirs = vendor.journal
    # Newer than the vendor's own client, and documented in the server's api/types.go.
    assert (ours.body.pop("truncate"), ours.body.pop("shift")) == (False, False)
    assert ours.body == theirs.body
    assert ours.headers["authorization"] == theirs.headers["authorization"]


async def test_the_answer_is_what_the_vendors_client_reads(
    vendor: FakeOllama, model: Ollama
) -> None:
    answer = Answer(
        text=("Let me ", "look."),
        reasoning=("H", "m."),
        calls=(Call("read_file", '{"path": "a"}', "a"), Call("read_file", '{"path": "b"}', "b")),
        input_tokens=50,
    )
    vendor.say(answer, answer)
    done = answer_of(await read(model, ask("Hello")))
    async with sdk(vendor) as client:
        theirs = await client.chat(model="m", messages=[{"role": "user", "content": "Hello"}])
    message = theirs.message
    assert done.parts[:2] == (Reasoning(message.thinking, "ollama"), said(message.content))
    assert [(call.name, json.loads(call.arguments)) for call in done.parts[2:]] == [
        (call.function.name, call.function.arguments) for call in message.tool_calls
    ]
    assert done.usage == Usage(theirs.prompt_eval_count, theirs.eval_count)
    assert done.reason == "tool_calls"


@pytest.mark.parametrize(
    ("fault", "ours"),
    [
        (Fault(status=401), ModelUnauthorized),
        (Fault(status=400, message='"llama3.2" does not support thinking'), ModelRejected),
        (Fault(status=429), RateLimited),
        (Fault(status=500, message="model runner has unexpectedly stopped"), ModelUnavailable),
        (Fault(error="x", message="an error was encountered", after_events=1), ModelUnavailable),
    ],
)
async def test_failures_are_of_the_kind_they_mean(
    vendor: FakeOllama, model: Ollama, fault: Fault, ours: type[ModelError]
) -> None:
    vendor.fail(fault, fault)
    plain: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    async with sdk(vendor) as client:
        with pytest.raises(ollama.ResponseError):
            async for _ in await client.chat(**plain, stream=True):
                pass
    vendor.say(Answer(text=("a", "b", "c")))
    with pytest.raises(ours, match="ollama"):
        await read(model, ask("Hello"))


async def test_a_missing_model_is_told_how_to_get(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    model = build(vendor, session, card=msgspec.structs.replace(CARD, id="qwen3:8b"))
    with pytest.raises(ModelRejected, match="ollama pull qwen3:8b"):
        await read(model, ask("Hello"))


async def test_a_wrong_address_is_not_taken_for_a_missing_model(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ModelRejected, match="base_url") as caught:
        await read(build(vendor, session, base_url=f"{vendor.url}/else"), ask("Hello"))
    assert "pull" not in str(caught.value)


async def test_a_server_that_does_not_run_is_told_how_to_start(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    model = build(vendor, session)
    await vendor.__aexit__()
    with pytest.raises(ModelUnavailable, match="start it: ollama serve"):
        await read(model, ask("Hello"))


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_be_written_either_way(
    vendor: FakeOllama, session: aiohttp.ClientSession, ending: str
) -> None:
    await read(build(vendor, session, base_url=vendor.url + ending), ask("Hello"))
    assert (vendor.journal[0].path, vendor.asked) == ("/api/chat", ["llama3.2"])


# ---------------------------------------------------------------- the window


def windows(vendor: FakeOllama) -> list[int]:
    return [received.body["options"]["num_ctx"] for received in vendor.journal]


async def test_the_window_is_as_large_as_the_request_needs_and_never_shrinks(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOllama(capabilities=("completion",)) as vendor:
        model = build(vendor, session)
        for letters in (10, 6000, 9000, 60_000, 10):
            await read(model, ask("a" * letters))
        assert windows(vendor) == [4096, 4096, 8192, 32_768, 32_768]


async def test_chinese_needs_more_room_for_the_same_letters(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOllama(capabilities=("completion",)) as vendor:
        await read(build(vendor, session), ask("字" * 3000))
        assert windows(vendor) == [8192]


async def test_room_is_kept_for_the_answer(session: aiohttp.ClientSession) -> None:
    async with FakeOllama() as vendor:
        await read(build(vendor, session), ask("Hello"))
        await read(build(vendor, session, ModelEntry(max_tokens=20_000)), ask("Hello"))
        assert windows(vendor) == [8192, 32_768]
    async with FakeOllama() as vendor:
        unthinking = ModelEntry(parameters={"think": False})
        await read(build(vendor, session, unthinking), ask("Hello"))
        assert windows(vendor) == [4096]


@pytest.mark.parametrize(("model_tokens", "card_tokens"), [(6000, 128_000), (131_072, 6000)])
async def test_the_window_is_at_most_what_model_and_configuration_allow(
    session: aiohttp.ClientSession, model_tokens: int, card_tokens: int
) -> None:
    async with FakeOllama(context_tokens=model_tokens) as vendor:
        card = msgspec.structs.replace(CARD, context_tokens=card_tokens)
        await read(build(vendor, session, card=card), ask("a" * 15_000))
        assert windows(vendor) == [6000]
        with pytest.raises(ContextOverflow, match="/compact"):
            await read(build(vendor, session, card=card), ask("a" * 30_000))


async def test_two_names_for_a_model_share_its_window(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    await read(build(vendor, session), ask("a" * 30_000))
    other = msgspec.structs.replace(CARD, name="again")
    await read(build(vendor, session, ModelEntry(temperature=0.0), other), ask("Hello"))
    assert windows(vendor) == [16_384, 16_384]
    assert vendor.asked == ["llama3.2"]


async def test_two_applications_share_nothing(vendor: FakeOllama) -> None:
    for _ in range(2):
        async with aiohttp.ClientSession() as session:
            await read(build(vendor, session), ask("Hello"))
    assert vendor.asked == ["llama3.2", "llama3.2"]


async def test_a_prompt_with_more_tokens_than_estimated_gets_a_larger_window(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOllama(letters_of_a_token=0.5) as vendor:
        model = build(vendor, session)
        await read(model, ask("a" * 6000))
        await read(model, ask("Hello"))
        assert windows(vendor) == [8192, 16_384, 16_384]


async def test_an_overflow_in_the_middle_of_an_answer_is_not_tried_again(
    vendor: FakeOllama, model: Ollama
) -> None:
    vendor.fail(Fault(error="x", message="context limit hit", after_events=2))
    vendor.say(Answer(text=("one", "two", "three")))
    with pytest.raises(ContextOverflow):
        await read(model, ask("Hello"))
    assert len(vendor.journal) == 1


async def test_a_window_that_is_written_is_kept(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(parameters={"options": {"num_ctx": 2048}})
    model = build(vendor, session, entry)
    await read(model, ask("Hello"))
    with pytest.raises(ContextOverflow):
        await read(model, ask("a" * 20_000))
    assert windows(vendor) == [2048, 2048]


async def test_a_picture_does_not_count_by_its_letters(session: aiohttp.ClientSession) -> None:
    async with FakeOllama(capabilities=("vision",), letters_of_a_token=1e9) as vendor:
        image = Message("user", (Image("b", "image/png", Origin.OWNER),))
        media = {"b": b"\x89PNG" * 25_000}
        await read(build(vendor, session), Request(system="", messages=(image,), media=media))
        assert windows(vendor) == [4096]


# ---------------------------------------------------------------- what a model can


async def test_what_a_model_can_is_asked_once(vendor: FakeOllama, model: Ollama) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(read(model, ask("Hello")))
    assert vendor.asked == ["llama3.2"]


async def test_a_model_is_sent_only_what_it_can_take(session: aiohttp.ClientSession) -> None:
    async with FakeOllama(capabilities=("completion",)) as vendor:
        await read(build(vendor, session), CONVERSATION)
        body = vendor.journal[0].body
        assert "tools" not in body
        assert body["messages"][1] == {
            "role": "user",
            "content": "What is in these?\n[Image that cannot be shown here: image/png]",
        }


async def test_a_server_that_does_not_tell_is_sent_everything(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOllama(capabilities=None) as vendor:
        await read(build(vendor, session), CONVERSATION)
        body = vendor.journal[0].body
        assert body["tools"]
        assert body["messages"][1]["images"] == [PICTURE]


async def test_an_image_of_a_tool_is_shown_after_the_results(
    vendor: FakeOllama, model: Ollama
) -> None:
    parts = (owner("Here."), Image(BLOB, "image/png", Origin.TOOL))
    messages = (
        *ask("Take a picture").messages,
        Message("assistant", (ToolCall("a", "camera", "{}"), ToolCall("b", "camera", "{}"))),
        Message("tool", (ToolResult("a", "camera", parts), ToolResult("b", "camera", ()))),
    )
    await read(model, Request(system="", messages=messages, media=MEDIA))
    *_, first, second, shown = vendor.journal[0].body["messages"]
    assert (first["content"], second["role"]) == ("Here.", "tool")
    assert shown == {"role": "user", "content": "[Image from camera]", "images": [PICTURE]}


# ---------------------------------------------------------------- parameters and answers


async def test_parameters_are_sent_only_when_they_are_written(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(
        max_tokens=100,
        temperature=0.0,
        parameters={"think": True, "keep_alive": "-1s", "options": {"seed": 5}},
    )
    await read(build(vendor, session, keep_alive="30m"), ask("Hello"))
    await read(build(vendor, session, entry), ask("Hello"))
    bare, full = (received.body for received in vendor.journal)
    always = {"model", "keep_alive", "stream", "truncate", "shift", "options", "messages"}
    assert set(bare) == always
    assert bare["keep_alive"] == "30m"
    assert set(full) == {*always, "think"}
    assert (full["think"], full["keep_alive"]) == (True, "-1s")
    assert {**full["options"], "num_ctx": 0} == {
        "num_ctx": 0,
        "num_predict": 100,
        "temperature": 0.0,
        "seed": 5,
    }


async def test_options_that_are_no_table_are_refused(
    vendor: FakeOllama, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ConfigError, match=r"models\.llama\.parameters\.options"):
        build(vendor, session, ModelEntry(parameters={"options": 5}))


async def test_an_answer_that_was_cut_says_so(vendor: FakeOllama, model: Ollama) -> None:
    vendor.say(Answer(text=("So",), stop="length"))
    assert answer_of(await read(model, ask("Hello"))).reason == "length"


async def test_text_and_thoughts_are_streamed(vendor: FakeOllama, model: Ollama) -> None:
    vendor.say(Answer(reasoning=("Hm.",), text=("Y", "es")))
    *deltas, done = await read(model, ask("Hello"))
    assert deltas == [ReasoningDelta("Hm."), TextDelta("Y"), TextDelta("es")]
    assert done.parts == (Reasoning("Hm.", "ollama"), said("Yes"))


async def test_calls_without_ids_get_the_same_ones_every_time(
    session: aiohttp.ClientSession,
) -> None:
    async with FakeOllama(ids=False) as vendor:
        answer = Answer(calls=(Call("time"), Call("time")))
        vendor.say(answer, answer, answer)
        model = build(vendor, session)
        first, second = [answer_of(await read(model, ask("Hello"))) for _ in range(2)]
        later = answer_of(await read(model, CONVERSATION))
        ids = [call.id for call in first.parts]
        assert ids == [call.id for call in second.parts]
        assert len({*ids, *(call.id for call in later.parts)}) == 4


@pytest.mark.parametrize("arguments", ["null", None])
async def test_a_call_without_arguments_has_none(
    vendor: FakeOllama, model: Ollama, arguments: str | None
) -> None:
    function: dict[str, Any] = {"name": "time"}
    if arguments is not None:
        function["arguments"] = None
    message = {"tool_calls": [{"function": function}]}
    raw = json.dumps({"message": message, "done": True}).encode() + b"\n"
    vendor.fail(Fault(status=200, body=raw, content_type="application/x-ndjson"))
    done = answer_of(await read(model, ask("Hello")))
    assert [call.arguments for call in done.parts] == ["{}"]


@settings(max_examples=150, deadline=None)
@given(request=conversations(), tools=st.booleans(), able=st.booleans())
def test_every_conversation_becomes_a_request_the_vendor_accepts(
    request: Request, tools: bool, able: bool
) -> None:
    capabilities = ("tools", "vision") if able else ()
    vendor = FakeOllama(capabilities=capabilities)
    known = Loaded()
    known.capabilities = capabilities
    request = msgspec.structs.replace(request, tools=(TOOL,) if tools else ())
    model = Ollama(CARD, Provider(), PLAIN, None)  # type: ignore[arg-type]
    body = json.loads(model.body(request, known))
    try:
        vendor.check({}, body)
    except Wrong as wrong:
        raise AssertionError(f"{wrong}: {body}") from None
