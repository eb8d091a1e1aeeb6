"""A real PostgreSQL: the one of FAMULUS_TEST_POSTGRES, or one started for this test process."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import PostgresProxy

pytest.register_assert_rewrite("famulus.testing.check_store")


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


@pytest.fixture
async def proxy(own_server: OwnPostgres) -> AsyncIterator[PostgresProxy]:
    async with PostgresProxy(own_server.socket) as proxy:
        yield proxy


@pytest.fixture
def proxied_url(own_server: OwnPostgres, proxy: PostgresProxy) -> Iterator[str]:
    """A database that is reached through `proxy`."""
    name = f"famulus_{uuid4().hex}"
    with psycopg.connect(own_server.address, autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    yield proxy.address(own_server.user, name)
    proxy.sever()
    with psycopg.connect(own_server.address, autocommit=True) as server:
        server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
