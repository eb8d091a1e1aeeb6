"""Tool calls of one round, side by side: each a step of the turn, each with one outcome."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from famulus.agent.deferred import USE, USE_SPEC, find_tools, meant, spec, split
from famulus.core.clock import Clock
from famulus.core.errors import ToolError
from famulus.core.events import ToolFinished, ToolStarted
from famulus.core.main_agent import Agent as Settings
from famulus.core.messages import Image, Message, Origin, Text, ToolCall, ToolResult
from famulus.core.protocols import Context, Effect, Replay, Tool
from famulus.core.workspace import shortened
from famulus.core.zones import person_zone
from famulus.engine.turns import Turn

log = logging.getLogger(__name__)

UNKNOWN = (
    "The outcome is unknown: the program was interrupted while this ran. It may or may not have "
    "taken effect. Check before you repeat it, and tell the user."
)
_PRIVATE = (
    "Not run: what this conversation keeps on this machine could be read by any model in what "
    "{name} leaves behind. Tell the user that router.local_tools can allow it."
)
_LEAVES = {Effect.WRITES, Effect.EXECUTES, Effect.REMEMBERS}
LOST = "The turn ended before the outcome was noted."
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


class _Round:
    """What the calls of one answer share. Each result has at most `most` characters, and is
    `private` if the answer is. Only so many run side by side; the commands of all turns share
    `commands`.
    """

    def __init__(
        self,
        turn: Turn,
        repeats: Repeats,
        most: int,
        settings: Settings,
        commands: asyncio.Semaphore,
    ) -> None:
        self.turn = turn
        self.repeats = repeats
        self.most = most
        self.private = turn.record[-1].private
        self._calls = asyncio.Semaphore(settings.parallel_calls)
        self._own_commands = asyncio.Semaphore(settings.parallel_commands)
        self._commands = commands

    @asynccontextmanager
    async def slot(self, tool: Tool) -> AsyncIterator[None]:
        if Effect.EXECUTES not in tool.effects:
            async with self._calls:
                yield
        else:
            async with self._own_commands, self._commands:
                yield


class Dispatch:
    """The tools of an agent. Models are shown those that fit into `settings.tools_budget`, the
    first ones first, and told how to find the others. `commands` bounds the commands that run at
    the same time in the whole process. Of the tools that leave something behind, only those that
    match `local_tools` are run for a model that was shown something private.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        settings: Settings,
        *,
        workspace: Path,
        clock: Clock,
        commands: asyncio.Semaphore,
        output_characters: int,
        local_tools: Sequence[str] = ("*",),
    ) -> None:
        tools = list(tools)
        shown, deferred = split(tools, settings.tools_budget)
        if deferred:
            found = find_tools(deferred)
            shown.append(found)
            tools.append(found)
        self._tools = {tool.name: tool for tool in sorted(tools, key=lambda each: each.name)}
        self._settings = settings
        self._commands = commands
        self._local_tools = tuple(local_tools)
        self._workspace = workspace
        self._clock = clock
        self._most = output_characters
        specs = [*map(spec, shown), *([USE_SPEC] if deferred else [])]
        self.specs = tuple(sorted(specs, key=lambda each: each.name))
        self.size = len(msgspec.json.encode(self.specs))  # in bytes

    async def round(
        self, turn: Turn, calls: Sequence[ToolCall], repeats: Repeats, *, most_characters: int
    ) -> list[ToolResult]:
        """Run `calls` and return their results in the same order; together, about as many
        characters as the model has room for. When this is cancelled, what came of them so far
        joins the turn's record.
        """
        run, surplus = calls[: self._settings.max_calls], calls[self._settings.max_calls :]
        most = min(self._most, max(most_characters // len(run), _LEAST_CHARACTERS))
        numbers = turn.reserve(len(calls))
        together = _Round(turn, repeats, most, self._settings, self._commands)
        tasks: list[asyncio.Task[ToolResult]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [
                    group.create_task(self._one(together, call, number))
                    for call, number in zip(run, numbers, strict=False)
                ]
        except asyncio.CancelledError:
            found = [_result_of(task, call) for task, call in zip(tasks, run, strict=False)]
            lost = [failed(call, LOST) for call in calls[len(found) :]]
            turn.record.append(Message("tool", (*found, *lost), together.private))
            raise
        results = [task.result() for task in tasks]
        results += [failed(call, self._too_many(len(calls))) for call in surplus]
        for call, result in zip(calls, results, strict=True):
            repeats.note(call, result)
        return results

    def _too_many(self, calls: int) -> str:
        most = self._settings.max_calls
        return (
            f"Not run: these were {calls} calls at once, and only the first {most} of them are "
            "run. Make the others again, fewer at a time."
        )

    async def _one(self, together: _Round, call: ToolCall, number: int) -> ToolResult:
        turn, repeats = together.turn, together.repeats
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
        leaves = not _LEAVES.isdisjoint(tool.effects)
        if together.private and leaves and not matching([tool], self._local_tools, ()):
            return failed(call, _PRIVATE.format(name=call.name))
        # Before the step, so that what only waits is not taken for begun after a crash.
        async with together.slot(tool):
            self._emit_started(turn, call)
            result = await turn.step(
                f"tool:{call.name}",
                ToolResult,
                lambda key: self._run(tool, together, call, key),
                replay=tool.replay,
                unknown=failed(call, UNKNOWN) if tool.replay is Replay.UNSAFE else None,
                number=number,
            )
        self._emit_finished(turn, call, result)
        return result

    async def _run(self, tool: Tool, together: _Round, call: ToolCall, key: str) -> ToolResult:
        turn = together.turn
        context = Context(
            session=turn.session,
            person=turn.person,
            agent=self._settings.name,
            turn_id=turn.id,
            key=key,
            workspace=self._workspace,
            clock=self._clock,
            timezone=person_zone(self._settings.timezone, turn.inbound.timezone),
            private=together.private,
            emit=turn.emit,
        )
        limit = self._settings.tool_timeout
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                answer = await tool.call(context, call.arguments)
            parts = [await self._fit(part, key, together) for part in answer.parts]
        except ToolError as error:
            return failed(call, str(error))
        except TimeoutError as error:
            if clock.expired():
                return failed(call, f"Stopped: {call.name} took longer than {limit:g} seconds.")
            said = f": {error}" if str(error) else ""
            return failed(call, f"{call.name} gave up waiting for something{said}.")
        except Exception as error:
            # A fault in a tool, perhaps a stranger's, is something the model can work around.
            log.exception("tool failed tool=%s turn=%s", call.name, turn.id)
            return failed(call, f"{call.name} failed inside with {type(error).__name__}.")
        outside = any(part.origin is Origin.OUTSIDE for part in parts)
        origin = Origin.OUTSIDE if outside else Origin.TOOL
        return ToolResult(call.id, call.name, tuple(parts), answer.ok, origin)

    async def _fit(self, part: Text | Image, key: str, together: _Round) -> Text | Image:
        """A long output is cut in the middle; the whole goes to a file that the model may read."""
        if not isinstance(part, Text) or len(part.text) <= together.most:
            return part
        text = await asyncio.to_thread(
            shortened, self._workspace, key, part.text, part.origin, together.most,
            private=together.private,
        )  # fmt: skip
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


def _result_of(task: asyncio.Task[ToolResult], call: ToolCall) -> ToolResult:
    """What came of a call in a round that did not come to its end."""
    if not task.done() or task.cancelled() or task.exception():
        return failed(call, LOST)
    return task.result()


def failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, (Text(text, Origin.TOOL),), ok=False)


def matching(tools: Iterable[Tool], allow: Sequence[str], deny: Sequence[str]) -> list[Tool]:
    """The tools whose names match a pattern of `allow` and none of `deny`."""

    def matches(name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return [tool for tool in tools if matches(tool.name, allow) and not matches(tool.name, deny)]
