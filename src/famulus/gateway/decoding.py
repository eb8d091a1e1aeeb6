"""JSON from outside: checked for depth before it is decoded, and decoded into a declared shape."""

import re
from typing import TypeVar

import msgspec

from famulus.core.errors import Invalid

T = TypeVar("T")

# An unfinished string runs to the end and a lone backslash ends it, so the time stays linear.
_STRING = re.compile(rb'"(?:[^"\\]|\\.?)*(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def decode(data: bytes, kind: type[T], *, depth: int) -> T:
    """`data` as `kind`. Raises `Invalid` with words for whoever sent it."""
    if too_deep(data, depth):
        raise Invalid(f"The JSON is nested more than {depth} levels deep.")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"The JSON has a wrong shape: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("This is not valid JSON.") from None


def too_deep(data: bytes, depth: int) -> bool:
    """Whether brackets outside of strings are nested more than `depth` levels deep."""
    if data.count(b"[") + data.count(b"{") <= depth:
        return False
    level = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        level += _STEPS[bracket]
        if level > depth:
            return True
    return False
