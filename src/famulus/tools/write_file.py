"""Writes a file in the workspace."""

import asyncio
from typing import Annotated

import msgspec

from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.core.workspace import FileSettings, append_bytes, write_bytes

Settings = FileSettings
SECTION = "files"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    content: str
    append: Annotated[bool, doc("Add to the end.")] = False


def build(settings: Settings, services: Services) -> Tool:
    # Adding the same text twice is not what was asked, and one tool has one declaration.
    @tool(effects=(Effect.WRITES,), replay=Replay.UNSAFE)
    async def write_file(context: Context, arguments: Arguments) -> str:
        """Create or replace a file."""
        content = arguments.content.encode("utf-8", "replace")
        write = append_bytes if arguments.append else write_bytes
        await asyncio.to_thread(write, context.workspace, arguments.path, content)
        verb = "Added" if arguments.append else "Wrote"
        return f"{verb} {len(content):,} bytes to {arguments.path}."

    return write_file
