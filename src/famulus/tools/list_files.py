"""Lists the workspace."""

import asyncio
from itertools import islice
from typing import Annotated

import msgspec

from famulus.core.glob import Glob
from famulus.core.messages import Origin, Text
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool, ToolAnswer
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.core.workspace import Entry, FileSettings, names_of, origin_of, walk

_MOST_SEEN = 20_000


Settings = FileSettings
SECTION = "files"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    path: str = "."
    pattern: Annotated[str, doc("Such as *.md or **/*.py.")] = ""


def build(settings: Settings, services: Services) -> Tool:
    @tool(effects=(Effect.READS,), replay=Replay.SAFE)
    async def list_files(context: Context, arguments: Arguments) -> ToolAnswer:
        """List a folder, or what matches below it."""
        return await asyncio.to_thread(_list, context, arguments, services.tool_output)

    return list_files


def _list(context: Context, arguments: Arguments, room: int) -> ToolAnswer:
    depth = len(names_of(context.workspace, arguments.path))
    glob = Glob(arguments.pattern or "*")
    lines: list[str] = []
    hidden = seen = 0
    origin = Origin.TOOL
    for entry in islice(walk(context.workspace, arguments.path), _MOST_SEEN):
        seen += 1
        if not glob.matches("/".join(entry.path.split("/")[depth:])):
            continue
        line = _line(entry)
        room -= len(line) + 1
        if room < 0:
            hidden += 1
        else:
            lines.append(line)
            # Names are chosen by whoever sent the file.
            if origin_of(context.workspace, entry.path) is Origin.OUTSIDE:
                origin = Origin.OUTSIDE
    if hidden:
        lines.append(f"[… and {hidden:,} more; narrow the pattern]")
    if seen == _MOST_SEEN:
        lines.append(f"[stopped after {_MOST_SEEN:,} entries; name a folder]")
    return ToolAnswer((Text("\n".join(lines) or "[nothing found]", origin),))


def _line(entry: Entry) -> str:
    if entry.kind == "file":
        return f"{entry.path}  {entry.size:,} B"
    return f"{entry.path}/" if entry.kind == "folder" else f"{entry.path}  ({entry.kind})"
