"""Who is next: lanes keep their order, people share the slots.

A lane that has something to do stands in the ring of its person. The ring gives each person one
start before anyone gets a second one, within the slots for all and the slots for each.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from famulus.engine.journal import Entry
from famulus.engine.turns import Turn


@dataclass(slots=True, eq=False)
class Lane:
    """A queue in which one turn runs at a time. One whose name starts with `!` needs no slot."""

    name: str
    person: str
    waiting: deque[Entry] = field(default_factory=deque)
    busy: bool = False
    listed: bool = False
    stopping: bool = False
    turn: Turn | None = None
    task: asyncio.Task[None] | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def refill(self, before: Sequence[Entry], rows: Sequence[Entry]) -> None:
        """Line up `rows`, as they were read from the database, in place of what was there `before`;
        what has come since then stays.
        """
        gone = {each.id for each in (*before, *rows)}
        since = [each for each in self.waiting if each.id not in gone]
        self.waiting = deque(sorted([*rows, *since], key=lambda each: each.seq))

    @property
    def urgent(self) -> bool:
        return self.name.startswith("!")


class Lanes:
    """All lanes that have something to do. `slots` and `slots_per_person` bound what is busy."""

    def __init__(self, *, slots: int, slots_per_person: int) -> None:
        self._slots = slots
        self._slots_per_person = slots_per_person
        self._lanes: dict[str, Lane] = {}
        self._ring: OrderedDict[str, deque[Lane]] = OrderedDict()
        self._taken: dict[str, int] = {}
        self._total = 0
        self.busy = 0

    def get(self, name: str) -> Lane | None:
        return self._lanes.get(name)

    def depth(self, name: str) -> int:
        """How many entries wait in a lane."""
        lane = self._lanes.get(name)
        return len(lane.waiting) if lane else 0

    def put(self, entry: Entry) -> None:
        """Line an entry up; one that waits already is left where it is."""
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = Lane(entry.lane, entry.person)
        if any(each.id == entry.id for each in lane.waiting):
            return
        if lane.waiting and lane.waiting[-1].seq > entry.seq:
            lane.waiting = deque(sorted([*lane.waiting, entry], key=lambda each: each.seq))
        else:
            lane.waiting.append(entry)
        self._list(lane)

    def forget(self, entries: Collection[str]) -> None:
        """Let no entry of these ids start."""
        for lane in self._lanes.values():
            if any(each.id in entries for each in lane.waiting):
                lane.waiting = deque(each for each in lane.waiting if each.id not in entries)

    def claim(self, name: str, person: str) -> Lane | None:
        """The lane, marked busy, for an entry that need not wait at all; else None."""
        if name in self._lanes or self._ring:
            return None
        lane = Lane(name, person)
        if not (lane.urgent or self._has_slot(person)):
            return None
        self._lanes[name] = lane
        self._occupy(lane)
        return lane

    def take(self) -> Lane | None:
        """A lane that may start now, marked busy; None when there is none or no slot."""
        for person in list(self._ring):
            lanes = self._ring[person]
            self._ring.move_to_end(person)
            free = self._has_slot(person)
            lane = next((each for each in lanes if free or each.urgent), None)
            if lane is not None:
                lanes.remove(lane)
                if not lanes:
                    del self._ring[person]
                self._occupy(lane)
                return lane
        return None

    def release(self, lane: Lane) -> None:
        """The lane's turn is over: give its slot back and line up again if more waits."""
        lane.busy = lane.stopping = False
        lane.turn = lane.task = None
        lane.started.set()  # whoever waits for a start that did not come must not wait for ever
        lane.started.clear()
        self.busy -= 1
        if not lane.urgent:
            self._total -= 1
            self._taken[lane.person] -= 1
            if not self._taken[lane.person]:
                del self._taken[lane.person]
        if lane.waiting:
            self._list(lane)
        else:
            self._lanes.pop(lane.name, None)

    def _has_slot(self, person: str) -> bool:
        return self._total < self._slots and self._taken.get(person, 0) < self._slots_per_person

    def _occupy(self, lane: Lane) -> None:
        lane.listed = False
        lane.busy = True
        self.busy += 1
        if not lane.urgent:
            self._total += 1
            self._taken[lane.person] = self._taken.get(lane.person, 0) + 1

    def _list(self, lane: Lane) -> None:
        if not lane.busy and not lane.listed:
            lane.listed = True
            self._ring.setdefault(lane.person, deque()).append(lane)
