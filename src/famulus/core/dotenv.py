"""Reads `.env`: `NAME=value` a line, with `export`, quotes and comments as shells know them.

Nothing is expanded inside a value. In single quotes everything is literal; in double quotes
`\\n`, `\\t`, `\\"`, `\\\\` and `\\$` are what they are in a shell. A quoted value may span lines.
"""

import re
from pathlib import Path

from famulus.core.errors import ConfigError

_ENTRY = re.compile(
    r"""
    [ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<bare>[^'"\s\#][^\n]*?)? )
    [ \t]*(?:(?<=\s)\#[^\n]*)?(?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$", "\n": ""}


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of the file, none when there is no file. Raises `ConfigError`."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {reason}.") from None
    return parse_dotenv(text, str(path))


def parse_dotenv(text: str, name: str) -> dict[str, str]:
    """As `read_dotenv`; `name` is the file's in errors, which never show a value."""
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif entry := _ENTRY.match(text, at):
            found[entry["name"]] = _value(entry)
            at = entry.end()
        else:
            line = text.count("\n", 0, at) + 1
            raise ConfigError(
                f"{name}:{line}: not a line of the form NAME=value. Check its name and its quotes."
            )
    return found


def _value(entry: re.Match[str]) -> str:
    if entry["double"] is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), entry["double"])
    return entry["single"] or (entry["bare"] or "").rstrip()
