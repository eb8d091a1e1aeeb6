"""The writes of one attempt of a turn: each is made until it is known what became of it.

An error while the database commits leaves open whether it did. A write under a fence can be made
again, so it is; what ends the fence is looked up.
"""

from collections.abc import Sequence

from famulus.core.clock import Clock
from famulus.core.errors import Conflict, StoreError, StoreFull, StoreUnavailable
from famulus.engine import journal
from famulus.store.database import Database, Statement

# A full disk or a database that went away is waited for: what was done is not done again.
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)


class Superseded(Exception):
    """The fence is no longer ours."""


class Fenced:
    def __init__(self, database: Database, turn: str, *, attempt: int, clock: Clock) -> None:
        self._database = database
        self._turn = turn
        self._attempt = attempt
        self._clock = clock

    async def write(self, statements: Sequence[Statement], *, durable: bool, ends: str) -> None:
        """Return when it is done. `ends` is the status with which it ends the turn.

        Raises `Superseded`, or `StoreError` for what cannot be written at all.
        """
        unsure = False
        tries = 0
        while True:
            try:
                await self._database.transaction(statements, durable=durable)
            except (StoreFull, StoreUnavailable) as error:
                unsure = unsure or isinstance(error, StoreUnavailable)
                await self._wait(tries)
                tries += 1
            except StoreError as error:
                if unsure and ends and await self._has_ended(ends):
                    return
                if isinstance(error, Conflict):
                    raise Superseded(self._turn) from None
                raise
            else:
                return

    async def _has_ended(self, status: str) -> bool:
        tries = 0
        while True:
            try:
                return await journal.has_ended(
                    self._database, self._turn, attempt=self._attempt, status=status
                )
            except (StoreFull, StoreUnavailable):
                await self._wait(tries)
                tries += 1

    async def _wait(self, tries: int) -> None:
        await self._clock.sleep(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])
