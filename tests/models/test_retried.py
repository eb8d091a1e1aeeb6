from collections.abc import AsyncIterator

import aiohttp
import pytest

from famulus.core.clock import Clock
from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ContextOverflow, ModelUnavailable, RateLimited
from famulus.core.messages import Origin, Text
from famulus.core.protocols import Chunk, Done, ModelCard, Request, Restarted, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.anthropic import Anthropic
from famulus.models.retried import Retried
from famulus.testing.check_model import CheckModel, answer_of, ask, read
from famulus.testing.fake_anthropic import FakeAnthropic
from famulus.testing.fake_vendor import Answer, Fault

CARD = ModelCard(name="sonnet", id="claude-1", provider="anthropic")
pytestmark = pytest.mark.anyio


class Hasty(Clock):
    """A clock that waits for nothing and remembers how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as vendor:
        yield vendor


@pytest.fixture
async def wire(vendor: FakeAnthropic) -> AsyncIterator[Anthropic]:
    provider = Provider(
        type="anthropic", api_key=Secret(vendor.key), base_url=vendor.url, timeout=Seconds(5)
    )
    async with aiohttp.ClientSession() as session:
        yield Anthropic(CARD, provider, ModelEntry(), session)


@pytest.fixture
def clock() -> Hasty:
    return Hasty()


@pytest.fixture
def model(wire: Anthropic, clock: Hasty) -> Retried:
    return Retried(wire, clock=clock, chance=lambda: 0.5)


class TestRetriedKeepsTheContract(CheckModel):
    pass


OVERLOADED = Fault(status=529)


async def test_a_bad_moment_passes_unseen(
    vendor: FakeAnthropic, model: Retried, clock: Hasty
) -> None:
    vendor.fail(OVERLOADED, Fault(cut=True))
    chunks = await read(model, ask("Hello"))
    assert not any(isinstance(chunk, Restarted) for chunk in chunks)
    assert clock.slept == [0.5, 1.0]


async def test_after_the_last_attempt_the_error_is_raised(
    vendor: FakeAnthropic, model: Retried
) -> None:
    vendor.fail(OVERLOADED, OVERLOADED, OVERLOADED)
    with pytest.raises(ModelUnavailable):
        await read(model, ask("Hello"))
    assert len(vendor.journal) == 3


async def test_what_was_shown_is_declared_void_before_the_next_attempt(
    vendor: FakeAnthropic, model: Retried
) -> None:
    vendor.fail(Fault(cut=True, after_events=4))
    vendor.say(Answer(text=("wrong", "never")), Answer(text=("right",)))
    shown, restarted, again, done = await read(model, ask("Hello"))
    assert (shown, again) == (TextDelta("wrong"), TextDelta("right"))
    assert isinstance(restarted, Restarted)
    assert "anthropic" in restarted.reason
    assert done.parts == (Text("right", Origin.ASSISTANT),)


async def test_nothing_is_declared_void_twice(vendor: FakeAnthropic, model: Retried) -> None:
    vendor.fail(Fault(cut=True, after_events=4), OVERLOADED)
    chunks = await read(model, ask("Hello"))
    assert [type(chunk) for chunk in chunks] == [TextDelta, Restarted, TextDelta, Done]


async def test_the_wait_that_the_vendor_asks_for_is_kept(
    vendor: FakeAnthropic, model: Retried, clock: Hasty
) -> None:
    vendor.fail(Fault(status=429, headers={"retry-after": "7"}))
    answer_of(await read(model, ask("Hello")))
    assert clock.slept == [7.0]


async def test_a_longer_wait_is_left_to_another_model(
    vendor: FakeAnthropic, model: Retried, clock: Hasty
) -> None:
    vendor.fail(Fault(status=429, headers={"retry-after": "31"}))
    with pytest.raises(RateLimited) as caught:
        await read(model, ask("Hello"))
    assert (caught.value.retry_after_seconds, clock.slept) == (31.0, [])


async def test_what_another_try_cannot_mend_is_raised_at_once(
    vendor: FakeAnthropic, model: Retried
) -> None:
    vendor.fail(Fault(status=413))
    with pytest.raises(ContextOverflow):
        await read(model, ask("Hello"))
    assert len(vendor.journal) == 1


async def test_waits_double_up_to_the_longest(vendor: FakeAnthropic, wire: Anthropic) -> None:
    clock = Hasty()
    model = Retried(wire, clock=clock, attempts=5, longest_wait_seconds=4, chance=lambda: 1.0)
    vendor.fail(*[OVERLOADED] * 5)
    with pytest.raises(ModelUnavailable):
        await read(model, ask("Hello"))
    assert clock.slept == [1.0, 2.0, 4.0, 4.0]


class Broken:
    card = CARD

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        yield TextDelta("a")
        raise ZeroDivisionError


async def test_a_bug_is_not_tried_again(clock: Hasty) -> None:
    with pytest.raises(ZeroDivisionError):
        await read(Retried(Broken(), clock=clock), ask("Hello"))
    assert clock.slept == []


async def test_the_card_is_that_of_the_model(model: Retried, vendor: FakeAnthropic) -> None:
    assert model.card is CARD
    assert isinstance((await read(model, ask("Hello")))[-1], Done)
