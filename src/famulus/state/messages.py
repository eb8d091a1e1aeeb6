"""What was said. Written when a turn ends, in the transaction that ends it."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from famulus.core.messages import Message, Part
from famulus.store.database import Database, Row, Statement, Value, statement
from famulus.store.terms import terms


class Said(Struct, frozen=True):
    """A stored message. `size` is the length of its JSON in bytes; `at` is in seconds."""

    id: int
    turn_id: str
    message: Message
    size: int
    at: float
    session: str = ""


_decode_parts = msgspec.json.Decoder(tuple[Part, ...]).decode
_encode = msgspec.json.Encoder().encode
_WINDOWS_KEPT = 32
_COLUMNS = "id, session, turn_id, role, parts, created, private"


class Messages:
    """`keeps` says whether a rule of today keeps a text on this machine. A message that was private
    when it was written stays so without it.
    """

    def __init__(self, database: Database, *, keeps: Callable[[str], bool] | None = None) -> None:
        self._database = database
        self._keeps = keeps
        self._windows: OrderedDict[str, list[Said]] = OrderedDict()

    async def window(self, session: str, start: int) -> Sequence[Said]:
        """The messages of a session from the id `start` on, oldest first, without summaries.

        Those that were read before are not read again: a row never changes and no id is used
        twice, so as many rows between the same ids are the same rows.
        """
        known = self._windows.pop(session, [])
        known = known[bisect_left(known, start, key=_id) :]
        last = known[-1].id if known else start - 1
        rows = await self._database.fetch(
            f"select known.number, {_COLUMNS} from (select count(*) as number from message"
            " where session = :session and id >= :start and id <= :last"
            " and role <> 'summary') as known left join message on session = :session"
            " and id > :last and role <> 'summary' order by id",
            session=session,
            start=start,
            last=last,
        )
        if rows[0]["number"] != len(known):
            return await self.window(session, start)  # some were deleted, so begin without any
        known += self._kept([_said(row) for row in rows if row["id"] is not None])
        self._windows[session] = known
        if len(self._windows) > _WINDOWS_KEPT:
            self._windows.popitem(last=False)
        return list(known)

    def forget(self, session: str) -> None:
        """Drop what is kept in memory of a session that was deleted."""
        self._windows.pop(session, None)

    async def latest(
        self, session: str, limit: int, *, most_characters: int = 2**62
    ) -> Sequence[Said]:
        """The last `limit` messages of a session, oldest first; only as many as it takes to pass
        `most_characters` of their JSON.
        """
        rows = await self._database.fetch(
            f"select {_COLUMNS} from (select {_COLUMNS}, length(parts) as own,"
            " sum(length(parts)) over (order by id desc) as passed"
            f" from (select {_COLUMNS} from message where session = :session"
            " order by id desc limit :n) as newest) as measured"
            " where passed - own < :most order by id desc",
            session=session,
            n=limit,
            most=most_characters,
        )
        return self._kept([_said(row) for row in reversed(rows)])

    async def search(
        self, text: str, *, limit: int = 20, session: str = "", person: str = ""
    ) -> Sequence[tuple[Said, float]]:
        """Messages with words of `text` and their scores, best first."""
        hits = await self._database.search(text, limit=limit, session=session, person=person)
        if not hits:
            return []
        ids: dict[str, Value] = {f"id{n}": hit.id for n, hit in enumerate(hits)}
        wanted = ", ".join(f":{name}" for name in ids)
        rows = await self._database.fetch(
            f"select {_COLUMNS} from message where id in ({wanted})", **ids
        )
        said = {each.id: each for each in self._kept([_said(row) for row in rows])}
        return [(said[hit.id], hit.score) for hit in hits if hit.id in said]

    def _kept(self, said: Sequence[Said]) -> Sequence[Said]:
        """With marks on what a rule keeps that was not there when it was said."""
        if self._keeps is None:
            return said
        marked: list[Said] = []
        kept = ""
        for each in said:
            message = each.message
            if message.role == "user" and self._keeps(message.text):
                kept = each.turn_id
            if each.turn_id == kept and not message.private:
                message = msgspec.structs.replace(message, private=True)
                marked.append(msgspec.structs.replace(each, message=message))
            else:
                marked.append(each)
        return marked

    def summarised(
        self,
        summary: Message,
        *,
        session: str,
        person: str,
        start: int,
        at: float,
    ) -> Statement:
        """The statement that adds a summary of what was said before the message `start`, once."""
        return statement(
            "insert into message (session, person, turn_id, n, role, parts, terms, created,"
            " private) select :session, :person, :turn, 0, 'summary', :parts, :terms, :at, :private"
            # What is deleted meanwhile must not come back as a summary.
            " where exists (select 1 from message where id = :start and session = :session)"
            " on conflict (turn_id, n) do nothing",
            session=session,
            person=person,
            turn=f"summary:{session}:{start}",
            start=start,
            parts=encoded(summary.parts),
            terms=terms(summary.text),
            at=at,
            private=int(summary.private),
        )

    def added(
        self, messages: Sequence[Message], *, session: str, person: str, turn: str, at: float
    ) -> list[Statement]:
        """The statements that add a turn's messages, in order."""
        return [
            statement(
                "insert into message (session, person, turn_id, n, role, parts, terms, created,"
                " private) values (:session, :person, :turn, :n, :role, :parts, :terms, :at,"
                " :private)",
                session=session,
                person=person,
                turn=turn,
                n=n,
                role=message.role,
                parts=encoded(message.parts),
                terms=terms(message.text) if message.role != "tool" else "",
                at=at,
                private=int(message.private),
            )
            for n, message in enumerate(messages)
        ]


def encoded(parts: tuple[Part, ...]) -> str:
    """How parts are stored."""
    return _encode(parts).decode()


def decoded(parts: str) -> tuple[Part, ...]:
    return _decode_parts(parts)


def _id(said: Said) -> int:
    return said.id


def _said(row: Row) -> Said:
    parts: str = row["parts"]
    return Said(
        row["id"],
        row["turn_id"],
        Message(row["role"], _decode_parts(parts), bool(row["private"])),
        len(parts) if parts.isascii() else len(parts.encode("utf-8", "replace")),
        row["created"],
        row["session"],
    )
