"""OpenAI's Chat Completions API, and whoever speaks it: OpenRouter, vLLM, llama.cpp, …

https://platform.openai.com/docs/api-reference/chat. Compatible servers differ in what does no
harm: calls without an index or an id, no usage, no `[DONE]`, the wrong `finish_reason`.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from secrets import token_hex
from typing import Any, Literal

import aiohttp
import msgspec
from msgspec import Struct

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import (
    Image,
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
    lines_of,
    paired,
    shown,
    words,
)
from famulus.models.failures import Failures, Fault
from famulus.models.fitted import lowered
from famulus.models.http import Endpoint, encoded
from famulus.models.reasoning_details import Details
from famulus.models.schema import Schemas
from famulus.models.sized import PART_BYTES, size_of

_VENDORS = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}


class OpenAIChat:
    """A model behind OpenAI's wire format. `session` is the process's one client session."""

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: aiohttp.ClientSession,
    ) -> None:
        self.card = card
        self._type = provider.type
        vendor = _VENDORS.get(provider.type, _VENDORS["openai"])
        base = (provider.base_url or vendor).rstrip("/")
        self._own = base == _VENDORS["openai"]
        key = provider.api_key.reveal().strip()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._endpoint = Endpoint(card, provider, f"{base}/chat/completions", headers, session)
        self._parameters = self._written(provider, entry)
        self._schema = Schemas("gemini" if provider.type == "gemini" else "openai")

    def _written(self, provider: Provider, entry: ModelEntry) -> dict[str, Any]:
        written: dict[str, Any] = {"model": self.card.id}
        if self._type != "mistral":  # Mistral tells the usage unasked, and refuses to be asked
            written["stream_options"] = {"include_usage": True}
        if self._type == "openrouter":
            written["usage"] = {"include": True}
            if routing := {**provider.routing, **entry.routing}:
                written["provider"] = routing
            if entry.reasoning:
                written["reasoning"] = entry.reasoning
        if entry.max_tokens is not None:
            # OpenAI's reasoning models refuse the old name, most other servers the new one.
            written["max_completion_tokens" if self._own else "max_tokens"] = entry.max_tokens
        if entry.temperature is not None:
            written["temperature"] = entry.temperature
        if entry.top_p is not None:
            written["top_p"] = entry.top_p
        return written | entry.parameters

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        reading = _Reading(self.card, self._type, self._endpoint.failures)
        return self._endpoint.stream(self.body(request), reading)

    def body(self, request: Request) -> bytes:
        """The body of a request. Everything before the newest message is the same every time."""
        body = {**self._parameters, "stream": True}
        named = "max_completion_tokens" if self._own else "max_tokens"
        for name in body.keys() & {"max_tokens", "max_completion_tokens"} or {named}:
            lowered(body, name, request.max_tokens)
        if request.session and self._own:
            body["prompt_cache_key"] = request.session
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": self._schema(tool),
                    },
                }
                for tool in request.tools
            ]
            if not request.may_call and self._type != "zhipu":  # which knows nothing but "auto"
                body["tool_choice"] = "none"
        messages = body["messages"] = []
        if request.system.strip():
            messages.append({"role": "system", "content": request.system})
        for message in paired(request.messages):
            if (said := words(message.parts)) is None:
                messages += self._messages(message, request)
            elif said:
                messages.append({"role": message.role, "content": said})
        if not messages:
            messages.append({"role": "user", "content": "(No message.)"})
        return encoded(body)

    def _messages(self, message: Message, request: Request) -> Iterator[dict[str, Any]]:
        match message.role:
            case "user":
                if said := self._content(message.parts, request):
                    yield {"role": "user", "content": said}
            case "assistant":
                yield from self._assistant(message)
            case "tool":
                yield from self._results(message, request)

    def _content(self, parts: Iterable[Part], request: Request) -> str | list[dict[str, Any]]:
        """Plain text where there is nothing else: some servers take only that."""
        pieces = content(parts, request.media, self.card.inputs)
        if all(isinstance(piece, str) for piece in pieces):
            return "".join(piece for piece in pieces if isinstance(piece, str))
        return [
            {"type": "text", "text": piece} if isinstance(piece, str) else _shown(piece)
            for piece in pieces
        ]

    def _assistant(self, message: Message) -> Iterator[dict[str, Any]]:
        text = "\n".join(line for part in message.parts for line in lines_of(part))
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_of(call).decode()},
            }
            for call in message.calls
        ]
        if not text and not calls:
            return
        answer: dict[str, Any] = {"role": "assistant", "content": text or None}
        if calls:
            answer["tool_calls"] = calls
        for part in message.parts:
            match part:
                case Reasoning(_, "openrouter", opaque) if self._type == "openrouter" and opaque:
                    answer["reasoning_details"] = msgspec.Raw(opaque.encode())
        yield answer

    def _results(self, message: Message, request: Request) -> Iterator[dict[str, Any]]:
        """A message for each result; images follow in a user's, since a tool's holds only text."""
        images: list[Part] = []
        for result in message.parts:
            if not isinstance(result, ToolResult):
                continue
            lines = [] if result.ok else ["The call failed."]
            for part in result.parts:
                if isinstance(part, Image) and shown(part, request.media, self.card.inputs):
                    images += (Text(f"[Image from {result.name}]", Origin.TOOL), part)
                else:
                    lines += lines_of(part)
            yield {"role": "tool", "tool_call_id": result.call_id, "content": "\n".join(lines)}
        if images:
            yield {"role": "user", "content": self._content(images, request)}


def _shown(piece: Shown) -> dict[str, Any]:
    if piece.media_type == PDF:
        file = {"filename": piece.name or "document.pdf", "file_data": piece.url}
        return {"type": "file", "file": file}
    return {"type": "image_url", "image_url": {"url": piece.url}}


# ---------------------------------------------------------------- the answer


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Any = None  # a few servers send the object instead of its text


class _CallDelta(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct, gc=False):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(Struct, gc=False):
    """`message` is there instead of `delta` in an answer that is not streamed."""

    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(Struct, gc=False):
    cached_tokens: Any = None


class _CompletionDetails(Struct, gc=False):
    reasoning_tokens: Any = None


class _Usage(Struct, gc=False):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cost: Any = None


class _Event(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class _Call:
    """A tool call while it grows."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []


