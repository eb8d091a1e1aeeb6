"""The driver for several machines: PostgreSQL over a few connections.

Each transaction is committed by itself; the server groups what several connections commit at the
same moment. Calls that overlap may therefore commit in another order than they were made, but a
caller that awaits each call keeps its order.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from psycopg import AsyncCursor, Error, pq

from famulus.core.errors import StoreError, StoreUnavailable
from famulus.store.database import Hit, Result, Row, Statement, Value, conflict, storable
from famulus.store.migrations import NEWEST
from famulus.store.postgres_lock import PostgresLock
from famulus.store.postgres_wire import Address, Connection, migrate, native, silent, told
from famulus.store.terms import query_terms

_VACUUM_SECONDS = 600.0
_CONNECTIONS = 6
_TRIES_AGAIN = 3
# The server undoes one of two transactions that wait for each other. Both are data: do it again.
_TRY_AGAIN = ("40001", "40P01")

_SEARCH = """
    select id, ts_rank(words, query) as score
    from message, to_tsquery('simple', :terms) as query
    where words @@ query
        and (:session = '' or session = :session) and (:person = '' or person = :person)
    order by score desc, id desc limit :limit"""

_Cursor = AsyncCursor[dict[str, Any]]


class Postgres:
    """See `Database`. `schema` is the version that entering migrates to, up or down.

    With `alone` it holds the database's lock (see `PostgresLock`). Each call ends within
    `timeout_seconds`. After `StoreUnavailable` from a transaction, its commit may or may not have
    reached the server.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: int = NEWEST,
        timeout_seconds: float = 10.0,
        alone: bool = False,
    ) -> None:
        self._address = Address.parse(url)
        self._lock: PostgresLock | None = None
        if alone:
            self._lock = PostgresLock(self._address, timeout_seconds=timeout_seconds)
        self.trouble = ""
        self._schema = schema
        self._timeout = timeout_seconds
        self._idle: list[Connection] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._places = asyncio.Semaphore(_CONNECTIONS)
        async with AsyncExitStack() as stack:
            try:
                if self._lock:
                    await stack.enter_async_context(self._lock)
                # Without a limit: a step of the schema may take its time.
                async with await self._address.connect() as connection:
                    await migrate(connection, self._schema)
            except Error as error:
                raise told(error, self._address) from error
            self._open = True
            stack.push_async_callback(self._leave)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _leave(self) -> None:
        self._open = False
        try:
            for _ in range(_CONNECTIONS):
                await self._places.acquire()
        finally:
            await self._close()

    async def fetch(self, sql: str, /, **parameters: Value) -> Sequence[Row]:
        async with self._connection() as connection:
            cursor = await connection.execute(native(sql), storable(parameters))
            return await cursor.fetchall()

    async def execute(self, sql: str, /, **parameters: Value) -> int:
        (result,) = await self.transaction([Statement(sql, parameters)])
        return result.touched

    async def transaction(
        self, statements: Sequence[Statement], *, durable: bool = False
    ) -> Sequence[Result]:
        """See `Database`. Every commit is durable, as the server may die while we live."""
        statements = tuple(statements)
        for _ in range(_TRIES_AGAIN):
            try:
                return await self._transact(statements)
            except StoreUnavailable as error:
                if getattr(error.__cause__, "sqlstate", "") not in _TRY_AGAIN:
                    raise
        return await self._transact(statements)

    async def _transact(self, statements: Sequence[Statement]) -> Sequence[Result]:
        async with self._connection() as connection:
            return await _transact(connection, statements)

    async def search(
        self, text: str, *, limit: int, session: str = "", person: str = ""
    ) -> Sequence[Hit]:
        match = " | ".join(
            f"'{term[:-1]}':*" if term.endswith("*") else f"'{term}'" for term in query_terms(text)
        )
        if not match:
            return []
        rows = await self.fetch(_SEARCH, terms=match, limit=limit, session=session, person=person)
        return [Hit(row["id"], row["score"]) for row in rows]

    async def check(self) -> None:
        return  # that is the server's own business

    async def sweep(self) -> None:
        async with self._connection() as connection:
            # Nobody waits for it, and large tables take longer than any answer.
            connection.sever_at(asyncio.get_running_loop().time() + _VACUUM_SECONDS)
            await connection.execute("vacuum turn, step, outbox, blob, message, session")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. One that is not clean afterwards is closed, and the next is new."""
        if not self._open:
            raise StoreError("The database is closed.")
        if self._lock:
            await self._lock.held()
        deadline = asyncio.get_running_loop().time() + self._timeout
        async with self._place(deadline):
            connection = None
            try:
                connection = await self._take(deadline)
                yield connection
            except (Error, ValueError) as error:
                if connection is None or connection.closed:
                    # What broke one connection has most likely broken all.
                    await self._close()
                if connection and connection.severed:
                    raise silent(self._address, self._timeout) from error
                raise told(error, self._address) from error
            finally:
                if connection is not None:
                    await self._give_back(connection)

    @asynccontextmanager
    async def _place(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            raise silent(self._address, self._timeout) from None
        try:
            yield
        finally:
            self._places.release()

    async def _take(self, deadline: float) -> Connection:
        """A connection that is severed at the deadline, unless it is given back before."""
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                break
            await connection.close()
        else:
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await self._address.connect(
                        self._lock.name if self._lock else "famulus", seconds=self._timeout
                    )
            except TimeoutError:
                raise silent(self._address, self._timeout) from None
        connection.sever_at(deadline)
        return connection

    async def _give_back(self, connection: Connection) -> None:
        connection.sever_at(None)
        clean = (
            not connection.closed
            and connection.pgconn.pipeline_status == pq.PipelineStatus.OFF
            and connection.info.transaction_status == pq.TransactionStatus.IDLE
        )
        if clean:
            self._idle.append(connection)
        else:
            await connection.close()

    async def _close(self) -> None:
        while self._idle:
            await self._idle.pop().close()


async def _transact(connection: Connection, statements: Sequence[Statement]) -> Sequence[Result]:
    """Send everything in one go; a second trip commits what has met its expectations."""
    try:
        async with connection.pipeline():
            await connection.execute("begin")
            cursors = [
                await connection.execute(native(one.sql), storable(one.parameters))
                for one in statements
            ]
        results = [await _result(cursor) for cursor in cursors]
        for one, result in zip(statements, results, strict=True):
            if one.expect is not None and result.touched != one.expect:
                raise conflict(one.sql, result.touched, one.expect)
        await connection.execute("commit")
    except (Error, ValueError, StoreError):
        if not connection.closed:
            await connection.rollback()
        raise
    return results


async def _result(cursor: _Cursor) -> Result:
    rows = await cursor.fetchall() if cursor.description else ()
    return Result(rows, max(cursor.rowcount, 0))
