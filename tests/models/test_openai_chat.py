import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import (
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
from famulus.core.protocols import Done, ModelCard, ReasoningDelta, Request, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.openai_chat import OpenAIChat
from famulus.testing.check_model import CheckModel, answer_of, ask, read
from famulus.testing.conversations import BLOB, MEDIA, TOOL, conversations, owner, said
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Call, Fault, Wrong

CARD = ModelCard(name="gpt", id="gpt-1", provider="openai", inputs=("text", "image"))
PLAIN = ModelEntry()
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as vendor:
        yield vendor


@pytest.fixture
async def openrouter() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(openrouter=True) as vendor:
        yield vendor


@pytest.fixture
def model(vendor: FakeOpenAI, session: aiohttp.ClientSession) -> OpenAIChat:
    return build(vendor, session)


def build(
    vendor: FakeOpenAI,
    session: aiohttp.ClientSession,
    entry: ModelEntry = PLAIN,
    card: ModelCard = CARD,
    **provider: object,
) -> OpenAIChat:
    fields = {
        "type": "openai",
        "api_key": Secret(vendor.key),
        "base_url": vendor.url,
        "timeout": Seconds(5),
    }
    return OpenAIChat(card, Provider(**(fields | provider)), entry, session)


def sdk(vendor: FakeOpenAI) -> openai.AsyncOpenAI:
    """The vendor's own client."""
    return openai.AsyncOpenAI(api_key=vendor.key, base_url=vendor.url, max_retries=0)


class TestOpenAIChatKeepsTheContract(CheckModel):
    pass


class TestOpenRouterKeepsTheContract(CheckModel):
    @pytest.fixture
    def vendor(self, openrouter: FakeOpenAI) -> FakeOpenAI:
        return openrouter

    @pytest.fixture
    def model(self, vendor: FakeOpenAI, session: aiohttp.ClientSession) -> OpenAIChat:
        return build(vendor, session, type="openrouter")


CONVERSATION = Request(
    system="Be brief.",
    tools=(TOOL,),
    media=MEDIA,
    messages=(
        Message("user", (owner("What is in these?"), Image(BLOB, "image/png", Origin.OWNER))),
        Message(
            "assistant",
            (
                said("Let me look."),
                ToolCall("call_1", "read_file", '{"path": "a.txt"}'),
                ToolCall("call_2", "read_file", '{"path": "b.txt"}'),
            ),
        ),
        Message("tool", (ToolResult("call_1", "read_file", (owner("A"),)),)),
        Message("tool", (ToolResult("call_2", "read_file", (owner("No such file."),), ok=False),)),
        Message("user", (Note("It is nine."), owner("And now?"))),
    ),
)


async def test_the_body_means_what_the_vendors_sdk_sends(
    vendor: FakeOpenAI, model: OpenAIChat
) -> None:
    await read(model, CONVERSATION)
    image = {"url": "data:image/png;base64,iVBORw0KGgo="}
    async with sdk(vendor) as client:
        stream = await client.chat.completions.create(
            model="gpt-1",
            stream=True,
            stream_options={"include_usage": True},
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": TOOL.name,
                        "description": TOOL.description,
                        "parameters": TOOL.schema,
                    },
                }
            ],
            messages=[
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is in these?"},
                        {"type": "image_url", "image_url": image},
                    ],
                },
                {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "read_file", "arguments": '{"path": "a.txt"}'},
                        },
                        {
                            "id": "call_2",
                            "type": "function",
                            "function": {"name": "read_file", "arguments": '{"path": "b.txt"}'},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "A"},
                {
                    "role": "tool",
                    "tool_call_id": "call_2",
                    "content": "The call failed.\nNo such file.",
                },
                {"role": "user", "content": "And now?\nIt is nine."},
            ],
        )
        async for _ in stream:
            pass
    ours, theirs = vendor.journal
    assert ours.body == theirs.body
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]


async def test_the_answer_is_what_the_vendors_sdk_reads(
    vendor: FakeOpenAI, model: OpenAIChat
) -> None:
    answer = Answer(
        text=("Let me ", "look."),
        calls=(Call("read_file", '{"path": "a"}', "a"), Call("read_file", '{"path": "b"}', "b")),
        input_tokens=50,
        cached_tokens=20,
    )
    vendor.say(answer, answer, answer)
    done = answer_of(await read(model, ask("Hello")))
    plain: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    options = {"include_usage": True}
    async with sdk(vendor) as client:
        async with client.chat.completions.stream(**plain, stream_options=options) as stream:
            streamed = await stream.get_final_completion()
        whole = await client.chat.completions.create(**plain)
    for theirs in (streamed, whole):
        message = theirs.choices[0].message
        assert done.parts[0] == said(message.content)
        assert [(call.id, call.name, call.arguments) for call in done.parts[1:]] == [
            (call.id, call.function.name, call.function.arguments) for call in message.tool_calls
        ]
        usage = theirs.usage
        assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.cached_tokens) == (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.prompt_tokens_details.cached_tokens,
        )
        assert (done.reason, theirs.choices[0].finish_reason) == ("tool_calls", "tool_calls")


