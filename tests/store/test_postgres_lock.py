import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from famulus.core.errors import Locked, StoreUnavailable
from famulus.store.postgres import Postgres
from famulus.testing.check_store import timer, timers
from famulus.testing.own_postgres import OwnPostgres
from famulus.testing.postgres_proxy import PostgresProxy

pytestmark = pytest.mark.anyio

_HOLDER = """
import asyncio, sys
from famulus.store.postgres import Postgres
async def hold():
    async with Postgres(sys.argv[1], alone=True) as store:
        await store.fetch("select 1")
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(hold())
"""


@contextmanager
def another_process(url: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def locked(url: str, **arguments: float) -> Postgres:
    return Postgres(url, alone=True, **arguments)


async def test_second_process_is_told_who_holds_the_database_and_a_dead_one_holds_nothing(
    postgres_url: str,
) -> None:
    with another_process(postgres_url) as holder:
        told = (
            rf"Another Famulus \(process {holder.pid} on {socket.gethostname()[:30]}\) already uses"
            r" PostgreSQL at .*/famulus_.*Stop it"
        )
        # One that is frozen lives.
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(Locked, match=told):
            await locked(postgres_url).__aenter__()
        # Who only looks needs no lock.
        async with Postgres(postgres_url) as store:
            assert await timers(store) == []
        holder.kill()
        async with locked(postgres_url) as store:
            assert await timers(store) == []


async def test_another_schema_of_the_same_database_is_another_assistant(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("create schema other")
    other = make_conninfo(postgres_url, options="-c search_path=other")
    async with locked(postgres_url) as store, locked(other) as second:
        await second.transaction([timer("theirs")])
        await store.transaction([timer("ours")])
        assert await timers(second) == ["theirs"]


async def test_what_the_last_holder_left_behind_is_ended_before_the_next_one_begins(
    postgres_url: str,
) -> None:
    with another_process(postgres_url) as holder:
        holder.send_signal(signal.SIGSTOP)
        with psycopg.connect(postgres_url, autocommit=True) as server:
            (locks,) = server.execute(
                "select pg_terminate_backend(pid, 30000) from pg_locks where locktype = 'advisory'"
            ).fetchall()
            assert locks == (True,)
            async with locked(postgres_url):
                (names,) = server.execute(
                    "select array_agg(application_name) from pg_stat_activity"
                    " where datname = current_database() and application_name like 'famulus %'"
                ).fetchall()
                assert all(f" {os.getpid()}@" in name for name in names[0])


async def test_lock_comes_back_after_a_restart_of_the_server(
    safe_server: OwnPostgres,
) -> None:
    async with locked(safe_server.address) as store:
        await store.transaction([timer("before")])
        for end in (safe_server.stop, safe_server.kill):
            end()
            safe_server.start()
            done = False
            async with asyncio.timeout(60):
                while not done:
                    with suppress(StoreUnavailable):
                        await store.execute("delete from timer where id = :id", id=end.__name__)
                        await store.transaction([timer(end.__name__)])
                        done = True
        with pytest.raises(Locked, match="already uses"):
            await locked(safe_server.address).__aenter__()
        assert await timers(store) == ["before", "kill", "stop"]


async def test_nothing_is_asked_of_the_database_while_the_lock_is_lost(
    proxy: PostgresProxy, proxied_url: str
) -> None:
    async with locked(proxied_url, timeout_seconds=0.5) as store:
        await store.transaction([timer("before")])
        proxy.refusing = True
        proxy.sever()
        message = ""
        async with asyncio.timeout(10):
            # It takes a turn of the event loop until an end is seen.
            while "the connection to it was lost" not in message:
                proxy.cut("before")
                with pytest.raises(StoreUnavailable) as told:
                    await store.transaction([timer("lost")])
                message = str(told.value)
        assert proxy.trips == []
        proxy.refusing = False
        await store.transaction([timer("after")])
        assert await timers(store) == ["after", "before"]


async def test_who_lost_the_lock_to_another_while_cut_off_ends(
    proxy: PostgresProxy, proxied_url: str, own_server: OwnPostgres
) -> None:
    direct = make_conninfo(own_server.address, dbname=conninfo_to_dict(proxied_url)["dbname"])

    async def live() -> None:
        async with locked(proxied_url, timeout_seconds=0.5) as store:
            await store.transaction([timer("first")])
            proxy.refusing = True
            proxy.sever()
            async with locked(direct) as second:
                await second.transaction([timer("second")])
                proxy.refusing = False
                async with asyncio.timeout(20):
                    await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await live()
    (error,) = ended.value.exceptions
    assert isinstance(error, Locked)
    assert f"Another Famulus (process {os.getpid()} on " in str(error)
    assert "took over" in str(error)


async def test_lock_that_the_server_believes_in_after_we_were_cut_off_is_taken_back(
    proxy: PostgresProxy, proxied_url: str
) -> None:
    async with locked(proxied_url, timeout_seconds=0.5) as store:
        await store.transaction([timer("before")])
        # Our side ends, and the server never hears of it.
        proxy.abandon()
        with suppress(StoreUnavailable):
            await store.transaction([timer("lost, or before it is seen")])
        await store.execute("delete from timer where id like 'lost%'")
        await store.transaction([timer("after")])
        assert await timers(store) == ["after", "before"]
