"""How a section and a field of the configuration are declared, once.

A section is a `Section` subclass; a field has a type, a default and one line of documentation:

    class Server(Section):
        port: Annotated[int, doc("TCP port.", ge=1, le=65535)] = 19876

From it come validation, the environment name, the example file, the reference and the JSON Schema.
"""

import re
from typing import Any, Self

import msgspec


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A table of the configuration file. Every field has a default."""


def doc(text: str, **constraints: Any) -> msgspec.Meta:
    """One line of documentation for a field, with msgspec's constraints where they apply."""
    return msgspec.Meta(description=text, **constraints)


class Secret:
    """A value that no log, repr, error or answer may show. `reveal()` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not pickled")


_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Seconds(float):
    """A duration: a number of seconds, or `"30s"`, `"10m"`, `"1h30m"`, `"250ms"`, `"2d"`."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
        else:
            text = str(value).replace(" ", "").lower()
            pieces = _DURATION.findall(text)
            if not pieces or "".join(a + b for a, b in pieces) != text:
                raise ValueError(f'{value!r} is not a duration; write 30, "30s", "10m" or "1h30m"')
            number = sum(float(amount) * _SECONDS[unit] for amount, unit in pieces)
        if not 0 <= number < float("inf"):
            raise ValueError(f"{value!r} is not a duration of zero or more seconds")
        return cls(number)


class Size(int):
    """A number of bytes: an integer, or `"16KB"` (thousands), `"5MiB"` (1,024s)."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?i?b?)", str(value).replace(" ", "").lower())
        if not match or match[2] not in _BYTES:
            raise ValueError(f'{value!r} is not a size; write 16384, "16KB" or "5MiB"')
        return cls(float(match[1]) * _BYTES[match[2]])
