"""An engine on a database that can be made to fail at any one of its transactions."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Engine as Settings
from famulus.core.errors import StoreError, StoreFull, StoreUnavailable
from famulus.engine.embedded import Embedded
from famulus.store.database import Statement


class Hasty(Clock):
    """Waits a hundredth of what it is asked to."""

    def __init__(self):
        self.longest = 0.0

    async def sleep(self, seconds):
        self.longest = max(self.longest, seconds)
        await asyncio.sleep(seconds / 100)


@dataclass
class Faulty:
    """A database whose transaction number `at`, counted from one, fails in one of these ways:

    `lost`: it is done, and the answer is lost. `away`: it is not done. `refused`: it cannot be
    done, ever.
    `outage`: it is done, and the database is away for the next `calls`. While it is
    `full` or `broken` it does nothing, and it never takes a transaction with the value `poison`.
    """

    inner: object
    at: int = 0
    fault: str = ""
    count: int = 0
    labels: list = field(default_factory=list)
    away: int = 0
    poison: str = ""
    full: bool = False
    calls: int = 5
    broken: bool = False
    trouble: str = ""

    async def transaction(self, statements, *, durable=False):
        self.count += 1
        mine = self.count
        self.labels.append(" + ".join(" ".join(each.sql.split()[:3]) for each in statements))
        self._reach()
        if self.poison and any(self.poison in each.parameters.values() for each in statements):
            raise StoreError("The database cannot hold this.")
        if mine == self.at:
            if self.fault == "refused":
                raise StoreError("The database cannot hold this.")
            if self.fault == "away":
                raise StoreUnavailable("The database is away.")
        results = await self.inner.transaction(statements, durable=durable)
        if mine == self.at and self.fault in {"lost", "outage"}:
            self.away = self.calls if self.fault == "outage" else 0
            raise StoreUnavailable("The answer is lost.")
        return results

    def _reach(self):
        if self.broken:
            raise StoreError("The database is damaged.")
        if self.full:
            raise StoreFull("No space is left.")
        if self.away:
            self.away -= 1
            raise StoreUnavailable("The database is away.")

    async def fetch(self, sql, /, **parameters):
        self._reach()
        return await self.inner.fetch(sql, **parameters)

    async def execute(self, sql, /, **parameters):
        (result,) = await self.transaction([Statement(sql, parameters)])
        return result.touched

    async def search(self, text, **scope):
        return await self.inner.search(text, **scope)


@dataclass
class Running:
    engine: Embedded
    database: Faulty
    clock: Hasty
    sent: list = field(default_factory=list)

    async def open_turns(self):
        return await self.database.fetch(
            "select id, status from turn where status in ('waiting', 'running')"
        )


@asynccontextmanager
async def serving(database, runner, *, at=0, fault="", while_busy="join", **settings):
    """An engine that runs on an open database, which fails once as `Faulty` says."""
    sent, clock = [], Hasty()
    faulty = Faulty(database, at=at, fault=fault)
    engine = Embedded(
        faulty,
        runner,
        Settings(**settings),
        clock=clock,
        emit=lambda event: None,
        send=sent.append,
        while_busy=while_busy,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine.run())
        while engine._group is None:
            await asyncio.sleep(0)
        try:
            yield Running(engine, faulty, clock, sent)
        finally:
            task.cancel()


@pytest.fixture
def serve():
    return serving
