"""Turns that nobody waits for any more, and that no start will go on with."""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from famulus.core.clock import Clock
from famulus.core.errors import StoreError
from famulus.engine import journal, outbox
from famulus.engine.fenced import Superseded
from famulus.engine.turns import Closing, Turn
from famulus.store.database import Database

log = logging.getLogger(__name__)

_SECONDS = 5.0


async def stop_abandoned(
    database: Database, close: Callable[[Turn], Closing], *, clock: Clock
) -> None:
    """End as stopped what an earlier command asked and did not live to answer. Nothing is called
    or done again, and nobody is told: it stands in the conversation. What a gateway accepted is
    left to the next one. No other process may be driving these turns.
    """
    for entry in await journal.open_turns(database):
        if not entry.inbound.one_shot:
            continue
        try:
            # A full disk would be waited for, and whoever starts now says that better.
            async with asyncio.timeout(_SECONDS):
                await _stop(database, entry, close, clock)
        except (StoreError, Superseded, TimeoutError) as error:
            log.warning("an abandoned turn stays open turn=%s error=%s", entry.id, error)


async def _stop(
    database: Database, entry: journal.Entry, close: Callable[[Turn], Closing], clock: Clock
) -> None:
    attempt, now = entry.attempt + 1, clock.now().timestamp()
    turn = Turn(
        replace(entry, attempt=attempt, strikes=0),
        database=database,
        clock=clock,
        taken=[
            journal.Taken(entry.id, entry.inbound),
            *await journal.joined(database, entry.id),
        ],
        emit=lambda _: None,
        send=lambda _: None,
        steer=lambda: (),
        outbox_expiry_seconds=0,
    )
    await database.transaction([journal.start(entry.id, attempt=attempt, now=now)])
    await turn.recall()
    await turn.finish(close(turn), status="stopped")
    await database.transaction([outbox.mark(entry.id, "expired")])
