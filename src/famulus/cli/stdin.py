"""What comes through a pipe or from a file on standard input."""

import os
import select
import stat
import sys

import click

from famulus.core.errors import Invalid, TooLarge

_MOST_BYTES = 16 * 1024 * 1024
_HINT_SECONDS = 3.0


def is_piped() -> bool:
    """Whether somebody feeds standard input: neither a terminal nor /dev/null, nor closed."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISCHR(mode)


def read() -> str:
    """All of it as text, without the end of its last line. Raises `Invalid`."""
    _say_what_is_waited_for()
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TooLarge(
            f"More than {_MOST_BYTES:,} bytes come on standard input. Send a part of it."
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        text = _of_the_terminal(data, error)
    return text.rstrip("\r\n")


def _of_the_terminal(data: bytes, error: UnicodeDecodeError) -> str:
    try:
        return data.decode(sys.stdin.encoding)
    except (UnicodeDecodeError, LookupError):
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid(
            f"Standard input is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}."
            " Convert it, as in: iconv -f latin1 -t utf-8. To send a file as it is: --attach FILE"
        ) from None


def _say_what_is_waited_for() -> None:
    """A pipe that somebody forgot to close would otherwise look like a slow answer."""
    try:
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], _HINT_SECONDS)
    except (OSError, ValueError):
        return
    if not ready:
        click.echo(
            "Waiting for text on standard input. Ctrl-D ends it; with </dev/null there is none.",
            err=True,
        )
