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
from famulus.core.protocols import Done, ModelCard, ReasoningDelta, Request, TextDelta, ToolSpec
from famulus.core.settings import Seconds, Secret
from famulus.models.openai_responses import OpenAIResponses
from famulus.testing.check_model import CheckModel, answer_of, ask, read
from famulus.testing.conversations import BLOB, MEDIA, TOOL, conversations, owner, said
from famulus.testing.fake_responses import FakeResponses
from famulus.testing.fake_vendor import Answer, Call, Fault, Wrong

CARD = ModelCard(name="gpt", id="gpt-5", provider="openai", inputs=("text", "image"))
CLOSED = ToolSpec("list_files", "List.", {**TOOL.schema, "additionalProperties": False})
PLAIN = ModelEntry()
PICTURE = {
    "type": "input_image",
    "image_url": "data:image/png;base64,iVBORw0KGgo=",
    "detail": "auto",
}
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeResponses]:
    async with FakeResponses() as vendor:
        yield vendor


@pytest.fixture
def model(vendor: FakeResponses, session: aiohttp.ClientSession) -> OpenAIResponses:
    return build(vendor, session)


def build(
    vendor: FakeResponses,
    session: aiohttp.ClientSession,
    entry: ModelEntry = PLAIN,
    card: ModelCard = CARD,
    **provider: object,
) -> OpenAIResponses:
    fields = {
        "type": "openai_responses",
        "api_key": Secret(vendor.key),
        "base_url": vendor.url,
        "timeout": Seconds(5),
    }
    return OpenAIResponses(card, Provider(**(fields | provider)), entry, session)


def sdk(vendor: FakeResponses) -> openai.AsyncOpenAI:
    """The vendor's own client."""
    return openai.AsyncOpenAI(api_key=vendor.key, base_url=vendor.url, max_retries=0)


class TestOpenAIResponsesKeepsTheContract(CheckModel):
    pass


CONVERSATION = Request(
    system="Be brief.",
    tools=(TOOL, CLOSED),
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
        Message(
            "tool",
            (
                ToolResult(
                    "call_1", "read_file", (owner("A"), Image(BLOB, "image/png", Origin.TOOL))
                ),
            ),
        ),
        Message("tool", (ToolResult("call_2", "read_file", (owner("No such file."),), ok=False),)),
        Message("user", (Note("It is nine."), owner("And now?"))),
    ),
)


async def test_the_body_means_what_the_vendors_sdk_sends(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    await read(model, CONVERSATION)
    async with (
        sdk(vendor) as client,
        client.responses.stream(
            model="gpt-5",
            store=False,
            include=["reasoning.encrypted_content"],
            instructions="Be brief.",
            tools=[
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema,
                    "strict": strict,
                }
                for tool, strict in ((TOOL, False), (CLOSED, True))
            ],
            input=[
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "What is in these?"}, PICTURE],
                },
                {"role": "assistant", "content": "Let me look."},
                {
                    "type": "function_call",
                    "call_id": "call_1",
                    "name": "read_file",
                    "arguments": '{"path": "a.txt"}',
                },
                {
                    "type": "function_call",
                    "call_id": "call_2",
                    "name": "read_file",
                    "arguments": '{"path": "b.txt"}',
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": [{"type": "input_text", "text": "A"}, PICTURE],
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_2",
                    "output": "The call failed.\nNo such file.",
                },
                {"role": "user", "content": "And now?\nIt is nine."},
            ],
        ) as stream,
    ):
        await stream.get_final_response()
    ours, theirs = vendor.journal
    assert ours.body == theirs.body
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]


