"""The Anthropic Messages API.

https://platform.claude.com/docs/en/api/messages
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Literal

import aiohttp
import msgspec
from msgspec import Struct

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import (
    File,
    Image,
    Message,
    Note,
    Origin,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from famulus.core.protocols import Chunk, Done, ModelCard, ReasoningDelta, Request, TextDelta
from famulus.models.conversation import (
    Shown,
    arguments_of,
    file_line,
    image_line,
    is_object,
    paired,
    shown,
)
from famulus.models.failures import Failures, Fault
from famulus.models.fitted import lowered
from famulus.models.http import Endpoint, encoded
from famulus.models.schema import Schemas
from famulus.models.sized import PART_BYTES, size_of, tokens

_VENDOR = "https://api.anthropic.com"
# The version that compatible servers speak; from 2026-10-21 on, `temperature` is refused.
_VERSION = "2023-06-01"
_MAX_TOKENS = 8192  # the vendor wants the field; every current model can write this much
_CACHE = {"type": "ephemeral"}
_STOP: dict[str, Literal["stop", "tool_calls", "length", "refusal"]] = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}

Block = dict[str, Any] | msgspec.Raw


class Anthropic:
    """A model behind Anthropic's wire format. `session` is the process's one client session."""

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: aiohttp.ClientSession,
    ) -> None:
        self.card = card
        base = (provider.base_url or _VENDOR).rstrip("/").removesuffix("/v1")
        headers = {"anthropic-version": _VERSION}
        if key := provider.api_key.reveal().strip():
            headers["x-api-key"] = key
        self._endpoint = Endpoint(card, provider, f"{base}/v1/messages", headers, session)
        self._parameters: dict[str, Any] = {
            "model": card.id,
            "max_tokens": entry.max_tokens or _MAX_TOKENS,
        }
        if entry.temperature is not None:
            self._parameters["temperature"] = entry.temperature
        if entry.top_p is not None:
            self._parameters["top_p"] = entry.top_p
        self._bound = entry.max_tokens is not None or "max_tokens" in entry.parameters
        self._parameters |= entry.parameters
        self._schema = Schemas("anthropic")

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        return self._endpoint.stream(
            self.body(request), _Reading(self.card, self._endpoint.failures)
        )

    def body(self, request: Request) -> bytes:
        """The body of a request. Everything before the newest message is the same every time, but
        for the mark of where the vendor's cache ends.
        """
        body = {**self._parameters, "stream": True}
        if request.max_tokens and not self._bound:
            body["max_tokens"] = request.max_tokens
        lowered(body, "max_tokens", request.max_tokens)
        if request.tools:
            body["tools"] = tools = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": self._schema(tool),
                }
                for tool in request.tools
            ]
            tools[-1] = {**tools[-1], "cache_control": _CACHE}
            if not request.may_call:  # without the tools, earlier calls of them would be refused
                body["tool_choice"] = {"type": "none"}
        if request.system.strip():
            body["system"] = [{"type": "text", "text": request.system, "cache_control": _CACHE}]
        body["messages"] = self._messages(request)
        return encoded(body)

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        """User and assistant by turns, the user first and last, none of them empty."""
        messages: list[dict[str, Any]] = []
        for message in paired(request.messages):
            blocks = list(self._blocks(message, request))
            role = "assistant" if message.role == "assistant" else "user"
            while blocks and role == "assistant" and isinstance(blocks[-1], msgspec.Raw):
                blocks.pop()  # a thought must lead to something
            if not blocks:
                continue
            if messages and messages[-1]["role"] == role == "user":
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [_text("(No earlier messages.)")]})
        if messages[-1]["role"] == "assistant":
            messages.append({"role": "user", "content": [_text("(Go on.)")]})
        messages[-1]["content"][-1]["cache_control"] = _CACHE
        return messages

    def _blocks(self, message: Message, request: Request) -> Iterator[Block]:
        # Notes change from turn to turn, so they come after what stays.
        for part in sorted(message.parts, key=lambda part: isinstance(part, Note)):
            match part:
                case Text(text) | Note(text):
                    if text.strip():  # an empty block is refused
                        yield _text(text)
                case Image():
                    yield self._image(part, request, message.role)
                case File():
                    yield self._file(part, request, message.role)
                case Reasoning(_, "anthropic", opaque) if is_object(opaque.encode()):
                    yield msgspec.Raw(opaque.encode())
                case ToolCall() if message.role == "assistant":
                    arguments = msgspec.Raw(arguments_of(part))
                    yield {
                        "type": "tool_use",
                        "id": part.id,
                        "name": part.name,
                        "input": arguments,
                    }
                case ToolResult() if message.role == "tool":
                    yield self._result(part, request)

    def _result(self, result: ToolResult, request: Request) -> Block:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
        content = [
            self._image(part, request, "tool") if isinstance(part, Image) else _text(part.text)
            for part in result.parts
            if isinstance(part, Image) or part.text.strip()
        ]
        if content:
            block["content"] = content
        if not result.ok:
            block["is_error"] = True
        return block

    def _image(self, image: Image, request: Request, role: str) -> dict[str, Any]:
        data = shown(image, request.media, self.card.inputs)
        if data is None or role == "assistant":
            return _text(image_line(image))
        return {"type": "image", "source": _source(data)}

    def _file(self, file: File, request: Request, role: str) -> dict[str, Any]:
        data = shown(file, request.media, self.card.inputs)
        if data is None or role == "assistant":
            return _text(file_line(file))
        document = {"type": "document", "source": _source(data)}
        # The vendor takes no more than this, and nothing empty.
        return document | ({"title": data.name[:255]} if data.name.strip() else {})


def _source(data: Shown) -> dict[str, str]:
    return {"type": "base64", "media_type": data.media_type, "data": data.data}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# ---------------------------------------------------------------- the answer


class _Details(Struct, gc=False):
    thinking_tokens: Any = None


class _Usage(Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    output_tokens_details: _Details | None = None


class _Start(Struct, gc=False):
    model: str = ""
    usage: _Usage | None = None


class _Delta(Struct, gc=False):
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Content(Struct, gc=False):
    type: str
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    input: msgspec.Raw = msgspec.Raw(b"")


class _Event(Struct, gc=False):
    """Any event: the vendor adds kinds, and those we do not know are passed over. An answer that
    is not streamed has `content`, `model` and `stop_reason`.
    """

    type: str
    index: int = 0
    content: list[msgspec.Raw] = []
    model: str = ""
    stop_reason: str | None = None
    message: _Start | None = None
    content_block: msgspec.Raw = msgspec.Raw(b"")
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


class _Block:
    """A content block while it grows."""

    def __init__(self, raw: msgspec.Raw) -> None:
        self.start = _CONTENT.decode(raw)
        self.raw = bytes(raw)
        self.pieces: list[str] = []
        self.signature = ""

    def part(self) -> Part | None:
        text = "".join(self.pieces)
        match self.start.type:
            case "text":
                return Text(text, Origin.ASSISTANT) if text else None
            case "thinking":
                opaque = {"type": "thinking", "thinking": text, "signature": self.signature}
                # Without its signature the vendor does not take a thought back.
                kept = encoded(opaque).decode() if self.signature else ""
                return Reasoning(text, "anthropic", kept)
            case "redacted_thinking":
                return Reasoning("", "anthropic", self.raw.decode())
            case "tool_use":
                arguments = text or bytes(self.start.input).decode() or "{}"
                return ToolCall(self.start.id, self.start.name, arguments)
        return None


_EVENT = msgspec.json.Decoder(_Event)
_CONTENT = msgspec.json.Decoder(_Content)


class _Reading:
    def __init__(self, card: ModelCard, failures: Failures) -> None:
        self.complete = False
        self.size = 0
        self._card = card
        self._failures = failures
        self._model = ""
        self._stop: str | None = None
        self._usage = _Usage()
        self._blocks: dict[int, _Block] = {}

    def take(self, data: bytes) -> Iterable[Chunk]:
        event = _EVENT.decode(data)
        match event:
            case _Event(type="content_block_delta", delta=_Delta() as delta):
                return self._grow(event.index, delta)
            case _Event(type="content_block_start"):
                return self._begin(event.index, event.content_block)
            case _Event(type="message_start", message=_Start() as message):
                self._model = message.model
                self._count(message.usage)
            case _Event(type="message_delta"):
                self._stop = (event.delta and event.delta.stop_reason) or self._stop
                self._count(event.usage)
            case _Event(type="message_stop"):
                self.complete = True
            case _Event(type="message"):
                return self._whole(event)
            case _Event(type="error"):
                raise self._failures.in_stream(Fault.of(event.error))
        return ()

    def _whole(self, answer: _Event) -> list[Chunk]:
        self._model = answer.model
        self._stop = answer.stop_reason
        self._count(answer.usage)
        self.complete = True
        return [
            chunk
            for index, block in enumerate(answer.content)
            for chunk in self._begin(index, block)
        ]

    def _begin(self, index: int, raw: msgspec.Raw) -> Iterable[Chunk]:
        block = self._blocks[index] = _Block(raw)
        self.size += PART_BYTES + len(block.raw)
        start = block.start
        given = _Delta(text=start.text, thinking=start.thinking, signature=start.signature)
        return self._grow(index, given)

    def _grow(self, index: int, delta: _Delta) -> Iterable[Chunk]:
        block = self._blocks.get(index)
        if block is None:
            raise msgspec.DecodeError("a piece of a block that never began")
        if delta.signature:
            block.signature += delta.signature
            self.size += size_of(delta.signature)
        piece = delta.text or delta.thinking or delta.partial_json
        if piece:
            block.pieces.append(piece)
            self.size += size_of(piece)
        if delta.text:
            return (TextDelta(delta.text),)
        if delta.thinking:
            return (ReasoningDelta(delta.thinking),)
        return ()

    def _count(self, usage: _Usage | None) -> None:
        """Later counts replace earlier ones; the vendor leaves out what did not change."""
        for name in _Usage.__struct_fields__:
            if (count := getattr(usage, name, None)) is not None:
                setattr(self._usage, name, count)

    def finish(self) -> Done:
        if self._stop is None:
            raise self._failures.unavailable("broke its answer off in the middle")
        parts = (block.part() for _, block in sorted(self._blocks.items()))
        counted = self._usage
        details = counted.output_tokens_details or _Details()
        read = tokens(counted.cache_read_input_tokens)
        written = tokens(counted.cache_creation_input_tokens)
        return Done(
            parts=tuple(part for part in parts if part is not None),
            usage=Usage(
                input_tokens=tokens(counted.input_tokens) + read + written,
                output_tokens=counted.output_tokens or 0,
                cached_tokens=read,
                reasoning_tokens=details.thinking_tokens or 0,
                cache_write_tokens=written,
            ),
            reason=_STOP.get(self._stop, "stop"),
            model=self._model or self._card.id,
        )