@pytest.mark.parametrize(
    ("fault", "theirs", "ours"),
    [
        (Fault(status=401), openai.AuthenticationError, ModelUnauthorized),
        (Fault(status=403), openai.PermissionDeniedError, ModelUnauthorized),
        (Fault(status=404), openai.NotFoundError, ModelRejected),
        (Fault(status=422), openai.UnprocessableEntityError, ModelRejected),
        (Fault(status=400, kind="context_length_exceeded"), openai.APIError, ContextOverflow),
        (Fault(status=429), openai.RateLimitError, RateLimited),
        (Fault(status=429, kind="insufficient_quota"), openai.RateLimitError, ModelUnauthorized),
        (Fault(status=409), openai.ConflictError, ModelUnavailable),
        (Fault(status=503), openai.InternalServerError, ModelUnavailable),
    ],
)
async def test_failures_are_of_the_kind_the_vendors_sdk_sees(
    vendor: FakeOpenAI,
    model: OpenAIChat,
    fault: Fault,
    theirs: type[Exception],
    ours: type[ModelError],
) -> None:
    vendor.fail(fault, fault)
    async with sdk(vendor) as client:
        with pytest.raises(theirs):
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hello"}]
            )
    with pytest.raises(ours, match="openai"):
        await read(model, ask("Hello"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit_exceeded", RateLimited),
        ("insufficient_quota", ModelUnauthorized),
        ("context_length_exceeded", ContextOverflow),
        ("something_new", ModelUnavailable),
    ],
)
async def test_an_error_event_in_the_stream_is_of_the_right_kind(
    vendor: FakeOpenAI, model: OpenAIChat, kind: str, expected: type[ModelError]
) -> None:
    vendor.fail(Fault(error=kind, after_events=2))
    with pytest.raises(expected, match="It did not work"):
        await read(model, ask("Hello"))


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (
            403,
            "unsupported_country_region_territory",
            "Country, region, or territory not supported",
        ),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        (451, "", "Unavailable for legal reasons"),
    ],
)
async def test_a_vendor_that_is_not_there_for_a_country_does_not_blame_the_key(
    vendor: FakeOpenAI, model: OpenAIChat, status: int, kind: str, message: str
) -> None:
    vendor.fail(Fault(status=status, kind=kind, message=message))
    with pytest.raises(
        ModelRejected, match=r"does not offer .* where you are .*not at fault"
    ) as no:
        await read(model, ask("Hello"))
    assert "api_key" not in str(no.value)


async def test_a_refused_parameter_is_named(vendor: FakeOpenAI, model: OpenAIChat) -> None:
    vendor.fail(Fault(status=400, message="Unsupported value.", param="temperature"))
    with pytest.raises(ModelRejected, match=r"Unsupported value.*temperature.*models\.gpt"):
        await read(model, ask("Hello"))


