"""Two processes that spend the same budget at the same time."""

import asyncio
import random

import psycopg
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost, SpendingLimits
from famulus.core.errors import OverLimit
from famulus.core.messages import Usage
from famulus.core.protocols import Caller
from famulus.state.budget import Bound, Budget
from famulus.state.limits import NANO
from famulus.state.spending import Bill, Call, Spending
from famulus.store.postgres import Postgres


@pytest.mark.anyio
async def test_two_processes_together_pass_no_limit(postgres_url: str) -> None:
    chance, most = random.Random(5), NANO // 100
    settings = Cost(
        daily_limit_usd=0.01,
        limits={
            "person:alice": SpendingLimits(monthly_limit_usd=0.004),
            "channel:web": SpendingLimits(daily_limit_tokens=3000),
        },
    )

    async def turn(budget: Budget, person: str) -> bool:
        call = Call(provider="p", model="m", person=person, channel="web")
        limits = budget.limits(Caller(person=person, channel="web"))
        bound = Bound(500_000, 60, 40)
        try:
            held = await budget.hold(call, bound, limits)
        except OverLimit:
            return False
        await asyncio.sleep(chance.random() / 100)
        part = chance.random()
        usage = Usage(input_tokens=round(60 * part), output_tokens=round(40 * part))
        cost = round(bound.cost_nano * part)
        budget.settle(held, call, Bill(usage=usage, cost_nano=cost, outcome="ok"))
        return True

    clock = Clock()
    async with (
        Postgres(postgres_url) as one,
        Postgres(postgres_url) as two,
        Budget(one, settings, clock=clock) as first,
        Budget(two, settings, clock=clock) as second,
    ):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            turns = [
                group.create_task(turn(budget, ("alice", "bob")[number % 2]))
                for number in range(32)
                for budget in (first, second)
            ]
        while first.busy or second.busy:
            await asyncio.sleep(0.001)
        sums = {row["scope"]: row for row in await one.fetch("select * from allowance")}
        rows = await one.fetch("select * from spending")
        summary = await Spending(one, clock=clock, timezone="UTC").summary(days=1)
    made = [task.result() for task in turns]
    assert any(made)
    assert not all(made)
    spent = sum(row["cost_nano"] for row in rows)
    assert spent == sums[""]["cost_nano"] <= most
    assert round(summary.total.cost_usd * NANO) == spent
    assert sums["person:alice"]["cost_nano"] == sum(
        row["cost_nano"] for row in rows if row["person"] == "alice"
    )
    assert sums["person:alice"]["cost_nano"] <= 4_000_000
    assert sums["channel:web"]["tokens"] <= 3000
    assert all(row["held_nano"] == row["held_tokens"] == 0 for row in sums.values())


# Lets the commit of a new row take its time.
SLOW = """
    create function wait() returns trigger language plpgsql
        as 'begin perform pg_sleep(1); return null; end';
    create constraint trigger slow after insert on spending deferrable initially deferred
        for each row execute function wait()"""
COMMITTING = (
    "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
)


@pytest.mark.anyio
async def test_booking_that_is_undone_while_it_is_committed_keeps_no_room(
    postgres_url: str,
) -> None:
    call, bound = Call(provider="p", model="m"), Bound(0, 60, 40)
    async with (
        Postgres(postgres_url) as database,
        Budget(database, Cost(daily_limit_tokens=150), clock=Clock()) as budget,
    ):
        limits = budget.limits(Caller())
        held = await budget.hold(call, bound, limits)
        budget.settle(held, call, Bill(usage=Usage(), cost_nano=0, outcome="ok"))
        while budget.busy:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(commits_slowly, postgres_url)
        async with asyncio.TaskGroup() as group:
            holding = group.create_task(budget.hold(call, bound, limits))
            while not await database.fetch(COMMITTING):
                await asyncio.sleep(0.01)
            holding.cancel()
        while budget.busy or await database.fetch(COMMITTING):
            await asyncio.sleep(0.01)
        (sums,) = await database.fetch("select tokens, held_tokens from allowance")
        assert (sums["tokens"], sums["held_tokens"]) == (0, 0)
        assert len(await database.fetch("select 1 from spending")) == 1


def commits_slowly(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SLOW.encode())
