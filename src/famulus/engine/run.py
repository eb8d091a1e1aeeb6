"""One turn from its start to its end, whatever happens on the way.

    start ─► live ─► over
      ▲        │
      │        ├─ the database cannot take what came of it ─► close ─► over
      └─ wait ◄┴─ anything else: look what the database knows, and go on from there

There is no other way out: a turn ends with an answer, or it keeps its place in the queue.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Engine as Settings
from famulus.core.errors import Conflict, StoreError, StoreFull, StoreUnavailable
from famulus.core.events import Answered, Event, TurnStarted
from famulus.core.logs import correlation
from famulus.core.messages import Origin, Outbound, Text
from famulus.engine import journal, outbox
from famulus.engine.fenced import Superseded
from famulus.engine.lanes import Lane
from famulus.engine.pending import Pending
from famulus.engine.turns import Answer, Closing, Diverged, Ending, Runner, Turn
from famulus.store.database import Database

log = logging.getLogger(__name__)

_AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
# Nobody waits much longer than the database is away.
_AWAY_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Means:
    """What all runs share. `doubted` are lanes in which a message may be stored, unknown to us."""

    database: Database
    runner: Runner
    settings: Settings
    clock: Clock
    emit: Callable[[Event], None]
    send: Callable[[Outbound], None]
    while_busy: str
    pending: Pending = field(default_factory=Pending)
    doubted: set[str] = field(default_factory=set)


class Run:
    """Drives the turn of `entry` in its lane. `started`: the entry is in its first attempt."""

    def __init__(
        self, means: Means, lane: Lane, entry: journal.Entry, *, started: bool = False
    ) -> None:
        self._means = means
        self._database = means.database
        self._lane = lane
        self._entry = entry
        self._started = started
        self._tries = 0

    async def drive(self) -> None:
        """Return when the turn is over, or somebody else's."""
        goes_on = True
        if not self._started and self._lane.name in self._means.doubted:
            goes_on = await self._look(self._entry.attempt)
            self._oldest_first()
        while goes_on:
            try:
                await self._live(await self._start())
            except Exception as error:  # noqa: BLE001 - a fault in one turn must not end the others
                goes_on = await self._after(error)
            else:
                goes_on = False

    # ------------------------------------------------------------ an attempt

    async def _start(self) -> Turn:
        """Raise the fence and, where messages are joined, take in those that wait behind."""
        entry, lane = self._entry, self._lane
        correlation.set(entry.inbound.correlation_id)
        joined: list[journal.Entry] = []
        if not self._started:
            if self._means.while_busy != "queue" and not lane.urgent and entry.attempt == 0:
                joined = _alike(entry, lane)
            now = self._means.clock.now().timestamp()
            attempt, strikes = entry.attempt + 1, entry.strikes + 1
            statements = [journal.start(entry.id, attempt=attempt, now=now)]
            statements += [journal.join(each.id, into=entry.id, now=now) for each in joined]
            try:
                await self._database.transaction(statements)
            except StoreError:
                lane.waiting.extendleft(reversed(joined))
                raise
            entry = msgspec.structs.replace(
                entry, attempt=attempt, strikes=strikes, status="running"
            )
        self._started = False
        taken = _taken([entry, *joined])
        if entry.attempt > 1:
            taken[1:1] = await journal.joined(self._database, entry.id)
            taken = list({each.id: each for each in taken}.values())
        self._entry = entry
        return Turn(
            entry,
            database=self._database,
            clock=self._means.clock,
            taken=taken,
            emit=self._means.emit,
            send=self._means.send,
            steer=lambda: _taken(_alike(entry, lane)) if self._means.while_busy == "steer" else (),
            outbox_expiry_seconds=self._means.settings.outbox_expiry,
        )

    async def _live(self, turn: Turn) -> None:
        lane = self._lane
        lane.turn = turn
        lane.started.set()
        self._announce(turn)
        try:
            if turn.attempt > 1:
                await turn.recall()
            if lane.stopping:
                await self._stop(turn)
            else:
                await self._work(turn)
        except asyncio.CancelledError:
            if not lane.stopping:
                raise  # a shutdown leaves no status, so the turn resumes
            _forget_cancel()
            await self._stop(turn)
        self._settle(turn)

    async def _work(self, turn: Turn) -> None:
        entry = self._entry
        if entry.strikes > self._means.settings.max_attempts:
            await self._end(turn, "given_up", f"{entry.strikes - 1} attempts")
            return
        try:
            if entry.format != journal.FORMAT:
                raise Diverged(f"its journal has format {entry.format}, not {journal.FORMAT}")
            await self._means.runner.run(turn)
        except Diverged as error:
            log.error("the journal does not fit turn=%s error=%s", turn.id, error)
            if turn.acted:
                await self._end(turn, "outdated", str(error))
            else:
                await turn.start_over()
                raise
        if turn.answer is None:
            raise RuntimeError(f"the run of turn {turn.id} ended without an answer")

    async def _stop(self, turn: Turn) -> None:
        """End a turn at the user's wish; what waits joins it, so that its answer is theirs too."""
        waiting = self._lane.waiting
        turn.join(_taken(waiting))
        waiting.clear()
        await self._end(turn, "stopped", "")

    async def _end(self, turn: Turn, ending: Ending, detail: str) -> None:
        try:
            closing = self._means.runner.end(turn, ending, detail)
        except Exception:  # whatever it is, the turn must end
            log.exception("a turn is ended without its own words turn=%s", turn.id)
            closing = Closing(answer=_plain("I could not finish this because of an error of mine."))
        await turn.finish(closing, status="stopped" if ending == "stopped" else "failed")

    # ------------------------------------------------------------ what went wrong

    async def _after(self, error: Exception) -> bool:
        """Whether the turn goes on after an attempt that failed."""
        turn, cause = self._lane.turn, _cause(error)
        name = self._entry.id
        match cause:
            case Superseded() | Conflict():
                log.warning("another worker came first turn=%s", name)
            case StoreFull() | StoreUnavailable():
                log.warning("turn waits for the database turn=%s error=%s", name, cause)
            case StoreError():
                log.error("turn cannot be written turn=%s error=%s", name, cause)
            case Diverged():
                pass
            case _:
                log.error("turn failed turn=%s", name, exc_info=error)
        if turn and turn.answer:
            self._settle(turn)
            return False
        if isinstance(cause, StoreError) and _is_final(cause):
            if turn:
                return await self._close(turn, cause)
            self._tell_waiting(cause)
        # A start that failed may have been done; one that was refused was not ours.
        most = turn.attempt if turn else self._entry.attempt + (not isinstance(cause, Conflict))
        # Whoever wants to stop the turn now waits for its next attempt.
        self._lane.turn = None
        self._lane.started.clear()
        away = isinstance(cause, StoreFull | StoreUnavailable)
        await self._wait(_AWAY_SECONDS if away else _AGAIN_SECONDS[-1])
        return await self._look(most, turn)

    async def _close(self, turn: Turn, cause: Exception) -> bool:
        """End a turn that cannot be written as it is, with nothing but its reply."""
        text = f"I could not finish this, as it cannot be stored. {cause}"
        while True:
            turn.let_go()
            try:
                await turn.finish(Closing(answer=_plain(text)), status="failed")
            except Superseded:
                return await self._look(turn.attempt, turn)
            except StoreError as error:
                log.error("turn cannot be ended turn=%s error=%s", turn.id, error)
                self._tell_waiting(error)
                await self._wait()
            else:
                self._settle(turn)
                return False

    async def _look(self, most: int, turn: Turn | None = None) -> bool:
        """Take up the lane as the database knows it, once it answers. False when our turn is over,
        or another worker's: we have raised its number to `most` at most.
        """
        lane, name = self._lane, self._entry.id
        lane.turn = None
        lane.started.clear()
        while True:
            before = list(lane.waiting)
            self._means.doubted.discard(lane.name)
            try:
                rows = await journal.open_in_lane(self._database, lane.name)
                ours = next((row for row in rows if row.id == name), None)
                place = None if ours else await journal.place(self._database, name)
                reply = await outbox.unsent(self._database, name) if place else None
                break
            except StoreError as error:
                log.warning("the database does not answer turn=%s error=%s", name, error)
                self._means.doubted.add(lane.name)
                if _is_final(error):
                    self._tell_waiting(error)
                await self._wait(_AWAY_SECONDS)
        for row in rows:
            self._means.pending.add(row.id)
        lane.refill(before, [row for row in rows if row is not ours])
        if ours is None:
            open_ids = {row.id for row in rows}
            ids = [each for each in (turn.ids if turn else [name]) if each not in open_ids]
            self._over(ids, place, reply if turn and turn.finishing else None)
        elif ours.attempt > most:
            self._means.pending.discard(name)
        else:
            self._entry = ours
            return True
        return False

    def _oldest_first(self) -> None:
        waiting = self._lane.waiting
        if waiting and waiting[0].seq < self._entry.seq and not self._entry.attempt:
            waiting.append(self._entry)
            self._entry = waiting.popleft()
            self._lane.refill((), ())

    async def _wait(self, most: float = _AGAIN_SECONDS[-1]) -> None:
        seconds = _AGAIN_SECONDS[min(self._tries, len(_AGAIN_SECONDS) - 1)]
        await self._means.clock.sleep(min(seconds, most))
        self._tries += 1

    # ------------------------------------------------------------ telling

    def _announce(self, turn: Turn) -> None:
        self._means.emit(
            TurnStarted(
                turn_id=turn.id,
                session=turn.session,
                channel=turn.inbound.channel,
                chat_id=turn.inbound.chat_id,
                answers=tuple(each.message_id for each in turn.inbounds),
            )
        )

    def _settle(self, turn: Turn) -> None:
        """Tell whoever waits that the answer is on disk."""
        if turn.answer is None:
            return
        log.info("answered turn=%s messages=%d", turn.id, len(turn.inbounds))
        self._tell(turn.ids, turn.answer, turn.outbox[-1])

    def _over(
        self, ids: Sequence[str], place: journal.Place | None, reply: Outbound | None
    ) -> None:
        """Tell what the database knows of a turn that is over."""
        if place is None or not place.answer:
            for each in ids:
                self._means.pending.discard(each)
                self._means.pending.tell(each, journal.gone())
            return
        answer = journal.decode(place.answer, Answer)
        self._tell(ids, msgspec.structs.replace(answer, turn_id=place.turn_id), reply)
        if reply:
            self._means.send(reply)

    def _tell(self, ids: Sequence[str], answer: Answer, reply: Outbound | None) -> None:
        if reply:
            self._means.emit(
                Answered(
                    turn_id=reply.turn_id,
                    session=reply.session,
                    channel=reply.channel,
                    chat_id=reply.chat_id,
                    outbound=reply,
                )
            )
        for each in ids:
            self._means.pending.over(each, answer)

    def _tell_waiting(self, error: Exception) -> None:
        """Nobody knows how long it takes until this and what waits behind it is answered."""
        turn = self._lane.turn
        behind = [each.id for each in self._lane.waiting]
        for each in (*(turn.ids if turn else [self._entry.id]), *behind):
            self._means.pending.tell(each, error)


