"""A real PostgreSQL behind a proxy that can fail."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import PostgresProxy

pytest.register_assert_rewrite("famulus.testing.check_store")


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
