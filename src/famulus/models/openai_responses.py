"""OpenAI's Responses API, in which a model's thoughts go on from one tool call to the next.

https://platform.openai.com/docs/api-reference/responses. Nothing is stored with the vendor: the
thoughts come encrypted and go back as they came.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from operator import itemgetter
from typing import Any, Literal, cast

import aiohttp
import msgspec
from msgspec import Struct

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ModelRejected
from famulus.core.messages import (
    Message,
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
    PDF,
    Shown,
    arguments_of,
    content,
    is_object,
    lines_of,
    paired,
)
from famulus.models.failures import Failures, Fault
from famulus.models.fitted import lowered
from famulus.models.http import Endpoint, encoded
from famulus.models.schema import Schemas
from famulus.models.sized import PART_BYTES, size_of
from famulus.models.strict import is_strict

_VENDOR = "https://api.openai.com/v1"
# These do not think, and refuse a request that asks for encrypted thoughts.
_NO_THOUGHTS = re.compile(r"^(ft:)?(gpt-[34]|chatgpt|computer-use)|-chat\b")
_REFUSED = re.compile(r"invalid_|image|policy|mismatch")

Item = dict[str, Any] | msgspec.Raw


class OpenAIResponses:
    """A model behind OpenAI's newer wire format. `session` is the process's one client session."""

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: aiohttp.ClientSession,
    ) -> None:
        self.card = card
        base = (provider.base_url or _VENDOR).rstrip("/")
        self._own = base == _VENDOR
        # Another account cannot read the encrypted thoughts of this one.
        self._thinker = f"openai_responses/{card.provider}"
        key = provider.api_key.reveal().strip()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._endpoint = Endpoint(card, provider, f"{base}/responses", headers, session)
        self._parameters = self._written(entry)
        self._schema = Schemas("openai")

    def _written(self, entry: ModelEntry) -> dict[str, Any]:
        written: dict[str, Any] = {"model": self.card.id, "store": False}
        if not _NO_THOUGHTS.search(self.card.id):
            written["include"] = ["reasoning.encrypted_content"]
        if entry.max_tokens is not None:
            written["max_output_tokens"] = entry.max_tokens
        if entry.temperature is not None:
            written["temperature"] = entry.temperature
        if entry.top_p is not None:
            written["top_p"] = entry.top_p
        if entry.reasoning:
            written["reasoning"] = entry.reasoning
        return written | entry.parameters

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        try:
            async with aclosing(self._answer(self.body(request))) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except ModelRejected as error:
            # Said before an answer begins: by a model that does not think, and where the key of
            # another organisation has taken the place of the one that made the thoughts.
            if "encrypted content" not in str(error).lower():
                raise
        async with aclosing(self._answer(self.body(request, thoughts=False))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _answer(self, body: bytes) -> AsyncGenerator[Chunk]:
        reading = _Reading(self.card, self._thinker, self._endpoint.failures)
        return cast("AsyncGenerator[Chunk]", self._endpoint.stream(body, reading))

    def body(self, request: Request, *, thoughts: bool = True) -> bytes:
        """The body of a request. Everything before the newest message is the same every time.

        Without `thoughts` none are sent and none are asked for.
        """
        body = {**self._parameters, "stream": True}
        lowered(body, "max_output_tokens", request.max_tokens)
        if not thoughts:
            body.pop("include", None)
        if request.session and self._own:
            body["prompt_cache_key"] = request.session
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": self._schema(tool),
                    "strict": is_strict(self._schema(tool)),  # left out, the vendor would try it
                }
                for tool in request.tools
            ]
            if not request.may_call:
                body["tool_choice"] = "none"
        if request.system.strip():
            body["instructions"] = request.system
        items: list[Item] = []
        for message in paired(request.messages):
            items += self._items(message, request, thoughts=thoughts)
        body["input"] = items or [{"role": "user", "content": "(No message.)"}]
        return encoded(body)

    def _items(self, message: Message, request: Request, *, thoughts: bool) -> Iterator[Item]:
        match message.role:
            case "user":
                if shown := self._content(message.parts, request):
                    yield {"role": "user", "content": shown}
            case "assistant":
                yield from self._assistant(message, thoughts=thoughts)
            case "tool":
                for result in message.parts:
                    if isinstance(result, ToolResult):
                        yield {
                            "type": "function_call_output",
                            "call_id": result.call_id,
                            "output": self._output(result, request),
                        }

    def _assistant(self, message: Message, *, thoughts: bool) -> Iterator[Item]:
        """The items in their order. A thought that leads to nothing would be refused."""
        before: list[Item] = []
        for part in message.parts:
            item: Item
            match part:
                case Reasoning(_, self._thinker, opaque) if is_object(opaque.encode()):
                    if thoughts:
                        before.append(msgspec.Raw(opaque.encode()))
                    continue
                case ToolCall():
                    item = {
                        "type": "function_call",
                        "call_id": part.id,
                        "name": part.name,
                        "arguments": arguments_of(part).decode(),
                    }
                case _:
                    lines = lines_of(part)
                    if not lines:
                        continue
                    item = {"role": "assistant", "content": lines[0]}
            yield from before
            before = []
            yield item

    def _content(self, parts: Iterable[Part], request: Request) -> str | list[dict[str, Any]]:
        pieces = content(parts, request.media, self.card.inputs)
        if all(isinstance(piece, str) for piece in pieces):
            return "".join(piece for piece in pieces if isinstance(piece, str))
        return [
            {"type": "input_text", "text": piece} if isinstance(piece, str) else _shown(piece)
            for piece in pieces
        ]

    def _output(self, result: ToolResult, request: Request) -> str | list[dict[str, Any]]:
        failed = () if result.ok else (Text("The call failed.", Origin.TOOL),)
        return self._content((*failed, *result.parts), request)


def _shown(piece: Shown) -> dict[str, Any]:
    if piece.media_type == PDF:
        name = piece.name or "document.pdf"
        return {"type": "input_file", "filename": name, "file_data": piece.url}
    return {"type": "input_image", "image_url": piece.url, "detail": "auto"}


# ---------------------------------------------------------------- the answer


class _InputDetails(Struct, gc=False):
    cached_tokens: Any = None
    cache_write_tokens: Any = None


class _OutputDetails(Struct, gc=False):
    reasoning_tokens: Any = None


class _Usage(Struct, gc=False):
    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(Struct, gc=False):
    reason: str | None = None


class _Response(Struct, gc=False):
    model: str | None = None
    status: str | None = None
    output: list[msgspec.Raw] = []
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None
    error: Any = None


class _Event(Struct, gc=False):
    """Any event: the vendor adds kinds, and those we do not know are passed over. `object` says
    that it is an answer that is not streamed.
    """

    type: str = ""
    object: str = ""
    output_index: int = 0
    summary_index: int = 0
    delta: Any = None
    item: msgspec.Raw = msgspec.Raw(b"")
    response: _Response | None = None


class _Piece(Struct, gc=False):
    text: str = ""
    refusal: str = ""


class _Item(Struct, gc=False):
    type: str
    content: list[_Piece] | None = None
    summary: list[_Piece] | None = None
    encrypted_content: str | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


_EVENT = msgspec.json.Decoder(_Event)
_RESPONSE = msgspec.json.Decoder(_Response)
_ITEM = msgspec.json.Decoder(_Item)


class _Reading:
    def __init__(self, card: ModelCard, thinker: str, failures: Failures) -> None:
        self.complete = False
        self._streamed = 0
        self._kept = 0
        self._card = card
        self._thinker = thinker
        self._failures = failures
        self._parts: dict[int, Part | None] = {}
        self._refused = False
        self._response = _Response()

    @property
    def size(self) -> int:
        """What was streamed comes once more in the items."""
        return max(self._streamed, self._kept)

    def take(self, data: bytes) -> Iterable[Chunk]:
        if data.strip() == b"[DONE]":  # other servers end like the older format
            return ()
        event = _EVENT.decode(data)
        if isinstance(event.delta, str):
            self._streamed += size_of(event.delta)
        match event:
            case _Event(type="response.output_text.delta", delta=str() as text):
                return (TextDelta(text),)
            case _Event(type="response.refusal.delta", delta=str() as text):
                self._refused = True
                return (TextDelta(text),)
            case _Event(
                type="response.reasoning_summary_text.delta" | "response.reasoning_text.delta",
                delta=str() as text,
            ):
                return (ReasoningDelta(text),)
            case _Event(type="response.reasoning_summary_part.added") if event.summary_index:
                return (ReasoningDelta("\n\n"),)
            case _Event(type="response.output_item.done"):
                self._keep(event.output_index, event.item)
            case _Event(
                type="response.completed" | "response.incomplete" | "response.failed",
                response=_Response() as response,
            ):
                self._end(response)
            case _Event(type="error"):
                raise self._failures.in_stream(_fault(msgspec.json.decode(data)))
            case _Event(object="response"):
                self._end(_RESPONSE.decode(data))
                said = (part for part in self._parts.values() if isinstance(part, Text))
                return [TextDelta(part.text) for part in said]
        return ()

    def _keep(self, index: int, item: msgspec.Raw) -> None:
        self._kept += PART_BYTES + len(bytes(item))
        self._parts[index] = self._part(item)

    def _end(self, response: _Response) -> None:
        if response.error or response.status == "failed":
            raise self._failures.in_stream(_fault(response.error))
        if not self._parts:  # a server that gives only the whole answer
            for index, item in enumerate(response.output):
                self._keep(index, item)
        self._response = response
        self.complete = True

    def finish(self) -> Done:
        if not self.complete:
            raise self._failures.unavailable("broke its answer off in the middle")
        parts = tuple(
            part for _, part in sorted(self._parts.items(), key=itemgetter(0)) if part is not None
        )
        usage = self._response.usage or _Usage()
        read = usage.input_tokens_details or _InputDetails()
        written = usage.output_tokens_details or _OutputDetails()
        return Done(
            parts=parts,
            usage=Usage(
                input_tokens=usage.input_tokens or 0,
                output_tokens=usage.output_tokens or 0,
                cached_tokens=read.cached_tokens or 0,
                reasoning_tokens=written.reasoning_tokens or 0,
                cache_write_tokens=read.cache_write_tokens or 0,
            ),
            reason=self._reason(parts),
            model=self._response.model or self._card.id,
        )

    def _part(self, raw: msgspec.Raw) -> Part | None:
        item = _ITEM.decode(raw)
        match item.type:
            case "message":
                text = "".join(piece.text or piece.refusal for piece in item.content or ())
                return Text(text, Origin.ASSISTANT) if text else None
            case "function_call":
                return ToolCall(item.call_id, item.name, item.arguments or "{}")
            case "reasoning":
                pieces = (*(item.summary or ()), *(item.content or ()))
                thought = "\n\n".join(piece.text for piece in pieces)
                # Without its encrypted content the vendor does not take a thought back.
                opaque = bytes(raw).decode() if item.encrypted_content else ""
                return Reasoning(thought, self._thinker, opaque) if thought or opaque else None
        return None

    def _reason(self, parts: Iterable[Part]) -> Literal["stop", "tool_calls", "length", "refusal"]:
        cut = (self._response.incomplete_details or _Incomplete()).reason
        if self._refused or cut == "content_filter":
            return "refusal"
        if self._response.status == "incomplete":
            return "length"
        return "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"


def _fault(value: Any) -> Fault:
    """What an error of a stream means, whose codes are only partly those of HTTP errors."""
    fault = Fault.of(value)
    if not fault.status and _REFUSED.search(fault.kind):
        return msgspec.structs.replace(fault, status=400)
    return fault