async def test_the_answer_is_what_the_vendors_sdk_reads(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    answer = Answer(
        text=("Let me ", "look."),
        reasoning=("Hm.", "Well."),
        calls=(Call("read_file", '{"path": "a"}', "a"), Call("read_file", '{"path": "b"}', "b")),
        input_tokens=50,
        cached_tokens=20,
    )
    vendor.say(answer, answer, answer)
    done = answer_of(await read(model, ask("Hello")))
    plain: dict[str, Any] = {
        "model": "gpt-5",
        "input": "Hello",
        "include": ["reasoning.encrypted_content"],
    }
    async with sdk(vendor) as client:
        async with client.responses.stream(**plain) as stream:
            streamed = await stream.get_final_response()
        whole = await client.responses.create(**plain)
    for theirs in (streamed, whole):
        thought, text, *calls = theirs.output
        assert json.loads(done.parts[0].opaque) == thought.model_dump(exclude_unset=True)
        assert done.parts[0].text == "\n\n".join(part.text for part in thought.summary)
        assert done.parts[1] == said(text.content[0].text)
        assert [(call.id, call.name, call.arguments) for call in done.parts[2:]] == [
            (call.call_id, call.name, call.arguments) for call in calls
        ]
        usage = theirs.usage
        assert done.usage == Usage(
            usage.input_tokens,
            usage.output_tokens,
            usage.input_tokens_details.cached_tokens,
            usage.output_tokens_details.reasoning_tokens,
            cache_write_tokens=usage.input_tokens_details.cache_write_tokens,
        )
    assert done.reason == "tool_calls"


@pytest.mark.parametrize(
    ("fault", "theirs", "ours"),
    [
        (Fault(status=401), openai.AuthenticationError, ModelUnauthorized),
        (Fault(status=403), openai.PermissionDeniedError, ModelUnauthorized),
        (Fault(status=404), openai.NotFoundError, ModelRejected),
        (Fault(status=400, kind="context_length_exceeded"), openai.APIError, ContextOverflow),
        (Fault(status=429), openai.RateLimitError, RateLimited),
        (Fault(status=429, kind="insufficient_quota"), openai.RateLimitError, ModelUnauthorized),
        (Fault(status=409), openai.ConflictError, ModelUnavailable),
        (Fault(status=503), openai.InternalServerError, ModelUnavailable),
    ],
)
async def test_failures_are_of_the_kind_the_vendors_sdk_sees(
    vendor: FakeResponses,
    model: OpenAIResponses,
    fault: Fault,
    theirs: type[Exception],
    ours: type[ModelError],
) -> None:
    vendor.fail(fault, fault)
    async with sdk(vendor) as client:
        with pytest.raises(theirs):
            await client.responses.create(model="gpt-5", input="Hello")
    with pytest.raises(ours, match="openai"):
        await read(model, ask("Hello"))


ERRORS = [
    ("rate_limit_exceeded", RateLimited),
    ("insufficient_quota", ModelUnauthorized),
    ("context_length_exceeded", ContextOverflow),
    ("server_error", ModelUnavailable),
    ("something_new", ModelUnavailable),
    ("invalid_prompt", ModelRejected),
    ("image_too_large", ModelRejected),
    ("bio_policy", ModelRejected),
]


@pytest.mark.parametrize(("kind", "expected"), ERRORS)
async def test_an_error_event_in_the_stream_is_of_the_right_kind(
    vendor: FakeResponses, model: OpenAIResponses, kind: str, expected: type[ModelError]
) -> None:
    vendor.fail(Fault(error=kind, after_events=2))
    with pytest.raises(expected, match="It did not work"):
        await read(model, ask("Hello"))


@pytest.mark.parametrize(("kind", "expected"), ERRORS)
async def test_a_failed_response_is_of_the_right_kind(
    session: aiohttp.ClientSession, kind: str, expected: type[ModelError]
) -> None:
    failed = {"status": "failed", "error": {"code": kind, "message": "It did not work."}}
    with pytest.raises(expected, match="It did not work"):
        await answered(session, {"type": "response.failed", "response": failed})


async def test_an_error_event_of_the_other_form_is_understood(
    session: aiohttp.ClientSession,
) -> None:
    error = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No money."}
    with pytest.raises(ModelUnauthorized, match="No money"):
        await answered(session, {"type": "error", "error": error})


async def test_a_refused_parameter_is_named(
    vendor: FakeResponses, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ModelRejected, match=r"minimum.*max_output_tokens.*models\.gpt"):
        await read(build(vendor, session, ModelEntry(max_tokens=5)), ask("Hello"))


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "refusal"), ("refusal", "refusal")],
)
async def test_the_reason_to_stop_is_translated(
    vendor: FakeResponses, model: OpenAIResponses, stop: str, reason: str
) -> None:
    vendor.say(Answer(text=("I ", "cannot."), stop=stop))
    done = answer_of(await read(model, ask("Hello")))
    assert (done.reason, done.parts) == (reason, (said("I cannot."),))


# ---------------------------------------------------------------- thoughts


