"""A network between a program and PostgreSQL that tests can break at a chosen message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Literal, Self

Moment = Literal["before", "after", "forever"]

_HOST = "127.0.0.1"
_ENDS_A_TRIP = b"QS"
_ANSWERED = b"Z"


class PostgresProxy:
    """Forwards a TCP port of the loopback to the server whose Unix socket is `server`.

    A trip is what a client sends before it waits: a simple query, or all up to a sync. `trips` has
    the SQL of each since `cut` was called last, and `held` is how many messages are swallowed now.
    While it is `refusing`, new connections end at once. The client must speak without TLS.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._numbers: tuple[int, ...] = ()
        self._moment: Moment = "before"
        self._links: set[_Link] = set()
        self._flows = asyncio.Event()
        self.trips: list[str] = []
        self.cuts = 0
        self.held = 0
        self.refusing = False

    def address(self, user: str, database: str) -> str:
        """The URL of a database behind the proxy."""
        return (
            f"postgresql://{user}@{_HOST}:{self.port}/{database}?sslmode=disable&gssencmode=disable"
        )

    async def __aenter__(self) -> Self:
        self._flows.set()
        self._stack = AsyncExitStack()
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._listener = await asyncio.start_server(self._accept, _HOST, 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._listener.close()
        self.sever()
        self._flows.set()
        await self._stack.aclose()

    def cut(self, moment: Moment, *numbers: int) -> None:
        """Lose a connection at the trips of these numbers, counted from now over all connections.

        `before`: the server never sees the trip. `after`: it has done what was asked, and its
        answer is lost. `forever`: as `after`, but nobody is told, and all connections are as that
        one until `flow` is called. Without numbers it only counts.
        """
        self._numbers, self._moment = numbers, moment
        self.trips.clear()

    def sever(self) -> None:
        """Lose all connections at once."""
        for link in list(self._links):
            link.close()

    def abandon(self) -> None:
        """Lose all connections for the client alone: the server is not told."""
        for link in list(self._links):
            link.abandon()

    def swallow(self) -> None:
        """Let nothing through in either direction, and tell nobody."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
        else:
            self._group.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, writer)
        self._links.add(link)
        try:
            # A server that is down, and a side that went away, end the connection: that is all.
            with suppress(OSError, asyncio.IncompleteReadError):
                answers, asks = await asyncio.open_unix_connection(self._server)
                link.server = asks
                async with asyncio.TaskGroup() as group:
                    group.create_task(link.ask(reader, asks))
                    group.create_task(link.answer(answers, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            link.close()
            self._links.discard(link)

    async def through(self) -> None:
        self.held += 1
        await self._flows.wait()
        self.held -= 1

    def count(self, link: "_Link", sql: str) -> Moment | None:
        """Note the SQL of a trip; when it is the one to be lost: at what moment."""
        self.trips.append(sql)
        if len(self.trips) not in self._numbers:
            return None
        self.cuts += 1
        return self._moment


class _Link:
    def __init__(self, proxy: PostgresProxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self.server: asyncio.StreamWriter | None = None
        self._statements: dict[bytes, str] = {}
        # The first answer that is complete is the one to the login.
        self._open_trips = 1
        self._mute = False
        self._abandoned = False

    def close(self) -> None:
        for side in (self._client, self.server):
            if side:
                side.close()

    def abandon(self) -> None:
        self._abandoned = True
        self._client.close()

    async def ask(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """From the client to the server, trip by trip."""
        await self._pass(await _login(reader), server)
        trip, sql = b"", ""
        async for kind, message in _messages(reader):
            trip += message
            sql += self._sql(kind, message[5:])
            if kind == b"H":  # the client wants an answer to what it has sent so far
                await self._pass(trip, server)
                trip = b""
            elif kind in _ENDS_A_TRIP:
                moment = self._proxy.count(self, sql.strip("; "))
                if moment == "before":
                    self.close()
                    return
                self._open_trips += 1
                self._mute = moment == "after"
                await self._pass(trip, server)
                trip, sql = b"", ""
                if moment == "forever":
                    self._proxy.swallow()
            elif kind == b"X":
                await self._pass(trip, server)
        # An end is swallowed like everything else.
        await self._proxy.through()
        if not self._abandoned:
            self.close()

    async def answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """From the server to the client; the answer to a trip that is to be lost is not passed."""
        async for kind, message in _messages(reader):
            self._open_trips -= kind == _ANSWERED
            if not self._mute:
                await self._pass(message, client)
            elif not self._open_trips:
                break
        self.close()

    async def _pass(self, data: bytes, to: asyncio.StreamWriter) -> None:
        await self._proxy.through()
        to.write(data)
        await to.drain()

    def _sql(self, kind: bytes, body: bytes) -> str:
        match kind:
            case b"Q":
                return body.split(b"\0")[0].decode()
            case b"P":
                name, sql, *_ = body.split(b"\0")
                self._statements[name] = sql.decode()
            case b"B":
                return self._statements.get(body.split(b"\0")[1], "?") + "; "
        return ""


async def _login(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size) - 4)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """Each message's kind, and the message with its kind and length."""
    with suppress(asyncio.IncompleteReadError):
        while True:
            head = await reader.readexactly(5)
            yield head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
