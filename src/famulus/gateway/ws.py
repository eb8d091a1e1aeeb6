"""The WebSocket `/ws`: one JSON object a text frame, each with a `type`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Struct

from famulus import __version__
from famulus.channels.web import Feed, Frame, Web
from famulus.core.config import Limits
from famulus.core.errors import Busy, Invalid, Refused, StoreError
from famulus.core.messages import SessionKey
from famulus.engine.turns import Engine
from famulus.gateway.auth import Auth, Identity
from famulus.gateway.decoding import decode
from famulus.gateway.history import history
from famulus.gateway.incoming import CHANNEL, CHAT, Attachment, Incoming, Said, chat_and_dialog
from famulus.state.messages import Messages
from famulus.state.people import OWNER
from famulus.state.sessions import Session, Sessions
from famulus.store.database import Database

log = logging.getLogger(__name__)

MAX_CLIENTS = 100

_HEARTBEAT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
_LOADED_ENTRIES = 200
_LONGEST_TITLE = 200

Describe = Callable[[], Sequence[Frame]]


class Typed(Struct):
    type: str


class UserInput(Struct):
    content: str = ""
    channel: str = ""
    chat_id: str = ""
    session_id: str = ""
    sender_id: str = ""
    message_id: str = ""
    attachments: tuple[Attachment, ...] = ()


class Where(Struct):
    """A session, or the current one of a chat, or the current one of the client's chat."""

    session_id: str = ""
    chat_id: str = ""


class Create(Where):
    title: str = ""


class Rename(Where):
    title: str = ""


class ListSessions(Struct):
    include_archived: bool = False
    chat_id: str = ""


class Nothing(Struct):
    pass


class Approve(Struct):
    approval_id: str = ""
    decision: str = ""


class Sockets:
    """The open connections."""

    def __init__(
        self,
        *,
        channel: Web,
        auth: Auth,
        engine: Engine,
        incoming: Incoming,
        sessions: Sessions,
        messages: Messages,
        database: Database,
        limits: Limits,
        commands: Describe,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self.channel = channel
        self.auth = auth
        self.engine = engine
        self.incoming = incoming
        self.sessions = sessions
        self.messages = messages
        self.database = database
        self.limits = limits
        self.commands = commands
        self._max_clients = max_clients
        self._open: set[_Client] = set()

    @property
    def count(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, identity: Identity) -> web.StreamResponse:
        """Upgrade a request that has proved itself, and talk until one side leaves."""
        if len(self._open) >= self._max_clients:
            raise Busy("Too many clients are connected. Please close one.", retry_after_seconds=5)
        socket = _Socket(
            max_msg_size=self.limits.frame, heartbeat=_HEARTBEAT_SECONDS, timeout=_CLOSE_SECONDS
        )
        transport = request.transport
        abort = transport.abort if transport else lambda: None
        with self.channel.reader(abort) as feed:
            client = _Client(self, socket, feed, identity)
            self._open.add(client)
            try:
                await socket.prepare(request)
                await client.talk(request.query.get("chat_id") or CHAT)
            finally:
                self._open.discard(client)
        return socket

    async def close_login(self, digest: str) -> None:
        """Close the connections of a login that has ended."""
        ended = [each for each in self._open if each.identity == Identity("login", digest)]
        await self._close(ended, WSCloseCode.POLICY_VIOLATION, b"logged out")

    async def close_all(self) -> None:
        await self._close(list(self._open), WSCloseCode.GOING_AWAY, b"Famulus stops")

    @staticmethod
    async def _close(clients: Sequence["_Client"], code: int, reason: bytes) -> None:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.close(code, reason))


class _Socket(web.WebSocketResponse):
    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        # aiohttp closes as soon as it sees the length; the reason belongs before that.
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self.closed:
            error = {"type": "error", "code": "too_large", "message": "The frame is too large."}
            await self.send_str(msgspec.json.encode(error).decode())
        return await super().close(code=code, message=message, drain=drain)


