"""One gateway per PostgreSQL database: an advisory lock, held by a connection of its own.

The server frees the lock when that connection ends: at once when our process dies, and when our
host is gone as soon as its keepalives tell so (25 seconds). While we live and have lost it, as
after a restart of the server, nothing is asked of the database until it is ours again.
"""

import asyncio
import logging
import os
import socket
from contextlib import AsyncExitStack, suppress
from typing import Self
from uuid import uuid4

from psycopg import Error

from famulus.core.errors import Locked, StoreUnavailable
from famulus.store.postgres_wire import Address, Connection

log = logging.getLogger(__name__)

# Any number, the same in every Famulus. The other half of the key is the schema with our tables.
_LOCK = 7_102_117
_SCHEMA = "(select oid from pg_namespace where nspname = current_schema())"
_TAKE = f"select pg_try_advisory_lock({_LOCK}, {_SCHEMA}::int) as taken"
_HOLDERS = f"""
    select a.pid, a.application_name as name, l.objid = {_SCHEMA} as here
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.classid = {_LOCK} and l.granted
        and a.datname = current_database()"""
# Ours without a lock are of a process that had it before: dead, or cut off from its lock as from
# its host. What they still do must not come after what we read.
_LEFTOVERS = f"""
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and usename = current_user
        and application_name like 'famulus %'
        and application_name not in (select name from ({_HOLDERS}) as holders)"""

_POLL_SECONDS = 0.05
_AGAIN_SECONDS = 0.2
# The server needs a moment to see that a process died.
_FREED_SECONDS = 3.0
# A restart of the server is over by then, most times, and nobody need hear of it.
_GRACE_SECONDS = 1.0


class PostgresLock:
    """Held while entered. Raises `Locked` when another process that lives holds it.

    Where another takes it while we are cut off, the task that entered is cancelled, and leaving
    raises a `Locked` in an exception group. `name` is for our other connections.
    """

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        self._address = address
        self._timeout = timeout_seconds
        self._held = asyncio.Event()
        self.name = f"famulus {os.getpid()}@{socket.gethostname()[:30]} {uuid4().hex[:8]}"

    async def __aenter__(self) -> Self:
        deadline = asyncio.get_running_loop().time() + _FREED_SECONDS
        connection = await self._connect()
        try:
            while (holder := await self._take(connection)) is not None:
                if asyncio.get_running_loop().time() > deadline:
                    raise Locked(
                        f"Another Famulus ({_process(holder)}) already uses PostgreSQL at"
                        f" {self._address.place}. Stop it, or give this one a database of its own"
                        " in storage.url."
                    )
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            await connection.close()
            raise
        self._held.set()
        self._stack = AsyncExitStack()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        keeping = group.create_task(self._keep(connection))
        self._stack.callback(keeping.cancel)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def held(self) -> None:
        """Return when the lock is ours. Raises `StoreUnavailable` if that is not soon."""
        if self._held.is_set():
            return
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._held.wait()
        except TimeoutError:
            raise StoreUnavailable(
                f"PostgreSQL at {self._address.place} cannot be used now: the connection to it was"
                " lost. Check that it runs, and storage.url."
            ) from None

    async def _keep(self, connection: Connection) -> None:
        while True:
            try:
                await self._lost(connection)
            finally:
                await connection.close()
            self._held.clear()
            log.warning("lock on the database lost, no query is made until it is back")
            connection = await self._regained()
            self._held.set()
            log.info("lock on the database is back")

    async def _lost(self, connection: Connection) -> None:
        """Return when the connection has ended. It is not asked anything meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            readable, number = asyncio.Event(), connection.fileno()
            loop.add_reader(number, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(number)
            try:
                connection.sever_at(loop.time() + self._timeout)
                await connection.execute("select 1")
                connection.sever_at(None)
            except Error:
                return

    async def _regained(self) -> Connection:
        while True:
            with suppress(Error):
                connection = await self._connect()
                try:
                    holder = await self._take(connection)
                except BaseException:
                    await connection.close()
                    raise
                if holder is None:
                    return connection
                await connection.close()
                # One without a name was let go between two questions, so it is worth another try.
                if holder not in ("", self.name):
                    raise Locked(
                        f"Another Famulus ({_process(holder)}) took over PostgreSQL at"
                        f" {self._address.place} while this one was cut off. This one ends."
                    )
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _connect(self) -> Connection:
        return await self._address.connect(self.name, seconds=self._timeout)

    async def _take(self, connection: Connection) -> str | None:
        """None if the lock is ours now, else the name of the connection that holds it."""
        connection.sever_at(asyncio.get_running_loop().time() + self._timeout)
        (row,) = await (await connection.execute(_TAKE)).fetchall()
        if row["taken"]:
            while (await connection.execute(_LEFTOVERS)).rowcount:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(_POLL_SECONDS)
            connection.sever_at(None)
            return None
        holders = await (await connection.execute(_HOLDERS)).fetchall()
        holder = next((row for row in holders if row["here"]), None)
        if holder is None:
            return ""
        if holder["name"] == self.name:
            # The server has not noticed yet that our connection is lost.
            await connection.execute("select pg_terminate_backend(%s)", [holder["pid"]])
        return str(holder["name"])


def _process(name: str) -> str:
    process, _, host = next(iter(name.split()[1:]), "unknown").partition("@")
    return f"process {process} on {host or 'an unknown host'}"
