"""The embedded driver: one SQLite file, one writing thread, one reading thread.

Transactions that wait are committed together. Each runs in a savepoint, so that one that fails is
undone alone; one sync to disk serves all that asked to be durable.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from famulus.core.errors import StoreDamaged, StoreError, StoreUnavailable
from famulus.store.database import (
    Hit,
    Result,
    Row,
    Statement,
    Value,
    conflict,
    statement,
    storable,
)
from famulus.store.lane import Lane, Work
from famulus.store.lock import Held
from famulus.store.migrations import NEWEST
from famulus.store.sqlite_file import (
    connect,
    damage_in,
    damaged,
    empty_log,
    migrate,
    prepare,
    told,
    version,
)
from famulus.store.sqlite_place import Place, look_before
from famulus.store.terms import query_terms

log = logging.getLogger(__name__)

_SEARCH = """
    select message.id as id, -rank as score
    from message_index join message on message.id = message_index.rowid
    where message_index match :terms
        and (:session = '' or message.session = :session)
        and (:person = '' or message.person = :person)
    order by rank, message.id desc limit :limit"""

# Ranking a message takes a microsecond, counting it a fiftieth of that.
_MOST_RANKED = 4000
# Pages of the index that are merged at a time, in about 10 ms.
_MERGED_PAGES = 50


class _Transaction(NamedTuple):
    statements: Sequence[Statement]
    durable: bool


class _Read(NamedTuple):
    sql: str
    parameters: dict[str, Value]


class SQLite:
    """See `Database`. `schema` is the version that entering migrates to, up or down.

    `read_only` is for looking at a file that another process may be writing: it does not migrate.
    `held` is the lock on it, which knows whether it must be looked at.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        schema: int = NEWEST,
        held: Held | None = None,
    ) -> None:
        self.path = path
        self.trouble = ""
        self._held = held or Held(unclean=False)
        self._read_only = read_only
        self._schema = schema
        self._writer = Lane("database-writer", self._writing)
        self._reader = Lane("database-reader", self._reading)
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            if not self._read_only:
                await entered.enter_async_context(self._writer)
            await entered.enter_async_context(self._reader)
            self._exit = entered.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._exit.aclose()

    async def fetch(self, sql: str, /, **parameters: Value) -> Sequence[Row]:
        with self._noticing():
            return cast(Sequence[Row], await self._reader.ask(_Read(sql, parameters)))

    async def execute(self, sql: str, /, **parameters: Value) -> int:
        (result,) = await self.transaction([Statement(sql, parameters)])
        return result.touched

    async def transaction(
        self, statements: Sequence[Statement], *, durable: bool = False
    ) -> Sequence[Result]:
        if self._read_only:
            raise StoreError(f"The database {self.path} was opened for reading only.")
        with self._noticing():
            return cast(
                Sequence[Result], await self._writer.ask(_Transaction(tuple(statements), durable))
            )

    async def check(self) -> None:
        if not self._held.unclean:
            return
        with closing(connect(self.path, read_only=True)) as connection:
            try:
                found = await asyncio.to_thread(damage_in, connection)
            except asyncio.CancelledError:
                connection.interrupt()
                raise
        if found:
            self._notice(damaged(self.path, found))
        else:
            self._held.unclean = False

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except StoreDamaged as error:
            self._notice(error)
            raise

    def _notice(self, error: StoreDamaged) -> None:
        if not self.trouble:
            log.error("%s", error)
        self.trouble = str(error)

    async def search(
        self, text: str, *, limit: int, session: str = "", person: str = ""
    ) -> Sequence[Hit]:
        terms = [
            f'"{term[:-1]}"*' if term.endswith("*") else f'"{term}"' for term in query_terms(text)
        ]
        if not terms:
            return []
        telling = await self._telling(terms, limit)
        scope: dict[str, Value] = {"limit": limit, "session": session, "person": person}
        rows = await self.fetch(_SEARCH, terms=" OR ".join(telling), **scope)
        if len(rows) < limit and len(telling) < len(terms):
            rows = await self.fetch(_SEARCH, terms=" OR ".join(terms), **scope)
        return [Hit(row["id"], row["score"]) for row in rows]

    async def _telling(self, terms: Sequence[str], limit: int) -> Sequence[str]:
        """The rarest of `terms`, as many as are ranked quickly; usual words say little."""
        counts = ", ".join(
            f"(select count(*) from message_index where message_index match :t{n}) as t{n}"
            for n in range(len(terms))
        )
        bound: dict[str, Value] = {f"t{n}": term for n, term in enumerate(terms)}
        (row,) = await self.fetch(f"select {counts}", **bound)
        telling: list[str] = []
        ranked = 0
        for number, term in sorted((row[f"t{n}"], term) for n, term in enumerate(terms)):
            if ranked >= limit and ranked + number > _MOST_RANKED:
                break
            telling.append(term)
            ranked += number
        return telling

    async def sweep(self) -> None:
        """Merge the segments of the index, in steps, and empty the log of changes into the file.

        What was deleted elsewhere is overwritten already: `secure_delete` is on.
        """
        (row,) = await self.fetch("select n from sweep")
        due: int = row["n"]
        merge, pages = "insert into message_index (message_index, rank) values ('merge', :n)", -1
        changes, worked = statement("select total_changes() as n"), due > 0
        while worked:
            results = await self.transaction(
                [changes, statement(merge, n=pages * _MERGED_PAGES), changes]
            )
            worked = results[2].rows[0]["n"] - results[0].rows[0]["n"] > 1
            pages = 1
        if due:
            await self.execute("update sweep set n = 0 where n = :due", due=due)
        await asyncio.to_thread(empty_log, self.path)

    @contextmanager
    def _writing(self) -> Iterator[Work[_Transaction]]:
        look_before(self.path, unclean=self._held.unclean)
        with closing(connect(self.path)) as connection:
            prepare(connection, self.path)
            migrate(connection, self.path, self._schema)
            yield _Writer(connection, self.path).commit
            # Statistics for the planner are not worth an error at the end.
            with suppress(sqlite3.Error):
                connection.execute("pragma optimize")

    @contextmanager
    def _reading(self) -> Iterator[Work[_Read]]:
        with closing(connect(self.path, read_only=True)) as connection:
            self._check_version(connection)

            def read(batch: Sequence[_Read]) -> Sequence[Any]:
                return [_read(connection, self.path, one) for one in batch]

            yield read

    def _check_version(self, connection: sqlite3.Connection) -> None:
        try:
            found = version(connection)
        except sqlite3.Error as error:
            raise told(error, self.path) from None
        if found != self._schema:
            raise StoreError(
                f"The database {self.path} has schema {found}, this Famulus needs {self._schema}."
                " Start the Famulus that shall use it once, then try again."
            )


