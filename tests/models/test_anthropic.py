import json
from collections.abc import AsyncIterator

import aiohttp
import anthropic
import msgspec
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
    File,
    Image,
    Message,
    Note,
    Origin,
    Reasoning,
    ToolCall,
    ToolResult,
    Usage,
)
from famulus.core.protocols import ModelCard, ReasoningDelta, Request
from famulus.core.settings import Seconds, Secret
from famulus.models.anthropic import Anthropic
from famulus.testing.check_model import CheckModel, answer_of, ask, read
from famulus.testing.conversations import BLOB, MEDIA, TOOL, conversations, owner, said
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_vendor import Answer, Call, Fault, Wrong

CARD = ModelCard(name="sonnet", id="claude-1", provider="anthropic", inputs=("text", "image"))
PLAIN = ModelEntry()
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as vendor:
        yield vendor


@pytest.fixture
def model(vendor: FakeAnthropic, session: aiohttp.ClientSession) -> Anthropic:
    return build(vendor, session)


def build(
    vendor: FakeAnthropic,
    session: aiohttp.ClientSession,
    entry: ModelEntry = PLAIN,
    card: ModelCard = CARD,
    **provider: object,
) -> Anthropic:
    fields = {
        "type": "anthropic",
        "api_key": Secret(vendor.key),
        "base_url": vendor.url,
        "timeout": Seconds(5),
    }
    return Anthropic(card, Provider(**(fields | provider)), entry, session)


def sdk(vendor: FakeAnthropic) -> anthropic.AsyncAnthropic:
    """The vendor's own client, in the version of the API that ours speaks."""
    return anthropic.AsyncAnthropic(
        api_key=vendor.key,
        base_url=vendor.url,
        max_retries=0,
        default_headers={"anthropic-version": "2023-06-01"},
    )


class TestAnthropicKeepsTheContract(CheckModel):
    pass


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
                ToolCall("toolu_1", "read_file", '{"path": "a.txt"}'),
                ToolCall("toolu_2", "read_file", '{"path": "b.txt"}'),
            ),
        ),
        Message("tool", (ToolResult("toolu_1", "read_file", (owner("A"),)),)),
        Message("tool", (ToolResult("toolu_2", "read_file", (owner("No such file."),), ok=False),)),
        Message("user", (Note("It is nine."), owner("And now?"))),
    ),
)


async def test_the_body_means_what_the_vendors_sdk_sends(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    await read(model, CONVERSATION)
    mark = {"type": "ephemeral"}
    image = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    client = sdk(vendor)
    async with (
        client,
        client.messages.stream(
            model="claude-1",
            max_tokens=8192,
            system=[{"type": "text", "text": "Be brief.", "cache_control": mark}],
            tools=[
                {
                    "name": TOOL.name,
                    "description": TOOL.description,
                    "input_schema": TOOL.schema,
                    "cache_control": mark,
                }
            ],
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is in these?"},
                        {"type": "image", "source": image},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me look."},
                        {
                            "type": "tool_use",
                            "id": "toolu_1",
                            "name": "read_file",
                            "input": {"path": "a.txt"},
                        },
                        {
                            "type": "tool_use",
                            "id": "toolu_2",
                            "name": "read_file",
                            "input": {"path": "b.txt"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": [{"type": "text", "text": "A"}],
                        },
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_2",
                            "content": [{"type": "text", "text": "No such file."}],
                            "is_error": True,
                        },
                        {"type": "text", "text": "And now?"},
                        {"type": "text", "text": "It is nine.", "cache_control": mark},
                    ],
                },
            ],
        ) as stream,
    ):
        await stream.get_final_message()
    ours, theirs = vendor.journal
    assert ours.body == theirs.body
    for name in ("anthropic-version", "content-type"):
        assert ours.headers[name] == theirs.headers[name]


