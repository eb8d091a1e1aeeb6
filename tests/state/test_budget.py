"""Bookings of calls when the database, or a process, fails in between."""

import asyncio

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.errors import OverLimit, StoreUnavailable
from famulus.core.messages import Usage
from famulus.core.protocols import Caller
from famulus.state.budget import Bound, Budget
from famulus.state.spending import Bill, Call
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio

# Room for one call at a time.
SETTINGS = Cost(daily_limit_tokens=150)
CALL = Call(provider="p", model="m")
BOUND = Bound(0, 60, 40)
BILL = Bill(usage=Usage(input_tokens=10), cost_nano=0, outcome="ok")


class LosesAnswers:
    """A database that does what it is told, and is not heard of while it is `mute`."""

    def __init__(self, database):
        self.fetch, self.execute = database.fetch, database.execute
        self._transaction = database.transaction
        self.mute = False

    async def transaction(self, statements, *, durable=False):
        results = await self._transaction(statements, durable=durable)
        if self.mute:
            self.mute = False
            raise StoreUnavailable("The answer is lost.")
        return results


@pytest.fixture
async def database(tmp_path):
    async with SQLite(tmp_path / "famulus.db") as database:
        yield LosesAnswers(database)


async def hold(budget):
    async with asyncio.timeout(5):
        return await budget.hold(CALL, BOUND, budget.limits(Caller()))


async def test_booking_whose_answer_was_lost_keeps_no_room(database) -> None:
    async with Budget(database, SETTINGS, clock=Clock()) as budget:
        # The sums of a limit are counted before its first call.
        budget.settle(await hold(budget), CALL, BILL)
        while budget.busy:
            await asyncio.sleep(0.001)
        database.mute = True
        with pytest.raises(StoreUnavailable):
            await hold(budget)
        budget.settle(await hold(budget), CALL, BILL)
    rows = await database.fetch("select outcome from spending")
    assert [row["outcome"] for row in rows] == ["ok", "ok"]
    (sums,) = await database.fetch("select tokens, held_tokens from allowance")
    assert (sums["tokens"], sums["held_tokens"]) == (20, 0)


async def test_call_that_a_crash_cut_off_is_waited_for_by_nobody(database) -> None:
    async with Budget(database, SETTINGS, clock=Clock()) as budget:
        await hold(budget)
    async with Budget(database, SETTINGS, clock=Clock()) as budget:
        with pytest.raises(OverLimit):
            await hold(budget)
