"""Bookings that ride along in the transactions of turns."""

import asyncio

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.errors import Conflict, StoreError
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


async def settled(budget) -> None:
    async with asyncio.timeout(5):
        while budget.busy:
            await asyncio.sleep(0.001)


@pytest.fixture
async def refusing(house):
    """A booking of 13 output tokens is refused."""
    database, _, _ = house
    await database.execute(
        "create trigger refuse before insert on spending when new.output_tokens = 13"
        " begin select raise(abort, 'no such luck'); end"
    )
    return house


@pytest.mark.anyio
async def test_booking_that_cannot_be_written_costs_neither_a_turn_nor_other_bookings(
    refusing,
) -> None:
    database, budget, carrying = refusing
    for tokens in (1, 13, 2):
        usage = Usage(output_tokens=tokens)
        budget.book(CALL, Bill(usage=usage, cost_nano=5, outcome="ok"))
    await carrying.transaction([person("alice")])
    await settled(budget)
    assert await database.fetch("select 1 from person where id = 'alice'")
    rows = await database.fetch("select output_tokens as n from spending order by n")
    assert [row["n"] for row in rows] == [1, 2]


@pytest.mark.anyio
async def test_transaction_that_cannot_be_written_itself_says_so_and_leaves_the_bookings(
    house,
) -> None:
    database, budget, carrying = house
    budget.book(CALL, BILL)
    with pytest.raises(StoreError, match="refused a row"):
        await carrying.transaction([person("alice"), person("alice")])
    await settled(budget)
    assert await booked(database) == 1


@pytest.mark.anyio
async def test_numbers_that_no_column_holds_are_booked_as_the_most_it_does(house) -> None:
    database, budget, _ = house
    usage = Usage(input_tokens=2**70, output_tokens=-5, cached_tokens=2**63 - 1)
    budget.book(CALL, Bill(usage=usage, cost_nano=2**64, outcome="ok"))
    await settled(budget)
    (row,) = await database.fetch("select * from spending")
    assert row["input_tokens"] == row["cached_tokens"] == row["cost_nano"] == 10**15
    assert row["output_tokens"] == 0