async def test_what_the_vendor_behind_openrouter_said_is_shown(
    openrouter: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    error = {"code": 503, "message": "Provider error", "metadata": {"raw": "out of GPUs"}}
    openrouter.fail(Fault(status=200, body=json.dumps({"error": error}).encode()))
    with pytest.raises(ModelUnavailable, match="Provider error out of GPUs") as caught:
        await read(build(openrouter, session, type="openrouter"), ask("Hello"))
    assert caught.value.status == 503


async def test_openrouter_reports_the_cost(
    openrouter: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    done = answer_of(await read(build(openrouter, session, type="openrouter"), ask("Hello")))
    assert openrouter.journal[0].body["usage"] == {"include": True}
    assert done.usage.cost_usd == 0.00125


async def test_openrouter_is_told_how_to_route_and_think(
    openrouter: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(
        routing={"sort": "latency", "max_price": {"prompt": 1}},
        reasoning={"effort": "low", "exclude": True},
    )
    shared = {"type": "openrouter", "routing": {"sort": "price", "data_collection": "deny"}}
    await read(build(openrouter, session, **shared), ask("Hello"))
    await read(build(openrouter, session, entry, **shared), ask("Hello"))
    await read(build(openrouter, session, type="openrouter"), ask("Hello"))
    every, one, none = (received.body for received in openrouter.journal)
    assert every["provider"] == shared["routing"]
    assert one["provider"] == {
        "sort": "latency",
        "data_collection": "deny",
        "max_price": {"prompt": 1},
    }
    assert one["reasoning"] == {"effort": "low", "exclude": True}
    assert {"provider", "reasoning"}.isdisjoint(none)


@pytest.mark.parametrize(
    ("stop", "reason"), [("length", "length"), ("content_filter", "refusal"), ("eos", "stop")]
)
async def test_the_reason_to_stop_is_translated(
    vendor: FakeOpenAI, model: OpenAIChat, stop: str, reason: str
) -> None:
    vendor.say(Answer(text=("So",), stop=stop))
    assert answer_of(await read(model, ask("Hello"))).reason == reason


@pytest.mark.parametrize(
    ("base_url", "name"),
    [("https://api.openai.com/v1/", "max_completion_tokens"), ("http://box/v1", "max_tokens")],
)
async def test_the_limit_has_the_name_that_the_server_knows(
    session: aiohttp.ClientSession, base_url: str, name: str
) -> None:
    model = OpenAIChat(CARD, Provider(base_url=base_url), ModelEntry(max_tokens=100), session)
    assert json.loads(model.body(ask("Hello")))[name] == 100


async def test_parameters_are_sent_only_when_they_are_written(
    vendor: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(temperature=0.0, parameters={"seed": 5})
    await read(build(vendor, session), ask("Hello"))
    await read(build(vendor, session, entry, headers={"x-team": Secret("blue")}), ask("Hello"))
    bare, full = vendor.journal
    assert set(bare.body) == {"model", "stream", "stream_options", "messages"}
    assert (full.body["temperature"], full.body["seed"]) == (0.0, 5)
    assert full.headers["x-team"] == "blue"


async def test_the_session_routes_to_the_vendors_cache(session: aiohttp.ClientSession) -> None:
    model = OpenAIChat(CARD, Provider(), PLAIN, session)
    request = msgspec.structs.replace(ask("Hello"), session="abc")
    assert json.loads(model.body(request))["prompt_cache_key"] == "abc"


async def test_the_beginning_of_the_body_stays_the_same_when_the_conversation_grows(
    model: OpenAIChat,
) -> None:
    grown = msgspec.structs.replace(
        CONVERSATION,
        messages=(*CONVERSATION.messages, Message("assistant", (said("B"),)), *ask("C").messages),
    )
    assert model.body(grown).startswith(model.body(CONVERSATION).removesuffix(b"]}"))


async def test_an_image_of_a_tool_is_shown_after_the_results(
    vendor: FakeOpenAI, model: OpenAIChat
) -> None:
    parts = (owner("Here."), Image(BLOB, "image/png", Origin.TOOL))
    messages = (
        *ask("Take a picture").messages,
        Message("assistant", (ToolCall("a", "camera", "{}"), ToolCall("b", "camera", "{}"))),
        Message("tool", (ToolResult("a", "camera", parts), ToolResult("b", "camera", ()))),
    )
    await read(model, Request(system="", messages=messages, media=MEDIA))
    roles = [message["role"] for message in vendor.journal[0].body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user"]
    assert vendor.journal[0].body["messages"][-1]["content"][1]["type"] == "image_url"


# ---------------------------------------------------------------- servers that differ


async def answered(
    session: aiohttp.ClientSession, *events: object, provider_type: str = "openai"
) -> Done:
    """What is made of a stream of just these events."""
    raw = b"".join(
        b"data: " + (event.encode() if isinstance(event, str) else msgspec.json.encode(event))
        + b"\n\n"
        for event in events
    )  # fmt: skip
    async with FakeOpenAI(openrouter=provider_type == "openrouter") as vendor:
        vendor.fail(Fault(status=200, body=raw, content_type="text/event-stream"))
        model = build(vendor, session, type=provider_type)
        return answer_of(await read(model, ask("Hello")))


def delta(stop: str | None = None, **fields: object) -> dict[str, object]:
    return {"choices": [{"delta": fields, "finish_reason": stop}]}


def call(name: str, arguments: object, **fields: object) -> dict[str, object]:
    return {"function": {"name": name, "arguments": arguments}, **fields}


async def test_a_whole_call_without_index_and_with_the_wrong_reason_is_a_call(
    session: aiohttp.ClientSession,
) -> None:
    calls = [call("time", '{"a": 1}', id="x"), call("time", {"a": 2}, id="y")]
    done = await answered(session, delta("stop", content=None, tool_calls=calls), "[DONE]")
    assert done.reason == "tool_calls"
    assert [json.loads(part.arguments) for part in done.parts] == [{"a": 1}, {"a": 2}]
    assert done.usage == Usage()


async def test_calls_that_share_an_index_are_told_apart_by_their_ids(
    session: aiohttp.ClientSession,
) -> None:
    first = delta(tool_calls=[call("a", "{}", index=0, id="x")])
    second = delta("stop", tool_calls=[call("b", "{}", index=0, id="y")])
    done = await answered(session, first, second)
    assert [part.name for part in done.parts] == ["a", "b"]


async def test_calls_without_ids_get_their_own(session: aiohttp.ClientSession) -> None:
    calls = [call("a", ""), call("b", None)]
    done = await answered(session, delta("tool_calls", tool_calls=calls))
    assert [(part.name, part.arguments) for part in done.parts] == [("a", "{}"), ("b", "{}")]
    assert len({part.id for part in done.parts} - {""}) == 2


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thoughts_are_kept_apart_from_the_answer(
    vendor: FakeOpenAI, session: aiohttp.ClientSession, name: str
) -> None:
    done = await answered(session, delta(**{name: "Hm."}), delta("stop", content="Yes."))
    assert done.parts == (Reasoning("Hm.", "openai"), said("Yes."))


async def test_the_details_of_a_thought_go_back_to_openrouter_whole(
    openrouter: FakeOpenAI, session: aiohttp.ClientSession
) -> None:
    piece = {"type": "reasoning.text", "index": 0}
    done = await answered(
        session,
        delta(reasoning="Hm", reasoning_details=[{**piece, "text": "Hm"}]),
        delta(reasoning="m.", reasoning_details=[{**piece, "text": "m."}]),
        delta(reasoning_details=[{**piece, "signature": "abc"}]),
        delta("stop", content="Yes.", reasoning_details=[{"type": "reasoning.encrypted"}]),
        provider_type="openrouter",
    )
    request = Request(system="", messages=(*ask("Hi").messages, Message("assistant", done.parts)))
    await read(build(openrouter, session, type="openrouter"), request)
    assert openrouter.journal[0].body["messages"][1]["reasoning_details"] == [
        {**piece, "text": "Hmm.", "signature": "abc"},
        {"type": "reasoning.encrypted"},
    ]


async def test_a_refusal_is_shown_as_text(session: aiohttp.ClientSession) -> None:
    done = await answered(session, delta(refusal="I "), delta("stop", refusal="cannot."))
    assert (done.reason, done.parts) == ("refusal", (said("I cannot."),))


async def test_an_end_without_a_reason_counts_when_the_server_says_done(
    session: aiohttp.ClientSession,
) -> None:
    assert (await answered(session, delta(content="Yes."), "[DONE]")).reason == "stop"
    with pytest.raises(ModelUnavailable, match="in the middle"):
        await answered(session, delta(content="Yes."))


async def test_an_error_for_a_reason_is_no_answer(session: aiohttp.ClientSession) -> None:
    with pytest.raises(ModelUnavailable, match="with an error"):
        await answered(session, delta("error", content="Yes"), "[DONE]")


async def test_tokens_of_thoughts_are_counted(vendor: FakeOpenAI, model: OpenAIChat) -> None:
    vendor.say(Answer(reasoning=("H", "m", "."), text=("Yes",)))
    assert answer_of(await read(model, ask("Hello"))).usage.reasoning_tokens == 3


async def test_a_stop_on_every_event_does_not_end_the_answer(
    session: aiohttp.ClientSession,
) -> None:
    done = await answered(session, delta("stop", content="Yes"), delta("stop", content="."))
    assert done.parts == (said("Yes."),)


async def test_text_and_thoughts_are_streamed(vendor: FakeOpenAI, model: OpenAIChat) -> None:
    vendor.say(Answer(reasoning=("Hm.",), text=("Y", "es")))
    *deltas, _ = await read(model, ask("Hello"))
    assert deltas == [ReasoningDelta("Hm."), TextDelta("Y"), TextDelta("es")]


@settings(max_examples=150, deadline=None)
@given(request=conversations(), tools=st.booleans())
def test_every_conversation_becomes_a_request_the_vendor_accepts(
    request: Request, tools: bool
) -> None:
    vendor = FakeOpenAI()
    request = msgspec.structs.replace(request, tools=(TOOL,) if tools else ())
    model = OpenAIChat(CARD, Provider(), PLAIN, None)  # type: ignore[arg-type]
    body = json.loads(model.body(request))
    try:
        vendor.check({"authorization": f"Bearer {vendor.key}"}, body)
    except Wrong as wrong:
        raise AssertionError(f"{wrong}: {body}") from None


async def test_mistral_is_not_asked_for_the_usage_it_tells_anyway(
    session: aiohttp.ClientSession,
) -> None:
    provider = Provider(type="mistral", base_url="https://api.mistral.ai/v1")
    mistral = OpenAIChat(CARD, provider, PLAIN, session)
    assert "stream_options" not in msgspec.json.decode(mistral.body(ask("Hello")))
