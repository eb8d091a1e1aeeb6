"""Tool calls of one round, side by side: each a step of the turn, each with one outcome."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from famulus.agent.deferred import USE, USE_SPEC, find_tools, meant, spec, split
from famulus.core.clock import Clock
from famulus.core.errors import ToolError
from famulus.core.events import ToolFinished, ToolStarted
from famulus.core.messages import Image, Origin, Text, ToolCall, ToolResult
from famulus.core.protocols import Context, Replay, Tool
from famulus.core.repair import arguments_of
from famulus.core.workspace import shortened
from famulus.engine.turns import Turn

log = logging.getLogger(__name__)

UNKNOWN = (
    "The outcome is unknown: the program was interrupted while this ran. It may or may not have "
    "taken effect. Check before you repeat it, and tell the user."
)
_SUMMARY_CHARACTERS = 300
_LEAST_CHARACTERS = 200


class Repeats:
    """Counts calls that were made with the same outcome, so that a loop ends."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._exhausted: set[tuple[str, str]] = set()

    def note(self, call: ToolCall, result: ToolResult) -> None:
        key = (call.name, call.arguments, result.text)
        self._seen[key] += 1
        if self._seen[key] >= self._most:
            self._exhausted.add((call.name, call.arguments))

    def exhausted(self, call: ToolCall) -> bool:
        return (call.name, call.arguments) in self._exhausted

    def refusal(self, call: ToolCall) -> str:
        return (
            f"Not run: this very call of {call.name} was made {self._most} times with the same "
            "outcome. Try something else, or answer with what you know."
        )


class Dispatch:
    """The tools of an agent. Models are shown those that fit into `tools_bytes`, the first ones
    first, and told how to find the others.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        agent: str,
        workspace: Path,
        clock: Clock,
        timeout_seconds: float,
        output_characters: int,
        tools_bytes: int,
    ) -> None:
        tools = list(tools)
        shown, deferred = split(tools, tools_bytes)
        if deferred:
            found = find_tools(deferred)
            shown.append(found)
            tools.append(found)
        self._tools = {tool.name: tool for tool in sorted(tools, key=lambda each: each.name)}
        self._agent = agent
        self._workspace = workspace
        self._clock = clock
        self._timeout = timeout_seconds
        self._most = output_characters
        specs = [*map(spec, shown), *([USE_SPEC] if deferred else [])]
        self.specs = tuple(sorted(specs, key=lambda each: each.name))
        self.size = len(msgspec.json.encode(self.specs))  # in bytes

    async def round(
        self, turn: Turn, calls: Sequence[ToolCall], repeats: Repeats, *, most_characters: int
    ) -> list[ToolResult]:
        """Run `calls` and return their results in the same order; together, about as many
        characters as the model has room for.
        """
        most = min(self._most, max(most_characters // len(calls), _LEAST_CHARACTERS))
        numbers = turn.reserve(len(calls))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._one(turn, call, repeats, number, most))
                for call, number in zip(calls, numbers, strict=True)
            ]
        results = [task.result() for task in tasks]
        for call, result in zip(calls, results, strict=True):
            repeats.note(call, result)
        return results

    async def _one(
        self, turn: Turn, call: ToolCall, repeats: Repeats, number: int, most: int
    ) -> ToolResult:
        if repeats.exhausted(call):
            return failed(call, repeats.refusal(call))
        try:
            call = meant(call) if call.name == USE else call
        except ToolError as error:
            return failed(call, str(error))
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(each.name for each in self.specs) or "none"
            return failed(call, f"There is no tool {call.name!r}. There are: {known}.")
        self._emit_started(turn, call)
        result = await turn.step(
            f"tool:{call.name}",
            ToolResult,
            lambda key: self._run(tool, turn, call, key, most),
            replay=tool.replay,
            unknown=failed(call, UNKNOWN) if tool.replay is Replay.UNSAFE else None,
            number=number,
        )
        self._emit_finished(turn, call, result)
        return result

    async def _run(self, tool: Tool, turn: Turn, call: ToolCall, key: str, most: int) -> ToolResult:
        context = Context(
            session=turn.session,
            person=turn.person,
            agent=self._agent,
            turn_id=turn.id,
            key=key,
            workspace=self._workspace,
            clock=self._clock,
            emit=turn.emit,
        )
        try:
            async with asyncio.timeout(self._timeout):
                answer = await tool.call(context, arguments_of(call.arguments))
            parts = [await self._fit(part, key, most) for part in answer.parts]
        except ToolError as error:
            return failed(call, str(error))
        except TimeoutError:
            return failed(call, f"Stopped: {call.name} took longer than {self._timeout:g} seconds.")
        except Exception as error:
            # A fault in a tool, perhaps a stranger's, is something the model can work around.
            log.exception("tool failed tool=%s turn=%s", call.name, turn.id)
            return failed(call, f"{call.name} failed inside with {type(error).__name__}.")
        outside = any(part.origin is Origin.OUTSIDE for part in parts)
        origin = Origin.OUTSIDE if outside else Origin.TOOL
        return ToolResult(call.id, call.name, tuple(parts), answer.ok, origin)

    async def _fit(self, part: Text | Image, key: str, most: int) -> Text | Image:
        """A long output is cut in the middle; the whole goes to a file that the model may read."""
        if not isinstance(part, Text) or len(part.text) <= most:
            return part
        text = await asyncio.to_thread(
            shortened, self._workspace, key, part.text, part.origin, most
        )
        return Text(text, part.origin)

    def _emit_started(self, turn: Turn, call: ToolCall) -> None:
        turn.emit(
            ToolStarted(
                turn_id=turn.id,
                session=turn.session,
                channel=turn.inbound.channel,
                chat_id=turn.inbound.chat_id,
                call_id=call.id,
                name=call.name,
                arguments=call.arguments,
            )
        )

    def _emit_finished(self, turn: Turn, call: ToolCall, result: ToolResult) -> None:
        turn.emit(
            ToolFinished(
                turn_id=turn.id,
                session=turn.session,
                channel=turn.inbound.channel,
                chat_id=turn.inbound.chat_id,
                call_id=call.id,
                name=call.name,
                ok=result.ok,
                summary=result.text[:_SUMMARY_CHARACTERS],
            )
        )


def failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, (Text(text, Origin.TOOL),), ok=False)


def matching(tools: Iterable[Tool], allow: Sequence[str], deny: Sequence[str]) -> list[Tool]:
    """The tools whose names match a pattern of `allow` and none of `deny`."""

    def matches(name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return [tool for tool in tools if matches(tool.name, allow) and not matches(tool.name, deny)]
