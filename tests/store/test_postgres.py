import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from famulus.core.errors import ConfigError, StoreError, StoreUnavailable
from famulus.store.database import Database, statement
from famulus.store.migrations import NEWEST
from famulus.store.postgres import Postgres
from famulus.store.postgres_wire import Address, migrate, native
from famulus.store.schema import STEPS, Step
from famulus.testing.check_store import CheckStore, OpenStore, timer, timers
from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import Moment, PostgresProxy


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
async def test_connections_that_ended_while_idle_are_made_anew_before_anyone_notices(
    postgres_url: str,
) -> None:
    async with Postgres(postgres_url) as store:
        await asyncio.gather(*(store.transaction([timer(f"before-{n}")]) for n in range(3)))
        with psycopg.connect(postgres_url, autocommit=True) as other:
            # It waits until the session is gone.
            ended = other.execute(
                "select pg_terminate_backend(pid, 30000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            assert ended.fetchall() == [(True,)] * 3
        for n in range(3):
            await store.transaction([timer(f"after-{n}")])
        assert len(await timers(store)) == 6


@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_connection_lost_at_each_message_leaves_all_or_nothing(
    proxy: PostgresProxy, proxied_url: str, moment: Moment
) -> None:
    async with Postgres(proxied_url) as store:
        await store.transaction([timer("first")])
        proxy.cut(moment)
        await store.transaction([timer("whole"), timer("half")])
        trips = list(proxy.trips)
        assert trips[-1] == "commit"
        for number, trip in enumerate(trips, 1):
            await store.execute("delete from timer")
            proxy.cut(moment, number)
            with pytest.raises(StoreUnavailable, match="cannot be used now"):
                await store.transaction([timer("whole"), timer("half")])
            done = trip == "commit" and moment == "after"
            assert await timers(store) == (["half", "whole"] if done else [])
        assert proxy.cuts == len(trips) == 2


@pytest.mark.anyio
async def test_server_that_does_not_answer_holds_nobody_up(
    proxy: PostgresProxy, proxied_url: str
) -> None:
    async with Postgres(proxied_url, timeout_seconds=0.5) as store:
        await asyncio.gather(*(store.transaction([timer(f"{n}")]) for n in range(3)))
        proxy.swallow()
        calls: list[Awaitable[object]] = [store.search("word", limit=1) for _ in range(2)]
        # More than there are connections: whoever waits for one is told as well.
        calls += [store.transaction([timer(f"lost-{n}")]) for n in range(20)]
        async with asyncio.timeout(5):
            told = await asyncio.gather(*calls, return_exceptions=True)
        for error in told:
            assert isinstance(error, StoreUnavailable)
            assert "did not answer within 0.5 seconds" in str(error)
        proxy.flow()
        await store.transaction([timer("after")])
        assert await timers(store) == ["0", "1", "2", "after"]


@pytest.mark.anyio
async def test_whoever_is_cancelled_does_not_wait_for_a_frozen_server(
    proxy: PostgresProxy, proxied_url: str
) -> None:
    async with Postgres(proxied_url, timeout_seconds=60) as store:
        proxy.swallow()
        reading = asyncio.create_task(store.fetch("select 1"))
        while not proxy.held:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(2):
                await reading
        proxy.flow()


@pytest.mark.anyio
async def test_locks_of_a_transaction_that_nobody_ends_are_freed(
    proxy: PostgresProxy, proxied_url: str, own_server: OwnPostgres
) -> None:
    direct = make_conninfo(own_server.address, dbname=conninfo_to_dict(proxied_url)["dbname"])
    async with (
        Postgres(proxied_url, timeout_seconds=0.5) as store,
        Postgres(direct, timeout_seconds=20) as other,
    ):
        await store.transaction([timer("first")])
        proxy.cut("forever", 1)
        with pytest.raises(StoreUnavailable):
            await store.transaction([timer("same")])
        await other.transaction([timer("same")])
        assert await timers(other) == ["first", "same"]
        assert proxy.trips[0].startswith("begin; insert")
        proxy.flow()


@pytest.mark.anyio
async def test_every_transaction_waits_for_the_disk(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        name = sql.Identifier(server.info.dbname)
        server.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    shown = statement("select current_setting('synchronous_commit') as mode")
    async with Postgres(postgres_url) as store:
        modes = [
            (await store.transaction([shown], durable=durable))[0].rows[0]["mode"]
            for durable in (False, True, False)
        ]
    assert modes == ["on", "on", "on"]


@pytest.mark.anyio
async def test_what_was_committed_outlives_the_death_of_the_server(
    safe_server: OwnPostgres,
) -> None:
    async with Postgres(safe_server.address) as store:
        for n in range(3):
            await store.transaction([timer(f"{n}")])
            safe_server.kill()
            safe_server.start()
            assert len(await timers(store)) == n + 1


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
