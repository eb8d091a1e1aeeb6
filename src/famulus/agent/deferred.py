"""Tools that a prompt does not show, and how a model gets at them.

`find_tools` describes those that fit what is wanted, and `use_tool` calls one. What was found does
not join the list of tools: that stands at the beginning of every request, and one that changes
there would be paid for in full again.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from famulus.core.errors import ToolError
from famulus.core.messages import ToolCall
from famulus.core.protocols import Context, Replay, Tool, ToolSpec
from famulus.core.repair import arguments_of
from famulus.core.settings import doc
from famulus.core.tools import FunctionTool, tool

FIND, USE = "find_tools", "use_tool"
_MOST_FOUND = 5
_MOST_CHARACTERS = 3000
_MOST_NAMES = 600
_WORD = re.compile(r"[^\W_]+")
_NAMED = 5  # how much more a word counts in the name than in the description
_STEM = 4
_encode = msgspec.json.Encoder().encode


class Find(msgspec.Struct):
    query: Annotated[str, doc("A few words on what you want to do.")] = ""


USE_SPEC = ToolSpec(
    USE,
    "Call a tool that find_tools described.",
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "arguments": {"type": "object", "description": "As its description says."},
        },
        "required": ["name", "arguments"],
    },
)


def split(tools: Sequence[Tool], budget_bytes: int) -> tuple[list[Tool], list[Tool]]:
    """The tools that a prompt shows and the others; the first ones come first as long as their
    descriptions fit into the budget.
    """
    shown: list[Tool] = []
    deferred: list[Tool] = []
    room = budget_bytes
    for each in tools:
        size = len(_encode(spec(each)))
        (deferred if size > room else shown).append(each)
        room -= size if size <= room else 0
    return shown, deferred


def spec(tool: Tool) -> ToolSpec:
    return ToolSpec(tool.name, tool.description, tool.schema)


def find_tools(deferred: Sequence[Tool]) -> FunctionTool[Find]:
    """The tool that describes `deferred`."""

    @tool(replay=Replay.SAFE)
    async def find_tools(context: Context, arguments: Find) -> str:
        found = _found(arguments.query, deferred)
        if not found:
            names = _names(deferred, _MOST_CHARACTERS)
            return f"No tool fits these words. Those that are not listed: {names}."
        lines = [f"Call one with {USE}, its name and its arguments:"]
        for each in found:
            described: dict[str, Any] = {
                "name": each.name,
                "description": each.description,
                "arguments": each.schema,
            }
            line = _encode(described).decode()
            if len(lines) > 1 and len(line) + sum(map(len, lines)) > _MOST_CHARACTERS:
                break
            lines.append(line)
        return "\n".join(lines)

    find_tools.description = (
        f"Describes tools that are not listed here: {_names(deferred, _MOST_NAMES)}."
    )
    return find_tools


def meant(call: ToolCall) -> ToolCall:
    """The call that a call of `use_tool` stands for. Raises `ToolError` where that is unclear."""
    try:
        given = msgspec.json.decode(arguments_of(call.arguments), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ToolError(f"The arguments of {USE} are not valid JSON: {error}.") from None
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ToolError(f"{USE} needs the name of a tool. find_tools tells the names.")
    # Small models write the arguments beside the name.
    arguments = given.pop("arguments", given)
    if isinstance(arguments, str):
        text = arguments_of(arguments)
    else:
        text = _encode(arguments or {}).decode()
    return ToolCall(call.id, name, text)


def _found(query: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools with words of `query`, best first."""
    wanted = _words(query)
    scores = [(_score(wanted, each), n, each) for n, each in enumerate(tools)]
    best = sorted((-score, n, each.name) for score, n, each in scores if score)
    return [tools[n] for _, n, _ in best[:_MOST_FOUND]]


def _score(wanted: set[str], tool: Tool) -> int:
    described = {tool.description, *tool.schema.get("properties", {})}
    name, text = _words(tool.name), {word for each in described for word in _words(each)}
    return _NAMED * _matches(wanted, name) + _matches(wanted, text)


def _matches(wanted: set[str], words: set[str]) -> int:
    return sum(any(_alike(each, word) for word in words) for each in wanted)


def _alike(one: str, other: str) -> bool:
    """Whether they are one word, or begin alike as `file` and `files` do."""
    shorter, longer = sorted((one, other), key=len)
    return one == other or (len(shorter) >= _STEM and longer.startswith(shorter))


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if len(word) > 1}


def _names(tools: Sequence[Tool], most_characters: int) -> str:
    names = [each.name for each in tools]
    while len(text := ", ".join(names)) > most_characters:
        names = [*names[: len(names) * 3 // 4], "…"] if len(names) > 1 else ["many"]
    return text
