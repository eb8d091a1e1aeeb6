"""A durable turn, and the protocol of the engine that drives it.

A turn is a function of its journal. Whatever a run did is a step there, so a run that starts
after a crash gets the finished steps back and goes on behind them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.events import Event
from famulus.core.messages import Inbound, Message, Outbound, Part, Usage, text_of
from famulus.core.protocols import Accepted, Replay
from famulus.engine import journal, outbox
from famulus.engine.fenced import Fenced
from famulus.store.database import Database, Statement

T = TypeVar("T")


class Diverged(Exception):
    """The journal does not fit what the run asks for, so the turn cannot be continued."""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a turn ended. `quiet`: the user was told by another message already. `failed`: what
    was asked for was not done, and the text says why. `turn_id` is filled in for whoever waits:
    the turn that answered, which may be one that the message joined.
    """

    parts: tuple[Part, ...]
    model: str = ""
    usage: Usage = Usage()
    quiet: bool = False
    failed: bool = False
    turn_id: str = ""

    @property
    def text(self) -> str:
        return text_of(self.parts)


class Closing(Struct, frozen=True, kw_only=True):
    """An answer and what else belongs into the transaction that ends the turn."""

    answer: Answer
    statements: tuple[Statement, ...] = ()


class Stopped(Struct, frozen=True):
    """What a cancel ended: running turns and waiting messages."""

    running: int
    waiting: int


Ending = Literal["stopped", "given_up", "outdated", "abandoned"]


