"""How we speak to PostgreSQL: address, portable SQL in its own form, schema, errors told."""

import asyncio
import logging
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, Self

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.numeric import IntDumper

from famulus.core.errors import ConfigError, StoreError, StoreFull, StoreUnavailable
from famulus.store.migrations import VERSION, VERSION_TABLE, changes
from famulus.store.schema import STEPS, Step

# A network that swallows tells nobody that it does: these find out whether the other side lives.
_CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# The server looks the same way, and so frees the locks of a host that is gone. What it forgets in
# its own death we would go on building on, so every commit waits for the disk.
_SESSION = """
    set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
    set tcp_user_timeout = 25000;
    set statement_timeout = {milliseconds};
    set idle_in_transaction_session_timeout = {milliseconds};
    select set_config('synchronous_commit', 'on', false)
        where current_setting('synchronous_commit') = 'off'"""
# Any number, the same in every Famulus: one of them migrates, the others wait.
_MIGRATION_LOCK = 7_102_117_109

# What stands in quotes, or is a cast, is no parameter.
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|:([a-z_][a-z0-9_]*)|%", re.IGNORECASE)

# It warns of each connection that is lost, which whoever used it tells anyway.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_UNAVAILABLE = ("08", "40", "53", "55", "57", "25006", "25P03")


class _Number(Loader):
    """The sum of integers is a `numeric` here and an integer in SQLite."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class Connection(AsyncConnection[dict[str, Any]]):
    """One that can be ended from our side while somebody waits for its answer."""

    severed = False
    _deadline: asyncio.TimerHandle | None = None

    def sever_at(self, deadline: float | None) -> None:
        """Sever it at that time of the event loop; None: leave it."""
        if self._deadline:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_at(deadline, self.sever) if deadline else None

    def sever(self) -> None:
        """Whoever waits for an answer gets an error now, also where the server is frozen."""
        if self.closed:
            return
        self.severed = True
        with socket.socket(fileno=os.dup(self.fileno())) as end, suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

    async def cancel_safe(self, *, timeout: float = 0.0) -> None:
        # A server that does not answer would let whoever is cancelled wait for it.
        self.sever()

    @property
    def fresh(self) -> bool:
        """Nobody ended it while it was idle: there is nothing to read on it, not even its end."""
        if self.closed:
            return False
        reading = select.poll()
        reading.register(self.fileno(), select.POLLIN)
        return not reading.poll(0)


class Address(NamedTuple):
    """Where the server is. `secrets` never appear in an error."""

    url: str
    place: str
    secrets: Sequence[str]

    @classmethod
    def parse(cls, url: str) -> Self:
        try:
            parts = conninfo_to_dict(url)
            missing = {key: value for key, value in _CONNECTING.items() if key not in parts}
            url = make_conninfo(url, **missing)
        except Error:
            raise ConfigError(
                "storage.url is not a PostgreSQL address."
                " Write it as postgresql://user:password@host:5432/database."
            ) from None
        place = f"{parts.get('host') or 'local'}:{parts.get('port') or 5432}"
        secrets = [str(parts[key]) for key in ("password", "sslpassword") if parts.get(key)]
        return cls(url, f"{place}/{parts.get('dbname') or ''}", secrets)

    async def connect(self, name: str = "famulus", *, seconds: float = 0.0) -> Connection:
        """`seconds` is the longest time of a statement, and of a transaction that does nothing."""
        connection = await Connection.connect(
            self.url,
            autocommit=True,
            row_factory=dict_row,
            client_encoding="utf8",
            application_name=name,
        )
        connection.adapters.register_dumper(bool, IntDumper)
        connection.adapters.register_loader("numeric", _Number)
        try:
            await connection.execute(_SESSION.format(milliseconds=int(seconds * 1000)).encode())
        except BaseException:
            await connection.close()
            raise
        return connection


@lru_cache(maxsize=512)
def native(sql: str) -> bytes:
    """`:name` as `%(name)s`, and `%` doubled, as psycopg wants them."""
    return _TOKENS.sub(
        lambda token: f"%({token[1]})s" if token[1] else token[0].replace("%", "%%"), sql
    ).encode()


async def migrate(
    connection: AsyncConnection[dict[str, Any]], target: int, steps: Sequence[Step] = STEPS
) -> None:
    """Bring the schema up or down to `target`: wholly, or nothing is changed."""
    if not changes(await _version(connection), target, "postgres", 0.0, steps):
        return
    label = ""
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            # Another replica may have come first. Making the table comes before looking at it:
            # the server goes on believing that it is missing until we lock something in its schema.
            await connection.execute(VERSION_TABLE)
            plan = changes(await _version(connection), target, "postgres", time.time(), steps)
            for change in plan:
                label = change.label
                for sql in change.statements:
                    await connection.execute(sql.encode())
    except Error as error:
        if not label or isinstance(error, OperationalError):
            raise
        raise StoreError(
            f"Step {label} of the schema failed: {error.diag.message_primary}. Nothing was changed."
            " Use the version of Famulus that worked, and report this."
        ) from error


async def _version(connection: AsyncConnection[dict[str, Any]]) -> int:
    cursor = await connection.execute(
        "select to_regclass('schema_version') is not null as made,"
        " current_setting('server_encoding') as encoding"
    )
    (row,) = await cursor.fetchall()
    if row["encoding"] != "UTF8":
        raise StoreError(
            f"The database of storage.url has the encoding {row['encoding']}."
            " Create it with: createdb --encoding UTF8 --template template0 NAME"
        )
    if not row["made"]:
        return 0
    (row,) = await (await connection.execute(VERSION)).fetchall()
    return int(row["number"])


def told(error: Error | ValueError, address: Address) -> StoreError:
    """The error in words for the user, without what is secret in the address."""
    where = f"PostgreSQL at {address.place}"
    if isinstance(error, ValueError):
        return StoreError(f"{where} cannot hold this value: {error}. Nothing was written.")
    lines = (error.diag.message_primary or str(error) or "the connection was lost").splitlines()
    text = lines[0]
    for secret in address.secrets:
        text = text.replace(secret, "***")
    code = error.sqlstate or ""
    if code == "53100":
        return StoreFull(f"No space is left for {where}: {text}. Free some space there.")
    if code.startswith(_UNAVAILABLE) or (not code and isinstance(error, OperationalError)):
        return StoreUnavailable(
            f"{where} cannot be used now: {text}. Check that it runs, and storage.url."
        )
    if code.startswith(("28", "3D")):
        return StoreError(f"{where} refuses us: {text}. Check storage.url.")
    return StoreError(f"{where} could not do this: {text}. Nothing was written.")


def silent(address: Address, seconds: float) -> StoreUnavailable:
    return StoreUnavailable(
        f"PostgreSQL at {address.place} did not answer within {seconds:g} seconds."
        " Check that it runs, and the network to it."
    )
