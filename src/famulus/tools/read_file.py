"""Reads a text file of the workspace."""

import asyncio
import mimetypes
import os
from typing import Annotated

import msgspec

from famulus.core.errors import ToolError
from famulus.core.messages import Text
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool, ToolAnswer
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.core.workspace import FileSettings, open_file, origin_of

_MOST_BYTES = 16 * 2**20


Settings = FileSettings
SECTION = "files"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    offset: Annotated[int, doc("First line, from 1.", ge=1)] = 1
    limit: Annotated[int, doc("Lines.", ge=1)] = 10_000
    column: Annotated[int, doc("First character of the first line.", ge=1)] = 1


def build(settings: Settings, services: Services) -> Tool:
    @tool(effects=(Effect.READS,), replay=Replay.SAFE)
    async def read_file(context: Context, arguments: Arguments) -> ToolAnswer:
        """Read a text file."""
        text = await asyncio.to_thread(_read, context, arguments, services.tool_output)
        return ToolAnswer((Text(text, origin_of(context.workspace, arguments.path)),))

    return read_file


def _read(context: Context, arguments: Arguments, room: int) -> str:
    path = arguments.path
    with open_file(context.workspace, path) as file, os.fdopen(os.dup(file), "rb") as stream:
        size = os.fstat(file).st_size
        head = stream.read(8192)
        if b"\0" in head:
            media_type = mimetypes.guess_type(path)[0] or "unknown type"
            raise ToolError(f"{path} is not text: {media_type}, {size:,} bytes.")
        data = head + stream.read(_MOST_BYTES - len(head))
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    first = arguments.offset - 1
    if first and first >= len(lines):
        raise ToolError(f"{path} has {len(lines)} lines; there is no line {arguments.offset}.")
    last = min(len(lines), first + arguments.limit)
    skipped = arguments.column - 1
    if lines and skipped:
        if skipped >= len(lines[first]):
            raise ToolError(f"Line {first + 1} of {path} has {len(lines[first]):,} characters.")
        lines[first] = lines[first][skipped:]
    if lines and len(lines[first]) > room:
        return _part(lines[first], room, skipped, first + 1)
    text, end = _fitting(lines, first, last, room)
    more = "" if size <= _MOST_BYTES else f" of the first {_MOST_BYTES:,} bytes"
    if end < len(lines) or more:
        note = f"[lines {first + 1}-{end} of {len(lines)}{more}; go on with offset={end + 1}]"
        text = f"{text.rstrip()}\n{note}"
    return text or f"[{path} is empty]"


def _part(line: str, room: int, skipped: int, number: int) -> str:
    """As much of a line as fits, and where it goes on."""
    end = skipped + room
    of = f"characters {skipped + 1}-{end} of {skipped + len(line)}"
    return f"{line[:room]}\n[line {number}, {of}; go on with offset={number}, column={end + 1}]"


def _fitting(lines: list[str], first: int, last: int, room: int) -> tuple[str, int]:
    """As many whole lines as fit into `room` characters, and the number of the last one."""
    kept: list[str] = []
    for number in range(first, last):
        room -= len(lines[number])
        if room < 0:
            return "".join(kept), number
        kept.append(lines[number])
    return "".join(kept), last