def _plain(text: str) -> Answer:
    return Answer(parts=(Text(text, Origin.ASSISTANT),), failed=True)


def _alike(entry: journal.Entry, lane: Lane) -> list[journal.Entry]:
    """Take from the head of the queue what may share a turn: the same person's, for the same
    model. A guest's words must not be answered as the owner's.
    """
    found: list[journal.Entry] = []
    while lane.waiting and _kind(lane.waiting[0]) == _kind(entry):
        found.append(lane.waiting.popleft())
    return found


def _taken(entries: Iterable[journal.Entry]) -> list[journal.Taken]:
    return [journal.Taken(each.id, each.inbound) for each in entries]


def _kind(entry: journal.Entry) -> tuple[str, str]:
    return entry.person, entry.inbound.model


def _cause(error: BaseException) -> BaseException:
    """The one that decides, of what steps side by side have raised."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_cause(each) for each in error.exceptions]
    return min(causes, key=lambda each: (not isinstance(each, Superseded), not _is_store(each)))


def _is_store(error: BaseException) -> bool:
    return isinstance(error, StoreError)


def _is_final(error: BaseException) -> bool:
    """Whether the database will not do it later either."""
    later = StoreFull | StoreUnavailable | Conflict
    return isinstance(error, StoreError) and not isinstance(error, later)


def _forget_cancel() -> None:
    if task := asyncio.current_task():
        task.uncancel()
