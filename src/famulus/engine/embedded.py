"""The engine for one process: each turn a task, the journal in the process's own database."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import msgspec

from famulus.core.clock import Clock
from famulus.core.config import Engine as Settings
from famulus.core.errors import Busy, NotReady, StoreError, StoreFull, StoreUnavailable
from famulus.core.events import Event
from famulus.core.messages import Inbound, Outbound
from famulus.core.protocols import Accepted
from famulus.engine import journal
from famulus.engine.lanes import Lane, Lanes
from famulus.engine.pending import tell
from famulus.engine.run import Means, Run
from famulus.engine.timers import Timers
from famulus.engine.turns import Answer, Runner, Stopped
from famulus.store.database import Database, Result, Statement
from famulus.store.waiting import when_available

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


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
        self._settings = settings
        self._clock = clock
        self._means = Means(
            database=database,
            runner=runner,
            settings=settings,
            clock=clock,
            emit=emit,
            send=send,
            while_busy=while_busy,
        )
        self._pending = self._means.pending
        self._lanes = Lanes(
            slots=settings.max_turns, slots_per_person=settings.max_turns_per_person
        )
        self._timers = Timers(database, clock=clock, put=self._put, doubt=self._doubt)
        # Messages that are being stored, by their turns, and how many of them will wait in a lane.
        self._storing: dict[str, list[asyncio.Future[Accepted]]] = {}
        self._arriving: Counter[str] = Counter()
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self._doubts = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # ------------------------------------------------------------ the way in

    async def accept(self, inbound: Inbound, *, session: str, lane: str = "") -> Accepted:
        known = await journal.known_plainly(self._database, inbound)
        if self._draining:
            raise _shutting_down()
        lane = lane or session
        if known:
            place = await journal.place(self._database, known)
            return Accepted(known, place.session if place else session, duplicate=True)
        turn = inbound.turn_id
        if trouble := self._database.trouble:
            # Whatever is written to it now may be lost, and would be by a restore.
            raise NotReady(f"Your message was not stored: {trouble}", retry_after_seconds=300)
        stored: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        if (others := self._storing.get(turn)) is not None:
            others.append(stored)
            return msgspec.structs.replace(await stored, duplicate=True)
        depth = self._lanes.depth(lane) + self._arriving[lane]
        if depth >= self._settings.queue_per_session:
            if place := await journal.place(self._database, turn):
                return Accepted(turn, place.session or session, duplicate=True)
            raise Busy(
                f"{depth} messages are waiting here already. "
                "Please wait for an answer, or send /stop."
            )
        self._storing[turn] = [stored]
        free = None
        if self._group and lane not in self._means.doubted:
            free = self._lanes.claim(lane, inbound.person)
        if free:
            self._idle.clear()
        else:
            self._arriving[lane] += 1
        taking = self._take_in(inbound, lane=lane, session=session, free=free)
        if self._group:
            # A task of its own: whoever brought the message may leave while it is written.
            self._group.create_task(taking)
        else:
            await taking
        return await stored

    async def _take_in(
        self, inbound: Inbound, *, lane: str, session: str, free: Lane | None
    ) -> None:
        """Store a message; where its lane is free, its turn starts in the same transaction."""
        if free:
            free.task = asyncio.current_task()
        entry: journal.Entry | None = None
        fresh = False
        outcome: Accepted | Exception = _shutting_down()
        try:
            entry, fresh, outcome = await self._store(
                inbound, lane=lane, session=session, started=bool(free)
            )
        except Exception as error:  # noqa: BLE001 - whoever brought the message gets it
            outcome = error
        finally:
            if not free:
                self._arriving[lane] -= 1
                if not self._arriving[lane]:
                    del self._arriving[lane]
            for each in self._storing.pop(inbound.turn_id):
                tell(each, outcome)
            # One that came before may stand in another lane, as its chat has gone on since.
            if free and not (entry and entry.lane == lane):
                self._release(free)
                free = None
        if entry and free:
            await self._drive(free, entry, started=fresh)
        elif entry:
            self._line_up(entry)

    async def _store(
        self, inbound: Inbound, *, lane: str, session: str, started: bool
    ) -> tuple[journal.Entry | None, bool, Accepted]:
        """What to drive of a message that is on disk now, and whether it was written just now."""
        turn = inbound.turn_id
        now = self._clock.now().timestamp()
        insert = journal.accept(inbound, lane=lane, session=session, now=now, started=started)
        new = self._pending.add(turn)
        entry: journal.Entry | None = None
        accepted = Accepted(turn, session)
        try:
            result = await self._surely([insert, *journal.uses(inbound, session=session)])
            if result.rows:
                seq = result.rows[0]["seq"]
                entry = journal.entry(
                    seq, inbound, lane=lane, session=session, now=now, started=started
                )
                return entry, True, accepted
            # It was there before. One that nobody drives, such as ours whose commit was done though
            # its answer was lost, goes into its lane.
            if place := await journal.place(self._database, turn):
                accepted = Accepted(turn, place.session or session, duplicate=True)
            if new:
                entry = await journal.open_turn(self._database, turn)
            if entry and entry.created == now:
                accepted = Accepted(turn, session)
        except StoreFull as error:
            text = f"Your message was not stored: {error}"
            raise NotReady(text, retry_after_seconds=30) from None
        except StoreUnavailable as error:
            self._doubt(lane)
            raise NotReady(
                f"I cannot say whether your message was stored: {error}"
                " Please send it again; it is answered once.",
                retry_after_seconds=30,
            ) from None
        finally:
            if new and not entry:
                self._pending.discard(turn)
        return entry, False, accepted

    async def _surely(self, statements: Sequence[Statement]) -> Result:
        try:
            result, *_ = await self._database.transaction(statements, durable=True)
        except StoreUnavailable:
            # Often a single connection is all that broke. Done twice is done once.
            result, *_ = await self._database.transaction(statements, durable=True)
        return result

    async def answer(self, turn_id: str) -> Answer:
        with self._pending.expecting(turn_id) as future:
            if turn_id not in self._pending:
                place = await journal.place(self._database, turn_id)
                if place is None:
                    raise KeyError(turn_id)
                if place.answer:
                    answer = journal.decode(place.answer, Answer)
                    return msgspec.structs.replace(answer, turn_id=place.turn_id)
                if place.status not in journal.OPEN:
                    raise journal.gone()
            return await future

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
            self._pending.discard(turn_id)
            self._pending.tell(turn_id, journal.gone())
        self._lanes.forget(turns)

    async def set_timer(self, timer: str, due: datetime, inbound: Inbound) -> None:
        await self._timers.set(timer, due, inbound)

    async def clear_timer(self, timer: str) -> None:
        await self._timers.clear(timer)

    # ------------------------------------------------------------ driving

    async def run(self, *, resume: bool = True) -> None:
        """As an `Engine` does; without `resume`, only the turns that are accepted here."""
        async with asyncio.TaskGroup() as group:
            for entry in await self._left_open() if resume else ():
                self._pending.add(entry.id)
                self._lanes.put(entry)
            self._group = group
            try:
                self._pump()
                if resume:
                    group.create_task(self._sweep())
                await (self._timers.run() if resume else asyncio.Event().wait())
            finally:
                self._group = None  # nothing is started while the running turns are cancelled

    async def _left_open(self) -> Sequence[journal.Entry]:
        return await when_available(lambda: journal.open_turns(self._database), self._clock)

    async def drain(self, seconds: float) -> None:
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.info("turns will resume at the next start count=%d", self._lanes.busy)

    async def _sweep(self) -> None:
        """Line up open turns that nobody drives: now and then, and when there is a doubt."""
        while True:
            try:
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._doubts.wait()
            except TimeoutError:
                pass
            self._doubts.clear()
            doubted = set(self._means.doubted)
            try:
                for turn in await journal.open_ids(self._database):
                    if turn not in self._pending:
                        await self._find(turn)
            except StoreError as error:
                log.warning("open turns cannot be looked for now error=%s", error)
                await self._clock.sleep(_AGAIN_SECONDS)
                self._doubts.set()
            else:
                self._means.doubted -= doubted

    async def _find(self, turn: str) -> None:
        # It may have ended since its row was read, or be stored at this moment.
        entry = await journal.open_turn(self._database, turn)
        if entry and turn not in self._pending:
            log.warning("a turn that nobody drove is taken up turn=%s", turn)
            self._put(entry)

    def _doubt(self, lane: str) -> None:
        """A message may have been stored in this lane, unknown to us."""
        self._means.doubted.add(lane)
        self._doubts.set()

    def _put(self, entry: journal.Entry) -> None:
        if self._pending.add(entry.id):
            self._line_up(entry)

    def _line_up(self, entry: journal.Entry) -> None:
        self._lanes.put(entry)
        self._pump()

    def _pump(self) -> None:
        while self._group and not self._draining and (lane := self._lanes.take()):
            if not lane.waiting:  # it was all deleted
                self._lanes.release(lane)
                continue
            self._idle.clear()
            lane.task = self._group.create_task(self._drive(lane, lane.waiting.popleft()))

    async def _drive(self, lane: Lane, entry: journal.Entry, *, started: bool = False) -> None:
        try:
            await Run(self._means, lane, entry, started=started).drive()
        finally:
            self._release(lane)

    def _release(self, lane: Lane) -> None:
        self._lanes.release(lane)
        if not self._lanes.busy:
            self._idle.set()
        self._pump()


def _shutting_down() -> NotReady:
    return NotReady("I am shutting down. Please send this again in a moment.")