def after(*parts: Any) -> Request:
    return Request(system="", messages=(*ask("Hello").messages, Message("assistant", parts)))


async def test_a_thought_goes_back_as_it_came_before_what_it_led_to(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    vendor.say(Answer(reasoning=("Hm.",), calls=(Call("read_file", '{"path": "a"}', "a"),)))
    thought, call = answer_of(await read(model, ask("Hello"))).parts
    await read(model, after(thought, call))
    _, first, second, result = vendor.journal[-1].body["input"]
    assert first == json.loads(thought.opaque)
    assert first["encrypted_content"]
    assert (second["call_id"], result["type"]) == ("a", "function_call_output")


async def test_a_thought_that_led_to_nothing_is_left_out(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    vendor.say(Answer(reasoning=("Hm.",), stop="max_output_tokens"))
    done = answer_of(await read(model, ask("Hello")))
    assert done.reason == "length"
    await read(model, after(*done.parts))
    assert len(vendor.journal[-1].body["input"]) == 1


async def test_a_thought_stays_with_the_account_that_can_read_it(
    vendor: FakeResponses, model: OpenAIResponses, session: aiohttp.ClientSession
) -> None:
    vendor.say(Answer(reasoning=("Hm.",), text=("Yes.",)))
    parts = answer_of(await read(model, ask("Hello"))).parts
    other = build(vendor, session, card=msgspec.structs.replace(CARD, provider="other"))
    anthropic = Reasoning("Hm.", "anthropic", '{"type": "thinking"}')
    await read(other, after(anthropic, *parts))
    assert vendor.journal[-1].body["input"][1:] == [{"role": "assistant", "content": "Yes."}]


async def test_a_thought_that_came_in_the_clear_is_not_sent_back(
    vendor: FakeResponses, session: aiohttp.ClientSession
) -> None:
    model = build(vendor, session, ModelEntry(parameters={"include": []}))
    vendor.say(Answer(reasoning=("Hm.",), text=("Yes.",)))
    parts = answer_of(await read(model, ask("Hello"))).parts
    assert parts[0] == Reasoning("Hm.", "openai_responses/openai")
    await read(model, after(*parts))
    assert vendor.journal[-1].body["input"][1:] == [{"role": "assistant", "content": "Yes."}]


@pytest.mark.parametrize("id_", ["gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest"])
async def test_a_model_that_does_not_think_is_not_asked_for_thoughts(
    vendor: FakeResponses, session: aiohttp.ClientSession, id_: str
) -> None:
    card = msgspec.structs.replace(CARD, id=id_)
    assert answer_of(await read(build(vendor, session, card=card), ask("Hello"))).model == id_


async def test_a_model_that_refuses_to_give_its_thoughts_is_asked_without(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    message = "Encrypted content is not supported with this model."
    vendor.fail(Fault(status=400, message=message, param="include"))
    assert answer_of(await read(model, ask("Hello"))).parts == (said("Hello."),)
    first, second = vendor.journal
    assert first.body.pop("include")
    assert first.body == second.body


async def test_thoughts_that_the_vendor_can_read_no_more_are_left_out(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    vendor.say(Answer(reasoning=("Hm.",), text=("Yes.",)))
    parts = answer_of(await read(model, ask("Hello"))).parts
    message = "The encrypted content for item rs_1 could not be verified."
    vendor.fail(Fault(status=400, kind="invalid_encrypted_content", message=message))
    await read(model, after(*parts))
    _, refused, taken = vendor.journal
    assert [item.get("type") for item in refused.body["input"]] == [None, "reasoning", None]
    assert [item.get("type") for item in taken.body["input"]] == [None, None]


async def test_a_second_refusal_is_final(vendor: FakeResponses, model: OpenAIResponses) -> None:
    vendor.fail(*[Fault(status=400, message="Bad encrypted content.")] * 2)
    with pytest.raises(ModelRejected):
        await read(model, ask("Hello"))
    assert len(vendor.journal) == 2


async def test_text_and_thoughts_are_streamed(
    vendor: FakeResponses, model: OpenAIResponses
) -> None:
    vendor.say(Answer(reasoning=("Hm.", "Well."), text=("Y", "es")))
    *deltas, done = await read(model, ask("Hello"))
    thoughts = [ReasoningDelta("Hm."), ReasoningDelta("\n\n"), ReasoningDelta("Well.")]
    assert deltas == [*thoughts, TextDelta("Y"), TextDelta("es")]
    assert done.parts[0].text == "Hm.\n\nWell."


# ---------------------------------------------------------------- what is sent


async def test_parameters_are_sent_only_when_they_are_written(
    vendor: FakeResponses, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(
        max_tokens=100,
        temperature=0.0,
        reasoning={"effort": "low", "summary": "auto"},
        parameters={"verbosity": "low"},
    )
    await read(build(vendor, session), ask("Hello"))
    full = json.loads(build(vendor, session, entry).body(ask("Hello")))
    bare = vendor.journal[0].body
    assert set(bare) == {"model", "store", "include", "stream", "instructions", "input"}
    assert (full["max_output_tokens"], full["temperature"]) == (100, 0.0)
    assert full["reasoning"] == {"effort": "low", "summary": "auto"}
    assert full["verbosity"] == "low"


async def test_the_session_routes_to_the_vendors_cache(session: aiohttp.ClientSession) -> None:
    request = msgspec.structs.replace(ask("Hello"), session="abc")
    own = OpenAIResponses(CARD, Provider(), PLAIN, session)
    other = OpenAIResponses(CARD, Provider(base_url="http://box/v1"), PLAIN, session)
    assert json.loads(own.body(request))["prompt_cache_key"] == "abc"
    assert "prompt_cache_key" not in json.loads(other.body(request))


async def test_the_beginning_of_the_body_stays_the_same_when_the_conversation_grows(
    model: OpenAIResponses,
) -> None:
    grown = msgspec.structs.replace(
        CONVERSATION,
        messages=(*CONVERSATION.messages, Message("assistant", (said("B"),)), *ask("C").messages),
    )
    assert model.body(grown).startswith(model.body(CONVERSATION).removesuffix(b"]}"))


# ---------------------------------------------------------------- servers that differ


async def answered(session: aiohttp.ClientSession, *events: object) -> Done:
    """What is made of a stream of just these events."""
    raw = b"".join(
        b"data: " + (event if isinstance(event, bytes) else msgspec.json.encode(event)) + b"\n\n"
        for event in events
    )
    async with FakeResponses() as vendor:
        vendor.fail(Fault(status=200, body=raw, content_type="text/event-stream"))
        return answer_of(await read(build(vendor, session), ask("Hello")))


async def test_a_whole_answer_without_its_pieces_is_an_answer(
    session: aiohttp.ClientSession,
) -> None:
    call = {"type": "function_call", "call_id": "x", "name": "time", "arguments": ""}
    output = [{"type": "something_new"}, {"type": "message", "content": [{"text": "Hm."}]}, call]
    completed = {"type": "response.completed", "response": {"output": output}}
    done = await answered(session, {"type": "something.new"}, completed, b"[DONE]")
    assert done.parts == (said("Hm."), ToolCall("x", "time", "{}"))
    assert (done.reason, done.usage, done.model) == ("tool_calls", Usage(), "gpt-5")


@pytest.mark.parametrize("item", [b"[]", b'{"type": 5}', b'{"type": "message", "content": 7}'])
async def test_an_item_that_makes_no_sense_is_a_models_error(
    session: aiohttp.ClientSession, item: bytes
) -> None:
    event = {"type": "response.output_item.done", "item": msgspec.Raw(item)}
    with pytest.raises(ModelUnavailable, match="makes no sense"):
        await answered(session, event)


async def test_an_answer_without_its_last_event_is_none(session: aiohttp.ClientSession) -> None:
    with pytest.raises(ModelUnavailable, match="in the middle"):
        await answered(session, {"type": "response.output_text.delta", "delta": "Yes"}, b"[DONE]")


@settings(max_examples=150, deadline=None)
@given(request=conversations(), tools=st.booleans())
def test_every_conversation_becomes_a_request_the_vendor_accepts(
    request: Request, tools: bool
) -> None:
    vendor = FakeResponses()
    request = msgspec.structs.replace(request, tools=(TOOL, CLOSED) if tools else ())
    model = OpenAIResponses(CARD, Provider(), PLAIN, None)  # type: ignore[arg-type]
    body = json.loads(model.body(request))
    try:
        vendor.check({"authorization": f"Bearer {vendor.key}"}, body)
    except Wrong as wrong:
        raise AssertionError(f"{wrong}: {body}") from None
