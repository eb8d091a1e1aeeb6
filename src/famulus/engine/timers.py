"""Timers: a message that is accepted at its moment, once."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from famulus.core.clock import Clock
from famulus.core.errors import Conflict, StoreError, StoreFull, StoreUnavailable
from famulus.core.messages import Inbound, SessionKey
from famulus.engine import journal
from famulus.store.database import Database, Statement, statement

log = logging.getLogger(__name__)

# The wall clock may be set while we wait by the other clock, so look again now and then.
_LONGEST_WAIT_SECONDS = 600.0
_AGAIN_SECONDS = 5.0


class Timers:
    """Fires due timers into `put`. A timer and its turn change in one transaction; one that may
    have been done, unknown to us, is told to `doubt` by the name of its lane.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        put: Callable[[journal.Entry], None],
        doubt: Callable[[str], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._put = put
        self._doubt = doubt
        self._changed = asyncio.Event()

    async def set(self, timer: str, due: datetime, inbound: Inbound) -> None:
        await self._database.transaction([_set(timer, due, inbound)], durable=True)
        self._changed.set()

    async def clear(self, timer: str) -> None:
        await self._database.transaction([_clear(timer)], durable=True)

    async def run(self) -> None:
        while True:
            self._changed.clear()
            try:
                least = await self._fire()
                due = await _next(self._database)
            except StoreError as error:
                log.warning("timers wait for the database error=%s", error)
                least = _AGAIN_SECONDS
                due = self._now()
            wait = _LONGEST_WAIT_SECONDS
            if due is not None:
                wait = min(max(due - self._now(), least), wait)
            try:
                # With nothing to wait for there is no wake-up at all.
                async with asyncio.timeout(wait if due is not None else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _fire(self) -> float:
        """Fire what is due. Returns the seconds to wait at least before the next time."""
        now = self._now()
        least = 0.0
        for timer, due, inbound in await _due(self._database, now):
            session = str(SessionKey(inbound.channel, inbound.chat_id, inbound.dialog_id))
            insert = journal.accept(inbound, lane=session, session=session, now=now)
            try:
                result, *_ = await self._database.transaction(
                    [insert, _clear(timer, due=due), *journal.uses(inbound, session=session)],
                    durable=True,
                )
            except Conflict:
                continue  # moved or cleared meanwhile
            except (StoreFull, StoreUnavailable):
                self._doubt(session)
                raise
            except StoreError as error:
                # The others must not wait for one that cannot be written.
                log.error("timer cannot be fired timer=%s error=%s", timer, error)
                least = _AGAIN_SECONDS
                continue
            if result.rows:
                seq = result.rows[0]["seq"]
                self._put(journal.entry(seq, inbound, lane=session, session=session, now=now))
        return least

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _set(timer: str, due: datetime, inbound: Inbound) -> Statement:
    return statement(
        "insert into timer (id, due, inbound) values (:id, :due, :inbound)"
        " on conflict (id) do update set due = excluded.due, inbound = excluded.inbound",
        id=timer,
        due=due.timestamp(),
        inbound=journal.encode(inbound).decode(),
    )


def _clear(timer: str, *, due: float | None = None) -> Statement:
    """With `due`: only if it still stands for that moment, and exactly one caller succeeds."""
    if due is None:
        return statement("delete from timer where id = :id", id=timer)
    return statement("delete from timer where id = :id and due = :due", expect=1, id=timer, due=due)


async def _due(database: Database, now: float) -> Sequence[tuple[str, float, Inbound]]:
    rows = await database.fetch(
        "select id, due, inbound from timer where due <= :now order by due limit 100", now=now
    )
    return [(row["id"], row["due"], journal.decode(row["inbound"], Inbound)) for row in rows]


async def _next(database: Database) -> float | None:
    """When the next timer is due, in seconds since 1970."""
    (row,) = await database.fetch("select min(due) as due from timer")
    due: float | None = row["due"]
    return due
