"""No answer larger than a card allows, and no number that cannot be booked."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec

from famulus.core.errors import ModelUnavailable
from famulus.core.messages import Origin, Part, Reasoning, Text, ToolCall, Usage
from famulus.core.protocols import Chunk, Done, Model, ReasoningDelta, Request, Restarted, TextDelta
from famulus.models.streamed import streamed

PART_BYTES = 2048
"""What each call and each block counts at least, so that empty ones have an end too."""

_BYTES_PER_TOKEN = 2  # nobody counts an answer that is cut off; rather too much than too little
_MOST_TOKENS = 1_000_000_000
_MOST_USD = 100_000.0
_MOST_SECONDS = 1_000_000.0
_LONGEST_NAME = 200


class TooLarge(ModelUnavailable):
    """A wire stopped reading: what it keeps of an answer grew to `size` bytes."""

    def __init__(self, provider: str, size: int) -> None:
        super().__init__(f"{provider} sent an answer of {size:,} bytes.", provider=provider)
        self.size = size


class Sized:
    """Cuts an answer of `model` off at the `answer_bytes` of its card, as for length.

    Text, thoughts and arguments count together. What is cut off has no calls: half of one must
    not run. Its stream is closed. Counts of a vendor that make no sense become zero.
    """

    def __init__(self, model: Model) -> None:
        self.card = model.card
        self._model = model

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        pieces: list[TextDelta | ReasoningDelta] = []
        size = 0
        try:
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    match chunk:
                        case TextDelta() | ReasoningDelta():
                            size += size_of(chunk.text)
                            if size > self.card.answer_bytes:
                                break
                            pieces.append(chunk)
                        case Restarted():
                            pieces.clear()
                            size = 0
                        case Done():
                            yield self._checked(chunk)
                            return
                    yield chunk
                else:
                    return
        except TooLarge as error:
            size = error.size
        yield self._cut(pieces, size)

    def _cut(self, pieces: Iterable[TextDelta | ReasoningDelta], size: int) -> Done:
        said = {kind: "".join(_texts(pieces, kind)) for kind in (ReasoningDelta, TextDelta)}
        parts: list[Part] = []
        if thought := said[ReasoningDelta]:
            parts.append(Reasoning(thought, self.card.provider))
        if text := said[TextDelta]:
            parts.append(Text(text, Origin.ASSISTANT))
        usage = Usage(output_tokens=size // _BYTES_PER_TOKEN)
        return Done(parts=tuple(parts), usage=usage, reason="length", model=self.card.id)

    def _checked(self, done: Done) -> Done:
        usage, model = sane(done.usage), done.model[:_LONGEST_NAME]
        if sum(map(_size, done.parts)) <= self.card.answer_bytes:
            return msgspec.structs.replace(done, usage=usage, model=model)
        parts = tuple(_clipped(done.parts, self.card.answer_bytes))
        return msgspec.structs.replace(done, parts=parts, usage=usage, reason="length", model=model)


def size_of(text: str) -> int:
    """The bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def sane(usage: Usage) -> Usage:
    """Only numbers that can be: whole where they count tokens, none below zero or beyond belief,
    and none larger than what it is a part of.
    """
    input_tokens, output_tokens = tokens(usage.input_tokens), tokens(usage.output_tokens)
    cached = min(tokens(usage.cached_tokens), input_tokens)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        reasoning_tokens=min(tokens(usage.reasoning_tokens), output_tokens),
        cost_usd=_number(usage.cost_usd, _MOST_USD),
        cache_write_tokens=min(tokens(usage.cache_write_tokens), input_tokens - cached),
        audio_tokens=min(tokens(usage.audio_tokens), input_tokens),
        audio_seconds=_number(usage.audio_seconds, _MOST_SECONDS),
    )


def tokens(value: Any) -> int:
    """A vendor's count of tokens; 0 for what is none."""
    return int(_number(value, _MOST_TOKENS))


def _number(value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    # Not true of NaN.
    return value if 0 < value <= most else 0


def _size(part: Part) -> int:
    match part:
        case Text(text):
            return size_of(text)
        case Reasoning(text, _, opaque):
            # A vendor's own block holds the text once more.
            return max(size_of(text), size_of(opaque))
        case ToolCall(id_, name, arguments):
            return PART_BYTES + size_of(id_) + size_of(name) + size_of(arguments)
    return PART_BYTES


def _clipped(parts: Iterable[Part], left: int) -> Iterator[Part]:
    """The texts of an answer as far as `left` bytes go."""
    for part in parts:
        if isinstance(part, Text | Reasoning) and left > 0:
            text = part.text.encode("utf-8", "replace")[:left].decode("utf-8", "ignore")
            left -= size_of(text)
            changed = {"opaque": ""} if isinstance(part, Reasoning) else {}
            yield msgspec.structs.replace(part, text=text, **changed)


def _texts(
    pieces: Iterable[TextDelta | ReasoningDelta], kind: type[TextDelta | ReasoningDelta]
) -> Iterator[str]:
    return (piece.text for piece in pieces if isinstance(piece, kind))
