"""OpenRouter's `reasoning_details`, which come in pieces and go back whole.

https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from collections.abc import Iterable
from typing import Any

from famulus.models.http import encoded
from famulus.models.sized import PART_BYTES, size_of

_GROW = ("text", "summary")


class Details:
    """The thoughts of one answer while they grow."""

    def __init__(self) -> None:
        self._whole: list[dict[str, Any]] = []
        # What grows is joined once, at the end: a text that grows copies itself each time.
        self._pieces: list[dict[str, list[str]]] = []

    def add(self, more: Iterable[dict[str, Any]]) -> int:
        """Take pieces in. Gives about how many bytes are kept more."""
        return sum(map(self._add, more))

    def _add(self, piece: dict[str, Any]) -> int:
        size = 0
        last = self._whole[-1] if self._whole else {}
        if not all(piece.get(key) == last.get(key, piece) for key in ("type", "index")):
            last = {}
            self._whole.append(last)
            self._pieces.append({})
            size = PART_BYTES
        for key, value in piece.items():
            if key in _GROW and isinstance(value, str):
                self._pieces[-1].setdefault(key, []).append(value)
                size += size_of(value)
                last.setdefault(key, "")
            elif value is not None or key not in last:
                size += _size(value) - _size(last.get(key))
                last[key] = value
        return size

    def text(self) -> str:
        """All of it as JSON; empty when there is nothing."""
        if not self._whole:
            return ""
        joined = (
            whole | {key: "".join(texts) for key, texts in pieces.items() if texts}
            for whole, pieces in zip(self._whole, self._pieces, strict=True)
        )
        return encoded(list(joined)).decode()


def _size(value: Any) -> int:
    return size_of(value) if isinstance(value, str) else 0 if value is None else len(encoded(value))
