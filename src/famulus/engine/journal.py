"""The tables turn and step, and the portable SQL on them.

Every write of a running turn carries the fence: it holds only while the turn is `running` under
the attempt that makes the write, and touches no row otherwise. Under its fence a write can be made
twice and is the same as once, so one whose answer was lost is simply made again.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from famulus.core.errors import Gone
from famulus.core.messages import File, Image, Inbound, SessionKey
from famulus.store.database import Database, Row, Statement, statement

log = logging.getLogger(__name__)

# A journal that another format wrote is not replayed (see `Embedded`).
FORMAT = 1

# Payloads above this many bytes go to the blob table, so that rows stay small.
_LARGE_BYTES = 64 * 1024

OPEN = frozenset({"waiting", "running"})

T = TypeVar("T")


def gone() -> Gone:
    return Gone(
        "There is no answer to this message any more: its conversation was deleted, or it is too"
        " old."
    )


class Recorded(Struct, frozen=True):
    """A row of `step`: `done`, or for one that may not be repeated `intent` and then `acted`."""

    name: str
    status: str
    payload: bytes

    @property
    def known(self) -> bool:
        return self.status != "intent"

    @property
    def acted(self) -> bool:
        return self.status != "done"


class Entry(Struct, frozen=True, kw_only=True):
    """An open row of `turn`."""

    seq: int
    id: str
    lane: str
    session: str
    person: str
    status: str
    attempt: int
    strikes: int
    format: int
    inbound: Inbound
    created: float


class Taken(NamedTuple):
    """A message that a turn answers, and the id of its own row."""

    id: str
    inbound: Inbound


class Place(NamedTuple):
    """Where a message stands: its session, and status and answer of the turn that took it."""

    session: str
    turn_id: str
    status: str
    answer: str


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def decode(payload: str | bytes, kind: type[T]) -> T:
    return msgspec.json.decode(payload, type=kind)


_decode_inbound = msgspec.json.Decoder(Inbound).decode

_FENCE = "select 1 from turn where id = :turn and attempt = :attempt and status = 'running'"


def accept(
    inbound: Inbound, *, lane: str, session: str, now: float, started: bool = False
) -> Statement:
    """Put a message on disk; with `started` as a turn that runs already, in its first attempt."""
    return statement(
        "insert into turn (id, lane, session, person, channel, status, attempt, strikes, format,"
        " parent, inbound, created, updated) values (:id, :lane, :session, :person, :channel,"
        " :status, :attempt, :attempt, :format, :parent, :inbound, :now, :now)"
        " on conflict (id) do nothing returning seq",
        id=inbound.turn_id,
        lane=lane,
        session=session,
        person=inbound.person,
        channel=inbound.channel,
        status="running" if started else "waiting",
        attempt=int(started),
        format=FORMAT,
        parent=inbound.parent,
        inbound=encode(inbound).decode(),
        now=now,
    )


def uses(inbound: Inbound, *, session: str) -> list[Statement]:
    """For beside `accept`: that the conversation refers to the files that came along."""
    return [
        statement(
            "insert into blob_use (hash, session) select :hash, :session"
            " where exists (select 1 from turn where id = :turn and session = :session)"
            " on conflict (hash, session) do nothing",
            hash=hash_,
            session=session,
            turn=inbound.turn_id,
        )
        for hash_ in {part.blob for part in inbound.parts if isinstance(part, Image | File)}
    ]


def start(turn: str, *, attempt: int, now: float) -> Statement:
    """Raise the fence: from now on only `attempt` may write."""
    return statement(
        "update turn set status = 'running', attempt = :attempt, strikes = strikes + 1,"
        " updated = :now where id = :turn and attempt = :attempt - 1"
        " and status in ('waiting', 'running')",
        expect=1,
        turn=turn,
        attempt=attempt,
        now=now,
    )


def join(turn: str, *, into: str, now: float) -> Statement:
    return statement(
        "update turn set status = 'joined', joined_to = :into, updated = :now"
        " where id = :turn and (status = 'waiting' or status = 'joined' and joined_to = :into)",
        expect=1,
        turn=turn,
        into=into,
        now=now,
    )


def progress(turn: str, *, attempt: int) -> Statement:
    """A start that got further than the last one does not count against the turn."""
    return statement(
        "update turn set strikes = 0 where id = :turn and attempt = :attempt"
        " and status = 'running'",
        expect=1,
        turn=turn,
        attempt=attempt,
    )


def intend(turn: str, n: int, name: str, *, attempt: int, now: float) -> Statement:
    return _step(turn, n, name, "intent", "", attempt=attempt, now=now)


def record(
    turn: str,
    n: int,
    name: str,
    payload: bytes,
    *,
    acted: bool,
    attempt: int,
    now: float,
) -> list[Statement]:
    """The outcome of a step, over its intent if there is one."""
    status = "acted" if acted else "done"
    if len(payload) <= _LARGE_BYTES:
        text = payload.decode()
        return [_step(turn, n, name, status, text, attempt=attempt, now=now)]
    hash_ = hashlib.sha256(payload).hexdigest()
    return [
        statement(
            "insert into blob (hash, media_type, name, size, data, created) values"
            " (:hash, 'application/json', '', :size, :data, :now) on conflict (hash) do nothing",
            hash=hash_,
            size=len(payload),
            data=payload,
            now=now,
        ),
        _step(turn, n, name, status, "@" + hash_, attempt=attempt, now=now),
    ]


def _step(
    turn: str, n: int, name: str, status: str, payload: str, *, attempt: int, now: float
) -> Statement:
    return statement(
        "insert into step (turn_id, n, name, status, payload, created)"
        f" select :turn, :n, :name, :status, :payload, :now where exists ({_FENCE})"
        " on conflict (turn_id, n) do update set status = excluded.status,"
        " payload = excluded.payload where step.status = 'intent'"
        " or step.status = excluded.status and step.payload = excluded.payload",
        expect=1,
        turn=turn,
        n=n,
        name=name,
        status=status,
        payload=payload,
        attempt=attempt,
        now=now,
    )


def finish(turn: str, *, attempt: int, status: str, answer: bytes, now: float) -> Statement:
    return statement(
        "update turn set status = :status, answer = :answer, updated = :now"
        " where id = :turn and attempt = :attempt and status = 'running'",
        expect=1,
        turn=turn,
        attempt=attempt,
        status=status,
        answer=answer.decode(),
        now=now,
    )


def start_over(turn: str, *, attempt: int) -> list[Statement]:
    """Forget what was done, so that the turn begins again from its input in today's format."""
    return [
        statement(
            "update turn set format = :format where id = :turn and attempt = :attempt"
            " and status = 'running'",
            expect=1,
            turn=turn,
            attempt=attempt,
            format=FORMAT,
        ),
        statement("delete from step where turn_id = :turn", turn=turn),
    ]


