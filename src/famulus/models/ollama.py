"""Ollama's own API, because the OpenAI format in front of it cannot say how long a prompt may be.

https://docs.ollama.com/api. Ollama loads a model for a window of `num_ctx` tokens, 4,096 unless
told, and throws away silently what does not fit. So each request says the window it needs: its
estimated tokens and room for the answer, rounded up to 4,096 times a power of two, at most what
the model can and `context_tokens` allows. A model's window never shrinks while the process runs,
since another size makes Ollama load the model anew, which takes seconds.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Any, cast
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
from msgspec import Struct

from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ConfigError, ContextOverflow, ModelRejected
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
from famulus.models.conversation import arguments_of, content, lines_of, paired, shown
from famulus.models.failures import Failures, Fault
from famulus.models.fitted import lowered
from famulus.models.http import Endpoint, Lines, encoded
from famulus.models.matched import Blind, shows_picture
from famulus.models.schema import Schemas
from famulus.models.sized import PART_BYTES, size_of

_VENDOR = "http://127.0.0.1:11434"
_SMALLEST_WINDOW = 4096
_ANSWER_TOKENS = 2048
_THOUGHTS_TOKENS = 4096
_IMAGE_TOKENS = 1500
_ADVICE = "; if Ollama is not running, start it: ollama serve"
_MISSING = re.compile(r"model .*not found", re.IGNORECASE)


class Loaded:
    """What a process knows of one model: what it can, None until it was asked or when the server
    does not say, its largest window, 0 when not known, and the window it was loaded with.
    """

    def __init__(self) -> None:
        self.asked = False
        self.capabilities: tuple[str, ...] | None = None
        self.context_tokens = 0
        self.window = 0
        self.asking = asyncio.Lock()

    def can(self, what: str) -> bool:
        return self.capabilities is None or what in self.capabilities


# The same model may stand in the configuration under several names; a window for each of them
# would have Ollama load it anew with every change between them.
_LOADED: WeakKeyDictionary[aiohttp.ClientSession, dict[tuple[str, str], Loaded]] = (
    WeakKeyDictionary()
)


class Ollama:
    """A model behind Ollama. `session` is the process's one client session."""

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        entry: ModelEntry,
        session: aiohttp.ClientSession,
    ) -> None:
        self.card = card
        base = (provider.base_url or _VENDOR).rstrip("/").removesuffix("/v1")
        self._base = base
        self._session = session
        key = provider.api_key.reveal().strip()
        self._endpoint = Endpoint(
            card,
            provider,
            f"{base}/api/chat",
            {"Authorization": f"Bearer {key}"} if key else {},
            session,
            media_type="application/x-ndjson",
            cut=Lines,
            advice=_ADVICE,
        )
        own = {
            "num_predict": entry.max_tokens,
            "temperature": entry.temperature,
            "top_p": entry.top_p,
        }
        options = entry.parameters.get("options", {})
        if not isinstance(options, dict):
            raise ConfigError(
                f"models.{card.name}.parameters.options must be a table, such as {{ seed = 1 }}."
            )
        self._options: dict[str, Any] = {
            **{name: value for name, value in own.items() if value is not None},
            **options,
        }
        self._schema = Schemas("ollama")
        self._parameters = {
            "model": card.id,
            "keep_alive": provider.keep_alive,
            **entry.parameters,
        }

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        known = _LOADED.setdefault(self._session, {}).setdefault(
            (self._base, self.card.id), Loaded()
        )
        await self._ask(known)
        if request.media and shows_picture(request) and not known.can("vision"):
            raise Blind(f"{self.card.name} cannot see pictures.", provider=self.card.provider)
        shown = False
        while True:
            reading = _Reading(self.card, len(request.messages), self._endpoint.failures)
            answer = self._endpoint.stream(self.body(request, known), reading)
            try:
                async with aclosing(cast("AsyncGenerator[Chunk]", answer)) as chunks:
                    async for chunk in chunks:
                        shown = True
                        yield chunk
                return
            except ContextOverflow as error:
                # The estimate was wrong, which Ollama says before it begins to answer. 413 comes
                # from a proxy before it, which counts bytes.
                final = shown or error.status == 413 or "num_ctx" in self._options
                if final or not self._widen(known, known.window * 2):
                    raise
            except ModelRejected as error:
                if error.status == 404 and _MISSING.search(str(error)):
                    raise self._missing() from error
                raise

    async def _ask(self, known: Loaded) -> None:
        """Ask once what the model can. A server that does not say is sent everything."""
        async with known.asking:
            if known.asked:
                return
            body = encoded({"model": self.card.id})
            answer = await self._endpoint.ask(f"{self._base}/api/show", body)
            try:
                shown = _SHOWN.decode(answer)
            except (msgspec.DecodeError, RecursionError):
                return
            known.asked = True
            known.capabilities = shown.capabilities
            kind = shown.model_info.get("general.architecture")
            context_tokens = shown.model_info.get(f"{kind}.context_length")
            known.context_tokens = context_tokens if isinstance(context_tokens, int) else 0

    def _missing(self) -> ModelRejected:
        return ModelRejected(
            f"{self.card.provider} does not have the model {self.card.id}. Get it with: "
            f"ollama pull {self.card.id}",
            provider=self.card.provider,
            status=404,
        )

    def body(self, request: Request, known: Loaded) -> bytes:
        """The body of a request, after `known.window` has been made wide enough for it."""
        inputs = self.card.inputs if known.can("vision") else ("text",)
        messages: list[dict[str, Any]] = []
        if request.system.strip():
            messages.append({"role": "system", "content": request.system})
        for message in paired(request.messages):
            messages += _messages(message, request, inputs)
        if not messages:
            messages.append({"role": "user", "content": "(No message.)"})
        body: dict[str, Any] = {"messages": messages}
        # It has no word for "call nothing"; its cache of the prompt is lost for this one call.
        if request.tools and request.may_call and known.can("tools"):
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
        pictures = [picture for message in messages for picture in message.get("images", ())]
        parts = {name: msgspec.Raw(encoded(value)) for name, value in body.items()}
        tokens = sum(map(_tokens, parts.values()))
        # A picture costs the same however many letters its base64 has.
        tokens += sum(_IMAGE_TOKENS - len(picture) // 3 for picture in pictures)
        self._widen(known, tokens + self._answer_tokens(known))
        options = {"num_ctx": known.window, **self._options}
        lowered(options, "num_predict", request.max_tokens)
        return encoded(
            {
                **self._parameters,
                "stream": True,
                # Rather an error, and an honest end, than a prompt of which the start is missing.
                "truncate": False,
                "shift": False,
                "options": options,
                **parts,
            }
        )

    def _answer_tokens(self, known: Loaded) -> int:
        limit = self._options.get("num_predict")
        if isinstance(limit, int) and limit > 0:
            return limit
        thinks = "thinking" in (known.capabilities or ()) and self._parameters.get("think", True)
        return _THOUGHTS_TOKENS if thinks else _ANSWER_TOKENS

    def _widen(self, known: Loaded, tokens: int) -> bool:
        """Make the window at least `tokens` wide as far as possible; whether it grew."""
        window = _SMALLEST_WINDOW
        while window < tokens:
            window *= 2
        largest = min(self.card.context_tokens, known.context_tokens or self.card.context_tokens)
        window = min(window, largest)
        grows = window > known.window
        known.window = max(window, known.window)
        return grows


def _tokens(raw: bytes | msgspec.Raw) -> int:
    """Rather too many: a token is three letters of ASCII, or about one of Chinese."""
    data = bytes(raw)
    letters = len(data.decode())
    return letters // 3 + (len(data) - letters) // 2


def _messages(
    message: Message, request: Request, inputs: Iterable[str]
) -> Iterator[dict[str, Any]]:
    match message.role:
        case "user":
            yield from _user(message.parts, request, inputs)
        case "assistant":
            yield from _assistant(message)
        case "tool":
            images: list[Part] = []
            for result in message.parts:
                if not isinstance(result, ToolResult):
                    continue
                lines = [] if result.ok else ["The call failed."]
                for part in result.parts:
                    if isinstance(part, Image) and shown(part, request.media, inputs):
                        images += (Text(f"[Image from {result.name}]", Origin.TOOL), part)
                    else:
                        lines += lines_of(part)
                yield {"role": "tool", "tool_name": result.name, "content": "\n".join(lines)}
            yield from _user(images, request, inputs)


def _user(
    parts: Iterable[Part], request: Request, inputs: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """One message, whose images stand beside its text."""
    pieces = content(parts, request.media, inputs)
    if not pieces:
        return
    text = "\n".join(piece for piece in pieces if isinstance(piece, str))
    said: dict[str, Any] = {"role": "user", "content": text}
    if images := [piece.data for piece in pieces if not isinstance(piece, str)]:
        said["images"] = images
    yield said


def _assistant(message: Message) -> Iterator[dict[str, Any]]:
    text = "\n".join(line for part in message.parts for line in lines_of(part))
    calls = [
        {"function": {"name": call.name, "arguments": msgspec.Raw(arguments_of(call))}}
        for call in message.calls
    ]
    if not text and not calls:
        return
    said: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        said["tool_calls"] = calls
        # A thought goes on after its calls; that of a finished answer is only in the way.
        for part in message.parts:
            match part:
                case Reasoning(thought, "ollama") if thought:
                    said["thinking"] = thought
    yield said


# ---------------------------------------------------------------- the answer


class _Shown(Struct):
    capabilities: tuple[str, ...] | None = None
    model_info: dict[str, Any] = {}


class _Function(Struct, gc=False):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _Call(Struct, gc=False):
    id: str = ""
    function: _Function | None = None


class _Message(Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Event(Struct, gc=False):
    model: str = ""
    message: _Message | None = None
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: Any = 0
    eval_count: Any = 0
    error: Any = None


_SHOWN = msgspec.json.Decoder(_Shown)
_EVENT = msgspec.json.Decoder(_Event)


class _Reading:
    """`position` is the number of messages before the answer, which makes the ids of its calls
    unique in the conversation; older servers give none.
    """

    def __init__(self, card: ModelCard, position: int, failures: Failures) -> None:
        self.complete = False
        self.size = 0
        self._card = card
        self._position = position
        self._failures = failures
        self._thoughts: list[str] = []
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._last = _Event()

    def take(self, data: bytes) -> Iterable[Chunk]:
        event = _EVENT.decode(data)
        if event.error:
            raise self._failures.in_stream(Fault.of({"error": event.error}))
        chunks = list(self._grow(event.message)) if event.message else []
        if event.done:
            self._last = event
            self.complete = True
        return chunks

    def _grow(self, message: _Message) -> Iterator[Chunk]:
        if message.thinking:
            self._thoughts.append(message.thinking)
            self.size += size_of(message.thinking)
            yield ReasoningDelta(message.thinking)
        if message.content:
            self._text.append(message.content)
            self.size += size_of(message.content)
            yield TextDelta(message.content)
        for call in message.tool_calls or ():
            function = call.function or _Function()
            id_ = call.id or f"call_{self._position}_{len(self._calls)}"
            written = bytes(function.arguments).decode()
            arguments = "{}" if written in ("", "null") else written
            self._calls.append(ToolCall(id_, function.name, arguments))
            self.size += PART_BYTES + size_of(arguments)

    def finish(self) -> Done:
        if not self.complete:
            raise self._failures.unavailable("broke its answer off in the middle")
        parts: list[Part] = []
        if self._thoughts:
            parts.append(Reasoning("".join(self._thoughts), "ollama"))
        if self._text:
            parts.append(Text("".join(self._text), Origin.ASSISTANT))
        cut = self._last.done_reason == "length"
        return Done(
            parts=(*parts, *self._calls),
            usage=Usage(
                input_tokens=self._last.prompt_eval_count, output_tokens=self._last.eval_count
            ),
            reason="length" if cut else "tool_calls" if self._calls else "stop",
            model=self._last.model or self._card.id,
        )
