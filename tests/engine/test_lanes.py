"""The fair queue, by its invariants."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from famulus.core.messages import Inbound, Origin, Text
from famulus.engine import journal
from famulus.engine.lanes import Lanes


def entry(seq, lane, person):
    inbound = Inbound(
        channel="test",
        chat_id=lane,
        sender_id=person,
        person=person,
        message_id=str(seq),
        parts=(Text("x", Origin.OWNER),),
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return journal.entry(seq, inbound, lane=f"{person}/{lane}", session=lane, now=0.0)


puts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=40)


@given(puts, st.integers(1, 4), st.integers(1, 3), st.randoms())
def test_slots_order_and_completeness(arrivals, slots, per_person, random):
    lanes = Lanes(slots=slots, slots_per_person=per_person)
    waiting = [entry(n, lane, person) for n, (lane, person) in enumerate(arrivals)]
    running, done = [], []
    for _ in range(10 * len(arrivals)):
        for _ in range(random.randint(1, 3)):
            if waiting:
                lanes.put(waiting.pop(0))
        while lane := lanes.take():
            running.append((lane, lane.waiting.popleft()))
        assert len(running) == lanes.busy <= slots
        people = Counter(lane.person for lane, _ in running)
        assert all(count <= per_person for count in people.values())
        assert len({lane.name for lane, _ in running}) == len(running)
        if running:
            lane, finished = running.pop(random.randrange(len(running)))
            done.append(finished)
            lanes.release(lane)
    assert len(done) == len(arrivals)
    for name in {each.lane for each in done}:
        order = [each.seq for each in done if each.lane == name]
        assert order == sorted(order)
    assert lanes._lanes == {}


@given(st.integers(2, 20))
def test_with_one_slot_people_take_turns(count):
    lanes = Lanes(slots=1, slots_per_person=1)
    for n in range(count):
        lanes.put(entry(n, f"lane{n}", "busy"))
    lanes.put(entry(count, "lane", "other"))
    order = []
    while lane := lanes.take():
        lane.waiting.popleft()
        order.append(lane.person)
        lanes.release(lane)
    assert "other" in order[:2]


def test_a_command_lane_needs_no_slot():
    lanes = Lanes(slots=1, slots_per_person=1)
    lanes.put(entry(1, "a", "ann"))
    assert lanes.take()
    urgent = journal.entry(2, entry(2, "b", "ann").inbound, lane="!test:b", session="b", now=0.0)
    lanes.put(urgent)
    lane = lanes.take()
    assert lane
    assert lane.name == "!test:b"


def test_an_entry_that_waits_is_not_put_twice():
    lanes = Lanes(slots=1, slots_per_person=1)
    for _ in range(2):
        lanes.put(entry(1, "a", "ann"))
    assert lanes.depth("ann/a") == 1


def test_late_entries_are_sorted_in():
    lanes = Lanes(slots=1, slots_per_person=1)
    for seq in (5, 3, 4):
        lanes.put(entry(seq, "a", "ann"))
    lane = lanes.take()
    assert [each.seq for each in lane.waiting] == [3, 4, 5]