def entry(
    seq: int, inbound: Inbound, *, lane: str, session: str, now: float, started: bool = False
) -> Entry:
    """The row that `accept` has just written."""
    return Entry(
        seq=seq,
        id=inbound.turn_id,
        lane=lane,
        session=session,
        person=inbound.person,
        status="running" if started else "waiting",
        attempt=int(started),
        strikes=int(started),
        format=FORMAT,
        inbound=inbound,
        created=now,
    )


_ENTRY = (
    "select seq, id, lane, session, person, status, attempt, strikes, format, inbound, created"
    " from turn where status in ('waiting', 'running')"
)


async def open_turns(database: Database) -> list[Entry]:
    """Turns that wait or were running when the last process ended, oldest first."""
    rows = await database.fetch(f"{_ENTRY} order by seq")
    return _entries(rows)


async def open_ids(database: Database) -> list[str]:
    rows = await database.fetch(
        "select id from turn where status in ('waiting', 'running') order by seq"
    )
    return [row["id"] for row in rows]


async def open_in_lane(database: Database, lane: str) -> list[Entry]:
    """What waits or runs in one lane, oldest first."""
    rows = await database.fetch(f"{_ENTRY} and lane = :lane order by seq", lane=lane)
    return _entries(rows)


async def open_turn(database: Database, turn: str) -> Entry | None:
    """The row of one turn, or None when it is over."""
    rows = await database.fetch(f"{_ENTRY} and id = :turn", turn=turn)
    return next(iter(_entries(rows)), None)


