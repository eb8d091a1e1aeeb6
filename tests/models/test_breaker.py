import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from famulus.core.clock import Clock
from famulus.core.errors import (
    ContextOverflow,
    ModelError,
    ModelRejected,
    ModelUnauthorized,
    ModelUnavailable,
    ProviderResting,
    RateLimited,
)
from famulus.core.messages import Origin, Text, Usage
from famulus.core.protocols import Chunk, Done, ModelCard, Request, TextDelta
from famulus.models.breaker import Breaker, Interrupted
from famulus.models.retried import Retried
from famulus.models.streamed import streamed
from famulus.testing.check_model import ask, read

CARD = ModelCard(name="a", id="a", provider="acme")
DONE = Done(parts=(Text("Yes.", Origin.ASSISTANT),), usage=Usage(), reason="stop", model="a")
pytestmark = pytest.mark.anyio


class Held(Clock):
    """Time that passes when the test says so, or when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class Vendor:
    """A model that fails with `error` while there is one, after `gate` if that is set."""

    card = CARD

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        self.asked += 1
        error = self.error
        if self.gate is not None:
            await self.gate.wait()
        if error is not None:
            raise error
        yield TextDelta("Yes.")
        yield DONE


DOWN = ModelUnavailable("acme cannot be reached.", provider="acme", status=503)


@pytest.fixture
def clock() -> Held:
    return Held()


@pytest.fixture
def breaker(clock: Held) -> Breaker:
    return Breaker("acme", clock=clock)


async def failing(model: Interrupted, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ModelUnavailable):
            await read(model, ask("Hello"))


async def opened(vendor: Vendor, breaker: Breaker) -> Interrupted:
    vendor.error = DOWN
    model = Interrupted(vendor, breaker)
    await failing(model, 5)
    assert vendor.asked == 5
    return model


async def test_a_provider_that_fails_five_times_in_a_row_is_not_asked_again(
    breaker: Breaker,
) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    with pytest.raises(ProviderResting, match=r"acme did not answer.*for 30 seconds") as caught:
        await read(model, ask("Hello"))
    assert vendor.asked == 5
    assert (caught.value.provider, caught.value.retry_after_seconds) == ("acme", 30.0)


async def test_the_failure_that_opens_it_keeps_its_words_and_is_not_waited_for(
    clock: Held, breaker: Breaker
) -> None:
    vendor = Vendor(DOWN)
    model = Interrupted(vendor, breaker)
    await failing(model, 4)
    with pytest.raises(ProviderResting, match="acme cannot be reached") as caught:
        await read(Retried(model, clock=clock), ask("Hello"))
    assert (caught.value.status, vendor.asked, clock.slept) == (503, 5, [])


async def test_nobody_waits_for_a_provider_that_rests(clock: Held, breaker: Breaker) -> None:
    vendor = Vendor()
    model = Retried(await opened(vendor, breaker), clock=clock)
    with pytest.raises(ProviderResting):
        await read(model, ask("Hello"))
    assert (vendor.asked, clock.slept) == (5, [])


async def test_an_answer_in_between_starts_the_count_anew(breaker: Breaker) -> None:
    vendor = Vendor(DOWN)
    model = Interrupted(vendor, breaker)
    await failing(model, 4)
    vendor.error = None
    await read(model, ask("Hello"))
    vendor.error = DOWN
    await failing(model, 4)
    vendor.error = None
    assert (await read(model, ask("Hello")))[-1] is DONE


async def test_failures_far_apart_do_not_open_it(clock: Held, breaker: Breaker) -> None:
    vendor = Vendor(DOWN)
    model = Interrupted(vendor, breaker)
    for _ in range(12):
        await failing(model)
        clock.time += 16
    assert vendor.asked == 12


async def test_all_models_of_a_provider_share_it(breaker: Breaker) -> None:
    await opened(Vendor(), breaker)
    other = Vendor()
    with pytest.raises(ProviderResting):
        await read(Interrupted(other, breaker), ask("Hello"))
    assert other.asked == 0


async def test_after_its_rest_one_answer_brings_it_back(clock: Held, breaker: Breaker) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    vendor.error = None
    clock.time += 30
    assert (await read(model, ask("Hello")))[-1] is DONE
    vendor.error = DOWN
    await failing(model, 4)
    assert vendor.asked == 10


async def test_each_failed_trial_doubles_the_rest_up_to_ten_minutes(
    clock: Held, breaker: Breaker
) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    for seconds in (30, 60, 120, 240, 480, 600, 600):
        asked = vendor.asked
        clock.time += seconds - 1
        await failing(model)
        assert vendor.asked == asked, f"asked before {seconds} seconds had passed"
        clock.time += 1
        await failing(model)
        assert vendor.asked == asked + 1


async def test_only_one_call_is_on_trial(clock: Held, breaker: Breaker) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    clock.time += 30
    vendor.error, vendor.gate = None, asyncio.Event()
    answers: list[Chunk] = []

    async def trial() -> None:
        answers.extend(await read(model, ask("Hello")))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trial)
            await anyio.wait_all_tasks_blocked()
            assert vendor.asked == 6
            with pytest.raises(ProviderResting):
                await read(model, ask("Hello"))
            assert vendor.asked == 6
            vendor.gate.set()
    assert answers[-1] is DONE
    await read(model, ask("Hello"))
    assert vendor.asked == 7


async def test_a_cancelled_trial_leaves_it_to_the_next_call(clock: Held, breaker: Breaker) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    clock.time += 30
    vendor.error, vendor.gate = None, asyncio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, model, ask("Hello"))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    vendor.gate = None
    assert (await read(model, ask("Hello")))[-1] is DONE


async def test_who_stops_reading_after_the_last_chunk_had_an_answer(
    clock: Held, breaker: Breaker
) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    clock.time += 30
    vendor.error = None
    async with streamed(model, ask("Hello")) as chunks:
        async for chunk in chunks:
            if chunk is DONE:
                break
    await read(model, ask("Hello"))
    assert vendor.asked == 7


async def test_a_reader_that_lingers_after_its_answer_ends_no_later_trial(
    clock: Held, breaker: Breaker
) -> None:
    vendor = Vendor()
    model = await opened(vendor, breaker)
    clock.time += 30
    vendor.error = None
    async with streamed(model, ask("Hello")) as lingering:
        assert [await anext(lingering), await anext(lingering)][-1] is DONE
        await opened(Vendor(), breaker)
        clock.time += 30
        async with streamed(model, ask("Hello")) as trial:
            await anext(trial)
            await lingering.aclose()
            with pytest.raises(ProviderResting):
                await read(model, ask("Hello"))


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("slow down"),
        ModelRejected("no"),
        ModelUnauthorized("who?"),
        ContextOverflow("too long"),
        TypeError("our own bug"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_no_outage_neither_counts_nor_is_changed(
    clock: Held, breaker: Breaker, error: Exception
) -> None:
    vendor = Vendor(error)
    model = Interrupted(vendor, breaker)
    for _ in range(20):
        with pytest.raises(type(error)) as caught:
            await read(model, ask("Hello"))
        assert caught.value is error
    assert vendor.asked == 20


@given(st.lists(st.sampled_from([None, DOWN, RateLimited("x"), TypeError("x")]), max_size=30))
async def test_no_sequence_of_ends_keeps_a_provider_away_for_good(
    ends: list[Exception | None],
) -> None:
    clock, vendor = Held(), Vendor()
    model = Interrupted(vendor, Breaker("acme", clock=clock))
    for vendor.error in ends:
        try:
            await read(model, ask("Hello"))
        except (ModelError, TypeError):
            clock.time += 7
    vendor.error = None
    clock.time += 600
    assert (await read(model, ask("Hello")))[-1] is DONE


class BreakerMachine(RuleBasedStateMachine):
    """The breaker against what its docstring says, for calls that overlap in any way."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Held()
        self.breaker = Breaker("acme", clock=self.clock, failures=2)
        self.calls: list[bool] = []  # running ones: whether on trial
        self.failed_at: list[float] = []
        self.rest = 0.0
        self.until = 0.0

    @rule()
    def begin(self) -> None:
        allowed = not self.rest or (self.clock.time >= self.until and True not in self.calls)
        if not allowed:
            with pytest.raises(ProviderResting) as caught:
                self.breaker.admit()
            assert caught.value.retry_after_seconds >= 1
            return
        trial = self.breaker.admit()
        assert trial == bool(self.rest)
        self.calls.append(trial)

    @precondition(lambda self: self.calls)
    @rule(pick=st.randoms(use_true_random=False))
    def succeed(self, pick: object) -> None:
        trial = self._taken(pick)
        self.breaker.succeeded(trial=trial)
        if trial or not self.rest:
            self.rest, self.failed_at = 0.0, []

    @precondition(lambda self: self.calls)
    @rule(pick=st.randoms(use_true_random=False))
    def fail(self, pick: object) -> None:
        trial, now = self._taken(pick), self.clock.time
        rests = self.breaker.failed(trial=trial)
        if trial:
            self.rest = min(self.rest * 2, 600.0)
            self.until = now + self.rest
        elif not self.rest:
            self.failed_at.append(now)
            if len(self.failed_at) >= 2 and now - self.failed_at[-2] <= 60:
                self.rest, self.until = 30.0, now + 30
        assert rests == bool(self.rest)

    @precondition(lambda self: self.calls)
    @rule(pick=st.randoms(use_true_random=False))
    def end_otherwise(self, pick: object) -> None:
        self.breaker.ended(trial=self._taken(pick))

    @rule(seconds=st.sampled_from([0.5, 5.0, 29.0, 30.0, 61.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.clock.time += seconds

    @invariant()
    def at_most_one_call_is_on_trial(self) -> None:
        assert self.calls.count(True) <= 1

    def _taken(self, pick: object) -> bool:
        return self.calls.pop(pick.randrange(len(self.calls)))  # type: ignore[attr-defined]


TestBreakerMachine = BreakerMachine.TestCase