class _Reading:
    def __init__(self, card: ModelCard, provider_type: str, failures: Failures) -> None:
        self.complete = False
        self.size = 0
        self._card = card
        self._type = provider_type
        self._failures = failures
        self._model = ""
        self._stop: str | None = None
        self._usage = _Usage()
        self._reasoning: list[str] = []
        self._text: list[str] = []
        self._refused = False
        self._calls: list[_Call] = []
        self._open: dict[int | None, _Call] = {}
        self._details = Details()

    def take(self, data: bytes) -> Iterable[Chunk]:
        if data.strip() == b"[DONE]":
            self.complete = True
            return ()
        event = _EVENT.decode(data)
        if event.error:
            raise self._failures.in_stream(Fault.of(event.error))
        self._model = event.model or self._model
        self._usage = event.usage or self._usage
        chunks: list[Chunk] = []
        for choice in event.choices or ():
            if choice.finish_reason == "error":
                raise self._failures.unavailable("broke its answer off with an error")
            self._stop = choice.finish_reason or self._stop
            if choice.delta is not None:
                chunks += self._grow(choice.delta)
            elif choice.message is not None:
                chunks += self._grow(choice.message)
                self.complete = True
        return chunks

    def _grow(self, delta: _Delta) -> Iterator[Chunk]:
        if thought := delta.reasoning_content or delta.reasoning:
            self._reasoning.append(thought)
            self.size += size_of(thought)
            yield ReasoningDelta(thought)
        if delta.reasoning_details:
            self.size += self._details.add(delta.reasoning_details)
        if delta.refusal:
            self._refused = True
        if text := (delta.content or "") + (delta.refusal or ""):
            self._text.append(text)
            self.size += size_of(text)
            yield TextDelta(text)
        for piece in delta.tool_calls or ():
            self._call(piece)

    def _call(self, piece: _CallDelta) -> None:
        function = piece.function or _Function()
        call = self._open.get(piece.index)
        other = call is not None and piece.id and call.id and piece.id != call.id
        # Without an index, a second name can only be a second call.
        again = call is not None and piece.index is None and function.name and piece.id != call.id
        if call is None or other or again:
            call = self._open[piece.index] = _Call()
            self._calls.append(call)
            self.size += PART_BYTES
        call.id = call.id or piece.id or ""
        call.name = call.name or function.name or ""
        written = function.arguments
        if written is not None and not isinstance(written, str):
            written = encoded(written).decode()
        if written:
            call.pieces.append(written)
            self.size += size_of(written)

    def finish(self) -> Done:
        if self._stop is None and not self.complete:
            raise self._failures.unavailable("broke its answer off in the middle")
        parts: list[Part] = []
        opaque = self._details.text()
        if self._reasoning or opaque:
            parts.append(Reasoning("".join(self._reasoning), self._type, opaque))
        if self._text:
            parts.append(Text("".join(self._text), Origin.ASSISTANT))
        for call in self._calls:
            arguments = "".join(call.pieces) or "{}"
            parts.append(ToolCall(call.id or f"call_{token_hex(12)}", call.name, arguments))
        counted = self._usage
        prompt = counted.prompt_tokens_details or _PromptDetails()
        completion = counted.completion_tokens_details or _CompletionDetails()
        return Done(
            parts=tuple(parts),
            usage=Usage(
                input_tokens=counted.prompt_tokens or 0,
                output_tokens=counted.completion_tokens or 0,
                cached_tokens=prompt.cached_tokens or 0,
                reasoning_tokens=completion.reasoning_tokens or 0,
                cost_usd=counted.cost or 0.0,
            ),
            reason=self._reason(),
            model=self._model or self._card.id,
            cost_stated=self._type == "openrouter" and isinstance(counted.cost, int | float),
        )

    def _reason(self) -> Literal["stop", "tool_calls", "length", "refusal"]:
        if self._refused or self._stop == "content_filter":
            return "refusal"
        if self._stop == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"
