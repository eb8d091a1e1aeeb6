"""What a vendor sends, without an end or without sense."""

import asyncio
import gzip
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from typing import Any

import aiohttp
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ModelUnavailable
from famulus.core.messages import Reasoning, Text, ToolCall, Usage, text_of
from famulus.core.protocols import (
    Chunk,
    Done,
    ModelCard,
    ReasoningDelta,
    Request,
    TextDelta,
)
from famulus.core.settings import Seconds
from famulus.models.sized import Sized
from famulus.models.wires import Later, Resolved
from famulus.testing.check_model import ask, read

pytestmark = pytest.mark.anyio

# Only against a hang: how long a piece takes is the machine's business.
SECONDS = 60
BOUND = 64 * 1024
PIECE = "abcdefgh" * 128
WIRES = ("anthropic", "openai", "openai_responses", "ollama")
KINDS = {"ollama": b"application/x-ndjson"}


class Server:
    """Answers every request for a model with `head` and then `body`, as long as somebody reads.

    `left` is set when the client has gone before the end.
    """

    def __init__(self, body: Callable[[], Iterator[bytes]], head: bytes) -> None:
        self.url = ""
        self.requests = 0
        self.left = asyncio.Event()
        self._body = body
        self._head = head

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                if b"/api/show" in head:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                break
            self.requests += 1
            writer.write(self._head)
            try:
                for piece in self._body():
                    writer.write(piece)
                    await writer.drain()
            except ConnectionError:
                self.left.set()
        writer.close()


