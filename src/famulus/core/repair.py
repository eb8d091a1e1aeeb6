"""Arguments that are not quite JSON, made into what the model evidently meant.

Small models write fences, single quotes, Python's literals and commas too many, and stop before the
last bracket. One pass reads all of that; what cannot be read by it goes back to the model.
"""

import re
from typing import Any

import msgspec

_LONGEST = 64_000  # characters; longer ones would hold up everybody for too long
_DEEPEST = 50
_FENCED = re.compile(r"^\s*```\w*\s*\n?(.*?)(?:\n?\s*```)?\s*$", re.DOTALL)
_SPACE = re.compile(r"(?:\s+|//[^\n]*\n?)+")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=[\s,\]}]|$)")
_CODE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}")
_WORDS: dict[str, Any] = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None,
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class _Unclear(Exception):
    """It cannot be said what was meant."""


def arguments_of(text: str) -> str:
    """`text` if it is a JSON object, else the object that it was meant to be, else `text`."""
    if _is_object(text):
        return text
    try:
        value = _meant(text)
        if isinstance(value, str):  # encoded twice
            value = msgspec.json.decode(value) if _is_object(value) else _meant(value)
        if isinstance(value, dict):
            return msgspec.json.encode(value).decode()
    except (_Unclear, msgspec.MsgspecError, UnicodeError, ValueError, OverflowError):
        pass
    return text


def _is_object(text: str) -> bool:
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def _meant(text: str) -> Any:
    if len(text) > _LONGEST:
        raise _Unclear
    if fenced := _FENCED.match(text):
        text = fenced[1]
    text = text.strip()
    if not text:
        return {}
    reader = _Reader(text)
    value = reader.value(0)
    reader.space()
    if not reader.at_end():
        raise _Unclear
    return value


class _Reader:
    """Reads a value from the left, and takes the end of the text for every missing bracket."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def space(self) -> None:
        if found := _SPACE.match(self._text, self._at):
            self._at = found.end()

    def value(self, depth: int) -> Any:
        self.space()
        if self.at_end() or depth > _DEEPEST:
            raise _Unclear
        match self._text[self._at]:
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"' | "'":
                return self._string()
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            number = found[0].replace("_", "").removeprefix("+")
            return int(number) if number.removeprefix("-").isdigit() else float(number)
        if (found := _WORD.match(self._text, self._at)) and found[0] in _WORDS:
            self._at = found.end()
            return _WORDS[found[0]]
        raise _Unclear

    def _object(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self._at += 1
        while not self._closed("}"):
            key = self._key()
            self.space()
            if not self._takes(":"):
                raise _Unclear
            made[key] = self.value(depth + 1)
            self._comma("}")
        return made

    def _array(self, depth: int) -> list[Any]:
        made: list[Any] = []
        self._at += 1
        while not self._closed("]"):
            made.append(self.value(depth + 1))
            self._comma("]")
        return made

    def _key(self) -> str:
        if not self.at_end() and self._text[self._at] in "\"'":
            return self._string()
        if found := _WORD.match(self._text, self._at):
            self._at = found.end()
            return found[0]
        raise _Unclear

    def _string(self) -> str:
        quote = self._text[self._at]
        self._at += 1
        made: list[str] = []
        while not self.at_end():
            character = self._text[self._at]
            self._at += 1
            if character == quote:
                return "".join(made)
            made.append(self._escaped() if character == "\\" else character)
        raise _Unclear  # half of a text is not what was meant

    def _escaped(self) -> str:
        if self.at_end():
            raise _Unclear
        letter = self._text[self._at]
        self._at += 1
        if code := _CODE.match(self._text, self._at - 1):
            self._at = code.end()
            made = chr(int(code[0][1:], 16))
            if "\ud800" <= made <= "\udbff" and self._takes("\\"):
                return (made + self._escaped()).encode("utf-16", "surrogatepass").decode("utf-16")
            return made
        if letter in "\"'\\/\n" or letter in _ESCAPES:
            return _ESCAPES.get(letter, letter)
        return "\\" + letter  # as in `C:\data`, or a regular expression

    def _comma(self, end: str) -> None:
        self.space()
        if not (self._takes(",") or self.at_end() or self._text[self._at] == end):
            raise _Unclear

    def _closed(self, end: str) -> bool:
        self.space()
        return self.at_end() or self._takes(end)

    def _takes(self, character: str) -> bool:
        if self.at_end() or self._text[self._at] != character:
            return False
        self._at += 1
        return True
