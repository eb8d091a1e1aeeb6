"""Runs a command in the sandbox."""

import asyncio
import signal
from typing import Annotated, Literal

import msgspec

from famulus.core.errors import SandboxUnavailable, ToolError
from famulus.core.messages import Origin, Text
from famulus.core.plugins import Services, Unavailable
from famulus.core.protocols import Context, Effect, Finished, Replay, Tool, ToolAnswer
from famulus.core.settings import Seconds, Section, Size, doc
from famulus.core.tools import tool
from famulus.core.workspace import holds_uploads, shortened

_FILE_TOO_LARGE = (128 + signal.SIGXFSZ, -signal.SIGXFSZ)  # as a shell tells it, and the system


class Settings(Section, frozen=True):
    """Shell commands in the workspace, without sight of anything else."""

    enabled: Annotated[bool, doc("Whether the tool is there.")] = True
    sandbox: Annotated[
        Literal["auto", "bubblewrap", "none"],
        doc(
            "`auto` takes bubblewrap, or plain processes where Famulus itself is in a container, "
            "or leaves the tool out. `none` lets commands do all that you can do."
        ),
    ] = "auto"
    network: Annotated[
        Literal["none", "host"],
        doc(
            "`none` keeps commands from every network where bubblewrap contains them. `host` gives "
            "them all that this machine reaches, its own services and your home network included."
        ),
    ] = "none"
    timeout: Annotated[Seconds, doc("Longest time for one command.", gt=0)] = Seconds(30)
    memory: Annotated[
        Size, doc("Memory of all processes of a command together.", ge=16 * 2**20)
    ] = Size(512 * 2**20)
    parallel: Annotated[int, doc("Commands at the same time, of all conversations.", ge=1)] = 8
    memory_together: Annotated[
        Size,
        doc(
            "Memory of all commands together: no more of them run at the same time than `memory` "
            "fits into it, but at least one.",
            ge=16 * 2**20,
        ),
    ] = Size(2 * 2**30)
    file: Annotated[Size, doc("Largest file that a command may write.", ge=1024)] = Size(
        256 * 2**20
    )
    processes: Annotated[int, doc("Processes of a command at the same time.", ge=4)] = 64
    output: Annotated[
        Size, doc("Output that is kept; a command that writes more is ended.", ge=1024)
    ] = Size(2**20)

    @property
    def at_once(self) -> int:
        """How many commands may run at the same time."""
        return max(1, min(self.parallel, self.memory_together // max(self.memory, 1)))


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    command: Annotated[str, msgspec.Meta(min_length=1)]


def build(settings: Settings, services: Services) -> Tool:
    sandbox = services.sandbox
    if sandbox is None:
        raise Unavailable(services.sandbox_reason or "There is no sandbox for commands here.")

    effects = {Effect.READS, Effect.WRITES, Effect.EXECUTES}
    if sandbox.network:
        effects.add(Effect.NETWORK)

    @tool(effects=effects, replay=Replay.UNSAFE)
    async def shell(context: Context, arguments: Arguments) -> ToolAnswer:
        """Run a /bin/sh command in the workspace. No network."""
        try:
            finished = await sandbox.run(
                ["/bin/sh", "-c", arguments.command],
                workspace=context.workspace,
                timeout_seconds=settings.timeout,
            )
        except SandboxUnavailable as error:
            raise ToolError(str(error)) from error
        # The command may have read what others sent, and nobody can tell from its output.
        outside = sandbox.network or holds_uploads(context.workspace)
        origin = Origin.OUTSIDE if outside else Origin.TOOL
        text = await asyncio.to_thread(
            shortened,
            context.workspace, context.key, finished.output, origin, services.tool_output - 100,
            private=context.private,
        )  # fmt: skip
        ending = _ending(finished, settings)
        told = "\n".join(piece for piece in (text.rstrip("\n"), ending) if piece)
        ok = not finished.exit_code and not finished.stopped_by
        return ToolAnswer((Text(told or "[no output]", origin),), ok)

    if sandbox.network:
        shell.description = "Run a /bin/sh command in the workspace. It may reach the network."
    return shell


def _ending(finished: Finished, settings: Settings) -> str:
    """How the command ended, unless well."""
    match finished.stopped_by:
        case "timeout":
            return f"[stopped after {settings.timeout:g} seconds]"
        case "memory":
            return f"[stopped: more than {settings.memory:,} bytes of memory]"
        case "processes":
            return f"[stopped: more than {settings.processes} processes]"
        case "output":
            return f"[stopped after {settings.output:,} bytes of output]"
    if finished.exit_code in _FILE_TOO_LARGE:
        return (
            f"[exit code {finished.exit_code}: no file may have more than {settings.file:,} bytes]"
        )
    return f"[exit code {finished.exit_code}]" if finished.exit_code else ""