def head(wire: str, *more: bytes, status: bytes = b"200 OK") -> bytes:
    kind = KINDS.get(wire, b"text/event-stream")
    lines = (b"HTTP/1.1 " + status, b"Content-Type: " + kind, *more, b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


@asynccontextmanager
async def serving(body: Callable[[], Iterator[bytes]], head: bytes) -> AsyncIterator[Server]:
    server = Server(body, head)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


def model(wire: str, url: str, session: aiohttp.ClientSession) -> Later:
    card = ModelCard(name="m", id="m-1", provider="work", answer_bytes=BOUND)
    provider = Provider(type=wire, base_url=f"{url}/v1", timeout=Seconds(SECONDS))
    return Later(Resolved(card, provider, ModelEntry()), lambda: session)


def event(wire: str, value: Any) -> bytes:
    data = json.dumps(value).encode()
    return data + b"\n" if wire == "ollama" else b"data: " + data + b"\n\n"


OPENING: dict[str, list[Any]] = {
    "anthropic": [
        {"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 9}}},
    ],
    "openai": [],
    "openai_responses": [{"type": "response.created", "response": {"model": "m-1"}}],
    "ollama": [],
}


def anthropic_start(kind: str) -> dict[str, Any]:
    block = {"type": kind, "id": "c", "name": "t"} if kind == "tool_use" else {"type": kind}
    return {"type": "content_block_start", "index": 0, "content_block": block}


def anthropic_delta(**delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def chat(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def chat_call(**function: str) -> dict[str, Any]:
    return chat(tool_calls=[{"index": 0, "id": "c", "function": {"name": "t", **function}}])


FUNCTION = {"name": "t", "arguments": {}}
TEXT = {
    "anthropic": [anthropic_start("text"), anthropic_delta(text=PIECE)],
    "openai": [chat(content=PIECE)],
    "openai_responses": [{"type": "response.output_text.delta", "delta": PIECE}],
    "ollama": [{"message": {"content": PIECE}}],
}
THOUGHTS = {
    "anthropic": [anthropic_start("thinking"), anthropic_delta(thinking=PIECE)],
    "openai": [chat(reasoning_content=PIECE)],
    "openai_responses": [{"type": "response.reasoning_text.delta", "delta": PIECE}],
    "ollama": [{"message": {"thinking": PIECE}}],
}
ARGUMENTS = {
    "anthropic": [anthropic_start("tool_use"), anthropic_delta(partial_json=PIECE)],
    "openai": [chat_call(arguments=PIECE)],
    "openai_responses": [{"type": "response.function_call_arguments.delta", "delta": PIECE}],
    "ollama": [
        {"message": {"tool_calls": [{"function": {"name": "t", "arguments": {"a": PIECE}}}]}}
    ],
}
SIGNATURES = {
    "anthropic": [anthropic_start("thinking"), anthropic_delta(signature=PIECE)],
    "openai": [chat(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": PIECE}])],
}
NOTHING = {
    "anthropic": [anthropic_start("text"), anthropic_delta(text="")],
    "openai": [chat_call(arguments="", name="")],
    "openai_responses": [{"type": "response.output_text.delta", "delta": ""}],
    "ollama": [{"message": {"content": ""}}],
}


def endless(wire: str, events: list[Any]) -> Iterator[bytes]:
    yield from (event(wire, each) for each in (*OPENING[wire], *events[:-1]))
    # Many at once: it is the client that is tried here.
    yield from repeat(event(wire, events[-1]) * (1 if PIECE in str(events) else 2000))


def size(done: Done) -> int:
    return sum(len(part.text) for part in done.parts if isinstance(part, Text | Reasoning)) + sum(
        len(part.arguments) for part in done.parts if isinstance(part, ToolCall)
    )


# ---------------------------------------------------------------- without an end


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("events", [TEXT, THOUGHTS], ids=["text", "thoughts"])
async def test_endless_answer_is_cut_off(
    wire: str, events: dict[str, list[Any]], session: aiohttp.ClientSession
) -> None:
    async with serving(lambda: endless(wire, events[wire]), head(wire)) as server:
        *deltas, done = await read(model(wire, server.url, session), ask("Hello"))
        async with asyncio.timeout(SECONDS):
            await server.left.wait()
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert BOUND / 2 < size(done) <= BOUND
    shown = "".join(each.text for each in deltas if isinstance(each, TextDelta | ReasoningDelta))
    kept = "".join(part.text for part in done.parts if isinstance(part, Text | Reasoning))
    assert shown.startswith(kept)
    assert server.requests == 1


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        *((wire, ARGUMENTS[wire]) for wire in WIRES),
        *((wire, SIGNATURES[wire]) for wire in SIGNATURES),
    ],
)
async def test_what_nobody_sees_of_an_endless_answer_counts_too(
    wire: str, events: list[Any], session: aiohttp.ClientSession
) -> None:
    async with serving(lambda: endless(wire, events), head(wire)) as server:
        *_, done = await read(model(wire, server.url, session), ask("Hello"))
        async with asyncio.timeout(SECONDS):
            await server.left.wait()
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert not any(isinstance(part, ToolCall) for part in done.parts)


@pytest.mark.parametrize("wire", WIRES)
async def test_others_have_their_turn_while_a_vendor_sends_thousands_of_pieces_at_once(
    wire: str, session: aiohttp.ClientSession
) -> None:
    tiny = json.loads(json.dumps(TEXT[wire]).replace(PIECE, "x"))

    def body() -> Iterator[bytes]:
        yield from (event(wire, each) for each in (*OPENING[wire], *tiny[:-1]))
        yield event(wire, tiny[-1]) * 5000

    turns = 0
    between: Counter[int] = Counter()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(body, head(wire)) as server:
        waiting = asyncio.ensure_future(others())
        with suppress(ModelUnavailable):  # nobody ends this answer
            async for _ in model(wire, server.url, session).stream(ask("Hello")):
                between[turns] += 1
        waiting.cancel()
    assert between.total() > 1000
    assert max(between.values()) <= 200


def calls(wire: str) -> Iterator[bytes]:
    yield from (event(wire, each) for each in OPENING[wire])
    for n in range(100_000):
        match wire:
            case "anthropic":
                yield event(wire, anthropic_start("tool_use") | {"index": n})
            case "openai":
                call = {"index": n, "id": f"c{n}", "function": {"name": "t"}}
                yield event(wire, chat(tool_calls=[call]))
            case "openai_responses":
                item = {"type": "function_call", "call_id": f"c{n}", "name": "t"}
                done = {"type": "response.output_item.done", "output_index": n, "item": item}
                yield event(wire, done)
            case "ollama":
                yield event(wire, {"message": {"tool_calls": [{"function": FUNCTION}]}})


@pytest.mark.parametrize("wire", WIRES)
async def test_calls_without_number_are_an_answer_that_is_too_large(
    wire: str, session: aiohttp.ClientSession
) -> None:
    async with serving(lambda: calls(wire), head(wire)) as server:
        *_, done = await read(model(wire, server.url, session), ask("Hello"))
    assert isinstance(done, Done)
    assert done.reason == "length"


@pytest.mark.parametrize("wire", WIRES)
async def test_endless_stream_that_says_nothing_is_given_up(
    wire: str, session: aiohttp.ClientSession
) -> None:
    async with serving(lambda: endless(wire, NOTHING[wire]), head(wire)) as server:
        with pytest.raises(ModelUnavailable, match="without end"):
            await read(model(wire, server.url, session), ask("Hello"))
        async with asyncio.timeout(SECONDS):
            await server.left.wait()


@pytest.mark.parametrize("piece", [b": keep-alive\n\n", b"\n\n", b"retry: 1\n", b"data:\n\n"])
async def test_endless_comments_are_given_up(piece: bytes, session: aiohttp.ClientSession) -> None:
    wire = "openai"
    async with serving(lambda: repeat(piece * 20_000), head(wire)) as server:
        with pytest.raises(ModelUnavailable):
            await read(model(wire, server.url, session), ask("Hello"))
        async with asyncio.timeout(SECONDS):
            await server.left.wait()


@pytest.mark.parametrize("wire", WIRES)
async def test_one_event_that_is_too_large_is_cut_like_many(
    wire: str, session: aiohttp.ClientSession
) -> None:
    def body() -> Iterator[bytes]:
        text = json.loads(json.dumps(TEXT[wire]).replace(PIECE, "x" * 10 * BOUND))
        yield from (event(wire, each) for each in (*OPENING[wire], *text))

    async with serving(body, head(wire)) as server:
        *_, done = await read(model(wire, server.url, session), ask("Hello"))
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert size(done) <= BOUND


async def test_answer_at_the_bound_is_whole(session: aiohttp.ClientSession) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(BOUND // len(PIECE) - 4):
            yield event("openai", chat(content=PIECE))
        yield event("openai", {"choices": [{"delta": {}, "finish_reason": "stop"}]})
        yield b"data: [DONE]\n\n"

    async with serving(body, head("openai")) as server:
        *_, done = await read(model("openai", server.url, session), ask("Hello"))
    assert isinstance(done, Done)
    assert done.reason == "stop"
    assert len(text_of(done.parts)) == BOUND - 4 * len(PIECE)


# ---------------------------------------------------------------- of a stranger's wire


class Stranger:
    """A wire of somebody else, that bounds nothing."""

    def __init__(self, *chunks: Chunk, endless: bool = False) -> None:
        self.card = ModelCard(name="m", id="m-1", provider="work", answer_bytes=1000)
        self.closed = False
        self._chunks = chunks
        self._endless = endless

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        try:
            for chunk in self._chunks:
                yield chunk
            while self._endless:
                yield self._chunks[-1]
        finally:
            self.closed = True


async def test_endless_answer_of_any_wire_is_cut_off_and_its_stream_closed() -> None:
    stranger = Stranger(TextDelta("abc"), endless=True)
    *_, done = await read(Sized(stranger), ask("Hello"))
    assert isinstance(done, Done)
    assert done.reason == "length"
    assert len(text_of(done.parts)) <= 1000
    assert stranger.closed


async def test_calls_that_are_too_large_are_dropped_with_what_is_said_of_it() -> None:
    parts = (ToolCall("a", "write_file", "x" * 2000),)
    done = Done(parts=parts, usage=Usage(10, 5), reason="tool_calls", model="m-1")
    (cut,) = await read(Sized(Stranger(done)), ask("Hello"))
    assert cut == Done(parts=(), usage=Usage(10, 5), reason="length", model="m-1")


NONSENSE = [-5, 2**63, 10**30, 1.5, "many", None, float("nan"), float("inf"), True, [1], {}]


@pytest.mark.parametrize("value", NONSENSE, ids=str)
async def test_numbers_without_sense_become_ones_that_can_be_booked(value: Any) -> None:
    usage = Usage(value, value, value, value, value, value, value, value)
    done = Done(parts=(), usage=usage, reason="stop", model="m-1")
    (sane,) = await read(Sized(Stranger(done)), ask("Hello"))
    assert isinstance(sane, Done)
    expected = 1 if value == 1.5 else 0
    assert sane.usage.input_tokens == sane.usage.output_tokens == expected
    assert sane.usage.cost_usd == sane.usage.audio_seconds == (1.5 if value == 1.5 else 0)


# ---------------------------------------------------------------- without sense

GARBAGE = {
    "invalid UTF-8": b'{"choices": [{"delta": {"content": "caf\xe9"}}]}',
    "a lone surrogate": b'{"choices": [{"delta": {"content": "\\ud800"}}]}',
    "NaN": b'{"choices": [], "usage": {"prompt_tokens": NaN}}',
    "Infinity": b'{"choices": [], "usage": {"cost": Infinity}}',
    "too large a number": b'{"choices": [], "usage": {"cost": 1e999}}',
    "a list": b"[]",
    "a number for text": b'{"choices": [{"delta": {"content": 5}}]}',
    "choices of text": b'{"choices": ["a"]}',
    "a list for usage": b'{"choices": [], "usage": [1]}',
    "deep nesting": b'{"error": ' + b"[" * 100_000,
    "text for an index": b'{"choices": [{"delta": {"tool_calls": [{"index": "a"}]}}]}',
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_nonsense_is_the_vendors_fault(data: bytes, session: aiohttp.ClientSession) -> None:
    body = b"data: " + data + b"\n\ndata: [DONE]\n\n"
    async with serving(lambda: iter([body]), head("openai")) as server:
        with pytest.raises(ModelUnavailable, match="makes no sense"):
            await read(model("openai", server.url, session), ask("Hello"))


@pytest.mark.parametrize("wire", WIRES)
async def test_invalid_utf_8_is_the_vendors_fault_in_every_format(
    wire: str, session: aiohttp.ClientSession
) -> None:
    def body() -> Iterator[bytes]:
        yield from (event(wire, each) for each in OPENING[wire])
        for each in TEXT[wire]:
            yield event(wire, each).replace(b"abcdefgh", b"\xff\xfe")

    async with serving(body, head(wire)) as server:
        with pytest.raises(ModelUnavailable, match="makes no sense"):
            await read(model(wire, server.url, session), ask("Hello"))


async def test_invalid_utf_8_in_a_block_that_is_only_kept_is_the_vendors_fault(
    session: aiohttp.ClientSession,
) -> None:
    start = b'{"type": "content_block_start", "index": 0, "content_block": '
    block = b'{"type": "redacted_thinking", "data": "\xff"}}'
    ends = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    pieces = [b"data: " + start + block + b"\n\n", event("anthropic", ends)]
    pieces.append(event("anthropic", {"type": "message_stop"}))
    async with serving(lambda: iter(pieces), head("anthropic")) as server:
        with pytest.raises(ModelUnavailable, match="makes no sense"):
            await read(model("anthropic", server.url, session), ask("Hello"))


COUNTS = [2**63, -1, 3.7, "12", None, [1], True, 10**40]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("count", COUNTS, ids=str)
async def test_counts_without_sense_spoil_no_answer(
    wire: str, count: Any, session: aiohttp.ClientSession
) -> None:
    usage = dict.fromkeys(("input_tokens", "output_tokens"), count)
    counted: dict[str, list[Any]] = {
        "anthropic": [
            {"type": "message_start", "message": {"model": "m-1", "usage": usage}},
            *TEXT["anthropic"],
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ],
        "openai": [
            *TEXT["openai"],
            {
                "choices": [{"delta": {}, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": count,
                    "completion_tokens": count,
                    "prompt_tokens_details": {"cached_tokens": count},
                    "completion_tokens_details": {"reasoning_tokens": count},
                    "cost": count,
                },
            },
        ],
        "openai_responses": [
            {
                "type": "response.output_item.done",
                "item": {"type": "message", "content": [{"text": PIECE}]},
            },
            {"type": "response.completed", "response": {"status": "completed", "usage": usage}},
        ],
        "ollama": [
            *TEXT["ollama"],
            {"done": True, "prompt_eval_count": count, "eval_count": count},
        ],
    }
    body = [event(wire, each) for each in counted[wire]]
    async with serving(lambda: iter(body), head(wire)) as server:
        *_, done = await read(model(wire, server.url, session), ask("Hello"))
    assert isinstance(done, Done)
    assert text_of(done.parts) == PIECE
    for value in (done.usage.input_tokens, done.usage.output_tokens, done.usage.cached_tokens):
        assert isinstance(value, int)
        assert 0 <= value < 2**40


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_compressed_answer_is_refused_before_it_is_unpacked(
    encoding: bytes, session: aiohttp.ClientSession
) -> None:
    packed = (gzip.compress if encoding == b"gzip" else zlib.compress)(b" " * 10_000_000)
    given = head("openai", b"Content-Encoding: " + encoding)
    async with serving(lambda: iter([packed]), given) as server:
        with pytest.raises(ModelUnavailable, match="compressed"):
            await read(model("openai", server.url, session), ask("Hello"))


@pytest.mark.parametrize("line", [b"X-Large: " + b"x" * 1_000_000, b"\xff\xfe\x00: \x01"])
async def test_headers_without_sense_are_the_vendors_fault(
    line: bytes, session: aiohttp.ClientSession
) -> None:
    async with serving(lambda: iter(()), head("openai", line)) as server:
        with pytest.raises(ModelUnavailable):
            await read(model("openai", server.url, session), ask("Hello"))
