"""Commands with limits but without walls."""

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from famulus.core.protocols import Finished
from famulus.policy.command import Limits, environment, run_bounded, with_limits

_MARK = "FAMULUS_COMMAND"
# An exec takes microseconds, a killed process a little longer.
_MOST_SWEEPS = 500


class Plain:
    """Weaker than a sandbox: for use inside a container, or where the owner wrote that he wants no
    walls. `name` says which of the two. A command sees what this process may see.
    """

    def __init__(self, name: Literal["container", "none"], limits: Limits) -> None:
        self.name: str = name
        self.network = True
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
        return [pid for pid, marked in self._found() if marked]

    def end(self, pid: int | None) -> None:
        """Kill by process group, which the kernel does at once; one by one, some could fork."""
        if pid is not None:
            _kill_group(pid)
        for _ in range(_MOST_SWEEPS):
            found = dict(self._found())
            if not found:
                return
            for member, marked in found.items():
                if marked:
                    _kill_group(member)

    def _found(self) -> Iterator[tuple[int, bool]]:
        """The marked processes, and with False those that cannot be told at this moment."""
        for path in Path("/proc").iterdir():
            # What is not ours, ended or a part of the kernel cannot be read or has no `exe`.
            with contextlib.suppress(OSError):
                if not path.name.isdigit():
                    continue
                variables = (path / "environ").read_bytes()
                if self._mark in variables.split(b"\0"):
                    yield int(path.name), True
                # In the midst of exec a process has neither arguments nor variables.
                elif not (variables or (path / "cmdline").read_bytes()) and (path / "exe").exists():
                    yield int(path.name), False


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if (group := os.getpgid(pid)) != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
