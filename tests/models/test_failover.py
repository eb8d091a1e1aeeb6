"""A user's configuration with several providers, each a real server, one of them in trouble."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from famulus.core.clock import Clock
from famulus.core.config import Agent, Config, Provider
from famulus.core.errors import ModelUnavailable, RateLimited
from famulus.core.protocols import Model, Request
from famulus.core.settings import Seconds, Secret
from famulus.models.found import Found
from famulus.models.named import Models
from famulus.testing.check_model import answer_of, ask, read
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Fault

DOWN = Fault(status=503)
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


@pytest.fixture
async def first() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as vendor:
        yield vendor


@pytest.fixture
async def second() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as vendor:
        yield vendor


@pytest.fixture
def clock() -> Held:
    return Held()


def section(vendor: FakeOpenAI, **more: object) -> Provider:
    fields = {"api_key": Secret(vendor.key), "base_url": vendor.url, "timeout": Seconds(5)}
    return Provider(**(fields | more))


def models(
    session: aiohttp.ClientSession, clock: Clock, *fallbacks: str, **providers: Provider
) -> Models:
    return Models(
        Config(agent=Agent(model="first/a", fallbacks=fallbacks), providers=providers),
        session=lambda: session,
        clock=clock,
        environment={},
    )


@pytest.fixture
def model(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> Model:
    providers = {"first": section(first), "second": section(second)}
    return models(session, clock, "second/b", **providers).main()


async def answered(model: Model) -> str:
    done = answer_of(await read(model, ask("Hello")))
    return done.model


async def test_a_dead_provider_is_replaced_and_not_asked_again_while_it_rests(
    first: FakeOpenAI, second: FakeOpenAI, model: Model, clock: Held
) -> None:
    first.fail(*[DOWN] * 50)
    for _ in range(10):
        assert await answered(model) == "b"
    assert len(first.journal) == 5, "three attempts of the first call, two of the second"
    assert len(second.journal) == 10
    waited = sum(clock.slept)
    clock.slept.clear()
    assert await answered(model) == "b"
    assert clock.slept == [], "nobody waits for what rests"
    assert waited < 10


async def test_a_provider_that_recovers_is_used_again(
    first: FakeOpenAI, model: Model, clock: Held
) -> None:
    first.fail(*[DOWN] * 5)
    for _ in range(3):
        assert await answered(model) == "b"
    clock.time += 30
    assert await answered(model) == "a"
    assert await answered(model) == "a"


async def test_a_provider_that_stays_dead_costs_one_request_for_each_rest(
    first: FakeOpenAI, model: Model, clock: Held
) -> None:
    first.fail(*[DOWN] * 50)
    await answered(model)
    await answered(model)
    for number, rest in enumerate((30, 60, 120)):
        clock.time += rest
        assert await answered(model) == "b"
        assert await answered(model) == "b"
        assert len(first.journal) == 6 + number


async def test_a_server_that_is_gone_is_replaced(
    second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    providers = {"first": Provider(base_url=gone), "second": section(second)}
    model = models(session, clock, "second/b", **providers).main()
    for _ in range(3):
        assert await answered(model) == "b"


async def test_the_models_of_a_provider_rest_together(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    providers = {"first": section(first), "second": section(second)}
    all_ = models(session, clock, "second/b", **providers)
    first.fail(*[DOWN] * 50)
    main = all_.main()
    await answered(main)
    await answered(main)
    assert await answered(all_.named("first/other")) == "b"
    assert len(first.journal) == 5


async def test_a_chosen_model_has_the_fallbacks_too(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    providers = {"first": section(first), "second": section(second)}
    all_ = models(session, clock, "second/c", **providers)
    first.fail(*[DOWN] * 50)
    assert await answered(all_.named("first/b")) == "c"
    second.fail(*[DOWN] * 50)
    first.forget()
    clock.time += 60
    assert await answered(all_.named("second/x")) == "a", "the agent's own model comes last"


async def test_without_fallbacks_a_chosen_model_stands_alone(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    all_ = models(session, clock, first=section(first), second=section(second))
    second.fail(*[DOWN] * 50)
    with pytest.raises(ModelUnavailable):
        await read(all_.named("second/b"), ask("Hello"))
    assert first.journal == []


async def test_two_keys_that_were_found_are_a_chain(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    providers = {"first": section(first), "second": section(second)}
    found = Found("first/a", providers["first"], "a key", fallbacks=("second/b",))
    made = Models(
        Config(providers=providers),
        session=lambda: session,
        clock=clock,
        environment={},
        found=found,
    )
    first.fail(*[DOWN] * 50)
    assert await answered(made.main()) == "b"
    assert await answered(made.named("first/other")) == "b"


async def test_without_another_model_a_rest_never_grows(
    first: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    model = models(session, clock, first=section(first)).main()
    first.fail(*[DOWN] * 8)
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await read(model, ask("Hello"))
    for _ in range(3):
        clock.time += 30
        with pytest.raises(ModelUnavailable):
            await read(model, ask("Hello"))
    clock.time += 30
    assert await answered(model) == "a"


async def test_a_limited_key_hands_over_to_the_next_without_a_wait(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    keys = (Secret(first.key), Secret("another-key-in-rotation"))
    provider = section(first, api_key=Secret(), api_keys=keys)
    providers = {"first": provider, "second": section(second)}
    model = models(session, clock, "second/b", **providers).main()
    # The fake knows one key, so the other one is refused with 401, and rests.
    for _ in range(4):
        assert await answered(model) == "a"
    used = [received.headers["authorization"] for received in first.journal]
    assert used.count("Bearer another-key-in-rotation") == 1
    assert (second.journal, clock.slept) == ([], [])


async def test_only_when_every_key_is_limited_another_provider_answers(
    first: FakeOpenAI, second: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    # The fake knows one key only; a blank behind it makes another.
    keys = (Secret(first.key), Secret(f"{first.key} "))
    provider = section(first, api_key=Secret(), api_keys=keys)
    providers = {"first": provider, "second": section(second)}
    model = models(session, clock, "second/b", **providers).main()
    first.fail(*[Fault(status=429, headers={"retry-after": "90"})] * 2)
    assert await answered(model) == "b"
    assert await answered(model) == "b"
    assert len(first.journal) == 2
    clock.time += 90
    assert await answered(model) == "a"


async def test_a_limited_key_rests_for_all_models_of_the_provider(
    first: FakeOpenAI, session: aiohttp.ClientSession, clock: Held
) -> None:
    keys = (Secret(first.key), Secret(f"{first.key} "))
    all_ = models(session, clock, first=section(first, api_key=Secret(), api_keys=keys))
    first.fail(*[Fault(status=429, headers={"retry-after": "90"})] * 2)
    with pytest.raises(RateLimited):
        await read(all_.named("first/a"), ask("Hello"))
    with pytest.raises(RateLimited, match="any of its 2 keys"):
        await read(all_.named("first/b"), ask("Hello"))
    assert len(first.journal) == 2


async def test_a_provider_that_asks_for_patience_gets_it(
    first: FakeOpenAI, model: Model, clock: Held
) -> None:
    first.fail(Fault(status=529, headers={"retry-after": "7"}))
    assert await answered(model) == "a"
    assert clock.slept == [7.0]


async def test_limits_do_not_open_the_breaker(first: FakeOpenAI, model: Model, clock: Held) -> None:
    first.fail(*[Fault(status=429, headers={"retry-after": "90"})] * 8)
    for _ in range(8):
        assert await answered(model) == "b"
    assert await answered(model) == "a"


async def test_a_bug_of_ours_is_raised_and_no_outage(
    first: FakeOpenAI, second: FakeOpenAI, model: Model
) -> None:
    nonsense = Request(system="", messages=(7,))  # type: ignore[arg-type]
    for _ in range(6):
        with pytest.raises(AttributeError):
            await read(model, nonsense)
    assert (first.journal, second.journal) == ([], [])
    assert await answered(model) == "a"


async def test_when_all_fail_the_error_names_each(
    first: FakeOpenAI, second: FakeOpenAI, model: Model
) -> None:
    first.fail(*[Fault(status=429, headers={"retry-after": "90"})] * 3)
    second.fail(*[DOWN] * 3)
    with pytest.raises(RateLimited, match=r"first/a: .*429.*second/b: .*503"):
        await read(model, ask("Hello"))
