"""Commands in namespaces of their own, made by `bwrap`.

No network unless it is given, a read-only system, an empty home, and of our files only the
workspace. What the kernel cannot bound for a whole namespace (memory, and processes of root)
`command.py` watches.
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from famulus.core.protocols import Finished
from famulus.core.workspace import MOUNT
from famulus.policy.command import Limits, environment, kill, run_bounded, tree, with_limits
from famulus.policy.seccomp import seccomp_filter

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
_ETC = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
)
# How names are looked up.
_NAMES = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf")
_PASSWD = f"famulus:x:1000:1000::{MOUNT}:/bin/sh\n".encode()
_GROUP = b"famulus:x:1000:\n"


class Bubblewrap:
    """Commands in namespaces of their own, made by `bwrap` 0.8 or newer."""

    name = "bubblewrap"

    def __init__(self, program: str, limits: Limits, *, network: bool = False) -> None:
        self.network = network
        self._program = program
        self._limits = limits
        self._filter = seccomp_filter()
        self._fixed = _arguments(limits, network=network)

    async def run(
        self, command: Sequence[str], *, workspace: Path, timeout_seconds: float
    ) -> Finished:
        workspace.mkdir(parents=True, exist_ok=True)
        limited = with_limits(command, self._limits, count_processes=True)
        with contextlib.ExitStack() as stack:
            passwd, group, rules = (
                stack.enter_context(_readable(data)) for data in (_PASSWD, _GROUP, self._filter)
            )
            arguments = [
                *("--ro-bind-data", str(passwd), "/etc/passwd"),
                *("--ro-bind-data", str(group), "/etc/group"),
                *(("--seccomp", str(rules)) if self._filter else ()),
                *("--bind", str(workspace.resolve()), MOUNT, "--chdir", MOUNT),
                *("--remount-ro", "/"),
            ]
            return await run_bounded(
                [self._program, *self._fixed, *arguments, *limited],
                limits=self._limits,
                timeout_seconds=timeout_seconds,
                family=_Namespace(),
                # Not even bwrap gets our variables: a command can read /proc/1/environ.
                env={},
                inherited=(passwd, group, rules),
            )


def _arguments(limits: Limits, *, network: bool) -> list[str]:
    """What stays the same from command to command."""
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *(() if network else ("--unshare-net",)),
        *("--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL"),
        *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
        *("--die-with-parent", "--new-session", "--clearenv"),
    ]
    for name, value in environment(MOUNT).items():
        arguments += ["--setenv", name, value]
    for path in _SYSTEM:
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    for path in (*_ETC, *(_NAMES if network else ())):
        # Behind a link there may be a folder that a command does not see.
        arguments += ["--ro-bind-try", str(Path(path).resolve()), path]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):  # noqa: S108 - folders of the sandbox, not of this machine
        arguments += ["--size", str(max(limits.memory // 4, 2**20)), "--tmpfs", path]
    return arguments


@contextlib.contextmanager
def _readable(data: bytes) -> Iterator[int]:
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


class _Namespace:
    """The family of a command: everything below `bwrap`."""

    def members(self, pid: int) -> Iterator[int]:
        return tree(pid)

    def end(self, pid: int | None) -> None:
        """Kill the namespace's first process: the kernel takes all others with it, and `bwrap`
        ends only after they are gone.
        """
        if pid is None:
            return
        # Stopped, it cannot start the namespace behind our back.
        kill(pid, signal.SIGSTOP)
        first = next(islice(tree(pid), 1, 2), None)
        if first is None:
            kill(pid)
        else:
            kill(first)
            kill(pid, signal.SIGCONT)
