"""Sessions: the dialogs of a chat. A chat has one current dialog; a dialog belongs to a person."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.errors import Conflict, Invalid
from famulus.core.messages import Message, SessionKey
from famulus.state.blobs import released
from famulus.state.messages import decoded
from famulus.store.database import Database, Row, Statement, statement


class Session(Struct, frozen=True, kw_only=True):
    """`window_start` is the id of the oldest message that a prompt shows, and `summary` stands for
    those before it, as the parts of a message are stored; `summary_private` says that it tells of
    something private. Times are seconds since 1970. `model` is empty for the agent's own.
    """

    key: str
    person: str
    title: str = ""
    model: str = ""
    archived: bool = False
    window_start: int = 0
    summary: str = ""
    summary_private: bool = False
    created: float = 0.0
    updated: float = 0.0
    messages: int = 0


_MOST_REMEMBERED = 1000
_DELETED_AT_ONCE = 200
_COLUMNS = (
    "key, person, title, model, archived, window_start, summary, summary_private, created, updated"
)
_COUNTED = (
    f"select {_COLUMNS}, (select count(*) from message m where m.session = s.key"
    " and (m.role = 'user' or m.role = 'assistant' and m.parts not like '%\"type\":\"call\"%'))"
    " as messages from session s"
)


class Sessions:
    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._current: dict[tuple[str, str], str] = {}
        self._known: dict[str, Session] = {}

    async def current(self, channel: str, chat_id: str, person: str) -> SessionKey:
        """The chat's current dialog, made if the chat is new: one, however many ask at once."""
        chat = (channel, chat_id)
        while (dialog := self._current.get(chat)) is None:
            rows = await self._database.fetch(
                "select dialog_id from chat where channel = :channel and chat_id = :chat",
                channel=channel,
                chat=chat_id,
            )
            if rows:
                self._current.setdefault(chat, rows[0]["dialog_id"])
                continue
            key = SessionKey(channel, chat_id, await self.next_dialog(channel, chat_id))
            first = "on conflict (channel, chat_id) do nothing"
            # Whoever came first has made it, if we have not.
            with suppress(Conflict):
                await self._make(key, person, "", _pointing(key, first, expect=1))
        return SessionKey(channel, chat_id, dialog)

    async def create(
        self, channel: str, chat_id: str, person: str, *, title: str = ""
    ) -> SessionKey:
        """Add a dialog to a chat and make it the current one."""
        while True:
            key = SessionKey(channel, chat_id, await self.next_dialog(channel, chat_id))
            with suppress(Conflict):
                await self._make(key, person, title, _pointing(key), expect=1)
                return key

    async def _make(
        self,
        key: SessionKey,
        person: str,
        title: str,
        *beside: Statement,
        expect: int | None = None,
    ) -> None:
        """Insert a session, if it is not there, and do `beside` in the same transaction."""
        now = self._clock.now().timestamp()
        insert = statement(
            "insert into session (key, channel, chat_id, dialog_id, person, title, created,"
            " updated) values (:key, :channel, :chat, :dialog, :person, :title, :now, :now)"
            " on conflict (key) do nothing",
            expect=expect,
            key=str(key),
            channel=key.channel,
            chat=key.chat_id,
            dialog=key.dialog_id,
            person=person,
            title=title,
            now=now,
        )
        result, *_ = await self._database.transaction([insert, *beside])
        if beside:
            self._current[key.channel, key.chat_id] = key.dialog_id
        if result.touched:
            self._remember(
                Session(key=str(key), person=person, title=title, created=now, updated=now)
            )

    async def next_dialog(self, channel: str, chat_id: str) -> str:
        """The number of a chat's next dialog."""
        rows = await self._database.fetch(
            "select dialog_id from session where channel = :channel and chat_id = :chat",
            channel=channel,
            chat=chat_id,
        )
        numbers = [int(row["dialog_id"]) for row in rows if row["dialog_id"].isdecimal()]
        return str(max(numbers, default=0) + 1)

    async def ensure(self, key: SessionKey, person: str, *, title: str = "") -> Session:
        """The session of `key`, made if it is new."""
        if session := await self.find(str(key)):
            return session
        await self._make(key, person, title)
        return await self.find(str(key)) or Session(key=str(key), person=person, title=title)

    async def find(self, key: str) -> Session | None:
        if key in self._known:
            return self._known[key]
        rows = await self._database.fetch(
            f"select {_COLUMNS}, 0 as messages from session where key = :key", key=key
        )
        if not rows:
            return None
        return self._remember(_session(rows[0]))

    async def get(self, key: str) -> Session:
        """The session with its number of messages. Raises `Invalid` if there is none."""
        rows = await self._database.fetch(f"{_COUNTED} where key = :key", key=key)
        if not rows:
            raise Invalid(
                f"There is no session {key}. See /sessions, or in a shell: famulus sessions list"
            )
        return _session(rows[0])

    async def of_chat(
        self, channel: str, chat_id: str, *, archived: bool = False
    ) -> Sequence[Session]:
        """The dialogs of a chat, the one used last first."""
        rows = await self._database.fetch(
            f"{_COUNTED} where channel = :channel and chat_id = :chat"
            " and (archived = 0 or archived = :archived) order by updated desc, key",
            channel=channel,
            chat=chat_id,
            archived=int(archived),
        )
        return [_session(row) for row in rows]

    async def all(self, *, limit: int = 100) -> Sequence[Session]:
        rows = await self._database.fetch(f"{_COUNTED} order by updated desc limit :n", n=limit)
        return [_session(row) for row in rows]

    async def switch(self, key: SessionKey) -> None:
        """Make a dialog its chat's current one."""
        await self._database.transaction([_pointing(key)])
        self._current[key.channel, key.chat_id] = key.dialog_id

    async def rename(self, key: str, title: str) -> None:
        await self._set(key, "title", title)

    async def archive(self, key: str) -> None:
        await self._set(key, "archived", 1)

    async def set_model(self, key: str, model: str) -> None:
        await self._set(key, "model", model)

    async def _set(self, key: str, column: str, value: str | int) -> None:
        changed = await self._database.execute(
            f"update session set {column} = :value where key = :key",
            key=key,
            value=value,
        )
        self._known.pop(key, None)
        if not changed:
            raise Invalid(
                f"There is no session {key}. See /sessions, or in a shell: famulus sessions list"
            )

    async def clear(self, key: str) -> None:
        """Delete the messages of a session, with the title if it is the beginning of them."""
        first = await self._database.fetch(
            "select parts from message where session = :key and role = 'user' order by id limit 1",
            key=key,
        )
        said = " ".join(Message("user", decoded(first[0]["parts"])).text.split()) if first else ""
        await self._delete_messages(key)
        forget = statement(
            "update session set window_start = 0, summary = '', summary_private = 0,"
            " title = case when substr(cast(:said as text), 1, length(title)) = title"
            " then '' else title end"
            " where key = :key",
            key=key,
            said=said,
        )
        await self._database.transaction([*released(key), forget], durable=True)
        self._known.pop(key, None)

    async def delete(self, key: SessionKey) -> None:
        """Delete a session and its messages; the chat gets a new dialog with its next message."""
        await self._delete_messages(str(key))
        await self._database.transaction(
            [
                *released(str(key)),
                statement("delete from session where key = :key", key=str(key)),
                statement(
                    "delete from chat where channel = :channel and chat_id = :chat"
                    " and dialog_id = :dialog",
                    channel=key.channel,
                    chat=key.chat_id,
                    dialog=key.dialog_id,
                ),
            ],
            durable=True,
        )
        self._known.pop(str(key), None)
        if self._current.get((key.channel, key.chat_id)) == key.dialog_id:
            del self._current[key.channel, key.chat_id]

    async def _delete_messages(self, key: str) -> None:
        """In parts, so that others can write in between. It may be cut off and done again."""
        some = (
            "delete from message where id in"
            " (select id from message where session = :key order by id desc limit :n)"
        )
        while await self._database.execute(some, key=key, n=_DELETED_AT_ONCE) == _DELETED_AT_ONCE:
            pass

    def touch(self, session: Session, *, window_start: int, title: str) -> Statement:
        """For the transaction that ends a turn. A title that is there stays; so does a window
        that begins later.
        """
        start = max(window_start, session.window_start)
        if known := self._known.get(session.key):
            self._known[session.key] = msgspec.structs.replace(
                known, window_start=max(start, known.window_start), title=known.title or title
            )
        return statement(
            "update session set updated = :now,"
            " window_start = case when :start > window_start then :start else window_start end,"
            " title = case when title = '' then :title else title end where key = :key",
            key=session.key,
            now=self._clock.now().timestamp(),
            start=start,
            title=title,
        )

    async def condense(
        self, session: Session, summary: str, start: int, *beside: Statement, private: bool
    ) -> None:
        """Let the window begin at the message `start` with `summary` before it, unless it begins
        there or later already. `beside` is done in the same transaction.
        """
        move = statement(
            "update session set summary = :summary, summary_private = :private,"
            " window_start = :start where key = :key and window_start < :start"
            " and exists (select 1 from message where id = :start and session = :key)",
            key=session.key,
            summary=summary,
            private=int(private),
            start=start,
        )
        await self._database.transaction([*beside, move])
        self._known.pop(session.key, None)

    def _remember(self, session: Session) -> Session:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[session.key] = session
        return session


def _pointing(
    key: SessionKey,
    otherwise: str = "on conflict (channel, chat_id) do update set dialog_id = excluded.dialog_id",
    *,
    expect: int | None = None,
) -> Statement:
    """Make a dialog its chat's current one; `otherwise` is for a chat that has one already."""
    return statement(
        "insert into chat (channel, chat_id, dialog_id) values (:channel, :chat, :dialog)"
        f" {otherwise}",
        expect=expect,
        channel=key.channel,
        chat=key.chat_id,
        dialog=key.dialog_id,
    )


def _session(row: Row) -> Session:
    return Session(
        key=row["key"],
        person=row["person"],
        title=row["title"],
        model=row["model"],
        archived=bool(row["archived"]),
        window_start=row["window_start"],
        summary=row["summary"],
        summary_private=bool(row["summary_private"]),
        created=row["created"],
        updated=row["updated"],
        messages=row["messages"],
    )
