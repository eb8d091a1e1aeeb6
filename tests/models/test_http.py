import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import (
    ConfigError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    RateLimited,
)
from famulus.core.messages import Image, Message, Origin, Text, ToolCall, ToolResult
from famulus.core.protocols import Chunk, ModelCard, Request, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.anthropic import Anthropic
from famulus.models.conversation import paired
from famulus.models.failures import retry_after
from famulus.models.http import Events, Lines, encoded
from famulus.models.ollama import Ollama
from famulus.models.openai_chat import OpenAIChat
from famulus.models.openai_responses import OpenAIResponses
from famulus.testing.check_model import ask, read
from famulus.testing.conversations import conversations
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_ollama import FakeOllama
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_responses import FakeResponses
from famulus.testing.fake_vendor import Answer, Call, FakeVendor, Fault

CARD = ModelCard(name="sonnet", id="claude-1", provider="work", inputs=("text", "image"))
pytestmark = pytest.mark.anyio


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as vendor:
        yield vendor


def build(vendor: FakeAnthropic, session: aiohttp.ClientSession, **provider: object) -> Anthropic:
    fields = {
        "type": "anthropic",
        "api_key": Secret(vendor.key),
        "base_url": vendor.url,
        "timeout": Seconds(5),
    }
    return Anthropic(CARD, Provider(**(fields | provider)), ModelEntry(), session)


# ---------------------------------------------------------------- server-sent events

STREAM = (
    b": hello\n\nevent: a\ndata: one\nid: 7\n\n\ndata:two\ndata:  lines\r\n\r\n"
    b"data: cut\r\ndata: anywhere\r\n\r\ndata\ndata: after nothing\r\rretry: 10\n\n"
    b"database: no\n\ndata: \xf0\x9f\xa6\x8a\n\ndata: cut"
)
PAYLOADS = [b"one", b"two\n lines", b"cut\nanywhere", b"\nafter nothing", "\U0001f98a".encode()]


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    events = Events()
    blocks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [data for block in blocks for data in events.feed(block)] == PAYLOADS


def test_events_are_the_same_byte_by_byte() -> None:
    events = Events()
    assert [data for byte in STREAM for data in events.feed(bytes([byte]))] == PAYLOADS


@pytest.mark.parametrize("piece", [b"x", b"data: x\n", b"data: x\ndata: y"])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    events = Events(largest=1000)

    def feed() -> None:
        for _ in range(2000):
            events.feed(piece)

    with pytest.raises(msgspec.DecodeError):
        feed()


def test_many_small_events_are_not_one_large_one() -> None:
    events = Events(largest=100)
    assert sum(len(events.feed(b"data: 0123456789\n\n")) for _ in range(100)) == 100


LINES = b'\n{"a": 1}\r\n\n{"b": "\xf0\x9f\xa6\x8a"}\n  \n{"c": 3}\n{"cut'
OBJECTS = [{"a": 1}, {"b": "\U0001f98a"}, {"c": 3}]


@given(st.lists(st.integers(0, len(LINES)), max_size=20))
def test_lines_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    lines = Lines()
    blocks = [LINES[start:end] for start, end in pairwise([0, *sorted(cuts), len(LINES)])]
    found = [msgspec.json.decode(line) for block in blocks for line in lines.feed(block)]
    assert found == OBJECTS


def test_an_endless_line_is_refused_and_many_short_ones_are_not() -> None:
    lines = Lines(largest=100)
    assert sum(len(lines.feed(b"0123456789\n01234")) for _ in range(100)) == 100
    for _ in range(8):
        lines.feed(b"0123456789")
    with pytest.raises(msgspec.DecodeError):
        lines.feed(b"0123456789" * 2)


# ---------------------------------------------------------------- what goes wrong


async def test_a_slow_first_byte_is_waited_for(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(latency_seconds=0.05, first_byte_seconds=0.05))
    await read(build(vendor, session), ask("Hello"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(latency_seconds=60),
        Fault(first_byte_seconds=60),
        Fault(hang=True, after_events=4),
    ],
)
async def test_silence_ends_in_a_time_out(
    vendor: FakeAnthropic, session: aiohttp.ClientSession, fault: Fault
) -> None:
    vendor.fail(fault)
    with pytest.raises(ModelUnavailable, match=r"work was silent for 0\.2 seconds"):
        await read(build(vendor, session, timeout=Seconds(0.2)), ask("Hello"))
    async with asyncio.timeout(5):
        await vendor.journal[0].closed_early.wait()


