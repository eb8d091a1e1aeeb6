"""How a section and a field of the configuration are declared, once.

A section is a `Section` subclass; a field has a type, a default and one line of documentation:

    class Server(Section):
        port: Annotated[int, doc("TCP port.", ge=1, le=65535)] = 19876

From it come validation, the environment name, the example file, the reference and the JSON Schema.
"""

import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, get_args, get_origin

import msgspec


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A table of the configuration file. Every field has a default."""


def doc(text: str, *, check: "Check | None" = None, **constraints: Any) -> msgspec.Meta:
    """One line of documentation for a field, with msgspec's constraints where they apply and with
    a check of what they cannot say (see `core/checks.py`).
    """
    return msgspec.Meta(description=text, extra={"check": check} if check else None, **constraints)


Check = Callable[[Any], None]
"""Raises `Unmeant` for a value that has the right type but cannot be meant."""


class Unmeant(ValueError):
    """A value that no one can mean. The text goes on after the setting's name: `is no address`."""


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
_SIZE = re.compile(r"(\d+)(\.\d+)?(|b|[kmg]i?b)")


class Seconds(float):
    """A duration: a number of seconds, or `"30s"`, `"10m"`, `"1h30m"`, `"250ms"`, `"2d"`."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value) if abs(value) < 1e300 else float("inf")
        else:
            text = str(value).replace(" ", "").lower()
            pieces = _DURATION.findall(text)
            if not pieces or "".join(a + b for a, b in pieces) != text:
                raise ValueError(f'{value!r} is not a duration; write 30, "30s", "10m" or "1h30m"')
            number = sum(float(amount) * _SECONDS[unit] for amount, unit in pieces)
        if not 0 <= number < float("inf"):
            raise ValueError(f"{value!r} is not a duration of zero or more seconds")
        return cls(number)

    def written(self) -> str | float:
        """The way to write it that `parse` turns into the same number again."""
        if not self.is_integer():
            return float(self)
        rest, text = int(self), ""
        for unit in ("d", "h", "m", "s"):
            amount, rest = divmod(rest, int(_SECONDS[unit]))
            text += f"{amount}{unit}" if amount else ""
        return text or "0s"


class Size(int):
    """A number of bytes: an integer, or `"16KB"` (thousands), `"5MiB"` (1,024s)."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        text = value.replace(" ", "").lower() if isinstance(value, str) else ""
        match = _SIZE.fullmatch(text)
        if not match:
            raise ValueError(f'{value!r} is not a size; write 16384, "16KB" or "5MiB"')
        unit = _BYTES[match[3]]
        return cls(int(match[1]) * unit + round(float(match[2] or 0) * unit))

    def written(self) -> str | int:
        """The way to write it that `parse` turns into the same number again."""
        for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
            if self and self % _BYTES[unit.lower()] == 0:
                return f"{self // _BYTES[unit.lower()]}{unit}"
        return int(self)


class Shape(NamedTuple):
    """An annotation taken apart. `optional`: the default None stands for "not written"."""

    type: Any
    doc: str
    bounds: dict[str, Any]
    examples: list[Any]
    optional: bool
    check: Check | None = None

    @property
    def item(self) -> Any:
        """The annotation of the items of a list or of the values of a table, else None."""
        arguments = get_args(self.type)
        if get_origin(self.type) is dict:
            return arguments[1]
        if get_origin(self.type) is list or (self.is_list and arguments[1:] == (...,)):
            return arguments[0]
        return None

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) in {tuple, list}


def shape(annotation: Any) -> Shape:
    """Take `Annotated[...]` and `| None` away from an annotation, keeping what they said."""
    text, bounds, examples, optional = "", dict[str, Any](), list[Any](), False
    check: Check | None = None
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *notes = get_args(annotation)
            for note in notes:
                if isinstance(note, msgspec.Meta):
                    text = note.description or text
                    examples = note.examples or examples
                    check = (note.extra or {}).get("check") or check
                    found = {name: getattr(note, name) for name in _BOUNDS}
                    bounds |= {name: bound for name, bound in found.items() if bound is not None}
        elif get_origin(annotation) in {Union, types.UnionType}:
            rest = [choice for choice in get_args(annotation) if choice is not type(None)]
            optional = optional or len(rest) < len(get_args(annotation))
            if len(rest) > 1:
                return Shape(annotation, text, bounds, examples, optional, check)
            (annotation,) = rest
        else:
            return Shape(annotation, text, bounds, examples, optional, check)


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def wanted(annotation: Any) -> str:
    """What a value of this annotation is, for errors and the reference: `a whole number, ...`."""
    form = shape(annotation)
    kind = form.type
    if get_origin(kind) is Literal:
        *some, last = [f'"{choice}"' for choice in get_args(kind)]
        return f"{', '.join(some)} or {last}" if some else last
    if form.item is not None:
        item = "sections" if is_section(form.item) else wanted(form.item).removeprefix("a ")
        what = f"a {'list' if form.is_list else 'table'} of {item}"
    elif is_section(kind):
        what = "a section"
    else:
        what = _NAMES.get(kind) or str(kind)
    return what + _bounds_text(form.bounds)


_BOUNDS = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length")
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a table",
    Any: "any value",
    Secret: "a secret text",
    Seconds: 'a duration like 30, "30s", "10m" or "1h30m"',
    Size: 'a size like 16384, "16KB" or "5MiB"',
}


def _bounds_text(bounds: dict[str, Any]) -> str:
    said = {
        "ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}",
        "multiple_of": "a multiple of {}", "pattern": "matching {}",
        "min_length": "at least {} long", "max_length": "at most {} long",
    }  # fmt: skip
    if {"ge", "le"} <= bounds.keys():
        bounds = {name: bound for name, bound in bounds.items() if name != "ge"} | {
            "le": f"{bounds['ge']} to {bounds['le']}"
        }
        said["le"] = "{}"
    return "".join(f", {said[name].format(bound)}" for name, bound in bounds.items())
