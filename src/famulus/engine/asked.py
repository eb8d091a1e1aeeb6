"""What was asked in a session, as the journal knows it: each message with the turn that took it."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from famulus.core.messages import Inbound
from famulus.engine.turns import Answer
from famulus.store.database import Database


class Asked(Struct, frozen=True):
    """`turn_id` is the turn that answers, which may be one that the message joined."""

    turn_id: str
    inbound: Inbound
    is_open: bool
    answer: Answer | None


_decode_inbound = msgspec.json.Decoder(Inbound).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


async def asked(
    database: Database, session: str, limit: int, *, most_characters: int = 2**62
) -> Sequence[Asked]:
    """The last `limit` messages of a session, without slash commands, oldest first; only as many as
    it takes to pass `most_characters` of what is kept of them.
    """
    rows = await database.fetch(
        "select id, status, answer, inbound from (select newest.*,"
        " length(inbound) + length(coalesce(answer, '')) as own,"
        " sum(length(inbound) + length(coalesce(answer, ''))) over (order by seq desc) as passed"
        " from (select coalesce(j.id, t.id) as id, coalesce(j.status, t.status) as status,"
        " coalesce(j.answer, t.answer) as answer, t.inbound as inbound, t.seq as seq"
        " from turn t left join turn j on j.id = t.joined_to and t.joined_to <> ''"
        " where t.session = :session and t.lane not like '!%' and t.inbound <> ''"
        " order by t.seq desc limit :n) as newest) as measured"
        " where passed - own < :most order by seq desc",
        session=session,
        n=limit,
        most=most_characters,
    )
    return [
        Asked(
            row["id"],
            _decode_inbound(row["inbound"]),
            row["status"] in {"waiting", "running"},
            _decode_answer(row["answer"]) if row["answer"] else None,
        )
        for row in reversed(rows)
    ]
