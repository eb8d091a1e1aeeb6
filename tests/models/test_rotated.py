from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from famulus.core.clock import Clock
from famulus.core.config import ModelEntry, Provider
from famulus.core.errors import ModelUnauthorized, ModelUnavailable, RateLimited
from famulus.core.protocols import ModelCard, Request, Restarted, TextDelta
from famulus.core.settings import Seconds, Secret
from famulus.models.openai_chat import OpenAIChat
from famulus.models.rotated import Keys, Rotated
from famulus.testing.check_model import CheckModel, ask, read
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Fault, Wrong

KEYS = ("first-secret-key", "second-secret-key", "third-secret-key")
CARD = ModelCard(name="gpt", id="gpt-1", provider="acme")
pytestmark = pytest.mark.anyio


class Held(Clock):
    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time


class ManyKeys(FakeOpenAI):
    """A vendor that knows several keys, and refuses some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, int] = {}
        self.asked: list[str] = []

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        key = headers["authorization"].removeprefix("Bearer ")
        self.asked.append(key)
        if status := self.refused.get(key):
            raise Wrong(f"Not with {key}.", status=status)
        super().check({"authorization": f"Bearer {self.key}"}, body)


@pytest.fixture
async def vendor() -> AsyncIterator[ManyKeys]:
    async with ManyKeys() as vendor:
        yield vendor


@pytest.fixture
def clock() -> Held:
    return Held()


def wires(vendor: FakeOpenAI, session: aiohttp.ClientSession, keys: tuple[str, ...]) -> list[Any]:
    return [
        OpenAIChat(
            CARD,
            Provider(api_key=Secret(key), base_url=vendor.url, timeout=Seconds(5)),
            ModelEntry(),
            session,
        )
        for key in keys
    ]


@pytest.fixture
def model(vendor: ManyKeys, session: aiohttp.ClientSession, clock: Held) -> Rotated:
    return Rotated(wires(vendor, session, KEYS), Keys("acme", len(KEYS), clock))


class TestRotatedKeepsTheContract(CheckModel):
    @pytest.fixture
    async def vendor(self) -> AsyncIterator[FakeOpenAI]:
        async with FakeOpenAI() as vendor:
            yield vendor

    @pytest.fixture
    def model(self, vendor: FakeOpenAI, session: aiohttp.ClientSession) -> Rotated:
        keys = (vendor.key, vendor.key)
        return Rotated(wires(vendor, session, keys), Keys("acme", 2, Clock()))


def in_session(name: str) -> Request:
    return Request(system="", messages=ask("Hello").messages, session=name)


async def test_calls_are_spread_over_the_keys(vendor: ManyKeys, model: Rotated) -> None:
    for _ in range(6):
        await read(model, ask("Hello"))
    assert Counter(vendor.asked) == dict.fromkeys(KEYS, 2)


async def test_a_conversation_keeps_its_key_and_many_use_them_all(
    vendor: ManyKeys, model: Rotated
) -> None:
    for number in range(30):
        before = len(vendor.asked)
        await read(model, in_session(f"console:{number}"))
        await read(model, in_session(f"console:{number}"))
        assert len(set(vendor.asked[before:])) == 1
    assert min(Counter(vendor.asked).values()) >= 8
    assert set(vendor.asked) == set(KEYS)


@pytest.mark.parametrize(("status", "rest"), [(429, 60), (401, 3600), (402, 3600), (403, 3600)])
async def test_the_next_key_answers_and_the_refused_one_rests(
    vendor: ManyKeys, model: Rotated, clock: Held, status: int, rest: int
) -> None:
    hello = in_session("console:1")
    await read(model, hello)
    (usual,) = vendor.asked
    vendor.refused[usual] = status
    await read(model, hello)
    _, tried, other = vendor.asked
    assert tried == usual != other
    clock.time += rest - 1
    await read(model, hello)
    assert vendor.asked[3:] == [other]
    vendor.refused.clear()
    clock.time += 1
    await read(model, hello)
    assert vendor.asked[4:] == [usual]


async def test_the_time_that_the_vendor_says_counts(
    vendor: ManyKeys, model: Rotated, clock: Held
) -> None:
    hello = in_session("console:1")
    vendor.fail(Fault(status=429, headers={"retry-after": "300"}))
    await read(model, hello)
    limited = vendor.asked[0]
    clock.time += 299
    await read(model, hello)
    assert vendor.asked.count(limited) == 1
    clock.time += 1
    await read(model, hello)
    assert vendor.asked[-1] == limited


async def test_when_all_keys_are_limited_the_soonest_time_is_told_and_nobody_is_asked(
    vendor: ManyKeys, model: Rotated, clock: Held
) -> None:
    for seconds in ("300", "20", "70"):
        vendor.fail(Fault(status=429, headers={"retry-after": seconds}))
    with pytest.raises(RateLimited, match="any of its 3 keys") as caught:
        await read(model, ask("Hello"))
    assert caught.value.retry_after_seconds == 20
    clock.time += 5
    with pytest.raises(RateLimited) as caught:
        await read(model, ask("Hello"))
    assert caught.value.retry_after_seconds == 15
    assert Counter(vendor.asked) == dict.fromkeys(KEYS, 1)


async def test_one_limited_key_is_waited_for_when_the_others_are_wrong(
    vendor: ManyKeys, model: Rotated
) -> None:
    vendor.refused = {KEYS[0]: 401, KEYS[1]: 429, KEYS[2]: 401}
    with pytest.raises(RateLimited) as caught:
        await read(model, ask("Hello"))
    assert caught.value.retry_after_seconds == 60


async def test_when_all_keys_are_wrong_the_vendor_says_so_until_one_is_mended(
    vendor: ManyKeys, model: Rotated
) -> None:
    vendor.refused = dict.fromkeys(KEYS, 401)
    with pytest.raises(ModelUnauthorized):
        await read(model, ask("Hello"))
    assert set(vendor.asked) == set(KEYS)
    with pytest.raises(ModelUnauthorized):
        await read(model, ask("Hello"))
    assert len(vendor.asked) == 4
    vendor.refused.clear()
    await read(model, ask("Hello"))


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut=True), Fault(status=400)])
async def test_nothing_else_moves_on_to_another_key(
    vendor: ManyKeys, model: Rotated, fault: Fault
) -> None:
    vendor.fail(fault)
    with pytest.raises(Exception, match="acme"):
        await read(model, ask("Hello"))
    assert len(vendor.asked) == 1


async def test_a_server_that_is_down_is_no_mark_against_the_key(
    vendor: ManyKeys, model: Rotated
) -> None:
    vendor.fail(Fault(status=503))
    with pytest.raises(ModelUnavailable):
        await read(model, in_session("console:1"))
    await read(model, in_session("console:1"))
    assert vendor.asked[0] == vendor.asked[1]


async def test_what_was_shown_is_declared_void_before_the_next_key_answers(
    vendor: ManyKeys, model: Rotated
) -> None:
    vendor.fail(Fault(error="rate_limit_error", after_events=2))
    vendor.say(Answer(text=("wrong", "never")), Answer(text=("right",)))
    shown, restarted, again, _ = await read(model, ask("Hello"))
    assert (shown, again) == (TextDelta("wrong"), TextDelta("right"))
    assert isinstance(restarted, Restarted)


async def test_no_error_shows_a_key(vendor: ManyKeys, model: Rotated) -> None:
    vendor.refused = dict.fromkeys(KEYS, 401)
    with pytest.raises(ModelUnauthorized) as caught:
        await read(model, ask("Hello"))
    assert not any(key in f"{caught.value!r}" for key in KEYS)


class Broken:
    card = CARD

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        yield TextDelta("a")
        raise TypeError("our own bug")


async def test_a_bug_is_not_taken_for_a_bad_key(
    vendor: ManyKeys, session: aiohttp.ClientSession, clock: Held
) -> None:
    model = Rotated([Broken(), *wires(vendor, session, KEYS[:1])], Keys("acme", 2, clock))
    start = next(name for name in map(str, range(99)) if Keys("x", 2, clock).order(name)[0] == 0)
    with pytest.raises(TypeError):
        await read(model, in_session(start))
    assert vendor.asked == []
