"""The ledger, its limits and its sums, on a real database."""

import asyncio
from datetime import UTC, datetime

import pytest

from famulus.core.clock import Clock
from famulus.core.config import Cost, SpendingLimits
from famulus.core.errors import ConfigError, OverLimit, StoreUnavailable
from famulus.core.messages import Usage
from famulus.core.protocols import Caller
from famulus.state.budget import Bound, Budget
from famulus.state.limits import NANO, Limits, usd
from famulus.state.spending import Bill, Call, Spending
from famulus.store.sqlite import SQLite

CALL = Call(provider="p", model="m", person="alice", session="web:main:1")
CALLER = Caller(person="alice")


class Held(Clock):
    """Stands still until it is told another time."""

    def __init__(self, *when: int) -> None:
        self.time = datetime(*when, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def bill(cost_usd: float, tokens: int = 10) -> Bill:
    usage = Usage(input_tokens=tokens, output_tokens=0)
    return Bill(usage=usage, cost_nano=round(cost_usd * NANO), outcome="ok")


def bound(cost_usd: float, tokens: int = 10) -> Bound:
    return Bound(round(cost_usd * NANO), tokens, 0)


async def written(budget: Budget) -> None:
    async with asyncio.timeout(5):
        while budget.busy:
            await asyncio.sleep(0.001)


@pytest.fixture
def clock() -> Held:
    return Held(2026, 3, 31, 22, 30)


@pytest.fixture
async def database(tmp_path):
    async with SQLite(tmp_path / "famulus.db") as opened:
        yield opened


@pytest.mark.anyio
async def test_days_and_months_begin_anew_at_the_midnight_of_the_zone(database, clock) -> None:
    settings = Cost(daily_limit_usd=1, monthly_limit_usd=1.5, timezone="Europe/Berlin")
    async with Budget(database, settings, clock=clock) as budget:
        limits = budget.limits(CALLER)
        clock.time = datetime(2026, 3, 30, 21, 0, tzinfo=UTC)
        budget.settle(await budget.hold(CALL, bound(0.9), limits), CALL, bill(0.9))
        with pytest.raises(OverLimit, match=r"daily limit of \$1\.00.* at 00:00 CEST"):
            await budget.hold(CALL, bound(0.2), limits)
        clock.time = datetime(2026, 3, 30, 22, 0, tzinfo=UTC)
        budget.settle(await budget.hold(CALL, bound(0.6), limits), CALL, bill(0.6))
        with pytest.raises(OverLimit, match=r"monthly limit of \$1\.50.* on 2026-04-01 at 00:00"):
            await budget.hold(CALL, bound(0.1), limits)
        clock.time = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
        await budget.hold(CALL, bound(1.0), limits)


@pytest.mark.anyio
async def test_limit_written_later_counts_what_was_spent_before(database, clock) -> None:
    async with Budget(database, Cost(), clock=clock) as budget:
        assert not budget.limits(CALLER)
        budget.book(CALL, bill(0.7))
        budget.book(Call(provider="p", model="m", person="bob"), bill(5.0))
    limits = {"person:alice": SpendingLimits(monthly_limit_usd=1.0)}
    async with Budget(database, Cost(limits=limits), clock=clock) as budget:
        with pytest.raises(
            OverLimit,
            match=r"has \$0\.30 left \(\$0\.70 spent\), and this call could cost up to \$0\.40",
        ):
            await budget.hold(CALL, bound(0.4), budget.limits(CALLER))
        await budget.hold(CALL, bound(0.3), budget.limits(CALLER))


@pytest.mark.anyio
async def test_call_that_a_crash_cut_off_counts_with_all_it_could_cost(database, clock) -> None:
    settings = Cost(daily_limit_usd=1.0)
    async with Budget(database, settings, clock=clock) as budget:
        await budget.hold(CALL, bound(0.8, 500), budget.limits(CALLER))
    clock.time = datetime(2026, 3, 31, 22, 31, tzinfo=UTC)
    async with Budget(database, settings, clock=clock) as budget:
        with pytest.raises(OverLimit, match=r"\$0\.80 spent"):
            await budget.hold(CALL, bound(0.3), budget.limits(CALLER))
    (row,) = await database.fetch("select * from spending")
    assert (row["outcome"], row["estimated"], row["input_tokens"]) == ("unknown", 1, 500)


@pytest.mark.anyio
async def test_call_cancelled_while_it_is_booked_holds_nothing(database, clock) -> None:
    async with Budget(database, Cost(daily_limit_usd=1.0), clock=clock) as budget:
        limits = budget.limits(CALLER)
        await budget.hold(CALL, bound(0.1), limits)
        for steps in range(8):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(budget.hold(CALL, bound(0.1), limits))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
        await written(budget)
        (sums,) = await database.fetch("select * from allowance")
        rows = await database.fetch("select * from spending")
    assert sums["held_nano"] == len(rows) * 0.1 * NANO
    assert sums["cost_nano"] == 0


@pytest.mark.anyio
async def test_nothing_is_lost_while_the_database_is_away(database, clock) -> None:
    budget_database = Flaky(database, failures=3)
    async with Budget(budget_database, Cost(), clock=clock) as budget:
        budget.book(CALL, bill(0.5))
        await written(budget)
        budget_database.failures = 0
        budget.book(CALL, bill(0.25))
    rows = await database.fetch("select * from spending")
    assert sorted(row["cost_nano"] / NANO for row in rows) == [0.25, 0.5]


class Flaky:
    """A database whose first transactions fail."""

    def __init__(self, database, failures: int) -> None:
        self._database = database
        self.failures = failures

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    async def transaction(self, statements, *, durable: bool = False):
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The database is away.")
        return await self._database.transaction(statements, durable=durable)


@pytest.mark.anyio
async def test_summary_is_exact_and_of_one_person_where_asked(database, clock) -> None:
    async with Budget(database, Cost(), clock=clock) as budget:
        for day, cost in ((1, 9.0), (30, 0.1), (31, 0.2), (31, 0.4)):
            clock.time = datetime(2026, 3, day, 12, tzinfo=UTC)
            budget.book(CALL, bill(cost))
        other = Call(provider="p", model="large", person="bob", session="web:bob:1")
        budget.book(other, bill(2.0, 99))
    spending = Spending(database, clock=clock, timezone="UTC")
    all_ = await spending.summary(days=2)
    assert (all_.total.calls, all_.total.cost_usd, all_.total.input_tokens) == (4, 2.7, 129)
    assert [(day.name, day.cost_usd) for day in all_.by_day] == [
        ("2026-03-30", 0.1),
        ("2026-03-31", 2.6),
    ]
    assert [model.name for model in all_.by_model] == ["large", "m"]
    assert [session.name for session in all_.by_session] == ["web:bob:1", "web:main:1"]
    assert (await spending.summary(days=2, person="alice")).total.cost_usd == 0.7
    assert (await spending.summary(days=31, person="alice")).total.cost_usd == 9.7


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Cost(limits={"alice": SpendingLimits()}), r'cost\.limits\."alice" is for nobody'),
        (Cost(limits={"person:": SpendingLimits()}), "is for nobody"),
        (Cost(timezone="Berlin"), r"cost\.timezone is 'Berlin'"),
    ],
)
def test_wrong_settings_say_what_is_wrong(settings: Cost, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Limits(settings)


@pytest.mark.parametrize(
    ("nano", "said"),
    [
        (0, "$0.00"),
        (1234 * NANO, "$1,234.00"),
        (980_000_000, "$0.98"),
        (400_000, "$0.0004"),
        (2_000, "$0.000002"),
    ],
)
def test_small_amounts_are_not_shown_as_nothing(nano: int, said: str) -> None:
    assert usd(nano) == said
