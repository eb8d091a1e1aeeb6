"""A real PostgreSQL: the one of FAMULUS_TEST_POSTGRES, or one started for this test process."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

pytest.register_assert_rewrite("famulus.testing.check_store")

_SPEED = "-c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=40"


@pytest.fixture(scope="session")
def postgres_server(lacking: Callable[[str], NoReturn]) -> Iterator[str]:
    """The address of a server on which databases may be made."""
    if given := os.environ.get("FAMULUS_TEST_POSTGRES"):
        yield given
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        lacking("PostgreSQL is not installed: apt install postgresql")
    with _server(programs[-1].parent) as address:
        yield address


@contextmanager
def _server(programs: Path) -> Iterator[str]:
    # The path of a socket has 107 bytes at most, so pytest's own directories are too deep.
    place = Path(tempfile.mkdtemp(prefix="famulus-pg-"))
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        shutil.chown(place, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", place / "data", *arguments],
            check=True,
            user=user if os.geteuid() == 0 else None,
            cwd=place,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    try:
        run("initdb", "--no-sync", "--auth=trust", f"--username={user}", "--encoding=UTF8")
        options = f"{_SPEED} -c listen_addresses='' -c unix_socket_directories={place}"
        run("pg_ctl", "start", "--wait", "--log", str(place / "log"), "--options", options)
        try:
            yield make_conninfo(host=str(place), user=user, dbname="postgres")
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")
    finally:
        shutil.rmtree(place)


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
