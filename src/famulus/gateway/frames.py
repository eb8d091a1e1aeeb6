"""What clients may ask for over the WebSocket: a shape and a function for each `type`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec import Struct

from famulus import __version__
from famulus.channels.web import Feed, Frame, Web
from famulus.core.config import Limits
from famulus.core.errors import Invalid
from famulus.core.messages import SessionKey
from famulus.engine import journal, outbox
from famulus.engine.turns import Engine
from famulus.gateway.decoding import decode
from famulus.gateway.erasure import Erasure
from famulus.gateway.gate import check_id
from famulus.gateway.history import history
from famulus.gateway.incoming import CHAT, Attachment, Incoming, Said, session_key
from famulus.state.messages import Messages
from famulus.state.people import OWNER
from famulus.state.sessions import Session, Sessions
from famulus.store.database import Database

_LOADED_ENTRIES = 200
_LONGEST_TITLE = 200


class Typed(Struct):
    type: str


class UserInput(Struct):
    content: str = ""
    channel: str = ""
    chat_id: str = ""
    session_id: str = ""
    sender_id: str = ""
    message_id: str = ""
    model: str = ""
    attachments: tuple[Attachment, ...] = ()
    timezone: str = ""


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


class Desk:
    """What the requests of all clients need. `commands` describes the slash commands, `model`
    is the one of sessions that chose none.
    """

    def __init__(
        self,
        *,
        channel: Web,
        engine: Engine,
        incoming: Incoming,
        sessions: Sessions,
        messages: Messages,
        erasure: Erasure,
        database: Database,
        limits: Limits,
        commands: Callable[[], Sequence[Frame]],
        model: str = "",
    ) -> None:
        self.channel = channel
        self.engine = engine
        self.incoming = incoming
        self.sessions = sessions
        self.messages = messages
        self.erasure = erasure
        self.database = database
        self.limits = limits
        self.commands = commands
        self.model = model


class Client:
    """What one client asks for. `chat` is what frames without a `chat_id` or `session_id` are
    about; its dialog is empty, which stands for the current one.
    """

    def __init__(self, desk: Desk, feed: Feed) -> None:
        self.chat = CHAT
        self._desk = desk
        self._feed = feed

    async def greet(self, channel: str, chat_id: str) -> None:
        """Begin with the chat that the client came for."""
        if self._desk.channel.serves(channel):
            self.chat = SessionKey(channel, CHAT.chat_id, "")
        if _is_name(chat_id):
            self.chat = SessionKey(self.chat.channel, chat_id, "")
        _, session = await self._session(Where())
        self._tell(
            type="session_established",
            session_id=session.key,
            chat_id=self.chat.chat_id,
            title=session.title,
            channel=self.chat.channel,
            version=__version__,
            model=session.model or self._desk.model,
        )
        self._desk.channel.watch_chat(self._feed, self.chat.channel, self.chat.chat_id)

    def read(self, data: bytes) -> "Asked":
        """A frame and the function for it. Raises `Invalid`."""
        depth = self._desk.limits.json_depth
        kind = decode(data, Typed, depth=depth).type
        if kind not in _ASKS:
            raise UnknownType(f"There is no message type {kind[:100]!r}.")
        shape, act = _ASKS[kind]
        return Asked(decode(data, shape, depth=depth), act)

    def _tell(self, **frame: Any) -> None:
        self._feed.put(frame)

    async def user_input(self, frame: UserInput) -> None:
        key = self._chosen(frame.session_id, frame.chat_id)
        self._move(key)
        inbound = await self._desk.incoming.inbound(
            Said(
                text=frame.content,
                key=key,
                model=frame.model,
                sender_id=frame.sender_id,
                message_id=frame.message_id,
                attachments=frame.attachments,
                timezone=frame.timezone,
            )
        )
        accepted = await self._desk.channel.deliver(inbound)
        if accepted.duplicate:
            # Whoever asks again did not see the answer. One that this client was sent already, or
            # is still to come, is not repeated.
            reply = await outbox.reply_to(self._desk.database, accepted.turn_id)
            if reply:
                self._feed.put(self._desk.channel.reply(reply))
            elif await journal.forgotten(self._desk.database, accepted.turn_id):
                raise journal.gone()

    async def create_session(self, frame: Create) -> None:
        chat = self._chosen(frame.session_id, frame.chat_id)
        self._move(chat)
        title = _title(frame.title)
        key = await self._desk.sessions.create(chat.channel, chat.chat_id, OWNER, title=title)
        self._announce("session_created", key, title=title)

    async def list_sessions(self, frame: ListSessions) -> None:
        chat = self._chosen("", frame.chat_id)
        found = await self._desk.sessions.of_chat(
            chat.channel, chat.chat_id, archived=frame.include_archived
        )
        current = await self._desk.sessions.current(chat.channel, chat.chat_id, OWNER)
        self._tell(
            type="session_list",
            sessions=[_listed(each) for each in found],
            current_session_id=str(current),
            chat_id=chat.chat_id,
        )

    async def load_session(self, frame: Where) -> None:
        key, session = await self._session(frame)
        self._move(key)
        await self._desk.sessions.switch(key)
        entries = await history(
            self._desk.database, self._desk.messages, str(key), limit=_LOADED_ENTRIES
        )
        self._announce("session_loaded", key, title=session.title, messages=entries)

    async def rename_session(self, frame: Rename) -> None:
        key, _ = await self._session(frame)
        title = _title(frame.title)
        if not title:
            raise Invalid("The title is empty.")
        await self._desk.sessions.rename(str(key), title)
        self._announce("session_renamed", key, title=title)

    async def archive_session(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        await self._desk.sessions.archive(str(key))
        self._announce("session_archived", key)

    async def delete_session(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        await self._desk.erasure.delete(key)
        self._announce("session_deleted", key)

    async def clear_history(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        await self._desk.erasure.clear(key)
        self._announce("history_cleared", key)

    async def stop(self, frame: Where) -> None:
        key, _ = await self._session(frame)
        stopped = await self._desk.engine.cancel(str(key))
        self._announce(
            "command_executed",
            key,
            command="stop",
            running=stopped.running,
            waiting=stopped.waiting,
            content="" if stopped.running else "Nothing is running here.",
        )

    async def get_slash_commands(self, frame: Nothing) -> None:
        self._tell(type="slash_commands_list", commands=self._desk.commands())

    async def ping(self, frame: Nothing) -> None:
        self._tell(type="pong")

    async def approve(self, frame: Approve) -> None:
        raise UnknownApproval(
            f"No approval {frame.approval_id[:100]!r} is open. It may have been decided elsewhere."
        )

    def _chosen(self, session_id: str, chat_id: str) -> SessionKey:
        """What a frame is about: the session it names, or a chat, or the client's own chat."""
        if session_id:
            key = session_key(session_id)
            if not self._desk.channel.serves(key.channel):
                raise Invalid(f"{session_id[:200]} belongs to another channel.")
            return key
        if not chat_id:
            return self.chat
        check_id("chat_id", chat_id)
        return SessionKey(self.chat.channel, chat_id, "")

    def _move(self, key: SessionKey) -> None:
        check_id("chat_id", key.chat_id)
        self.chat = SessionKey(key.channel, key.chat_id, "")
        self._desk.channel.watch_chat(self._feed, key.channel, key.chat_id)

    async def _session(self, frame: Where) -> tuple[SessionKey, Session]:
        key = self._chosen(frame.session_id, frame.chat_id)
        if key.dialog_id:
            return key, await self._desk.sessions.get(str(key))
        check_id("chat_id", key.chat_id)
        key = await self._desk.sessions.current(key.channel, key.chat_id, OWNER)
        return key, await self._desk.sessions.ensure(key, OWNER)

    def _announce(self, kind: str, key: SessionKey, **more: Any) -> None:
        """Tell everyone who reads the chat; this client too when it reads another one."""
        frame = {"type": kind, "session_id": str(key), "chat_id": key.chat_id, **more}
        self._desk.channel.tell(key.channel, key.chat_id, frame)
        if (key.channel, key.chat_id) not in self._feed.chats:
            self._feed.put(frame)


class UnknownType(Invalid):
    code = "unknown_type"


class UnknownApproval(Invalid):
    code = "unknown_approval"


class Asked(NamedTuple):
    """A frame that was understood, and what to do with it."""

    frame: Any
    act: Callable[[Client, Any], Awaitable[None]]


class _Ask(NamedTuple):
    shape: type[Any]
    act: Callable[[Client, Any], Awaitable[None]]


_ASKS = {
    "user_input": _Ask(UserInput, Client.user_input),
    "clear_history": _Ask(Where, Client.clear_history),
    "create_session": _Ask(Create, Client.create_session),
    "list_sessions": _Ask(ListSessions, Client.list_sessions),
    "load_session": _Ask(Where, Client.load_session),
    "rename_session": _Ask(Rename, Client.rename_session),
    "archive_session": _Ask(Where, Client.archive_session),
    "delete_session": _Ask(Where, Client.delete_session),
    "get_slash_commands": _Ask(Nothing, Client.get_slash_commands),
    "ping": _Ask(Nothing, Client.ping),
    "stop": _Ask(Where, Client.stop),
    "approve": _Ask(Approve, Client.approve),
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
    return " ".join(text.replace("\0", "").split())[:_LONGEST_TITLE]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable()
