"""Runs one command within bounds of time, memory, processes and output, and ends all of it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

from msgspec import Struct

from famulus.core.errors import SandboxUnavailable
from famulus.core.protocols import Finished

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Limits(Struct, frozen=True, kw_only=True):
    """What one command may use. Sizes are bytes; `memory` and `processes` are of all its processes
    together, `file` is of one file. Output beyond `output` bytes stops the command.
    """

    memory: int = 512 * 2**20
    processes: int = 64
    output: int = 2**20
    file: int = 256 * 2**20


class Family(Protocol):
    """How the processes of a command are known."""

    def members(self, pid: int) -> Iterable[int]:
        """Those that live, where `pid` is the first."""

    def end(self, pid: int | None) -> None:
        """Kill all of them. `pid` is None when the first is gone already."""


class Stopped(Exception):
    """A limit was reached."""

    def __init__(self, by: Literal["memory", "processes", "output"]) -> None:
        self.by: Literal["memory", "processes", "output"] = by


async def run_bounded(
    command: Sequence[str],
    *,
    limits: Limits,
    timeout_seconds: float,
    family: Family,
    env: Mapping[str, str],
    folder: Path | None = None,
    inherited: Sequence[int] = (),
) -> Finished:
    """Run `command` to its end or to a limit; nothing of its `family` is alive on return.

    Raises `SandboxUnavailable` when it cannot be started.
    """
    started = time.monotonic()
    output = bytearray()
    stopped_by: Literal["", "timeout", "memory", "processes", "output"] = ""
    process, pipe = _start(command, env, folder, inherited)
    try:
        async with asyncio.timeout(timeout_seconds):
            await _follow(process, pipe, output, limits, family)
    except TimeoutError:
        stopped_by = "timeout"
    except Stopped as stop:
        stopped_by = stop.by
    finally:
        if process.poll() is None:
            family.end(process.pid)
            await _ended(process)
        family.end(None)
        pipe.close()
    return Finished(
        exit_code=process.returncode or 0,
        output=bytes(output[: limits.output]).decode("utf-8", "replace"),
        seconds=time.monotonic() - started,
        truncated=stopped_by == "output",
        stopped_by=stopped_by,
    )


def _start(
    command: Sequence[str], env: Mapping[str, str], folder: Path | None, inherited: Sequence[int]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """The process and the end of the pipe that its output comes out of.

    Not asyncio's way: that awaits after the start, and whoever is cancelled there does not learn
    which process to end. It also lets wait() wait for all who inherited the pipe.
    """
    reading, writing = os.pipe()
    pipe = os.fdopen(reading, "rb", buffering=0)
    try:
        process = subprocess.Popen(  # noqa: S603 - running what is given is its purpose
            command,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=dict(env),
            cwd=folder,
            pass_fds=tuple(inherited),
            start_new_session=True,
        )
    except OSError as error:
        pipe.close()
        raise SandboxUnavailable(f"{command[0]} did not start: {error.strerror}.") from error
    finally:
        os.close(writing)
    return process, pipe


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended."""
    if process.poll() is not None:
        return
    loop, descriptor = asyncio.get_running_loop(), os.pidfd_open(process.pid)
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


async def _follow(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    output: bytearray,
    limits: Limits,
    family: Family,
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(process.pid, limits, family))
            tasks.create_task(_read(pipe, output, limits.output))
            await _ended(process)
            watching.cancel()
            # Whoever was left behind may hold the pipe, and the reader would wait for it.
            family.end(None)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _read(pipe: IO[bytes], output: bytearray, most: int) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while piece := await reader.read(2**16):
            output += piece
            if len(output) > most:
                raise Stopped("output")
    finally:
        transport.close()


async def _watch(pid: int, limits: Limits, family: Family) -> None:
    """Add up what all processes of the command use.

    The kernel's own limits are for one process (memory), or do not count for root (processes).
    """
    while True:
        await asyncio.sleep(0.03)
        processes = memory = 0
        for member in family.members(pid):
            tasks, held = _usage(member)
            processes += tasks
            memory += held
            # Bubblewrap itself is two of them.
            if processes > limits.processes + 2:
                raise Stopped("processes")
        if memory > limits.memory:
            raise Stopped("memory")


def tree(pid: int) -> Iterator[int]:
    """`pid` and its living descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                yield from tree(int(child))


def _usage(pid: int) -> tuple[int, int]:
    """Threads, and bytes of memory that are not a file's."""
    threads = memory = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssShmem"):
                memory += int(value.split()[0]) * 1024
            elif name == "Threads":
                threads = int(value)
    return threads, memory


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def environment(home: str) -> dict[str, str]:
    """All that a command learns from its environment."""
    return {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb"}


def with_limits(command: Sequence[str], limits: Limits, *, count_processes: bool) -> list[str]:
    """`command` under the kernel's limits.

    Processes are counted per user, so that limit is of use only in a user namespace.
    """
    # Kibibytes and blocks of 512 bytes. What bash calls -u is -p for dash and busybox.
    script = f"ulimit -c 0; ulimit -d {limits.memory // 1024}; ulimit -f {limits.file // 512}; "
    if count_processes:
        script += f"ulimit -u {limits.processes} 2>/dev/null || ulimit -p {limits.processes}; "
    return ["/bin/sh", "-c", script + 'exec "$@"', "sh", *command]