async def test_the_answer_is_what_the_vendors_sdk_reads(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    answer = Answer(
        text=("Let me ", "look."),
        reasoning=("Hm", "m."),
        calls=(Call("read_file", '{"path": "a"}', "a"), Call("read_file", '{"path": "b"}', "b")),
        input_tokens=50,
        cached_tokens=20,
    )
    vendor.say(answer, answer, answer)
    done = answer_of(await read(model, ask("Hello")))
    client = sdk(vendor)
    plain = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    async with client:
        async with client.messages.stream(**plain) as stream:
            streamed = await stream.get_final_message()
        whole = await client.messages.create(**plain)
    for theirs in (streamed, whole):
        thinking, text, *calls = theirs.content
        assert [json.loads(done.parts[0].opaque), done.parts[1].text] == [
            thinking.model_dump(exclude_none=True),
            text.text,
        ]
        assert [(call.id, call.name, json.loads(call.arguments)) for call in done.parts[2:]] == [
            (call.id, call.name, call.input) for call in calls
        ]
        usage = theirs.usage
        assert done.usage.input_tokens == usage.input_tokens + usage.cache_read_input_tokens
        assert done.usage.output_tokens == usage.output_tokens


@pytest.mark.parametrize(
    ("fault", "theirs", "ours"),
    [
        (Fault(status=401), anthropic.AuthenticationError, ModelUnauthorized),
        (Fault(status=403), anthropic.PermissionDeniedError, ModelUnauthorized),
        (Fault(status=404), anthropic.NotFoundError, ModelRejected),
        (Fault(status=400), anthropic.BadRequestError, ModelRejected),
        (Fault(status=413), anthropic.RequestTooLargeError, ContextOverflow),
        (Fault(status=429), anthropic.RateLimitError, RateLimited),
        (Fault(status=408), anthropic.APIStatusError, ModelUnavailable),
        (Fault(status=409), anthropic.ConflictError, ModelUnavailable),
        (Fault(status=500), anthropic.InternalServerError, ModelUnavailable),
        (Fault(status=529), anthropic.InternalServerError, ModelUnavailable),
    ],
)
async def test_failures_are_of_the_kind_the_vendors_sdk_sees(
    vendor: FakeAnthropic,
    model: Anthropic,
    fault: Fault,
    theirs: type[Exception],
    ours: type[ModelError],
) -> None:
    vendor.fail(fault, fault)
    client = sdk(vendor)
    async with client:
        with pytest.raises(theirs):
            await client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "Hello"}]
            )
    with pytest.raises(ours, match="anthropic"):
        await read(model, ask("Hello"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ModelUnavailable),
        ("api_error", ModelUnavailable),
        ("something_new", ModelUnavailable),
        ("rate_limit_error", RateLimited),
        ("authentication_error", ModelUnauthorized),
        ("invalid_request_error", ModelRejected),
        ("request_too_large", ContextOverflow),
    ],
)
async def test_an_error_event_in_the_stream_is_of_the_right_kind(
    vendor: FakeAnthropic, model: Anthropic, kind: str, expected: type[ModelError]
) -> None:
    vendor.fail(Fault(error=kind, after_events=4))
    with pytest.raises(expected) as caught:
        await read(model, ask("Hello"))
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("prompt is too long: 207791 tokens > 200000 maximum", ContextOverflow),
        (
            "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000",
            ContextOverflow,
        ),
        ("Your credit balance is too low to access the API.", ModelUnauthorized),
        ("max_tokens: 100000 > 8192, which is the maximum allowed", ModelRejected),
    ],
)
async def test_a_bad_request_is_told_apart_by_what_the_vendor_says(
    vendor: FakeAnthropic, model: Anthropic, message: str, expected: type[ModelError]
) -> None:
    vendor.fail(Fault(status=400, message=message))
    with pytest.raises(expected) as caught:
        await read(model, ask("Hello"))
    assert message.rstrip(".") in str(caught.value)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("max_tokens", "length"), ("refusal", "refusal"), ("stop_sequence", "stop")],
)
async def test_the_reason_to_stop_is_translated(
    vendor: FakeAnthropic, model: Anthropic, stop: str, reason: str
) -> None:
    vendor.say(Answer(text=("So",), stop=stop))
    assert answer_of(await read(model, ask("Hello"))).reason == reason


async def test_a_thought_goes_back_to_the_vendor_with_its_signature(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    vendor.say(Answer(reasoning=("Hm.",), text=("Yes.",)))
    chunks = await read(model, ask("Hello"))
    assert ReasoningDelta("Hm.") in chunks
    answer = Message("assistant", answer_of(chunks).parts)
    await read(model, Request(system="", messages=(*ask("Hello").messages, answer)))
    thought, text = vendor.journal[-1].body["messages"][1]["content"]
    assert (thought["thinking"], text["text"]) == ("Hm.", "Yes.")
    assert thought["signature"]


async def test_what_the_vendor_adds_is_passed_over_and_the_rest_is_counted(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    call = {"type": "tool_use", "id": "a", "name": "time", "input": {"zone": "UTC"}}
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300}
    details = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    events = [
        {"type": "message_start", "message": {"model": "claude-1b", "usage": usage}},
        {"type": "something_new", "delta": {"type": "new", "colour": "blue"}},
        {"type": "content_block_start", "index": 0, "content_block": hidden},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "new_block"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "thinking"}},
        {"type": "content_block_delta", "index": 2, "delta": {"thinking": "Hm."}},
        {"type": "content_block_start", "index": 3, "content_block": call},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": details},
        {"type": "message_stop"},
    ]
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    vendor.fail(Fault(body=raw, content_type="text/event-stream"))
    done = answer_of(await read(model, ask("Hello")))
    assert done.usage == Usage(321, 9, cached_tokens=300, cache_write_tokens=20, reasoning_tokens=4)
    assert (done.model, done.reason) == ("claude-1b", "tool_calls")
    redacted, unsigned, called = done.parts
    assert json.loads(redacted.opaque) == hidden
    assert unsigned == Reasoning("Hm.", "anthropic", "")  # cut off, so it cannot go back
    assert (called.name, json.loads(called.arguments)) == ("time", {"zone": "UTC"})


