"""Bookings that ride along in the transactions of turns."""

import asyncio

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.errors import Conflict
from famulus.core.messages import Usage
from famulus.state.budget import Budget
from famulus.state.carrying import Carrying
from famulus.state.spending import Bill, Call
from famulus.store.database import statement
from famulus.store.sqlite import SQLite

CALL = Call(provider="p", model="m")
BILL = Bill(usage=Usage(input_tokens=1), cost_nano=5, outcome="ok")


@pytest.fixture
async def house(tmp_path):
    async with (
        SQLite(tmp_path / "famulus.db") as database,
        Budget(database, Cost(), clock=Clock()) as budget,
    ):
        yield database, budget, Carrying(database, budget)


async def booked(database) -> int:
    return len(await database.fetch("select 1 from spending"))


def person(name: str, *, expect: int = 1):
    return statement(
        "insert into person (id, name, role, created) values (:id, :id, 'guest', 0)",
        id=name,
        expect=expect,
    )


@pytest.mark.anyio
async def test_transaction_takes_bookings_along_and_shows_only_its_own_results(house) -> None:
    database, budget, carrying = house
    budget.book(CALL, BILL)
    budget.book(CALL, BILL)
    results = await carrying.transaction([person("alice")])
    assert len(results) == 1
    assert await booked(database) == 2
    assert not budget.busy


@pytest.mark.anyio
async def test_booking_outlives_the_transaction_that_failed(house) -> None:
    database, budget, carrying = house
    budget.book(CALL, BILL)
    with pytest.raises(Conflict):
        await carrying.transaction([person("alice", expect=2)])
    async with asyncio.timeout(5):
        while budget.busy:
            await asyncio.sleep(0.001)
    assert await booked(database) == 1
    assert not await database.fetch("select 1 from person where id = 'alice'")


@pytest.mark.anyio
async def test_booking_in_a_cancelled_transaction_is_written_once(house) -> None:
    database, budget, carrying = house
    budget.book(CALL, BILL)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(carrying.transaction([person("alice")]))
        await asyncio.sleep(0)
        task.cancel()
    async with asyncio.timeout(5):
        while budget.busy:
            await asyncio.sleep(0.001)
    assert await booked(database) == 1


@pytest.mark.anyio
async def test_booking_that_nothing_takes_along_is_written_soon(house) -> None:
    database, budget, _ = house
    budget.book(CALL, BILL)
    async with asyncio.timeout(5):
        while budget.busy:
            await asyncio.sleep(0.001)
    assert await booked(database) == 1
