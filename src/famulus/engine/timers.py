"""Timers: a message that is accepted at its moment, once."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from famulus.core.clock import Clock
from famulus.core.errors import Conflict, StoreError
from famulus.core.messages import Inbound, SessionKey
from famulus.engine import journal
from famulus.store.database import Database

log = logging.getLogger(__name__)

# The wall clock may be set while we wait by the other clock, so look again now and then.
_LONGEST_WAIT_SECONDS = 600.0


class Timers:
    """Fires due timers into `put`. A timer and its turn change in one transaction."""

    def __init__(
        self, database: Database, *, clock: Clock, put: Callable[[journal.Entry], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._put = put
        self._changed = asyncio.Event()

    async def set(self, timer: str, due: datetime, inbound: Inbound) -> None:
        await self._database.transaction([journal.set_timer(timer, due, inbound)], durable=True)
        self._changed.set()

    async def clear(self, timer: str) -> None:
        await self._database.transaction([journal.clear_timer(timer)], durable=True)

    async def run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._fire()
                due = await journal.next_timer(self._database)
            except StoreError as error:
                log.warning("timers wait for the database error=%s", error)
                due = self._now() + 5
            wait = _LONGEST_WAIT_SECONDS
            if due is not None:
                wait = min(max(due - self._now(), 0), wait)
            try:
                # With nothing to wait for there is no wake-up at all.
                async with asyncio.timeout(wait if due is not None else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _fire(self) -> None:
        now = self._now()
        for timer, due, inbound in await journal.due_timers(self._database, now):
            session = str(SessionKey(inbound.channel, inbound.chat_id, inbound.dialog_id))
            insert = journal.accept(inbound, lane=session, session=session, now=now)
            clear = journal.clear_timer(timer, due=due)
            try:
                result, *_ = await self._database.transaction(
                    [insert, clear, *journal.uses(inbound, session=session)], durable=True
                )
            except Conflict:
                continue  # moved or cleared meanwhile
            if result.rows:
                seq = result.rows[0]["seq"]
                self._put(journal.entry(seq, inbound, lane=session, session=session, now=now))

    def _now(self) -> float:
        return self._clock.now().timestamp()
