"""A model that says what a test tells it to."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import cast

from famulus.core.errors import ModelError
from famulus.core.messages import Origin, Part, Text, ToolCall, Usage, text_of
from famulus.core.protocols import Chunk, Done, ModelCard, Request, TextDelta

Script = str | Part | Sequence[Part] | ModelError
"""One answer: a text, parts, or the error the call ends with."""

CARD = ModelCard(name="scripted", id="scripted", provider="scripted")
_USAGE = Usage(input_tokens=10, output_tokens=5)


class Scripted:
    """Answers its calls with `script`, one entry each, and keeps what it was asked in `requests`.

    An entry that is a function gets the request and returns the answer. Text is streamed in
    pieces of `piece` characters. `closed` counts the streams that were left before their end.
    A call beyond the script is a mistake of the test and raises AssertionError.
    """

    def __init__(
        self,
        script: Iterable[Script | Callable[[Request], Script]],
        *,
        card: ModelCard = CARD,
        usage: Usage = _USAGE,
        piece: int = 8,
    ) -> None:
        self.card = card
        self.requests: list[Request] = []
        self.closed = 0
        self._script = list(script)
        self._usage = usage
        self._piece = piece

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        if len(self.requests) > len(self._script):
            raise AssertionError(f"{self.card.name} was called more often than scripted")
        entry = self._script[len(self.requests) - 1]
        answer = entry(request) if callable(entry) else entry
        if isinstance(answer, ModelError):
            raise answer
        parts = _parts(answer)
        finished = False
        try:
            text = text_of(parts)
            for start in range(0, len(text), self._piece):
                yield TextDelta(text[start : start + self._piece])
            calls = any(isinstance(part, ToolCall) for part in parts)
            finished = True
            yield Done(
                parts=parts,
                usage=self._usage,
                reason="tool_calls" if calls else "stop",
                model=self.card.id,
            )
        finally:
            self.closed += not finished


def _parts(answer: str | Part | Sequence[Part]) -> tuple[Part, ...]:
    if isinstance(answer, str):
        return (Text(answer, Origin.ASSISTANT),)
    return tuple(answer) if isinstance(answer, tuple | list) else (cast("Part", answer),)
