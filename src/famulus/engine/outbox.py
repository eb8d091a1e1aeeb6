"""The outbox: the replies of turns, and where each stands."""

import logging

import msgspec

from famulus.core.messages import Outbound
from famulus.engine import journal
from famulus.store.database import Database, Statement, statement

log = logging.getLogger(__name__)

_decode_outbound = msgspec.json.Decoder(Outbound).decode


def send(outbound: Outbound, *, now: float) -> Statement:
    return statement(
        "insert into outbox (id, turn_id, channel, chat_id, payload, status, not_before, expires,"
        " created) values (:id, :turn, :channel, :chat, :payload, 'pending', :now, :expires, :now)"
        " on conflict (id) do nothing",
        id=outbound.id,
        turn=outbound.turn_id,
        channel=outbound.channel,
        chat=outbound.chat_id,
        payload=journal.encode(outbound).decode(),
        expires=outbound.expires_at.timestamp(),
        now=now,
    )


def mark(outbound_id: str, status: str, *, receipt: str = "") -> Statement:
    """Note where a reply stands: `sending`, `sent`, `pending` again, `expired` or `failed`."""
    return statement(
        "update outbox set status = :status, receipt = :receipt,"
        " attempts = attempts + case when :status = 'sending' then 1 else 0 end where id = :id",
        id=outbound_id,
        status=status,
        receipt=receipt,
    )


async def open_replies(database: Database, channel: str = "") -> list[Outbound]:
    """Replies that may not have been delivered, oldest first; all of them, or one channel's."""
    rows = await database.fetch(
        "select id, payload from outbox where status in ('pending', 'sending')"
        " and (channel = :name or :name = '') order by created, id",
        name=channel,
    )
    found = []
    for row in rows:
        try:
            found.append(_decode_outbound(row["payload"]))
        except msgspec.DecodeError as error:
            # Nobody else must wait for it.
            log.error("a reply on disk is damaged id=%s error=%s", row["id"], error)
    return found


async def reply_to(database: Database, turn: str) -> Outbound | None:
    """The final reply of a turn, or of the one it joined; None while there is none."""
    rows = await database.fetch(
        "select o.payload from turn t join outbox o"
        " on o.id = case when t.joined_to <> '' then t.joined_to else t.id end where t.id = :turn",
        turn=turn,
    )
    return _decode_outbound(rows[0]["payload"]) if rows else None


async def unsent(database: Database, outbound_id: str) -> Outbound | None:
    """A reply that was put on disk and, as far as that knows, not handed over yet."""
    rows = await database.fetch(
        "select payload from outbox where id = :id and status = 'pending'", id=outbound_id
    )
    return _decode_outbound(rows[0]["payload"]) if rows else None
