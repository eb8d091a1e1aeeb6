"""What calls cost, against a vendor that writes an invoice."""

import asyncio
import json
import random
import re
import tomllib
from collections.abc import Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from famulus.core.clock import Clock
from famulus.core.config import (
    Agent,
    Config,
    Cost,
    Limits,
    ModelEntry,
    Provider,
    SpendingLimits,
)
from famulus.core.errors import ModelError, ModelUnavailable, OverLimit, RateLimited
from famulus.core.messages import File, Image, Message, Origin, Text, Usage
from famulus.core.prices import Price
from famulus.core.protocols import Caller, Done, Request
from famulus.core.settings import Secret, Size
from famulus.models.named import Models
from famulus.state.budget import Budget
from famulus.state.limits import NANO
from famulus.state.spending import Spending
from famulus.store.sqlite import SQLite
from famulus.testing.fake_openai import FakeOpenAI
from famulus.testing.fake_vendor import Answer, Fault

PRICE = Price(input=3.0, output=15.0)
PEOPLE = ("alice", "bob", "carol")


class Hurried(Clock):
    """Waits between tries take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Vendor(FakeOpenAI):
    """Bills four bytes of the messages as a token and each piece of text it sends as one.

    `invoice` holds the billionths of a dollar of the calls it reported, `unreported` those of the
    calls that broke before it could.
    """

    def __init__(self, *, openrouter: bool = False, silent: bool = False) -> None:
        super().__init__(openrouter=openrouter)
        self.invoice: list[int] = []
        self.unreported: list[int] = []
        self._silent = silent

    def events(self, answer, body):
        tokens = len(json.dumps(body["messages"])) // 4
        text = answer.text[: body.get("max_tokens", len(answer.text))]
        answer = msgspec.structs.replace(
            answer, text=text, input_tokens=tokens, output_tokens=len(text)
        )
        if self._silent:
            body = body | {"stream_options": {}}
        sent, whole = 0, False
        try:
            for event in super().events(answer, body):
                yield event
                sent += b'"content": "word' in event
            whole = True
        finally:
            cost = tokens * 3000 + sent * 15000
            (self.invoice if whole and not self._silent else self.unreported).append(cost)

    @property
    def billed_nano(self) -> int:
        return sum(self.invoice) + sum(self.unreported)


def words(count: int) -> Answer:
    return Answer(text=("word ",) * count)


def asked(person: str = "alice", text: str = "Hello", **caller: str) -> Request:
    said = Message("user", (Text(text, Origin.OWNER),))
    return Request(
        system="Be brief.",
        messages=(said,),
        session=f"web:{person}:1",
        caller=Caller(person=person, agent="famulus", channel="web", turn_id="t", **caller),
    )


class Desk:
    """A budget on a database and models that use it."""

    def __init__(self, database, budget: Budget, models: Models, notices: list[str]) -> None:
        self.database = database
        self.budget = budget
        self.models = models
        self.notices = notices

    async def ask(self, request: Request, model: str = "m", patience: float = 30.0) -> Done:
        """The end of an answer; a stream is left when it is silent for `patience` seconds."""
        limit = 30.0
        async with aclosing(self.models.named(model).stream(request)) as chunks:
            while True:
                async with asyncio.timeout(limit):
                    chunk = await anext(chunks)
                if isinstance(chunk, Done):
                    return chunk
                limit = patience

    async def rows(self):
        """The ledger once everything is written, oldest first."""
        async with asyncio.timeout(10):
            while self.budget.busy:
                await asyncio.sleep(0.001)
        return await self.database.fetch("select * from spending order by at")


@pytest.fixture
def desk(tmp_path: Path):
    @asynccontextmanager
    async def opened(vendor: FakeOpenAI, database=None, entries=None, answer_bytes=10**6, **cost):
        type_ = "openrouter" if vendor._openrouter else "openai"
        entry = ModelEntry(provider="p", id="m", price=PRICE, max_tokens=50)
        config = Config(
            providers={"p": Provider(type=type_, base_url=vendor.url, api_key=Secret(vendor.key))},
            models={"m": entry, **(entries or {})},
            agent=Agent(model="m"),
            cost=Cost(**cost),
            limits=Limits(answer=Size(answer_bytes)),
        )
        notices: list[str] = []
        clock = Hurried()
        async with (
            database or SQLite(tmp_path / "famulus.db") as opened,
            Budget(
                opened,
                config.cost,
                clock=clock,
                notify=lambda call, text: notices.append(text),
            ) as budget,
            aiohttp.ClientSession() as session,
        ):
            models = Models(
                config, session=lambda: session, clock=clock, environment={}, budget=budget
            )
            yield Desk(opened, budget, models, notices)

    return opened


# ---------------------------------------------------------------- booking


@pytest.mark.anyio
async def test_every_call_is_booked_with_who_what_and_for_how_much(desk) -> None:
    async with Vendor() as vendor, desk(vendor) as here:
        vendor.say(words(7))
        done = await here.ask(asked(job="morning", kind="compaction", reason="simple: hello"))
        (row,) = await here.rows()
    assert row["cost_nano"] == vendor.billed_nano == round(done.usage.cost_usd * NANO)
    assert row["output_tokens"] == 7
    expected = {
        "person": "alice",
        "agent": "famulus",
        "channel": "web",
        "job": "morning",
        "kind": "compaction",
        "reason": "simple: hello",
        "session": "web:alice:1",
        "provider": "p",
        "model": "m",
    }
    assert {name: row[name] for name in expected} == expected
    assert (row["outcome"], row["estimated"]) == ("ok", 0)
    assert json.loads(row["price"]) == {"input": 3.0, "output": 15.0}


@pytest.mark.anyio
async def test_each_try_is_booked_and_a_refused_one_costs_nothing(desk) -> None:
    async with Vendor() as vendor, desk(vendor, daily_limit_usd=1.0) as here:
        vendor.fail(Fault(status=429), Fault(status=503))
        vendor.say(words(3))
        await here.ask(asked())
        rows = await here.rows()
    outcomes = [(row["outcome"], row["cost_nano"], row["estimated"]) for row in rows]
    assert outcomes == [("failed", 0, 0), ("failed", 0, 0), ("ok", vendor.billed_nano, 0)]


@pytest.mark.anyio
async def test_vendor_that_cannot_be_reached_costs_nothing(desk) -> None:
    async with Vendor() as vendor:
        pass
    async with desk(vendor) as here:
        with pytest.raises(ModelUnavailable):
            await here.ask(asked())
        rows = await here.rows()
    assert [(row["outcome"], row["cost_nano"], row["estimated"]) for row in rows] == [
        ("failed", 0, 0)
    ] * 3


@pytest.mark.anyio
async def test_broken_stream_is_booked_by_what_came(desk) -> None:
    async with Vendor() as vendor, desk(vendor) as here:
        vendor.fail(*[Fault(after_events=9, cut=True)] * 3)
        vendor.say(*[words(20)] * 3)
        with pytest.raises(ModelUnavailable):
            await here.ask(asked())
        rows = await here.rows()
    assert [row["outcome"] for row in rows] == ["failed"] * 3
    for row, billed in zip(rows, vendor.unreported, strict=True):
        assert row["estimated"]
        assert billed <= row["cost_nano"] <= 3 * billed


@pytest.mark.anyio
async def test_cancelled_call_is_booked_by_what_came(desk) -> None:
    async with Vendor() as vendor, desk(vendor, daily_limit_usd=1.0) as here:
        vendor.fail(Fault(after_events=5, hang=True))
        vendor.say(words(20))
        with pytest.raises(TimeoutError):
            await here.ask(asked(), patience=0.1)
        (row,) = await here.rows()
        (left,) = await here.database.fetch("select * from allowance")
    assert (row["outcome"], row["estimated"]) == ("cancelled", 1)
    assert row["cost_nano"] >= sum(vendor.unreported) > 0
    assert (left["cost_nano"], left["held_nano"]) == (row["cost_nano"], 0)


@pytest.mark.anyio
async def test_cost_that_the_vendor_states_wins(desk) -> None:
    async with Vendor(openrouter=True) as vendor, desk(vendor) as here:
        done = await here.ask(asked())
        (row,) = await here.rows()
    assert row["cost_nano"] == 1_250_000
    assert done.usage.cost_usd == 0.00125


@pytest.mark.anyio
async def test_server_that_counts_nothing_is_estimated(desk) -> None:
    async with Vendor(silent=True) as vendor, desk(vendor) as here:
        vendor.say(words(30))
        done = await here.ask(asked())
        (row,) = await here.rows()
    assert row["estimated"]
    assert vendor.billed_nano <= row["cost_nano"] == round(done.usage.cost_usd * NANO)


@pytest.mark.anyio
async def test_answer_that_was_cut_off_is_booked_by_what_came(desk) -> None:
    long = {"long": ModelEntry(provider="p", id="m", price=PRICE)}
    async with Vendor() as vendor, desk(vendor, entries=long, answer_bytes=2000) as here:
        vendor.say(words(1000))
        done = await here.ask(asked(), "long")
        (row,) = await here.rows()
    assert done.reason == "length"
    assert row["estimated"]
    assert row["input_tokens"] > 0
    assert row["output_tokens"] >= 2000 // len("word ")
    assert row["cost_nano"] == round(done.usage.cost_usd * NANO)


@pytest.mark.anyio
async def test_local_model_is_free_and_its_tokens_count(desk) -> None:
    local = ModelEntry(provider="p", id="m", local=True)
    async with (
        Vendor() as vendor,
        desk(vendor, entries={"own": local}, daily_limit_usd=0.000001) as here,
    ):
        await here.ask(asked(), "own")
        (row,) = await here.rows()
    assert row["cost_nano"] == 0
    assert row["input_tokens"] > 0


# ---------------------------------------------------------------- limits


@pytest.mark.anyio
async def test_call_that_could_pass_a_limit_is_not_made(desk) -> None:
    async with Vendor() as vendor, desk(vendor, daily_limit_usd=0.005) as here:
        vendor.say(*[words(40)] * 9)
        said = ""
        while not said:
            try:
                await here.ask(asked())
            except OverLimit as error:
                said = str(error)
        rows = await here.rows()
    assert 1 < len(vendor.journal) == len(rows) < 9
    assert sum(row["cost_nano"] for row in rows) == vendor.billed_nano <= 0.005 * NANO
    assert re.match(
        r"The daily limit of \$0\.005 has \$0\.00\d+ left \(\$0\.00\d+ spent\), and this call could"
        r" cost up to \$0\.00\d+\. It frees at 00:00 UTC\. Raise cost\.daily_limit_usd",
        said,
    )


@pytest.mark.anyio
async def test_limit_too_small_for_any_call_says_so(desk) -> None:
    async with Vendor() as vendor, desk(vendor, monthly_limit_tokens=20) as here:
        with pytest.raises(
            OverLimit, match=r"monthly limit of 20 tokens is too small .*max_tokens"
        ):
            await here.ask(asked())
    assert not vendor.journal


@pytest.mark.anyio
@pytest.mark.parametrize("scope", ["person:alice", "agent:famulus", "channel:web", "job:morning"])
async def test_limit_holds_for_whom_it_is_written(desk, scope: str) -> None:
    limits = {scope: SpendingLimits(daily_limit_tokens=1)}
    async with Vendor() as vendor, desk(vendor, limits=limits) as here:
        with pytest.raises(OverLimit, match=f"for the {scope.replace(':', ' ')} is too small"):
            await here.ask(asked(job="morning"))
        other = msgspec.structs.replace(
            asked("bob"), caller=Caller(person="bob", agent="x", channel="y", job="z")
        )
        await here.ask(other)


@pytest.mark.anyio
async def test_answer_without_a_bound_of_its_own_gets_one_while_a_limit_holds(desk) -> None:
    free = {"open": ModelEntry(provider="p", id="m", price=PRICE)}
    async with Vendor() as vendor:
        async with desk(vendor, entries=free, daily_limit_usd=1.0, max_tokens=300) as here:
            await here.ask(asked(), "open")
        async with desk(vendor, entries=free) as here:
            await here.ask(asked(), "open")
    assert [call.body.get("max_tokens") for call in vendor.journal] == [300, None]


@pytest.mark.anyio
async def test_unknown_price_counts_as_over_a_limit_in_usd_unless_allowed(desk) -> None:
    strange = {"odd": ModelEntry(provider="p", id="unheard-of")}
    async with Vendor() as vendor:
        async with desk(vendor, entries=strange, daily_limit_usd=1.0) as here:
            with pytest.raises(OverLimit, match="what unheard-of costs is not known") as refused:
                await here.ask(asked(), "odd")
        async with desk(
            vendor, entries=strange, daily_limit_usd=1.0, allow_unknown_price=True
        ) as here:
            await here.ask(asked(), "odd")
        async with desk(vendor, entries=strange, daily_limit_tokens=100_000) as here:
            await here.ask(asked(), "odd")
    assert len(vendor.journal) == 2
    (advice,) = re.findall(r"such as (.* \})", str(refused.value))
    assert tomllib.loads(advice)["unheard-of"]["output"] == 15.0


@pytest.mark.anyio
async def test_advice_for_an_unknown_price_can_be_typed_and_helps(desk) -> None:
    strange = {"odd": ModelEntry(provider="p", id="some/odd:model")}
    async with Vendor() as vendor:
        async with desk(vendor, entries=strange, daily_limit_usd=1.0) as here:
            with pytest.raises(OverLimit) as refused:
                await here.ask(asked(), "odd")
        (advice,) = re.findall(r"such as (.* \})", str(refused.value))
        prices = {name: Price(**each) for name, each in tomllib.loads(advice).items()}
        async with desk(vendor, entries=strange, daily_limit_usd=1.0, prices=prices) as here:
            vendor.say(words(3))
            done = await here.ask(asked(), "odd")
    assert done.usage.cost_usd * NANO == pytest.approx(vendor.billed_nano)


@pytest.mark.anyio
async def test_cost_of_unknown_price_is_told_as_unknown(desk) -> None:
    entries = {
        "odd": ModelEntry(provider="p", id="unheard-of"),
        "own": ModelEntry(provider="p", id="unheard-of", local=True),
    }
    async with Vendor() as vendor, desk(vendor, entries=entries) as here:
        ends = [await here.ask(asked(), name) for name in ("odd", "own", "m")]
        vendor.fail(Fault(status=400))
        with pytest.raises(ModelError):
            await here.ask(asked(), "odd")
        await here.rows()
        summary = await Spending(here.database, clock=Clock(), timezone="UTC").summary(days=1)
    assert [done.usage.unpriced_calls for done in ends] == [1, 0, 0]
    by_model = {each.name: (each.calls, each.unpriced_calls) for each in summary.by_model}
    assert by_model == {"unheard-of": (3, 1), "m": (1, 0)}
    assert summary.total.unpriced_calls == 1
    assert sum((done.usage for done in ends), Usage()).unpriced_calls == 1


@pytest.mark.anyio
async def test_price_written_for_a_local_model_counts(desk) -> None:
    local = ModelEntry(provider="p", id="m", local=True, price=PRICE)
    async with Vendor() as vendor, desk(vendor, entries={"own": local}) as here:
        vendor.say(words(3))
        await here.ask(asked(), "own")
        (row,) = await here.rows()
    assert row["cost_nano"] == vendor.billed_nano > 0


# ---------------------------------------------------------------- a vendor that states its costs


class Stating(FakeOpenAI):
    """OpenRouter, which states `cost` of each call."""

    def __init__(self, cost: float) -> None:
        super().__init__(openrouter=True)
        self._cost = cost

    def _usage(self, answer):
        return super()._usage(answer) | {"cost": self._cost}


@pytest.mark.anyio
@pytest.mark.parametrize("cost", [0.05, 0.0])
async def test_model_without_a_price_is_asked_under_a_limit_and_booked_as_stated(
    desk, cost: float
) -> None:
    auto = {"auto": ModelEntry(provider="p", id="openrouter/auto")}
    async with Stating(cost) as vendor, desk(vendor, entries=auto, daily_limit_usd=1.0) as here:
        ends = [await here.ask(asked(), "auto") for _ in range(3)]
        rows = await here.rows()
        (left,) = await here.database.fetch("select * from allowance")
    assert [done.usage.cost_usd for done in ends] == [cost] * 3
    assert [(row["cost_nano"], row["estimated"]) for row in rows] == [(round(cost * NANO), 0)] * 3
    assert (left["cost_nano"], left["held_nano"]) == (round(3 * cost * NANO), 0)
    assert not any(done.usage.unpriced_calls for done in ends)


@pytest.mark.anyio
async def test_limit_holds_for_a_model_whose_cost_is_known_only_afterwards(desk) -> None:
    auto = {"auto": ModelEntry(provider="p", id="openrouter/auto")}
    async with Stating(0.3) as vendor, desk(vendor, entries=auto, daily_limit_usd=1.0) as here:
        for _ in range(3):
            await here.ask(asked(), "auto")
        with pytest.raises(OverLimit, match=r"has \$0\.10 left"):
            await here.ask(asked(), "auto")
    assert len(vendor.journal) == 3


@pytest.mark.anyio
async def test_broken_call_of_a_model_without_a_price_is_estimated(desk) -> None:
    auto = {"auto": ModelEntry(provider="p", id="openrouter/auto")}
    async with Stating(0.05) as vendor, desk(vendor, entries=auto) as here:
        vendor.fail(*[Fault(after_events=3, cut=True)] * 3)
        with pytest.raises(ModelUnavailable):
            await here.ask(asked(), "auto")
        rows = await here.rows()
    assert all(row["estimated"] and row["cost_nano"] > 0 for row in rows)


@pytest.mark.anyio
async def test_price_cap_of_the_routing_is_what_is_set_aside(desk) -> None:
    capped = {"max_price": {"prompt": 0.01, "completion": 0.02}}
    auto = {"auto": ModelEntry(provider="p", id="openrouter/auto", routing=capped)}
    async with Stating(0.0001) as vendor, desk(vendor, entries=auto, daily_limit_usd=0.01) as here:
        done = await here.ask(asked(), "auto")
    assert done.usage.cost_usd == 0.0001


@pytest.mark.anyio
async def test_other_model_takes_over_at_the_limit(desk) -> None:
    entries = {"spare": ModelEntry(provider="p", id="spare", local=True)}
    async with (
        Vendor() as vendor,
        desk(vendor, entries=entries, daily_limit_usd=0.0001, over_limit="spare") as here,
    ):
        done = await here.ask(asked())
    assert done.model == "spare"
    assert [call.body["model"] for call in vendor.journal] == ["spare"]


@pytest.mark.anyio
async def test_user_is_warned_once_in_a_period_also_across_a_restart(desk) -> None:
    limits = {"daily_limit_tokens": 2000, "warn_at_percent": 3}
    async with Vendor() as vendor:
        async with desk(vendor, **limits) as here:
            for _ in range(6):
                await here.ask(asked())
            await here.rows()
            (notice,) = here.notices
        assert "of the daily limit of 2,000 tokens is used" in notice
        async with desk(vendor, **limits) as here:
            await here.ask(asked())
            await here.rows()
            assert not here.notices


@pytest.mark.anyio
async def test_warning_comes_before_a_refusal(desk) -> None:
    async with Vendor() as vendor, desk(vendor, daily_limit_usd=0.005) as here:
        vendor.say(*[words(40)] * 9)
        for _ in range(9):
            try:
                await here.ask(asked())
            except OverLimit:
                break
            await here.rows()
            warned = list(here.notices)
        else:
            pytest.fail("no limit held")
    (notice,) = warned
    assert re.match(r"[5-7]\d% of the daily limit of \$0\.005 is used \(\$0\.00\d+\)\.", notice)
    assert notice.endswith("What is left may be too little for a call like the last one.")


@pytest.mark.anyio
async def test_call_waits_for_those_on_their_way_instead_of_being_refused(desk) -> None:
    """Two calls could cost more than the limit together, but the first turns out cheap."""
    async with Vendor() as vendor, desk(vendor, daily_limit_usd=0.003) as here:
        vendor.fail(Fault(latency_seconds=0.2))
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(here.ask(asked()))
        assert len(await here.rows()) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("part", "data", "tokens"),
    [
        (Image("b", "image/png", Origin.OWNER), b"x", 5000),
        (File("b", "application/pdf", Origin.OWNER, "a.pdf"), b"x" * 2000, 4000),
    ],
)
async def test_what_is_sent_along_is_held_too(desk, part, data: bytes, tokens: int) -> None:
    said = Message("user", (Text("Look", Origin.OWNER), part))
    plain = msgspec.structs.replace(asked(), messages=(said,))
    async with Vendor() as vendor, desk(vendor, daily_limit_tokens=900) as here:
        await here.ask(plain)
        with pytest.raises(OverLimit) as error:
            await here.ask(msgspec.structs.replace(plain, media={"b": data}))
    match = re.search(r"could take ([\d,]+) tokens", str(error.value))
    assert match
    assert tokens < int(match[1].replace(",", "")) < tokens + 1000


# ---------------------------------------------------------------- all at once


def _faults(chance: random.Random) -> list[Fault]:
    made: list[Callable[[], Fault]] = [
        lambda: Fault(status=429, headers={"retry-after-ms": "1"}),
        lambda: Fault(status=500),
        lambda: Fault(after_events=chance.randrange(1, 20), cut=True),
        lambda: Fault(after_events=chance.randrange(2, 20), hang=True),
        lambda: Fault(after_events=chance.randrange(1, 20), error="server_error"),
        lambda: Fault(latency_seconds=chance.random() / 50),
    ]
    # One after the other would have the provider left alone for a while.
    return [chance.choice(made)() if chance.random() < 0.3 else Fault() for _ in range(400)]


async def _many(here: Desk, vendor: Vendor, chance: random.Random) -> list[str]:
    """64 conversations at once; calls that hang are cancelled in the middle."""
    ends: list[str] = []

    async def turn(number: int) -> None:
        person = PEOPLE[number % len(PEOPLE)]
        for _ in range(3):
            try:
                await here.ask(asked(person, "word " * chance.randrange(200)), patience=0.5)
                ends.append("ok")
            except TimeoutError:
                ends.append("cancelled")
            except OverLimit:
                ends.append("over")
            except ModelError as error:
                ends.append(type(error).__name__)

    vendor.say(*[words(chance.randrange(1, 60)) for _ in range(400)])
    vendor.fail(*_faults(chance))
    async with asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(turn(number))
    return ends


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_64_conversations_at_once_pass_no_limit_and_match_the_invoice(desk, seed) -> None:
    await _proof(desk, random.Random(seed), database=None)


async def _proof(desk, chance: random.Random, database) -> None:
    daily, alices, tokens = 0.05, 0.008, 60_000
    limits = {
        "person:alice": SpendingLimits(daily_limit_usd=alices),
        "channel:web": SpendingLimits(monthly_limit_tokens=tokens),
    }
    async with (
        Vendor() as vendor,
        desk(vendor, database, daily_limit_usd=daily, limits=limits) as here,
    ):
        ends = await _many(here, vendor, chance)
        rows = await here.rows()
        left = {
            (row["scope"], row["period"]): row
            for row in await here.database.fetch("select * from allowance")
        }
    assert {"ok", "over"} <= set(ends)
    reported = [row["cost_nano"] for row in rows if not row["estimated"] and row["cost_nano"]]
    assert sorted(reported) == sorted(vendor.invoice), "the ledger is the invoice to the cent"
    estimated = sum(row["cost_nano"] for row in rows if row["estimated"])
    assert estimated >= sum(vendor.unreported)

    def spent(*, whose: str = "") -> int:
        return sum(row["cost_nano"] for row in rows if whose in ("", row["person"]))

    assert vendor.billed_nano <= spent() <= daily * NANO
    assert spent(whose="alice") <= alices * NANO
    assert sum(row["input_tokens"] + row["output_tokens"] for row in rows) <= tokens
    assert all(row["outcome"] in ("ok", "failed", "cancelled") for row in rows)
    assert all(row["held_nano"] == row["held_tokens"] == 0 for row in left.values())
    assert next(row for (scope, _), row in left.items() if not scope)["cost_nano"] == spent()


def test_rate_limit_is_an_error_of_models() -> None:
    assert issubclass(OverLimit, ModelError)
    assert not issubclass(OverLimit, RateLimited | ModelUnavailable), "nobody tries it again"