def _read(connection: sqlite3.Connection, path: Path, read: _Read) -> Sequence[Row] | StoreError:
    try:
        return connection.execute(read.sql, storable(read.parameters)).fetchall()
    except Exception as error:  # noqa: BLE001  (the caller gets it; the others of the batch go on)
        return told(error, path)


class _Writer:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._full_sync = False
        self._place = Place(path)

    def commit(self, batch: Sequence[_Transaction]) -> Sequence[Any]:
        """Do each transaction alone, then commit all; if that fails, all of them fail."""
        execute = self._connection.execute
        try:
            durable = any(one.durable for one in batch)
            self._place.check(now=durable)
            self._sync(full=durable)
            execute("begin immediate")
            outcomes = [self._attempt(one.statements) for one in batch]
            execute("commit")
        except (sqlite3.Error, StoreUnavailable) as error:
            # With a full disk SQLite may have rolled back by itself.
            if self._connection.in_transaction:
                execute("rollback")
            return [told(error, self._path) for _ in batch]
        return outcomes

    def _attempt(self, statements: Sequence[Statement]) -> Sequence[Result] | StoreError:
        execute = self._connection.execute
        execute("savepoint one")
        try:
            results = [self._do(*one) for one in statements]
        except Exception as error:  # the caller gets it; the others go on
            if not self._connection.in_transaction:
                raise  # SQLite gave up the whole batch
            execute("rollback to one")
            execute("release one")
            return told(error, self._path)
        execute("release one")
        return results

    def _do(self, sql: str, parameters: dict[str, Value], expect: int | None) -> Result:
        cursor = self._connection.execute(sql, storable(parameters))
        rows = cursor.fetchall() if cursor.description else ()
        touched = cursor.rowcount if cursor.rowcount >= 0 else len(rows)
        if expect is not None and touched != expect:
            raise conflict(sql, touched, expect)
        return Result(rows, touched)

    def _sync(self, *, full: bool) -> None:
        if full != self._full_sync:
            self._connection.execute(f"pragma synchronous = {'full' if full else 'normal'}")
            self._full_sync = full
