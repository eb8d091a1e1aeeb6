"""Keeps spending within its limits, however many calls are made at the same time.

What a call could cost is booked before it is made, in one transaction that fails when a limit
would be passed, and replaced by what it did cost when it ends. So sums never pass a limit in
between, also not with several processes on one database. The table `allowance` holds those sums;
the ledger is the truth, from which each process counts a sum anew when it first needs it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import NamedTuple, Self

from famulus.core.clock import Clock
from famulus.core.config import Cost
from famulus.core.errors import Conflict, OverLimit, StoreError, StoreFull, StoreUnavailable
from famulus.core.messages import Usage
from famulus.core.protocols import Caller
from famulus.state.limits import UNLIMITED, Limit, Limits, Used
from famulus.state.spending import Bill, Call, booked, closed
from famulus.store.database import Database, Result, Statement, Value, statement

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_RIDE_SECONDS = 0.05  # how long a booking waits for a transaction that takes it along
_OTHERS_SECONDS = 1.0  # how often to look whether another process gave something back

_HERE = " where scope = :scope and period = :period"

Key = tuple[str, str]


class Bound(NamedTuple):
    """The most that a call can use and cost."""

    cost_nano: int
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Held(NamedTuple):
    """A call that is booked with the most it can cost."""

    id: str
    day: str
    bound: Bound
    limits: tuple[Limit, ...]


class _Entry(NamedTuple):
    """Something to write: `first`, then `sums`, then ask whether to warn of `limits`."""

    call: Call
    day: str
    first: Statement | None
    sums: tuple[tuple[Key, Statement], ...] = ()
    limits: tuple[Limit, ...] = ()
    bound: Bound = Bound(0, 0, 0)
    last: Statement | None = None


class Budget:
    """Books every model call. An async context manager: leaving writes what is not written yet.

    `notify` is called with a text for the user, once for each limit and period, when a call
    passes the part of a limit that is warned at, or leaves less than it could have cost itself:
    the next one like it is refused.
    Calls that are open when it is entered were cut off with their process, and are taken to have
    cost what they could.
    """

    def __init__(
        self,
        database: Database,
        settings: Cost,
        *,
        clock: Clock,
        notify: Callable[[Call, str], None] = lambda call, text: None,
    ) -> None:
        self.settings = settings
        self._database = database
        self._clock = clock
        self._notify = notify
        self._limits = Limits(settings)
        self._counted: set[Key] = set()
        self._pending: list[_Entry] = []
        self._riders: list[Statement] = []
        self._leaving = False
        self._writing = False
        self._closing = False

    async def __aenter__(self) -> Self:
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        left = "outcome = 'open'"
        if rows := await self._database.fetch(f"select 1 from spending where {left}"):
            await self._database.execute(
                f"update spending set outcome = 'unknown', estimated = 1 where {left}"
            )
            log.warning("calls that a crash cut off count with all they could cost n=%d", len(rows))
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._group.create_task(self._write())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._closing = True
        self._wake.set()
        await self._group.__aexit__(None, None, None)

    @property
    def busy(self) -> bool:
        """Whether something is not written yet."""
        return self._writing or bool(self._pending or self._riders)

    def limits(self, caller: Caller) -> tuple[Limit, ...]:
        """The limits that hold for a call; mostly none."""
        return self._limits.on(caller)

    # ------------------------------------------------------------ before a call

    async def hold(self, call: Call, bound: Bound, limits: tuple[Limit, ...]) -> Held:
        """Book the most that a call can cost. Raises `OverLimit` when that passes a limit.

        Where calls on their way are all that is in the way, it waits for them to end.
        """
        while True:
            now = self._clock.now()
            held = Held(token_hex(8), self._limits.day(now), bound, limits)
            await self._count(held)
            while self._pending or self._writing:
                await self._written.wait()
            written = self._written
            try:
                await self._database.transaction(_holding(call, held, now.timestamp()))
            except Conflict:
                if await self._blocked(held):
                    await self._given_back(written)
            except (asyncio.CancelledError, StoreUnavailable):
                # It may be booked all the same, or be so in a moment.
                self._put(_released(call, held))
                raise
            else:
                return held

    async def _count(self, held: Held) -> None:
        """Bring the sums up to the ledger, once per process and period."""
        for limit in held.limits:
            key = limit.key(held.day)
            if key not in self._counted:
                await self._database.transaction(_counting(key))
                self._counted.add(key)

    async def _blocked(self, held: Held) -> bool:
        """Whether a limit stands in the way for now. Raises `OverLimit` when it does for good."""
        full = False
        for limit in held.limits:
            scope, period = limit.key(held.day)
            (row,) = await self._database.fetch(
                "select cost_nano, tokens, held_nano, held_tokens from allowance"
                " where scope = :scope and period = :period",
                scope=scope,
                period=period,
            )
            used = Used(row["cost_nano"], row["tokens"], row["held_nano"], row["held_tokens"])
            cost, tokens = held.bound.cost_nano, held.bound.tokens
            if limit.refuses(used, cost, tokens):
                frees = self._limits.frees(limit, self._clock.now())
                raise OverLimit(limit.refusal(used, cost, tokens, frees))
            full = full or limit.refuses(used, cost + used.held_nano, tokens + used.held_tokens)
        return full

    @staticmethod
    async def _given_back(written: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_OTHERS_SECONDS):
                await written.wait()
        except TimeoutError:
            return

    # ------------------------------------------------------------ after a call

    def settle(self, held: Held, call: Call, bill: Bill) -> None:
        """Replace what a call could cost by what it did. Written soon, and before any `hold`."""
        self._put(
            _Entry(
                call,
                held.day,
                closed(bill, id_=held.id),
                tuple(
                    (limit.key(held.day), _settling(limit.key(held.day), held.bound, bill))
                    for limit in held.limits
                ),
                held.limits,
                held.bound,
            )
        )

    def book(self, call: Call, bill: Bill) -> None:
        """Write down a call that no limit held for. Mostly the next transaction takes it along."""
        now = self._clock.now()
        day = self._limits.day(now)
        self._riders.append(booked(call, bill, id_=token_hex(8), at=now.timestamp(), day=day))
        if not self._leaving:
            self._leaving = True
            asyncio.get_running_loop().call_later(_RIDE_SECONDS, self._leave)

    def take(self) -> list[Statement]:
        """What `book` has not written yet, for a transaction that is made anyway."""
        taken, self._riders = self._riders, []
        return taken

    def give_back(self, taken: Sequence[Statement]) -> None:
        """That transaction failed. Writing something twice does no harm."""
        self._riders += taken
        self._wake.set()

    def _leave(self) -> None:
        self._leaving = False
        if self._riders:
            self._wake.set()

    def _put(self, entry: _Entry) -> None:
        self._pending.append(entry)
        self._wake.set()

    async def _write(self) -> None:
        while self.busy or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            entries, self._pending = self._pending, []
            riders = self.take()
            if entries or riders:
                self._writing = True
                await self._commit(entries, riders)
                self._writing = False
            written, self._written = self._written, asyncio.Event()
            written.set()

    async def _commit(self, entries: Sequence[_Entry], riders: Sequence[Statement]) -> None:
        """Write what happened, all at once. A database that went away is waited for."""
        statements = [*riders, *(entry.first for entry in entries if entry.first)]
        # In one order everywhere, so that no two processes wait for each other.
        sums = sorted((sum_ for entry in entries for sum_ in entry.sums), key=lambda each: each[0])
        statements += [sum_ for _, sum_ in sums]
        statements += [entry.last for entry in entries if entry.last]
        warned = self._warnings(entries)
        statements += [warning for _, _, warning in warned]
        while True:
            try:
                results = await self._database.transaction(statements)
            except (StoreFull, StoreUnavailable) as error:
                log.warning(
                    "spending waits for the database calls=%d error=%s", len(statements), error
                )
                if self._closing:
                    return
                await self._clock.sleep(_RETRY_SECONDS)
            except StoreError as error:
                if len(entries) + len(riders) == 1:
                    log.error("a call cannot be booked error=%s", error)
                    return
                # Only one of them need be at fault.
                for rider in riders:
                    await self._commit([], [rider])
                for entry in entries:
                    await self._commit([entry], [])
                return
            else:
                break
        self._warn(warned, results[len(results) - len(warned) :])

    def _warnings(self, entries: Sequence[_Entry]) -> list[tuple[Call, Limit, Statement]]:
        """What marks a limit as warned of, if this is the time to."""
        percent = self.settings.warn_at_percent
        if not percent:
            return []
        found = {
            limit.key(entry.day): (entry, limit) for entry in entries for limit in entry.limits
        }
        return [
            (entry.call, limit, _warning(key, limit, percent, entry.bound))
            for key, (entry, limit) in found.items()
        ]

    def _warn(
        self, warned: Sequence[tuple[Call, Limit, Statement]], results: Sequence[Result]
    ) -> None:
        for (call, limit, _), result in zip(warned, results, strict=True):
            for row in result.rows:
                percent = self.settings.warn_at_percent
                text = limit.warning(row["cost_nano"], row["tokens"], percent)
                log.warning("budget %s", text)
                self._notify(call, text)


def _holding(call: Call, held: Held, at: float) -> list[Statement]:
    bound = held.bound
    bill = Bill(
        usage=Usage(input_tokens=bound.input_tokens, output_tokens=bound.output_tokens),
        cost_nano=bound.cost_nano,
        outcome="open",
    )
    booking = []
    for limit in held.limits:
        scope, period = limit.key(held.day)
        booking.append(
            statement(
                "update allowance set held_nano = held_nano + :cost,"
                " held_tokens = held_tokens + :tokens where scope = :scope and period = :period"
                " and cost_nano + held_nano + :cost <= :most_cost"
                " and tokens + held_tokens + :tokens <= :most_tokens",
                expect=1,
                scope=scope,
                period=period,
                cost=bound.cost_nano,
                tokens=bound.tokens,
                most_cost=limit.cost_nano,
                most_tokens=limit.tokens,
            )
        )
    booking.sort(key=lambda each: (each.parameters["scope"], each.parameters["period"]))
    return [*booking, booked(call, bill, id_=held.id, at=at, day=held.day)]


def _settling(key: Key, bound: Bound, bill: Bill) -> Statement:
    return statement(
        "update allowance set cost_nano = cost_nano + :cost, tokens = tokens + :tokens,"
        " held_nano = held_nano - :held_cost, held_tokens = held_tokens - :held_tokens"
        " where scope = :scope and period = :period",
        scope=key[0],
        period=key[1],
        cost=bill.cost_nano,
        tokens=bill.usage.input_tokens + bill.usage.output_tokens,
        held_cost=bound.cost_nano,
        held_tokens=bound.tokens,
    )


def _released(call: Call, held: Held) -> _Entry:
    """Undo a booking that was made or not, or is being made by the server at this moment."""
    there = " and exists (select 1 from spending where id = :id)"
    nothing = Bill(usage=Usage(), cost_nano=0, outcome="cancelled")
    sums = []
    for limit in held.limits:
        key = limit.key(held.day)
        # One statement waits for that moment to be over, and the next one sees what came of it.
        wait = f"update allowance set held_nano = held_nano{_HERE}"
        sums.append((key, statement(wait, scope=key[0], period=key[1])))
        sql, parameters, _ = _settling(key, held.bound, nothing)
        sums.append((key, Statement(sql + there, {**parameters, "id": held.id})))
    gone = statement("delete from spending where id = :id", id=held.id)
    return _Entry(call, held.day, None, tuple(sums), last=gone)


def _counting(key: Key) -> list[Statement]:
    """Sum up the ledger. The row is locked first, so that no booking falls in between."""
    scope, period = key
    kind, _, name = scope.partition(":")
    whose = f" and {kind} = :name" if kind else ""
    here: dict[str, Value] = {"scope": scope, "period": period}
    sums = ",".join(
        f" {column} = (select coalesce(sum({what}), 0) from spending"
        f" where day >= :period and day <= :last{whose} and outcome {state} 'open')"
        for column, what, state in (
            ("cost_nano", "cost_nano", "<>"),
            ("tokens", "input_tokens + output_tokens", "<>"),
            ("held_nano", "cost_nano", "="),
            ("held_tokens", "input_tokens + output_tokens", "="),
        )
    )
    # A month is the beginning of its days, and `~` comes after every digit.
    counted = {**here, "last": f"{period}~"} | ({"name": name} if kind else {})
    return [
        Statement(
            "insert into allowance (scope, period) values (:scope, :period)"
            " on conflict (scope, period) do nothing",
            here,
        ),
        Statement(f"update allowance set held_nano = 0{_HERE}", here),
        Statement(f"update allowance set{sums}{_HERE}", counted),
    ]


def _warning(key: Key, limit: Limit, percent: int, bound: Bound) -> Statement:
    def part(most: int, next_call: int) -> int:
        return most if most == UNLIMITED else min(-(-most * percent // 100), most - next_call + 1)

    return statement(
        "update allowance set warned = 1 where scope = :scope and period = :period and warned = 0"
        " and (cost_nano >= :cost or tokens >= :tokens) returning cost_nano, tokens",
        scope=key[0],
        period=key[1],
        cost=part(limit.cost_nano, bound.cost_nano),
        tokens=part(limit.tokens, bound.tokens),
    )
