from collections.abc import Callable
from functools import partial

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from famulus.core.errors import ConfigError, StoreError, StoreUnavailable
from famulus.store.database import Database, statement
from famulus.store.migrations import NEWEST
from famulus.store.postgres import Postgres
from famulus.store.postgres_wire import Address, migrate, native
from famulus.store.schema import STEPS, Step
from famulus.testing.check_store import CheckStore, OpenStore, timer, timers


class TestPostgres(CheckStore):
    @pytest.fixture
    def open_store(self, postgres_url: str) -> OpenStore:
        return partial(Postgres, postgres_url)

    async def schema(self, store: Database) -> object:
        columns = await store.fetch(
            "select table_name, column_name, data_type, column_default, is_nullable,"
            " generation_expression from information_schema.columns"
            " where table_schema = 'public' and table_name <> 'schema_version'"
            " order by table_name, column_name"
        )
        indexes = await store.fetch(
            "select indexdef from pg_indexes"
            " where schemaname = 'public' and tablename <> 'schema_version'"
        )
        return [tuple(row.values()) for row in columns], sorted(row["indexdef"] for row in indexes)


@pytest.mark.anyio
async def test_lost_connections_are_told_and_made_anew(postgres_url: str) -> None:
    async with Postgres(postgres_url) as store:
        await store.transaction([timer("before")])
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreUnavailable, match="cannot be used now"):
            await store.transaction([timer("lost")])
        await store.transaction([timer("after")])
        assert await timers(store) == ["after", "before"]


@pytest.mark.anyio
async def test_only_durable_transactions_wait_for_the_disk(postgres_url: str) -> None:
    shown = statement("select current_setting('synchronous_commit') as mode")
    async with Postgres(postgres_url) as store:
        modes = [
            (await store.transaction([shown], durable=durable))[0].rows[0]["mode"]
            for durable in (False, True, False)
        ]
    assert modes == ["off", "on", "off"]


@pytest.mark.anyio
async def test_password_is_in_no_error(postgres_server: str) -> None:
    # Nobody listens on the discard port of the loopback.
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9/name") as caught:
        await Postgres("postgresql://ann:hunter2@127.0.0.1:9/name").__aenter__()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="not a PostgreSQL address") as refused:
        Postgres("postgresql://ann:hunter2@host:port:port/name?nonsense=1")
    assert "hunter2" not in str(refused.value)
    missing = make_conninfo(postgres_server, dbname="nowhere", password="hunter2")
    with pytest.raises(StoreError, match="nowhere") as unknown:
        await Postgres(missing).__aenter__()
    assert "hunter2" not in str(unknown.value)


@pytest.mark.anyio
async def test_database_of_another_encoding_is_refused(new_postgres: Callable[..., str]) -> None:
    with pytest.raises(StoreError, match="encoding SQL_ASCII"):
        await Postgres(new_postgres("SQL_ASCII")).__aenter__()


@pytest.mark.anyio
async def test_failed_step_changes_nothing(postgres_url: str) -> None:
    bad = Step(NEWEST + 1, "bad", up=("create table bad (id text)", "drop table no"), down=())
    async with Postgres(postgres_url) as store:
        async with await Address.parse(postgres_url).connect() as connection:
            with pytest.raises(StoreError, match=r"bad of the schema failed.*Nothing was changed"):
                await migrate(connection, bad.number, (*STEPS, bad))
        with pytest.raises(StoreError, match="bad"):
            await store.fetch("select * from bad")
        (row,) = await store.fetch("select max(number) as number from schema_version")
        assert row["number"] == NEWEST


@pytest.mark.parametrize(
    ("portable", "own"),
    [
        ("select :a, :a_2", "select %(a)s, %(a_2)s"),
        ("select ':a' || ''':b', \":c\"", "select ':a' || ''':b', \":c\""),
        ("select :a::text, x[1:2]", "select %(a)s::text, x[1:2]"),
        ("select '%' where 7 % :n = 1 -- 5% :x", "select '%%' where 7 %% %(n)s = 1 -- 5%% :x"),
    ],
)
def test_portable_sql_becomes_our_own(portable: str, own: str) -> None:
    assert native(portable) == own.encode()
