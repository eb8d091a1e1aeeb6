"""Turns' transactions take along the model calls that were booked, which costs them little."""

from collections.abc import Sequence
from typing import Self

from famulus.core.errors import Conflict, StoreError, StoreFull, StoreUnavailable
from famulus.state.budget import Budget
from famulus.store.database import Database, Hit, Result, Row, Statement, Value


class Carrying:
    """A `Database` whose transactions also write what a budget has booked and not yet written.

    A transaction that fails leaves that to the budget itself. It never fails for the sake of what
    it takes along.
    """

    def __init__(self, database: Database, budget: Budget) -> None:
        self._database = database
        self._budget = budget

    async def transaction(
        self, statements: Sequence[Statement], *, durable: bool = False
    ) -> Sequence[Result]:
        riders = self._budget.take()
        if not riders:
            return await self._database.transaction(statements, durable=durable)
        try:
            results = await self._database.transaction([*statements, *riders], durable=durable)
        except (Conflict, StoreFull, StoreUnavailable):
            self._budget.give_back(riders)
            raise
        except StoreError:
            self._budget.give_back(riders)
            return await self._database.transaction(statements, durable=durable)
        except BaseException:
            self._budget.give_back(riders)
            raise
        return results[: len(statements)]

    async def fetch(self, sql: str, /, **parameters: Value) -> Sequence[Row]:
        return await self._database.fetch(sql, **parameters)

    async def execute(self, sql: str, /, **parameters: Value) -> int:
        return await self._database.execute(sql, **parameters)

    async def search(
        self, text: str, *, limit: int, session: str = "", person: str = ""
    ) -> Sequence[Hit]:
        return await self._database.search(text, limit=limit, session=session, person=person)

    @property
    def trouble(self) -> str:
        return self._database.trouble

    async def check(self) -> None:
        await self._database.check()

    async def sweep(self) -> None:
        await self._database.sweep()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        return