class Turn:
    """One run of a turn, as its runner sees it.

    `inbounds` are the messages it answers, in order; `record` collects what was said in it, for
    whoever has to end it early. Every write is fenced: `Superseded` means another worker took over.
    """

    def __init__(
        self,
        entry: journal.Entry,
        *,
        database: Database,
        clock: Clock,
        taken: Sequence[journal.Taken],
        emit: Callable[[Event], None],
        send: Callable[[Outbound], None],
        steer: Callable[[], Sequence[journal.Taken]],
        outbox_expiry_seconds: float,
    ) -> None:
        self.id = entry.id
        self.session = entry.session
        self.person = entry.person
        self.lane = entry.lane
        self.attempt = entry.attempt
        self.ids = [each.id for each in taken]
        self.inbounds = [each.inbound for each in taken]
        self.record: list[Message] = []
        self.clock = clock
        self.emit = emit
        self.finishing = False
        self.answer: Answer | None = None
        self.outbox: list[Outbound] = []
        self._send = send
        self._database = database
        self._recorded: dict[int, journal.Recorded] = {}
        self._steer = steer
        self._expiry = timedelta(seconds=outbox_expiry_seconds)
        self._next = 0
        self._held: list[Statement] = []
        self._joins: list[Statement] = []
        self._strikes = entry.strikes
        self._fenced = Fenced(database, entry.id, attempt=entry.attempt, clock=clock)

    @property
    def inbound(self) -> Inbound:
        """The message that opened the turn."""
        return self.inbounds[0]

    @property
    def acted(self) -> bool:
        """Whether an earlier run did something that may not be repeated."""
        return any(step.acted for step in self._recorded.values())

    @property
    def recorded(self) -> Mapping[int, journal.Recorded]:
        """What earlier runs have recorded, by the number of the step."""
        return self._recorded

    async def recall(self) -> None:
        """Read what earlier runs have recorded."""
        self._recorded = await journal.steps(self._database, self.id)

    def reserve(self, count: int) -> range:
        """Step numbers for calls that run side by side, in the order of the list."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return numbers

    async def step(
        self,
        name: str,
        kind: type[T],
        run: Callable[[str], Awaitable[T]],
        *,
        replay: Replay = Replay.SAFE,
        unknown: T | None = None,
        number: int | None = None,
        last: Callable[[T], bool] = lambda _: False,
    ) -> T:
        """The outcome of `run`, made once and then read from the journal.

        `run` gets the step's key, the same each time. For `Replay.UNSAFE` the intent is on disk
        before it runs; if a crash hid the outcome, the step's outcome is `unknown`. An outcome
        that is the `last` of its turn is written by `finish`, which must follow at once.
        """
        n = self.reserve(1)[0] if number is None else number
        known = self._recorded.get(n)
        if known and known.name != name:
            raise Diverged(f"step {n} is {known.name!r} in the journal, not {name!r}")
        if known and known.known:
            return journal.decode(known.payload, kind)
        if known and replay is Replay.UNSAFE:
            if unknown is None:
                raise Diverged(f"the outcome of step {n} ({name}) is unknown")
            value = unknown
        else:
            if replay is Replay.UNSAFE:
                intent = journal.intend(
                    self.id,
                    n,
                    name,
                    attempt=self.attempt,
                    now=self._now(),
                )
                await self._write([intent], durable=True)
            value = await run(f"{self.id}#{n}")
        outcome = self._outcome(n, name, value, acted=replay is Replay.UNSAFE)
        if last(value):
            self._held += outcome
        else:
            await self._write(outcome)
        return value

    async def freeze(self, name: str, kind: type[T], make: Callable[[], Awaitable[T]]) -> T:
        """A value that steers the path, such as the time: made once, then the same for ever.

        It is written together with the next step, as nothing can depend on it before that.
        """
        n = self.reserve(1)[0]
        known = self._recorded.get(n)
        if known and known.name != name:
            raise Diverged(f"step {n} is {known.name!r} in the journal, not {name!r}")
        if known:
            return journal.decode(known.payload, kind)
        value = await make()
        self._held += self._outcome(n, name, value)
        return value

    async def steered(self) -> Sequence[Inbound]:
        """Messages that arrived since the last step and belong into this turn (a setting)."""
        known = self._recorded.get(self._next)
        if known and known.name == "steered":
            self._next += 1
            # They are in `inbounds` already: they were loaded as messages that joined.
            return journal.decode(known.payload, list[Inbound])
        if known or not (arrived := list(self._steer())):
            return ()
        n = self.reserve(1)[0]
        self.join(arrived)
        inbounds = [each.inbound for each in arrived]
        await self._write(self._outcome(n, "steered", inbounds))
        return inbounds

    def join(self, arrived: Sequence[journal.Taken]) -> None:
        """Take messages into this turn, with its next write."""
        now = self._now()
        self._joins += [journal.join(each.id, into=self.id, now=now) for each in arrived]
        self.ids += [each.id for each in arrived]
        self.inbounds += [each.inbound for each in arrived]

    def let_go(self) -> None:
        """Give up what is not written yet, but for the messages that joined."""
        self._held.clear()

    async def reply(self, parts: Sequence[Part]) -> None:
        """Send something before the end of the turn; once, whatever happens."""
        n = self.reserve(1)[0]
        if n in self._recorded:
            return
        outbound = self._outbound(f"{self.id}#{n}", Answer(parts=tuple(parts)))
        await self._write(
            [outbox.send(outbound, now=self._now()), *self._outcome(n, "reply", value=True)],
            durable=True,
        )
        self.outbox.append(outbound)
        self._send(outbound)

    async def start_over(self) -> None:
        """Empty the journal of a turn that cannot be continued and has done nothing yet."""
        await self._write(journal.start_over(self.id, attempt=self.attempt))

    async def finish(self, closing: Closing, *, status: str = "done") -> None:
        """End the turn: answer, outbox, what the runner adds, and status in one transaction."""
        self.finishing = True
        answer = closing.answer
        outbound = self._outbound(self.id, answer)
        now = self._now()
        await self._write(
            [
                journal.finish(
                    self.id,
                    attempt=self.attempt,
                    status=status,
                    answer=journal.encode(answer),
                    now=now,
                ),
                *closing.statements,
                outbox.send(outbound, now=now),
            ],
            durable=True,
            ends=status,
        )
        self.answer = msgspec.structs.replace(answer, turn_id=self.id)
        self.outbox.append(outbound)
        self._send(outbound)

    def _outbound(self, outbound_id: str, answer: Answer) -> Outbound:
        first = self.inbound
        return Outbound(
            id=outbound_id,
            channel=first.channel,
            account=first.account,
            chat_id=first.chat_id,
            session=self.session,
            turn_id=self.id,
            parts=answer.parts,
            expires_at=self.clock.now() + self._expiry,
            answers=tuple(each.message_id for each in self.inbounds),
            model=answer.model,
            usage=answer.usage,
            quiet=answer.quiet,
            failed=answer.failed,
            correlation_id=first.correlation_id,
        )

    def _outcome(self, n: int, name: str, value: Any, *, acted: bool = False) -> list[Statement]:
        payload = journal.encode(value)
        return journal.record(
            self.id,
            n,
            name,
            payload,
            acted=acted,
            attempt=self.attempt,
            now=self._now(),
        )

    async def _write(
        self, statements: list[Statement], *, durable: bool = False, ends: str = ""
    ) -> None:
        """Write, with what is held. `ends` is the status with which it ends the turn."""
        # Taken before the first await: steps that run side by side must not write it twice.
        joins, self._joins = self._joins, []
        held, self._held = self._held, []
        written = [*joins, *held, *statements]
        if self._strikes > 1:
            written.insert(0, journal.progress(self.id, attempt=self.attempt))
            self._strikes = 0
        try:
            await self._fenced.write(written, durable=durable, ends=ends)
        except BaseException:
            # It belongs to the next write then, also if it was done: twice is the same as once.
            self._joins[:0] = joins
            self._held[:0] = held
            raise

    def _now(self) -> float:
        return self.clock.now().timestamp()


class Runner(Protocol):
    """What a turn does. `run` calls `turn.finish` exactly once, as its last act."""

    async def run(self, turn: Turn) -> None: ...

    def end(self, turn: Turn, ending: Ending, detail: str) -> Closing:
        """An honest answer for a turn that `run` cannot finish. Must not fail."""


class Engine(Protocol):
    """Drives turns. Every way into Famulus ends at `accept`."""

    async def accept(self, inbound: Inbound, *, session: str, lane: str = "") -> Accepted:
        """Take a message in for `session`; on return it is on disk and will be answered.

        A lane keeps its order; it is the session unless another is named. A lane whose name
        starts with `!` needs no slot. The same message again is a duplicate, and only once a turn.
        Raises `Busy` when the lane's queue or the disk is full or the engine is shutting down.
        """

    async def answer(self, turn_id: str) -> Answer:
        """Wait for the end of a turn (or of the one it joined). Raises KeyError if unknown, and
        StoreError when a database that fails leaves open when that will be.
        """

    async def cancel(self, lane: str) -> Stopped:
        """Stop the lane's running turn and clear its queue; the stopped turn still answers."""

    async def set_timer(self, timer: str, due: datetime, inbound: Inbound) -> None:
        """Accept `inbound`, which names its dialog, at `due`: once, whatever happens until then."""

    async def clear_timer(self, timer: str) -> None: ...

    async def run(self) -> None:
        """Continue what was open and drive turns until cancelled."""

    async def drain(self, seconds: float) -> None:
        """Accept nothing more and give running turns that long to end."""
