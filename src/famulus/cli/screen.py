"""A terminal that shows an answer while it comes."""

import os
import shutil
import unicodedata

import click

from famulus.core.events import Delta, Event, ToolStarted

_TAB = 8


class Screen:
    """Shows what comes, and at the end the whole answer where it differs from what was shown."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, event: Event) -> None:
        match event:
            case Delta(content=content, restarted=restarted):
                if restarted:
                    self._take_back()
                self._write(content)
                self._shown += content
            case ToolStarted(name=name, arguments=arguments):
                self.end()
                self._write(click.style(f"· {name} {arguments[:100]}\n", dim=True))
            case _:
                pass

    def finish(self, text: str) -> None:
        """The final text is what counts."""
        text = text.strip()
        shown = self._shown.rstrip()
        if not text.startswith(shown.lstrip()):
            self._take_back()
            shown = ""
        self._write(text[len(shown.lstrip()) :] + "\n")
        self._shown = ""

    def end(self) -> None:
        """Leave what was shown as it is, and begin a new line."""
        if self._shown:
            self._write("\n")
        self._shown = ""

    def _take_back(self) -> None:
        """Wipe out what was shown of an answer that begins anew."""
        if not self._shown:
            return
        size = shutil.get_terminal_size()
        rows = _rows(self._shown, size.columns)
        if rows <= size.lines and os.environ.get("TERM", "dumb") != "dumb":
            self._write("\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J")
        else:
            # What has left the screen cannot be wiped out.
            self._write(click.style("\n(It begins anew.)\n", dim=True))
        self._shown = ""

    @staticmethod
    def _write(text: str) -> None:
        click.echo(text, nl=False)


def _rows(text: str, columns: int) -> int:
    """How many rows of a terminal a text takes that begins at the left."""
    return sum(max(1, -(-_width(line) // columns)) for line in text.split("\n"))


def _width(line: str) -> int:
    width = 0
    for character in line:
        if character == "\t":
            width += _TAB - width % _TAB
        elif unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Cc"}:
            continue
        else:
            width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width
