"""The engine for one process: each turn a task, the journal in the process's own database."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Engine as Settings
from famulus.core.errors import Busy, NotReady, StoreError, StoreFull, StoreUnavailable
from famulus.core.events import Answered, Event, TurnStarted
from famulus.core.logs import correlation
from famulus.core.messages import Inbound, Outbound
from famulus.core.protocols import Accepted
from famulus.engine import journal
from famulus.engine.lanes import Lane, Lanes
from famulus.engine.timers import Timers
from famulus.engine.turns import Answer, Diverged, Ending, Runner, Stopped, Superseded, Turn
from famulus.store.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)


class Embedded:
    """An `Engine`. `emit` gets the events of all turns; `send` each reply once it is on disk."""

    def __init__(
        self,
        database: Database,
        runner: Runner,
        settings: Settings,
        *,
        clock: Clock,
        emit: Callable[[Event], None],
        send: Callable[[Outbound], None],
        while_busy: str = "join",
    ) -> None:
        self._database = database
        self._runner = runner
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._send = send
        self._while_busy = while_busy
        self._lanes = Lanes(
            slots=settings.max_turns, slots_per_person=settings.max_turns_per_person
        )
        self._timers = Timers(database, clock=clock, put=self._put)
        self._answers: dict[str, list[asyncio.Future[Answer]]] = {}
        # Turns that were accepted here and are not over, so that nobody asks the database.
        self._open: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    # ------------------------------------------------------------ the way in

    async def accept(self, inbound: Inbound, *, session: str, lane: str = "") -> Accepted:
        if self._draining:
            raise _shutting_down()
        lane = lane or session
        if self._lanes.depth(lane) >= self._settings.queue_per_session:
            if await journal.closed_turn(self._database, inbound.turn_id):
                return Accepted(inbound.turn_id, session, duplicate=True)
            raise Busy(
                f"{self._lanes.depth(lane)} messages are waiting here already. "
                "Please wait for an answer, or send /stop."
            )
        stored: asyncio.Future[journal.Entry | None] = asyncio.get_running_loop().create_future()
        taking = self._take_in(inbound, lane=lane, session=session, stored=stored)
        if self._group:
            # A task of its own: whoever brought the message may leave while it is written.
            self._group.create_task(taking)
        else:
            await taking
        entry = await stored
        return Accepted(inbound.turn_id, session, duplicate=entry is None)

    async def _take_in(
        self,
        inbound: Inbound,
        *,
        lane: str,
        session: str,
        stored: asyncio.Future[journal.Entry | None],
    ) -> None:
        """Store a message; where its lane is free, its turn starts in the same transaction."""
        free = self._lanes.claim(lane, inbound.person) if self._group else None
        if free:
            self._idle.clear()
            free.task = asyncio.current_task()
        entry = None
        try:
            entry = await self._store(inbound, lane=lane, session=session, started=bool(free))
        except asyncio.CancelledError:
            _tell(stored, _shutting_down())
            raise
        except Exception as error:  # noqa: BLE001 - whoever brought the message gets it
            _tell(stored, error)
        else:
            _tell(stored, entry)
        finally:
            if free and not entry:
                self._release(free)
        if entry and free:
            await self._drive(free, entry, started=True)
        elif entry:
            self._put(entry)

    async def _store(
        self, inbound: Inbound, *, lane: str, session: str, started: bool = False
    ) -> journal.Entry | None:
        """The entry of a message that is on disk now; None if it was there before."""
        now = self._clock.now().timestamp()
        insert = journal.accept(inbound, lane=lane, session=session, now=now, started=started)
        try:
            result, *_ = await self._database.transaction(
                [insert, *journal.uses(inbound, session=session)], durable=True
            )
        except (StoreFull, StoreUnavailable) as error:
            text = f"Your message was not stored: {error}"
            raise NotReady(text, retry_after_seconds=30) from None
        if not result.rows:
            return None
        self._open.add(inbound.turn_id)
        seq = result.rows[0]["seq"]
        return journal.entry(seq, inbound, lane=lane, session=session, now=now, started=started)

    async def answer(self, turn_id: str) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(turn_id, []).append(future)
        try:
            if turn_id not in self._open:
                closed = await journal.closed_turn(self._database, turn_id)
                if closed is None:
                    raise KeyError(turn_id)
                if closed[1]:
                    return journal.decode(closed[1], Answer)
                if closed[0] not in journal.OPEN:
                    raise journal.gone()
            return await future
        finally:
            waiting = self._answers.get(turn_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._answers.pop(turn_id, None)

    async def cancel(self, lane: str) -> Stopped:
        found = self._lanes.get(lane)
        if found is None or not found.busy:
            return Stopped(0, 0)
        await found.started.wait()
        turn = found.turn
        if turn is None or found.task is None or found.stopping:
            return Stopped(0, 0)
        if turn.finishing:
            # Too late for this one; what waits behind it is what the user wants stopped.
            await self.answer(turn.id)
            return await self.cancel(lane)
        waiting = len(found.waiting)
        found.stopping = True
        found.task.cancel()
        await self.answer(turn.id)
        return Stopped(1, waiting)

    def forget(self, turns: Collection[str]) -> None:
        """The rows of `turns` are deleted: whoever waits for one waits no longer."""
        for turn_id in turns:
            self._open.discard(turn_id)
            for future in self._answers.pop(turn_id, ()):
                _tell(future, journal.gone())
        self._lanes.forget(turns)

    async def set_timer(self, timer: str, due: datetime, inbound: Inbound) -> None:
        await self._timers.set(timer, due, inbound)

    async def clear_timer(self, timer: str) -> None:
        await self._timers.clear(timer)

    # ------------------------------------------------------------ driving

    async def run(self, *, resume: bool = True) -> None:
        """As an `Engine` does; without `resume`, only the turns that are accepted here."""
        async with asyncio.TaskGroup() as group:
            for entry in await journal.open_turns(self._database) if resume else ():
                self._lanes.put(entry)
            self._group = group
            try:
                self._pump()
                await (self._timers.run() if resume else asyncio.Event().wait())
            finally:
                self._group = None  # nothing is started while the running turns are cancelled

    async def drain(self, seconds: float) -> None:
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.info("turns will resume at the next start count=%d", self._lanes.busy)

    def _put(self, entry: journal.Entry) -> None:
        self._lanes.put(entry)
        self._pump()

    def _pump(self) -> None:
        while self._group and not self._draining and (lane := self._lanes.take()):
            self._idle.clear()
            lane.task = self._group.create_task(self._drive(lane, lane.waiting.popleft()))

    async def _drive(self, lane: Lane, entry: journal.Entry, *, started: bool = False) -> None:
        try:
            await self._one(lane, entry, started=started)
        except (StoreFull, StoreUnavailable) as error:
            log.warning("turn waits for the database turn=%s error=%s", entry.id, error)
            await self._once_more(lane, entry)
        except StoreError as error:
            log.error("turn cannot be written turn=%s error=%s", entry.id, error)
        except Diverged:
            await self._once_more(lane, entry)
        except Exception:
            # A fault in one turn must not end the others.
            log.exception("turn failed turn=%s", entry.id)
            await self._once_more(lane, entry)
        finally:
            self._open.discard(entry.id)
            self._release(lane)

    def _release(self, lane: Lane) -> None:
        self._lanes.release(lane)
        if not self._lanes.busy:
            self._idle.set()
        self._pump()

    async def _once_more(self, lane: Lane, entry: journal.Entry) -> None:
        """Put the turn back at the head of its lane as the database knows it, after a while."""
        tries = entry.strikes
        while True:
            await self._clock.sleep(_AGAIN_SECONDS[min(tries, len(_AGAIN_SECONDS) - 1)])
            tries += 1
            try:
                again = await journal.open_turn(self._database, entry.id)
            except StoreError as error:
                log.warning("the database does not answer turn=%s error=%s", entry.id, error)
                continue
            if again is not None:
                lane.waiting.appendleft(again)
            return

    # ------------------------------------------------------------ one turn

    async def _one(self, lane: Lane, entry: journal.Entry, *, started: bool) -> None:
        correlation.set(entry.inbound.correlation_id)
        joined: list[journal.Entry] = []
        if not started:
            joined = await self._start(lane, entry)
            entry = msgspec.structs.replace(
                entry, attempt=entry.attempt + 1, strikes=entry.strikes + 1, status="running"
            )
        again = entry.attempt > 1
        recorded = await journal.steps(self._database, entry.id) if again else {}
        earlier = await journal.joined_inbounds(self._database, entry.id) if again else []
        turn = Turn(
            entry,
            database=self._database,
            clock=self._clock,
            inbounds=[entry.inbound, *earlier, *(each.inbound for each in joined)],
            recorded=recorded,
            emit=self._emit,
            send=self._send,
            steer=lambda: self._arrived(lane) if self._while_busy == "steer" else (),
            outbox_expiry_seconds=self._settings.outbox_expiry,
        )
        lane.turn = turn
        lane.started.set()
        self._announce(turn)
        try:
            await self._attempt(entry, turn, recorded)
        except Superseded:
            log.warning("turn was taken over turn=%s attempt=%d", entry.id, entry.attempt)
            return
        except asyncio.CancelledError:
            if not lane.stopping:
                raise  # a shutdown leaves no status, so the turn resumes
            self._forget_cancel()
            await self._stop(lane, turn)
        self._settle(turn)

    async def _start(self, lane: Lane, entry: journal.Entry) -> list[journal.Entry]:
        """Raise the fence and, where messages are joined, take in those that wait behind."""
        joined: list[journal.Entry] = []
        if self._while_busy != "queue" and not lane.urgent and entry.attempt == 0:
            while lane.waiting and lane.waiting[0].inbound.model == entry.inbound.model:
                joined.append(lane.waiting.popleft())
        now = self._clock.now().timestamp()
        statements = [journal.start(entry.id, attempt=entry.attempt + 1, now=now)]
        statements += [journal.join(each.id, into=entry.id, now=now) for each in joined]
        try:
            await self._database.transaction(statements)
        except StoreError:
            lane.waiting.extendleft(reversed(joined))
            raise
        return joined

    async def _attempt(
        self, entry: journal.Entry, turn: Turn, recorded: dict[int, journal.Recorded]
    ) -> None:
        if entry.strikes > self._settings.max_attempts:
            await self._end(turn, "given_up", f"{entry.strikes - 1} attempts")
            return
        try:
            if entry.format != journal.FORMAT:
                raise Diverged(f"its journal has format {entry.format}, not {journal.FORMAT}")
            await self._runner.run(turn)
        except Diverged as error:
            log.error("the journal does not fit turn=%s error=%s", turn.id, error)
            if any(step.acted for step in recorded.values()):
                await self._end(turn, "outdated", str(error))
            else:
                await turn.start_over()
                raise
        if turn.answer is None:
            raise RuntimeError(f"the run of turn {turn.id} ended without an answer")

    async def _end(self, turn: Turn, ending: Ending, detail: str) -> None:
        closing = self._runner.end(turn, ending, detail)
        await turn.finish(closing, status="stopped" if ending == "stopped" else "failed")

    async def _stop(self, lane: Lane, turn: Turn) -> None:
        """End a turn at the user's wish; what waits joins it, so that its answer is theirs too."""
        turn.join(self._arrived(lane))
        await self._end(turn, "stopped", "")

    @staticmethod
    def _forget_cancel() -> None:
        if task := asyncio.current_task():
            task.uncancel()

    @staticmethod
    def _arrived(lane: Lane) -> Sequence[Inbound]:
        arrived = [each.inbound for each in lane.waiting]
        lane.waiting.clear()
        return arrived

    def _announce(self, turn: Turn) -> None:
        self._emit(
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
        self._emit(
            Answered(
                turn_id=turn.id,
                session=turn.session,
                channel=turn.inbound.channel,
                chat_id=turn.inbound.chat_id,
                outbound=turn.outbox[-1],
            )
        )
        for inbound in turn.inbounds:
            self._open.discard(inbound.turn_id)
            for future in self._answers.pop(inbound.turn_id, ()):
                _tell(future, turn.answer)


def _shutting_down() -> NotReady:
    return NotReady("I am shutting down. Please send this again in a moment.")


def _tell(future: asyncio.Future[T], outcome: T | Exception) -> None:
    """Unless whoever waited has left."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