async def test_a_server_that_is_not_there_is_named(session: aiohttp.ClientSession) -> None:
    async with FakeAnthropic() as vendor:
        pass
    with pytest.raises(ModelUnavailable, match=r"work cannot be reached at 127\.0\.0\.1:\d+"):
        await read(build(vendor, session), ask("Hello"))


async def test_a_server_that_does_not_pick_up_is_given_up(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    # A queue of length zero that one connection fills: the next one gets no answer at all.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for taken in (first, second):
            taken.setblocking(False)
            taken.connect_ex(full.getsockname())
        model = build(
            vendor,
            session,
            base_url=f"http://127.0.0.1:{full.getsockname()[1]}",
            connect_timeout=Seconds(0.2),
        )
        with pytest.raises(
            ModelUnavailable, match=r"cannot be reached at 127\.0\.0\.1:\d+ in time"
        ):
            await read(model, ask("Hello"))


async def test_a_server_without_encryption_is_not_taken_for_one_with_it(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    model = build(vendor, session, base_url=vendor.url.replace("http:", "https:"))
    with pytest.raises(ModelUnavailable, match=r"cannot be reached at 127\.0\.0\.1"):
        await read(model, ask("Hello"))


async def test_a_web_page_instead_of_an_answer_points_to_the_base_url(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(body=b"<html>Hello</html>", content_type="text/html"))
    with pytest.raises(ModelUnavailable, match=r"text/html.*base_url") as caught:
        await read(build(vendor, session), ask("Hello"))
    assert "<html>" not in str(caught.value)


async def test_a_huge_error_is_cut(vendor: FakeAnthropic, session: aiohttp.ClientSession) -> None:
    vendor.fail(Fault(status=400, body=b"x" * 10_000_000, content_type="text/plain"))
    with pytest.raises(ModelRejected) as caught:
        await read(build(vendor, session), ask("Hello"))
    assert len(str(caught.value)) < 1000


async def test_an_endless_error_is_not_read_to_its_end(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ModelRejected):
            await read(build(vendor, session, base_url=f"http://127.0.0.1:{port}"), ask("Hello"))


async def test_the_key_is_not_sent_to_where_a_redirect_points(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    async with FakeAnthropic() as stranger:
        location = {"location": f"{stranger.url}/v1/messages"}
        vendor.fail(Fault(status=307, headers=location))
        with pytest.raises(ModelRejected, match="base_url"):
            await read(build(vendor, session), ask("Hello"))
        assert stranger.journal == []


async def test_no_secret_of_the_configuration_gets_into_an_error(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(status=401, message=f"wrong: {vendor.key}, team-secret"))
    model = build(vendor, session, headers={"x-team": Secret("team-secret")})
    with pytest.raises(ModelUnauthorized, match=r"wrong: \*\*\*, \*\*\*.*providers\.work\.api_key"):
        await read(model, ask("Hello"))


async def test_a_time_to_come_back_is_passed_on(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(status=429, headers={"retry-after": "7"}))
    with pytest.raises(RateLimited, match="in 7 seconds") as caught:
        await read(build(vendor, session), ask("Hello"))
    assert caught.value.retry_after_seconds == 7


async def test_the_time_of_an_overloaded_server_is_told(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(status=529, headers={"retry-after": "7"}))
    with pytest.raises(ModelUnavailable) as caught:
        await read(build(vendor, session), ask("Hello"))
    assert caught.value.retry_after_seconds == 7


def test_retry_after_is_read_in_all_its_forms() -> None:
    now = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": later, "date": format_datetime(now, usegmt=True)}) == 90
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for nonsense in ("", "soon", "-5", "nan", "inf"):
        assert retry_after({"retry-after": nonsense}) == 0


@pytest.mark.parametrize(
    "provider",
    [
        {"base_url": "api.example.com"},
        {"base_url": "ftp://example.com"},
        {"base_url": "http://[::1"},
        {"base_url": "https://me:pass@example.com"},
        {"api_key": Secret("sk\nx")},
        {"headers": {"x-team": Secret("a\r\nb")}},
    ],
)
async def test_a_provider_that_cannot_work_is_refused_when_it_is_built(
    vendor: FakeAnthropic, session: aiohttp.ClientSession, provider: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=r"providers\.work"):
        build(vendor, session, **provider)


# ---------------------------------------------------------------- an answer all at once


def at_once(fake: type[FakeVendor]) -> FakeVendor:
    class Whole(fake):  # type: ignore[misc, valid-type]
        """Takes a request for a stream, and answers as if it was none."""

        def decoded(self, raw: bytes, headers: Mapping[str, str]) -> Any:
            return super().decoded(raw, headers) | {"stream": False}

        def check(self, headers: Mapping[str, str], body: Any) -> None:
            super().check(headers, {**body, "stream": True})

    return Whole()


WIRES: list[tuple[str, type[FakeVendor], Any]] = [
    ("anthropic", FakeAnthropic, Anthropic),
    ("openai", FakeOpenAI, OpenAIChat),
    ("openai_responses", FakeResponses, OpenAIResponses),
    ("ollama", FakeOllama, Ollama),
]


@pytest.mark.parametrize(("type_", "fake", "wire"), WIRES)
async def test_answer_that_is_not_streamed_is_read(
    type_: str, fake: type[FakeVendor], wire: Any, session: aiohttp.ClientSession
) -> None:
    told = []
    for vendor in (fake(), at_once(fake)):
        async with vendor:
            provider = Provider(type=type_, base_url=vendor.url, api_key=Secret(vendor.key))
            model = wire(card(type_), provider, ModelEntry(), session)
            call = Call("time", '{"zone": "UTC"}', id="call_9")
            vendor.say(Answer(text=("It ", "is "), calls=(call,)), Answer(text=("Noon.",)))
            both = [await read(model, ask(each)) for each in ("The time?", "Say it.")]
            told.append([("".join(texts(chunks)), chunks[-1]) for chunks in both])
    assert told[0] == told[1]


def card(type_: str) -> ModelCard:
    id_ = "llama3.2" if type_ == "ollama" else CARD.id
    return ModelCard(name="m", id=id_, provider="work")


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks if isinstance(chunk, TextDelta)]


@pytest.mark.parametrize("body", [b"{}", b'{"status": "ok"}', b"[]", b'{"detail": "No."}'])
@pytest.mark.parametrize(("type_", "fake", "wire"), WIRES)
async def test_other_json_is_no_answer(
    type_: str, fake: type[FakeVendor], wire: Any, body: bytes, session: aiohttp.ClientSession
) -> None:
    async with fake() as vendor:
        vendor.fail(Fault(body=body))
        provider = Provider(type=type_, base_url=vendor.url, api_key=Secret(vendor.key))
        with pytest.raises(ModelUnavailable, match=r"base_url|makes no sense"):
            await read(wire(card(type_), provider, ModelEntry(), session), ask("Hello"))


# ---------------------------------------------------------------- what is sent


async def test_a_large_request_is_sent_whole(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    image = Message("user", (Image("big", "image/png", Origin.OWNER),))
    request = Request(system="", messages=(image,), media={"big": b"x" * 3_000_000})
    await read(build(vendor, session), request)
    assert vendor.journal[0].status == 200
    assert len(vendor.journal[0].raw) > 4_000_000


async def test_the_connection_is_used_again_though_its_end_comes_late(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(*[Fault(end_seconds=0.02)] * 3)
    for _ in range(3):
        await read(build(vendor, session), ask("Hello"))
    assert len({received.peer for received in vendor.journal}) == 1


async def test_an_end_that_does_not_come_does_not_hold_up_the_answer(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    vendor.fail(Fault(end_seconds=60))
    await read(build(vendor, session), ask("Hello"))
    async with asyncio.timeout(5):
        await vendor.journal[0].closed_early.wait()


async def test_the_answer_is_asked_for_without_compression(
    vendor: FakeAnthropic, session: aiohttp.ClientSession
) -> None:
    await read(build(vendor, session), ask("Hello"))
    assert vendor.journal[0].headers["accept-encoding"] == "identity"


async def test_proxies_of_the_environment_are_not_used(
    vendor: FakeAnthropic, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    await read(build(vendor, session), ask("Hello"))


TEXTS = st.text(st.characters())  # with halves of surrogate pairs


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_any_text_can_be_encoded(value: object) -> None:
    msgspec.json.decode(encoded(value))


@given(conversations())
def test_a_paired_conversation_stays_as_it_is(request: Request) -> None:
    once = list(paired(request.messages))
    assert list(paired(once)) == once


def test_the_first_of_two_results_of_a_call_counts() -> None:
    call = Message("assistant", (ToolCall("a", "time", "{}"),))
    results = tuple(ToolResult("a", "time", (Text(text, Origin.TOOL),)) for text in ("1", "2"))
    _, answered = paired([call, Message("tool", results)])
    assert answered.parts == results[:1]
