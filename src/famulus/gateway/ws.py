"""The WebSocket `/ws`: one JSON object a text frame, each with a `type`."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from famulus.channels.web import Feed, Frame, Web
from famulus.core.config import Limits
from famulus.core.errors import Busy, Invalid, Refused, StoreError
from famulus.gateway.auth import Auth, Identity
from famulus.gateway.frames import Client, Desk

_HEARTBEAT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
_CHECK_SECONDS = 1.0


class Sockets:
    """The open connections. One that does not answer a ping in time is closed."""

    def __init__(
        self,
        desk: Desk,
        *,
        channel: Web,
        auth: Auth,
        limits: Limits,
        max_clients: int,
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    ) -> None:
        self._desk = desk
        self._channel = channel
        self._auth = auth
        self._limits = limits
        self._max_clients = max_clients
        self._heartbeat_seconds = heartbeat_seconds
        self._open: set[_Connection] = set()

    @property
    def count(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, identity: Identity) -> web.StreamResponse:
        """Upgrade a request that has proved itself, and talk until one side leaves."""
        if len(self._open) >= self._max_clients:
            raise Busy("Too many clients are connected. Please close one.", retry_after_seconds=5)
        socket = _Socket(
            max_msg_size=self._limits.frame,
            heartbeat=self._heartbeat_seconds,
            timeout=_CLOSE_SECONDS,
            # Each connection's compressor would take a quarter of a megabyte.
            compress=False,
        )
        transport = request.transport
        abort = transport.abort if transport else lambda: None
        with self._channel.reader(abort) as feed:
            connection = _Connection(
                socket,
                feed,
                Client(self._desk, feed),
                identity=identity,
                auth=self._auth,
                abort=abort,
            )
            self._open.add(connection)
            try:
                await socket.prepare(request)
                query = request.query
                await connection.talk(query.get("channel", ""), query.get("chat_id", ""))
            finally:
                self._open.discard(connection)
        return socket

    async def close_login(self, digest: str) -> None:
        """Close the connections of a login that has ended."""
        ended = [each for each in self._open if each.identity == Identity("login", digest)]
        await self._close(ended, WSCloseCode.POLICY_VIOLATION, b"logged out")

    async def close_ended(self) -> None:
        """Close the connections whose login or token has ended, whoever ended it."""
        ended = set()
        for identity in {each.identity for each in self._open}:
            if not await self._auth.still(identity):
                ended.add(identity)
        gone = [each for each in self._open if each.identity in ended]
        await self._close(gone, WSCloseCode.POLICY_VIOLATION, b"logged out")

    async def close_all(self) -> None:
        await self._close(list(self._open), WSCloseCode.GOING_AWAY, b"Famulus stops")

    @staticmethod
    async def _close(connections: Sequence["_Connection"], code: int, reason: bytes) -> None:
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(connection.close(code, reason))


class _Socket(web.WebSocketResponse):
    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        # aiohttp closes as soon as it sees the length; the reason belongs before that.
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self.closed:
            error = {
                "type": "error",
                "code": "too_large",
                "message": f"The frame is larger than {self._max_msg_size:,} bytes.",
            }
            await self.send_str(msgspec.json.encode(error).decode())
            message = b"frame too large"
        return await super().close(code=code, message=message, drain=drain)


class _Connection:
    def __init__(
        self,
        socket: web.WebSocketResponse,
        feed: Feed,
        client: Client,
        *,
        identity: Identity,
        auth: Auth,
        abort: Callable[[], None],
    ) -> None:
        self.identity = identity
        self._abort = abort
        self._checked = 0.0
        self._socket = socket
        self._feed = feed
        self._client = client
        self._auth = auth

    async def close(self, code: int, reason: bytes) -> None:
        if not self._socket.prepared:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._socket.close(code=code, message=reason)
        except TimeoutError:
            # A client that has stopped reading never takes the farewell either.
            self._abort()

    async def talk(self, channel: str, chat_id: str) -> None:
        await self._client.greet(channel, chat_id)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write())
            try:
                await self._read()
            finally:
                writing.cancel()

    async def _write(self) -> None:
        try:
            while True:
                await self._feed.next(self._send)
        except ConnectionError:
            self._feed.close()

    async def _send(self, text: str) -> None:
        """Write a frame, unless the login or the token has ended meanwhile."""
        now = asyncio.get_running_loop().time()
        if now - self._checked > _CHECK_SECONDS:
            self._checked = now
            if not await self._auth.still(self.identity):
                self._feed.close()
                await self.close(WSCloseCode.POLICY_VIOLATION, b"logged out")
                raise ConnectionError("its login has ended")
        await self._socket.send_str(text)

    async def _read(self) -> None:
        # A frame that is too large or broken ends the loop: aiohttp has closed by then.
        async for frame in self._socket:
            if frame.type is WSMsgType.TEXT:
                if not await self._auth.still(self.identity):
                    await self.close(WSCloseCode.POLICY_VIOLATION, b"logged out")
                    return
                await self._take(frame.data)
            elif frame.type is WSMsgType.BINARY:
                self._refuse(Invalid("Send JSON in text frames, not binary ones."), "")
            else:
                return

    async def _take(self, text: str) -> None:
        message_id = ""
        try:
            frame, act = self._client.read(text.encode())
            message_id = getattr(frame, "message_id", "")
            await act(self._client, frame)
        except (Refused, StoreError) as error:
            self._refuse(error, message_id)

    def _refuse(self, error: Refused | StoreError, message_id: str) -> None:
        code = error.code if isinstance(error, Refused) else "storage"
        frame: Frame = {"type": "error", "message": str(error), "code": code}
        if message_id:
            frame["message_id"] = message_id
        if isinstance(error, Refused) and error.retry_after_seconds:
            frame["retry_after_seconds"] = error.retry_after_seconds
        self._feed.put(frame)