def _entries(rows: Sequence[Row]) -> list[Entry]:
    """All but what is damaged: nobody else must wait for that."""
    found = []
    for row in rows:
        try:
            found.append(_entry(row))
        except msgspec.DecodeError as error:
            log.error("a message on disk is damaged turn=%s error=%s", row["id"], error)
    return found


def _entry(row: Row) -> Entry:
    return Entry(
        seq=row["seq"],
        id=row["id"],
        lane=row["lane"],
        session=row["session"],
        person=row["person"],
        status=row["status"],
        attempt=row["attempt"],
        strikes=row["strikes"],
        format=row["format"],
        inbound=_decode_inbound(row["inbound"]),
        created=row["created"],
    )


async def joined(database: Database, turn: str) -> list[Taken]:
    """The messages that joined a turn, oldest first."""
    rows = await database.fetch(
        "select id, inbound from turn where joined_to = :turn order by seq", turn=turn
    )
    return [Taken(row["id"], _decode_inbound(row["inbound"])) for row in rows]


async def steps(database: Database, turn: str) -> dict[int, Recorded]:
    """What the journal knows of a turn, by step number."""
    rows = await database.fetch(
        "select s.n, s.name, s.status, s.payload, b.data from step s"
        " left join blob b on s.payload = '@' || b.hash where s.turn_id = :turn order by s.n",
        turn=turn,
    )
    return {
        row["n"]: Recorded(
            row["name"],
            row["status"],
            bytes(row["data"]) if row["data"] is not None else row["payload"].encode(),
        )
        for row in rows
    }


async def place(database: Database, turn: str) -> Place | None:
    """Where a message stands; None if it is unknown."""
    rows = await database.fetch(
        "select t.session, coalesce(j.id, t.id) as id, coalesce(j.status, t.status) as status,"
        " coalesce(j.answer, t.answer) as answer"
        " from turn t left join turn j on j.id = t.joined_to and t.joined_to <> ''"
        " where t.id = :turn",
        turn=turn,
    )
    if not rows:
        return None
    (row,) = rows
    return Place(row["session"], row["id"], row["status"], row["answer"])


async def known_plainly(database: Database, inbound: Inbound) -> str:
    """The id under which a version that escaped nothing stored this very message, or nothing."""
    plain = inbound.plain_id
    if plain == inbound.turn_id:
        return ""
    rows = await database.fetch("select session from turn where id = :turn", turn=plain)
    # It may be a message of another chat. One that is deleted does not tell its chat any more.
    chats = [SessionKey.find(row["session"]).chat_id if row["session"] else "" for row in rows]
    return plain if chats in ([inbound.chat_id], [""]) else ""


async def forgotten(database: Database, turn: str) -> bool:
    """Whether a turn ended so long ago, or was so deleted, that only its id is left."""
    found = await place(database, turn)
    return found is not None and found.status not in OPEN and not found.answer


async def has_ended(database: Database, turn: str, *, attempt: int, status: str) -> bool:
    """Whether that attempt has ended the turn that way."""
    rows = await database.fetch(
        "select 1 from turn where id = :turn and attempt = :attempt and status = :status",
        turn=turn,
        attempt=attempt,
        status=status,
    )
    return bool(rows)
