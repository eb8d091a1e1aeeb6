"""Replaces text in a file of the workspace."""

import asyncio
import difflib
from typing import Annotated

import msgspec

from famulus.core.errors import ToolError
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.core.workspace import FileSettings, read_bytes, write_bytes

_MOST_BYTES = 4 * 2**20


Settings = FileSettings
SECTION = "files"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    old: Annotated[str, doc("Exact text, found once.", min_length=1)]
    new: str
    all: Annotated[bool, doc("Replace every occurrence.")] = False


def build(settings: Settings, services: Services) -> Tool:
    @tool(effects=(Effect.READS, Effect.WRITES), replay=Replay.UNSAFE)
    async def edit_file(context: Context, arguments: Arguments) -> str:
        """Replace text in a file."""
        return await asyncio.to_thread(_edit, context, arguments)

    return edit_file


def _edit(context: Context, arguments: Arguments) -> str:
    path = arguments.path
    data = read_bytes(context.workspace, path, limit=_MOST_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not UTF-8 text and cannot be edited.") from None
    if arguments.old == arguments.new:
        raise ToolError("old and new are the same text; nothing to do.")
    count = text.count(arguments.old)
    if not count:
        raise ToolError(f"old is not in {path}.{_nearest(text, arguments.old)}")
    if count > 1 and not arguments.all:
        lines = ", ".join(map(str, _lines_of(text, arguments.old)[:10]))
        raise ToolError(
            f"old is in {path} {count} times (lines {lines}). Give more of the text around the "
            "one you mean, or set all."
        )
    new = text.replace(arguments.old, arguments.new)
    write_bytes(context.workspace, path, new.encode("utf-8", "replace"))
    return f"Replaced {count} occurrence{'s' * (count > 1)} in {path}."


def _lines_of(text: str, old: str) -> list[int]:
    """The numbers of the lines where `old` begins."""
    numbers = []
    at = text.find(old)
    while at >= 0:
        numbers.append(text.count("\n", 0, at) + 1)
        at = text.find(old, at + len(old))
    return numbers


def _nearest(text: str, old: str) -> str:
    """The line most like the first line of `old`; a model has often got only a blank wrong."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = text.splitlines()[:5000]
    stripped = [line.strip() for line in lines]
    found = difflib.get_close_matches(wanted[:200], stripped, 1, 0.6)
    if not found:
        return " Read the file first."
    number = stripped.index(found[0])
    return f" Nearest is line {number + 1}: {lines[number][:200]!r}"