async def test_a_thought_of_another_vendor_stays_at_home(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    answer = Message("assistant", (Reasoning("Hm.", "openai", '{"a": 1}'), said("Yes.")))
    await read(model, Request(system="", messages=(*ask("Hello").messages, answer)))
    assert vendor.journal[-1].body["messages"][1]["content"] == [{"type": "text", "text": "Yes."}]


async def test_parameters_are_sent_only_when_they_are_written(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    entry = ModelEntry(
        max_tokens=100, temperature=0.0, parameters={"top_k": 5, "metadata": {"user_id": "u"}}
    )
    await read(build(vendor, session), Request(system="", messages=ask("Hello").messages))
    await read(build(vendor, session, entry, headers={"x-team": Secret("blue")}), ask("Hello"))
    bare, full = vendor.journal
    assert set(bare.body) == {"model", "max_tokens", "stream", "messages"}
    assert full.body["max_tokens"] == 100
    assert full.body["temperature"] == 0.0
    assert (full.body["top_k"], full.body["metadata"]) == (5, {"user_id": "u"})
    assert full.headers["x-team"] == "blue"


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_be_written_either_way(
    vendor: FakeAnthropic, session: aiohttp.ClientSession, ending: str
) -> None:
    await read(build(vendor, session, base_url=vendor.url + ending), ask("Hello"))
    assert vendor.journal[0].path == "/v1/messages"


async def test_the_beginning_of_the_body_stays_the_same_when_the_conversation_grows(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    def unmarked(body: bytes) -> bytes:
        return body.replace(b',"cache_control":{"type":"ephemeral"}', b"")

    before = unmarked(model.body(CONVERSATION))
    grown = msgspec.structs.replace(
        CONVERSATION,
        messages=(*CONVERSATION.messages, Message("assistant", (said("B"),)), *ask("C").messages),
    )
    assert before.endswith(b"]}]}")
    assert unmarked(model.body(grown)).startswith(before.removesuffix(b"]}"))


async def test_what_cannot_be_shown_is_named(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    parts = (
        Image("gone", "image/png", Origin.OWNER, "cat.png"),
        Image(BLOB, "image/tiff", Origin.OWNER, "scan.tiff"),
        File("f", "application/pdf", Origin.OWNER, "bill.pdf", "files/bill.pdf"),
    )
    request = Request(system="", messages=(Message("user", parts),), media=MEDIA)
    await read(build(vendor, session), request)
    texts = [block["text"] for block in vendor.journal[0].body["messages"][0]["content"]]
    assert ["cat.png" in texts[0], "scan.tiff" in texts[1]] == [True, True]
    assert "files/bill.pdf" in texts[2]


async def test_a_model_that_cannot_see_is_sent_no_image(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    blind = msgspec.structs.replace(CARD, inputs=("text",))
    await read(build(vendor, session, card=blind), CONVERSATION)
    assert b'"image"' not in vendor.journal[0].raw


async def test_arguments_that_are_no_object_do_not_spoil_the_conversation(
    vendor: FakeAnthropic, model: Anthropic
) -> None:
    calls = [ToolCall(f"c{n}", "t", text) for n, text in enumerate(["", "{oops", "[1]", "\ud800"])]
    results = [ToolResult(call.id, "t", (owner("Not JSON."),), ok=False) for call in calls]
    messages = (*ask("Hello").messages, Message("assistant", tuple(calls)))
    await read(model, Request(system="", messages=(*messages, Message("tool", tuple(results)))))
    content = vendor.journal[0].body["messages"][1]["content"]
    shown = [{"not_valid_json": text} for text in ("{oops", "[1]", "?")]
    assert [block["input"] for block in content] == [{}, *shown]


async def test_half_a_character_is_replaced(vendor: FakeAnthropic, model: Anthropic) -> None:
    await read(model, ask("a\ud83d b"))
    assert vendor.journal[0].body["messages"][0]["content"][0]["text"] == "a? b"


async def test_the_connection_is_used_again(vendor: FakeAnthropic, model: Anthropic) -> None:
    for _ in range(3):
        await read(model, ask("Hello"))
    assert len({received.peer for received in vendor.journal}) == 1


@settings(max_examples=150, deadline=None)
@given(request=conversations(), tools=st.booleans())
def test_every_conversation_becomes_a_request_the_vendor_accepts(
    request: Request, tools: bool
) -> None:
    vendor = FakeAnthropic()
    request = msgspec.structs.replace(request, tools=(TOOL,) if tools else ())
    model = Anthropic(CARD, Provider(type="anthropic"), PLAIN, None)  # type: ignore[arg-type]
    headers = {"x-api-key": vendor.key, "anthropic-version": "2023-06-01"}
    body = json.loads(model.body(request))
    try:
        vendor.check(headers, body)
    except Wrong as wrong:
        raise AssertionError(f"{wrong}: {body}") from None
