"""What the standard library leaves out of TOML: writing it, and on which line a key stands."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]
"""Keys from the top of the document; an int counts the items of a list."""


def written(value: Any) -> str:
    """A value as TOML writes it: text, numbers, booleans, lists and inline tables."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return f"{{ {', '.join(f'{key(name)} = {written(value[name])}' for name in value)} }}"
    return str(value)


def document(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A whole TOML document: values first, then a section for each table."""
    tables = {name: value for name, value in tree.items() if isinstance(value, Mapping)}
    lines = [f"{key(name)} = {written(tree[name])}\n" for name in tree if name not in tables]
    head = f"[{dotted(path)}]\n" if path and (lines or not tables) else ""
    sections = [document(table, (*path, name)) for name, table in tables.items()]
    return "\n".join(filter(None, (head + "".join(lines), *sections)))


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else written(name)


def dotted(path: KeyPath) -> str:
    """`router.rules[0].class`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{key(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, where each key and list item of a valid TOML document is first written."""
    return _Scanner(text).scan()


_TOKEN = re.compile(
    r'''
      (?P<string> """(?:\\.|[^\\])*?"{3,5} | \'{3}.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*' )
    | (?P<skip> \#[^\n]* | [ \t\r]+ )
    | (?P<mark> [\n\[\]{}=,.] )
    | (?P<bare> [^\s\[\]{}=,.\#"']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    text: str
    line: int
    is_mark: bool

    def is_(self, mark: str) -> bool:
        return self.is_mark and self.text == mark


_END = _Token("", 0, True)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._token = next(self._tokens, _END)
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._token is not _END:
            if self._token.is_("\n"):
                self._take()
            elif self._token.is_("["):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _take(self) -> _Token:
        token, self._token = self._token, next(self._tokens, _END)
        return token

    def _header(self) -> KeyPath:
        line = self._take().line
        many = self._token.is_("[")
        if many:
            self._take()
        names = self._names("]")
        path: KeyPath = ()
        for last, name in enumerate(names, start=1 - len(names)):
            path = (*path, name)
            self._lines.setdefault(path, line)
            if many and last == 0:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self._lines.setdefault(path, line)
        if many:
            self._take()
        return path

    def _names(self, end: str) -> list[str]:
        """A key with its dots, up to and with the mark that ends it."""
        names = []
        while not (token := self._take()).is_(end):
            if not token.is_mark:
                quoted = token.text[0] in "\"'"
                names.append(next(iter(tomllib.loads(f"{token.text}=0"))) if quoted else token.text)
        return names

    def _pair(self, table: KeyPath) -> None:
        line = self._token.line
        for name in self._names("="):
            table = (*table, name)
            self._lines.setdefault(table, line)
        self._value(table)

    def _value(self, path: KeyPath) -> None:
        if self._token.is_("["):
            self._list(path)
        elif self._token.is_("{"):
            self._take()
            while not self._token.is_("}"):
                if self._token.is_(",") or self._token.is_("\n"):
                    self._take()
                else:
                    self._pair(path)
            self._take()
        else:
            while not self._token.is_mark or self._token.is_("."):
                self._take()

    def _list(self, path: KeyPath) -> None:
        self._take()
        count = 0
        while not self._token.is_("]"):
            if self._token.is_(",") or self._token.is_("\n"):
                self._take()
            else:
                item = (*path, count)
                self._lines[item] = self._token.line
                self._value(item)
                count += 1
        self._take()


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield _Token(match[0], line, match.lastgroup == "mark")
        line += match[0].count("\n")
