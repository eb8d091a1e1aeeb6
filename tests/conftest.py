import asyncio
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from famulus.policy.sandbox import find_sandbox
from famulus.testing.own_postgres import OwnPostgres, find_postgres, own_postgres

# A shared machine may pause at any moment, so no example is timed. A change is judged by the same
# examples each time; who works on it gets new ones with every run.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """Ends a test for want of something on this machine: a failure in CI, elsewhere a skip."""

    def lacking(reason: str) -> NoReturn:
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)

    return lacking


@pytest.fixture
def small_disk(
    tmp_path: Path, lacking: Callable[[str], NoReturn]
) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of so many bytes (`3m`) in a folder of the test's own."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lacking("no small disk can be mounted, which takes root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="session")
def bwrap(lacking: Callable[[str], NoReturn]) -> str:
    """The path of a bubblewrap that works here."""
    # In a thread, as a test that asks for it may run in a loop already.
    with ThreadPoolExecutor(1) as thread:
        sandbox, reason = thread.submit(lambda: asyncio.run(find_sandbox("bubblewrap"))).result()
    program = shutil.which("bwrap")
    if sandbox is None or program is None:
        lacking(reason)
    return program


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that names what was not tried here and why."""
    reasons = Counter(
        " ".join(re.sub(r"^Skipped: ", "", report.longrepr[2]).split())
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"Not tried on this machine, with the number of tests: {told}")


@pytest.fixture(scope="session")
def own_server(lacking: Callable[[str], NoReturn]) -> Iterator[OwnPostgres]:
    """A PostgreSQL that belongs to this test process."""
    with _postgres(lacking, quick=True) as server:
        yield server


@pytest.fixture
def safe_server(lacking: Callable[[str], NoReturn]) -> Iterator[OwnPostgres]:
    """A PostgreSQL that belongs to this test, and syncs what it commits."""
    with _postgres(lacking, quick=False) as server:
        yield server


@contextmanager
def _postgres(lacking: Callable[[str], NoReturn], *, quick: bool) -> Iterator[OwnPostgres]:
    programs = find_postgres()
    if programs is None:
        lacking("PostgreSQL is not installed: apt install postgresql")
    with own_postgres(programs, quick=quick) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> str:
    """The address of a server on which databases may be made."""
    if given := os.environ.get("FAMULUS_TEST_POSTGRES"):
        return given
    own: OwnPostgres = request.getfixturevalue("own_server")
    return own.address


@pytest.fixture
def new_postgres(postgres_server: str) -> Iterator[Callable[..., str]]:
    """Makes a database and gives its address; all are dropped after the test."""
    made: list[str] = []

    with psycopg.connect(postgres_server, autocommit=True) as server:

        def make(encoding: str = "UTF8") -> str:
            name = f"famulus_{uuid4().hex}"
            server.execute(
                sql.SQL("create database {} encoding {} locale 'C' template template0").format(
                    sql.Identifier(name), sql.Literal(encoding)
                )
            )
            made.append(name)
            return make_conninfo(postgres_server, dbname=name)

        yield make
        for name in made:
            drop = sql.SQL("drop database {} with (force)")
            server.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def postgres_url(new_postgres: Callable[..., str]) -> str:
    return new_postgres()
