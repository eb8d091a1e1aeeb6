"""Commands with limits but without walls."""

import contextlib
import os
import secrets
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from famulus.core.protocols import Finished
from famulus.policy.command import Limits, environment, kill, run_bounded, with_limits

_MARK = "FAMULUS_COMMAND"


class Plain:
    """Weaker than a sandbox: for use inside a container, or where the owner wrote that he wants no
    walls. `name` says which of the two. A command sees what this process may see.
    """

    def __init__(self, name: Literal["container", "none"], limits: Limits) -> None:
        self.name: str = name
        self._limits = limits

    async def run(
        self, command: Sequence[str], *, workspace: Path, timeout_seconds: float
    ) -> Finished:
        workspace.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(8)
        return await run_bounded(
            with_limits(command, self._limits, count_processes=False),
            limits=self._limits,
            timeout_seconds=timeout_seconds,
            family=_Marked(f"{_MARK}={token}".encode()),
            env=environment(str(workspace)) | {_MARK: token},
            folder=workspace,
        )


class _Marked:
    """The family of a command, known by a mark in the environment, which children inherit."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark

    def members(self, _pid: int) -> list[int]:
        numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [number for number in numbers if self._marks(number)]

    def end(self, pid: int | None) -> None:
        """Kill by process group, which the kernel does at once; one by one, some could fork."""
        if pid is not None:
            kill(pid)
        while found := self.members(0):
            for member in found:
                with contextlib.suppress(ProcessLookupError):
                    if (group := os.getpgid(member)) != os.getpgrp():
                        os.killpg(group, signal.SIGKILL)

    def _marks(self, pid: int) -> bool:
        # A killed process that nobody waited for yet has an empty environment.
        with contextlib.suppress(OSError):
            return self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False