class _Client:
    """One connection. `chat` is the chat that frames without a `chat_id` are about."""

    def __init__(
        self, sockets: Sockets, socket: web.WebSocketResponse, feed: Feed, identity: Identity
    ) -> None:
        self.identity = identity
        self.chat = CHAT
        self._all = sockets
        self._socket = socket
        self._feed = feed

    async def close(self, code: int, reason: bytes) -> None:
        if self._socket.prepared:
            await self._socket.close(code=code, message=reason)

    async def talk(self, chat_id: str) -> None:
        if not _is_name(chat_id):
            chat_id = CHAT
        self.chat = chat_id
        session = await self._current(chat_id)
        self._tell(
            type="session_established",
            session_id=session.key,
            chat_id=chat_id,
            title=session.title,
            channel=CHANNEL,
            version=__version__,
            model=session.model,
        )
        self._all.channel.watch_chat(self._feed, chat_id)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write())
            try:
                await self._read()
            finally:
                writing.cancel()

    # ------------------------------------------------------------ frames

    async def _write(self) -> None:
        try:
            while True:
                await self._feed.next(self._socket.send_str)
        except ConnectionError:
            self._feed.close()

    async def _read(self) -> None:
        # A frame that is too large or broken ends the loop: aiohttp has closed by then.
        async for frame in self._socket:
            if frame.type is WSMsgType.TEXT:
                if not await self._all.auth.still(self.identity):
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
            data = text.encode()
            depth = self._all.limits.json_depth
            kind = decode(data, Typed, depth=depth).type
            if kind not in _FRAMES:
                raise _UnknownType(f"There is no message type {kind[:100]!r}.")
            shape, act = _FRAMES[kind]
            frame = decode(data, shape, depth=depth)
            message_id = getattr(frame, "message_id", "")
            await act(self, frame)
        except (Refused, StoreError) as error:
            self._refuse(error, message_id)
        except UnicodeEncodeError:
            self._refuse(Invalid("The text is not valid Unicode."), message_id)

    def _refuse(self, error: Refused | StoreError, message_id: str) -> None:
        # Why a stranger is not let in is for the log alone; on this socket everyone is the owner.
        code = error.code if isinstance(error, Refused) else "storage"
        frame: Frame = {"type": "error", "message": str(error), "code": code}
        if message_id:
            frame["message_id"] = message_id
        if isinstance(error, Refused) and error.retry_after_seconds:
            frame["retry_after_seconds"] = error.retry_after_seconds
        self._feed.put(frame)

    def _tell(self, **frame: Any) -> None:
        self._feed.put(frame)

    # ------------------------------------------------------------ what a client may ask for

    async def user_input(self, frame: UserInput) -> None:
        if frame.chat_id:
            self._move(frame.chat_id)
        inbound = await self._all.incoming.inbound(
            Said(
                text=frame.content,
                chat_id=self.chat,
                session_id=frame.session_id,
                sender_id=frame.sender_id,
                message_id=frame.message_id,
                attachments=frame.attachments,
            )
        )
        self._move(inbound.chat_id)
        await self._all.channel.deliver(inbound)

    async def create_session(self, frame: Create) -> None:
        chat_id = frame.chat_id or self.chat
        self._move(chat_id)
        title = _title(frame.title)
        key = await self._all.sessions.create(CHANNEL, chat_id, OWNER, title=title)
        self._announce("session_created", key, title=title)

    async def list_sessions(self, frame: ListSessions) -> None:
        chat_id = frame.chat_id or self.chat
        found = await self._all.sessions.of_chat(CHANNEL, chat_id, archived=frame.include_archived)
        current = await self._all.sessions.current(CHANNEL, chat_id, OWNER)
        self._tell(
            type="session_list",
            sessions=[_listed(each) for each in found],
            current_session_id=str(current),
            chat_id=chat_id,
        )

    async def load_session(self, frame: Where) -> None:
        key, session = await self._session(frame)
        self._move(key.chat_id)
        await self._all.sessions.switch(key)
        entries = await history(
            self._all.database, self._all.messages, str(key), limit=_LOADED_ENTRIES
        )
        self._announce("session_loaded", key, title=session.title, messages=entries)

    async def rename_session(self, frame: Rename) -> None:
        key, _ = await self._session(frame)
        title = _title(frame.title)
        if not title:
            raise Invalid("The title is empty.")
        await self._all.sessions.rename(str(key), title)
        self._announce("session_renamed", key, title=title)

    async def archive_session(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        await self._all.sessions.archive(str(key))
        self._announce("session_archived", key)

    async def delete_session(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        # What still runs would write into a session that is gone.
        await self._all.engine.cancel(str(key))
        await self._all.sessions.delete(key)
        self._announce("session_deleted", key)

    async def clear_history(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        await self._all.engine.cancel(str(key))
        await self._all.sessions.clear(str(key))
        self._announce("history_cleared", key)

    async def stop(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        stopped = await self._all.engine.cancel(str(key))
        self._announce(
            "command_executed",
            key,
            command="stop",
            running=stopped.running,
            waiting=stopped.waiting,
            content="" if stopped.running else "Nothing is running here.",
        )

    async def get_slash_commands(self, frame: Nothing) -> None:
        self._tell(type="slash_commands_list", commands=self._all.commands())

    async def ping(self, frame: Nothing) -> None:
        self._tell(type="pong")

    async def approve(self, frame: Approve) -> None:
        raise _UnknownApproval(
            f"No approval {frame.approval_id[:100]!r} is open. It may have been decided elsewhere."
        )

    # ------------------------------------------------------------ chats and sessions

    def _move(self, chat_id: str) -> None:
        if not _is_name(chat_id):
            raise Invalid("chat_id must be 1 to 200 printable characters.")
        self.chat = chat_id
        self._all.channel.watch_chat(self._feed, chat_id)

    async def _current(self, chat_id: str) -> Session:
        key = await self._all.sessions.current(CHANNEL, chat_id, OWNER)
        return await self._all.sessions.ensure(key, OWNER)

    async def _session(self, frame: Where) -> tuple[SessionKey, Session]:
        chat_id, dialog_id = frame.chat_id or self.chat, ""
        if frame.session_id:
            chat_id, dialog_id = chat_and_dialog(frame.session_id)
        if not dialog_id:
            session = await self._current(chat_id)
            return SessionKey.parse(session.key), session
        key = SessionKey(CHANNEL, chat_id, dialog_id)
        return key, await self._all.sessions.get(str(key))

    def _announce(self, kind: str, key: SessionKey, **more: Any) -> None:
        """Tell everyone who reads the chat; this client too when it reads another one."""
        frame = {"type": kind, "session_id": str(key), "chat_id": key.chat_id, **more}
        self._all.channel.tell(key.chat_id, frame)
        if key.chat_id not in self._feed.chats:
            self._feed.put(frame)


class _UnknownType(Invalid):
    code = "unknown_type"


class _UnknownApproval(Invalid):
    code = "unknown_approval"


class _Ask(NamedTuple):
    shape: type[Any]
    act: Callable[[_Client, Any], Awaitable[None]]


_FRAMES = {
    "user_input": _Ask(UserInput, _Client.user_input),
    "clear_history": _Ask(Where, _Client.clear_history),
    "create_session": _Ask(Create, _Client.create_session),
    "list_sessions": _Ask(ListSessions, _Client.list_sessions),
    "load_session": _Ask(Where, _Client.load_session),
    "rename_session": _Ask(Rename, _Client.rename_session),
    "archive_session": _Ask(Where, _Client.archive_session),
    "delete_session": _Ask(Where, _Client.delete_session),
    "get_slash_commands": _Ask(Nothing, _Client.get_slash_commands),
    "ping": _Ask(Nothing, _Client.ping),
    "stop": _Ask(Where, _Client.stop),
    "approve": _Ask(Approve, _Client.approve),
}


def _listed(session: Session) -> Frame:
    return {
        "session_id": session.key,
        "title": session.title,
        "model": session.model,
        "archived": session.archived,
        "created": _iso(session.created),
        "updated": _iso(session.updated),
        "messages": session.messages,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _title(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_TITLE]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable()
