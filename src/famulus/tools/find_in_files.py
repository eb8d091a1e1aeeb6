"""Searches the contents of the workspace's files.

A regular expression that a model wrote may run for ever, and Python's `re` cannot be interrupted.
So it runs in a process of its own that can be killed; plain text is searched without one.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from famulus.core.errors import ToolError
from famulus.core.glob import Glob
from famulus.core.messages import Origin, Text
from famulus.core.plugins import Services
from famulus.core.protocols import Context, Effect, Replay, Tool, ToolAnswer
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.core.workspace import (
    OUTPUTS,
    Entry,
    FileSettings,
    names_of,
    open_file,
    origin_of,
    read_bytes,
    walk,
)

_MOST_FILE = 16 * 2**20
_MOST_NAMED = 5
_AT_ONCE = 2  # each holds what it searches in memory
_MOST_BYTES = 32 * 2**20
_MOST_HITS = 200
_LINE = 200

# Lines that hold the pattern: numbers of texts and of lines in them, both from 0.
_SEARCH = """
import json, re, sys
pattern, texts = json.load(sys.stdin)
found = re.compile(pattern, re.IGNORECASE).search
hits = ((n, m) for n, t in enumerate(texts) for m, line in enumerate(t.split("\\n")) if found(line))
print(json.dumps([hit for _, hit in zip(range(%d), hits)]))
"""


Settings = FileSettings
SECTION = "files"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    pattern: Annotated[str, doc("Regular expression.", min_length=1, max_length=500)]
    path: str = "."
    glob: Annotated[str, doc("Such as *.md.")] = ""


def build(settings: Settings, services: Services) -> Tool:
    searching = asyncio.Semaphore(_AT_ONCE)

    @tool(effects=(Effect.READS,), replay=Replay.SAFE)
    async def find_in_files(context: Context, arguments: Arguments) -> ToolAnswer:
        """Search file contents, ignoring case."""
        async with searching:
            return await search(context, arguments)

    async def search(context: Context, arguments: Arguments) -> ToolAnswer:
        texts, skipped = await asyncio.to_thread(_texts, context, arguments)
        if re.escape(arguments.pattern).replace("\\ ", " ") == arguments.pattern:
            hits = await asyncio.to_thread(_literal, arguments.pattern, list(texts.values()))
        else:
            hits = await _regular(arguments.pattern, list(texts.values()), settings.search_timeout)
        return _answer(context, texts, hits, skipped, services.tool_output)

    return find_in_files


def _texts(context: Context, arguments: Arguments) -> tuple[dict[str, str], list[str]]:
    """The text files to search, by path, and those that are too large to be searched."""
    root, room = context.workspace, _MOST_BYTES
    texts: dict[str, str] = {}
    skipped: list[str] = []
    for entry in _files(root, arguments):
        if entry.size > _MOST_FILE:
            skipped.append(entry.path)
            continue
        try:
            data = read_bytes(root, entry.path, limit=_MOST_FILE)
        except ToolError:
            # It changed, vanished or may not be read; the others can still be searched.
            continue
        if b"\0" in data:
            continue
        room -= len(data)
        if room < 0:
            raise ToolError(f"More than {_MOST_BYTES:,} bytes to search. Name a folder or a glob.")
        texts[entry.path] = data.decode("utf-8", "replace")
    return texts, skipped


def _files(root: Path, arguments: Arguments) -> Iterator[Entry]:
    """The files that are meant. What tools have put aside is, where it is named."""
    names = names_of(root, arguments.path)
    if size := _size_of_file(root, arguments.path):
        yield Entry("/".join(names), "file", size)
        return
    glob = Glob(arguments.glob or "**")
    by_name = "/" not in arguments.glob and bool(arguments.glob)
    for entry in walk(root, arguments.path):
        first, _, _ = entry.path.partition("/")
        if entry.kind != "file" or (first == OUTPUTS and not names):
            continue
        if glob.matches(entry.path.rsplit("/", 1)[-1] if by_name else entry.path):
            yield entry


def _size_of_file(root: Path, path: str) -> int:
    """0 for what is no file, or an empty one."""
    try:
        with open_file(root, path) as file:
            return os.fstat(file).st_size
    except ToolError:
        return 0


def _literal(pattern: str, texts: Iterable[str]) -> list[tuple[int, int]]:
    wanted = pattern.casefold()

    def hits() -> Iterator[tuple[int, int]]:
        for number, text in enumerate(texts):
            # Folding the whole text first skips most files at once.
            if wanted in text.casefold():
                for at, line in enumerate(text.split("\n")):
                    if wanted in line.casefold():
                        yield number, at

    return [hit for _, hit in zip(range(_MOST_HITS), hits(), strict=False)]


async def _regular(pattern: str, texts: list[str], seconds: float) -> list[tuple[int, int]]:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError(f"{pattern!r} is not a regular expression: {error}.") from None
    question = await asyncio.to_thread(msgspec.json.encode, (pattern, texts))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _SEARCH % _MOST_HITS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={},
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(question)
    except TimeoutError:
        raise ToolError(
            f"The search took longer than {seconds:g} seconds. Use a simpler pattern or plain text."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return msgspec.json.decode(output, type=list[tuple[int, int]])


def _answer(
    context: Context,
    texts: dict[str, str],
    hits: list[tuple[int, int]],
    skipped: list[str],
    room: int,
) -> ToolAnswer:
    paths, contents = list(texts), list(texts.values())
    lines: list[str] = []
    origin = Origin.TOOL
    split: dict[int, list[str]] = {}
    for number, at in hits:
        if number not in split:
            split[number] = contents[number].split("\n")
        line = f"{paths[number]}:{at + 1}: {split[number][at].strip()[:_LINE]}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
        if origin_of(context.workspace, paths[number]) is Origin.OUTSIDE:
            origin = Origin.OUTSIDE
    if len(lines) < len(hits) or len(hits) == _MOST_HITS:
        lines.append(f"[the first {len(lines)} places; narrow the search for more]")
    if not lines:
        lines.append(f"[nothing found in {len(texts)} files]")
    if skipped:
        named = ", ".join(skipped[:_MOST_NAMED])
        more = f" and {len(skipped) - _MOST_NAMED} more" if len(skipped) > _MOST_NAMED else ""
        lines.append(f"[not searched, larger than {_MOST_FILE // 2**20} MiB: {named}{more}]")
    text = "\n".join(lines)
    return ToolAnswer((Text(text, origin),))
