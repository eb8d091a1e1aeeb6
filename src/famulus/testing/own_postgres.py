"""A PostgreSQL server of its own, for tests that stop it, kill it and freeze it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

_WAIT_SECONDS = 60
_SETTINGS = ("listen_addresses=", "shared_buffers=16MB", "max_connections=40")
_QUICK = ("fsync=off", "full_page_writes=off")


class OwnPostgres:
    """A server that listens on a Unix socket alone; `address` is that of its first database."""

    def __init__(self, programs: Path, place: Path, *, quick: bool) -> None:
        self._programs = programs
        self._place = place
        self._settings = (*_SETTINGS, f"unix_socket_directories={place}", *(_QUICK * quick))
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        self.address = make_conninfo(host=str(place), user=self._user, dbname="postgres")
        self.user = self._user
        self.folder = str(place)
        self.socket = str(place / ".s.PGSQL.5432")

    def make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._place, self._user)
        with self._spawn(
            "initdb", "--no-sync", "--auth=trust", f"--username={self._user}", "--encoding=UTF8"
        ) as made:
            assert made.wait(_WAIT_SECONDS) == 0

    def start(self) -> None:
        """Start it and wait until it answers; what a kill left behind is recovered."""
        options = [part for each in self._settings for part in ("-c", each)]
        self._process = self._spawn("postgres", *options)
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                psycopg.connect(self.address).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._place / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it in order: sessions are cut, what was committed is on disk (`stop -m fast`)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all its processes by `kill -9`."""
        backends = self._backends()
        self._end(signal.SIGKILL)
        for each in backends:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def freeze(self) -> None:
        for each in self._processes():
            os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        for each in self._processes():
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)

    def cut_sessions(self) -> None:
        """End all other sessions, as an administrator can."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where backend_type = 'client backend' and pid <> pg_backend_pid()"
            )

    def _end(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)
        self._process.wait(_WAIT_SECONDS)
        self._process = None

    def _processes(self) -> Sequence[int]:
        assert self._process
        return [self._process.pid, *self._backends()]

    def _backends(self) -> Sequence[int]:
        assert self._process
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(each) for task in tasks for each in task.read_text().split()]

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._place / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, "-D", self._place / "data", *arguments],
                user=self._user if os.geteuid() == 0 else None,
                cwd=self._place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        if self._process:
            self.thaw()
            self._end(signal.SIGQUIT)


def find_postgres() -> Path | None:
    """The folder of the newest server's programs."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return programs[-1].parent if programs else None


@contextmanager
def own_postgres(programs: Path, *, quick: bool = True) -> Iterator[OwnPostgres]:
    """A running server. `quick`: without syncs, so what is lost is lost by a power cut alone."""
    # The path of a socket has 107 bytes at most, so pytest's own directories are too deep.
    place = Path(tempfile.mkdtemp(prefix="famulus-pg-"))
    server = OwnPostgres(programs, place, quick=quick)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(place)
