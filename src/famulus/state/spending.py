"""Every model call, and what it cost.

Costs are whole numbers of billionths of a dollar, so that sums are exact. A price is kept with
each call, so what a call cost never changes when prices do.
"""

from collections.abc import Iterable
from datetime import timedelta

import msgspec
from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.messages import Usage
from famulus.core.protocols import Spent, Summary
from famulus.state.limits import NANO, zone_of
from famulus.store.database import Database, Row, Statement, Value

UNKNOWN = "unknown"


class Call(Struct, frozen=True, kw_only=True):
    """A model call as it is booked. `price` is the text of the price it is made at, or `UNKNOWN`;
    it is empty where nothing is paid or the vendor states what.
    """

    provider: str
    model: str
    price: str = ""
    session: str = ""
    turn_id: str = ""
    person: str = ""
    agent: str = ""
    channel: str = ""
    job: str = ""
    kind: str = "chat"
    reason: str = ""


class Bill(Struct, frozen=True, kw_only=True):
    """How a call ended: `ok`, `failed` or `cancelled`. `estimated`: nobody said what it used."""

    usage: Usage
    cost_nano: int
    outcome: str
    estimated: bool = False


# Nine thousand calls of this size can be summed up in 64 bits.
_MOST = 10**15

_INSERT = (
    "insert into spending (id, at, day, session, turn_id, person, agent, channel, job, kind,"
    " provider, model, reason, price, outcome, estimated, input_tokens, output_tokens,"
    " cached_tokens, cache_write_tokens, reasoning_tokens, audio_tokens, cost_nano)"
    " values (:id, :at, :day, :session, :turn_id, :person, :agent, :channel, :job, :kind,"
    " :provider, :model, :reason, :price, :outcome, :estimated, :input, :output, :cached,"
    " :cache_write, :reasoning, :audio, :cost) on conflict (id) do nothing"
)
_CLOSE = (
    "update spending set outcome = :outcome, estimated = :estimated, input_tokens = :input,"
    " output_tokens = :output, cached_tokens = :cached, cache_write_tokens = :cache_write,"
    " reasoning_tokens = :reasoning, audio_tokens = :audio, cost_nano = :cost where id = :id"
)


def booked(call: Call, bill: Bill, *, id_: str, at: float, day: str) -> Statement:
    """Write a call down, one that ended or, with the outcome `open`, what it can cost at most."""
    whose: dict[str, Value] = msgspec.structs.asdict(call)
    return Statement(_INSERT, {"at": at, "day": day, **whose, **_values(bill, id_)})


def closed(bill: Bill, *, id_: str) -> Statement:
    """Replace what an open call could cost by what it did."""
    return Statement(_CLOSE, _values(bill, id_))


def _values(bill: Bill, id_: str) -> dict[str, Value]:
    usage = bill.usage
    return {
        "id": id_,
        "outcome": bill.outcome,
        "estimated": int(bill.estimated),
        "input": _bounded(usage.input_tokens),
        "output": _bounded(usage.output_tokens),
        "cached": _bounded(usage.cached_tokens),
        "cache_write": _bounded(usage.cache_write_tokens),
        "reasoning": _bounded(usage.reasoning_tokens),
        "audio": _bounded(usage.audio_tokens),
        "cost": _bounded(bill.cost_nano),
    }


def _bounded(number: int) -> int:
    """What the columns hold, and so that sums over them do: it is a stranger who counts."""
    return max(0, min(number, _MOST))


_SUMS = (
    "count(*) as calls, coalesce(sum(input_tokens), 0) as input,"
    " coalesce(sum(output_tokens), 0) as output, coalesce(sum(cached_tokens), 0) as cached,"
    " coalesce(sum(cost_nano), 0) as cost,"
    f" coalesce(sum(case when price = '{UNKNOWN}' and cost_nano = 0"
    " and input_tokens + output_tokens > 0 then 1 else 0 end), 0) as unpriced from spending"
    " where day >= :first and (:person = '' or person = :person) and outcome <> 'open'"
)


class Spending:
    """Reads the ledger. A `Ledger`; `timezone` is the one that days are counted in."""

    def __init__(self, database: Database, *, clock: Clock, timezone: str) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone_of(timezone)

    async def summary(self, *, days: int, person: str = "") -> Summary:
        today = self._clock.now().astimezone(self._zone).date()
        first = (today - timedelta(days=days - 1)).isoformat()

        async def by(column: str, order: str) -> tuple[Spent, ...]:
            rows = await self._database.fetch(
                f"select {column} as name, {_SUMS} group by {column} order by {order}",
                first=first,
                person=person,
            )
            return tuple(_spent(row) for row in rows)

        by_day = await by("day", "day")
        return Summary(
            total=_total(by_day),
            by_day=by_day,
            by_model=await by("model", "cost desc, name"),
            by_session=await by("session", "cost desc, name"),
            by_reason=_by_kind(await by("reason", "name")),
        )


def _spent(row: Row) -> Spent:
    # PostgreSQL sums up bigint as numeric.
    return Spent(
        name=row["name"],
        calls=int(row["calls"]),
        input_tokens=int(row["input"]),
        output_tokens=int(row["output"]),
        cached_tokens=int(row["cached"]),
        cost_usd=int(row["cost"]) / NANO,
        unpriced_calls=int(row["unpriced"]),
    )


def _by_kind(rows: Iterable[Spent]) -> tuple[Spent, ...]:
    """Reasons without their details: `simple: small talk (score 20)` counts as `simple`."""
    kinds: dict[str, list[Spent]] = {}
    for row in rows:
        if row.name:
            kinds.setdefault(row.name.partition(":")[0], []).append(row)
    sums = (msgspec.structs.replace(_total(each), name=kind) for kind, each in kinds.items())
    return tuple(sorted(sums, key=lambda each: (-each.cost_usd, each.name)))


def _total(rows: Iterable[Spent]) -> Spent:
    rows = tuple(rows)
    return Spent(
        calls=sum(row.calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        cost_usd=sum(round(row.cost_usd * NANO) for row in rows) / NANO,
        unpriced_calls=sum(row.unpriced_calls for row in rows),
    )
