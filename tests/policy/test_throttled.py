from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from famulus.core.clock import Clock
from famulus.core.errors import TooFast
from famulus.core.messages import Inbound, Origin, Text
from famulus.core.protocols import Accepted
from famulus.policy.throttled import Throttled

pytestmark = pytest.mark.anyio


class Held(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds


def message(sender="ann"):
    return Inbound(
        channel="telegram",
        chat_id="1",
        sender_id=sender,
        message_id="1",
        parts=(Text("hi", Origin.GUEST),),
        at=datetime.now(UTC),
    )


async def deliver(inbound):
    return Accepted("turn", "session")


async def test_the_window_slides():
    clock = Held()
    throttled = Throttled(deliver, most=2, clock=clock)
    await throttled(message())
    clock.seconds += 30
    await throttled(message())
    with pytest.raises(TooFast, match="30 seconds") as refusal:
        await throttled(message())
    assert refusal.value.retry_after_seconds == pytest.approx(30)
    clock.seconds += 30
    await throttled(message())
    with pytest.raises(TooFast):
        await throttled(message())


async def test_senders_do_not_hold_each_other_up():
    throttled = Throttled(deliver, most=1, clock=Held())
    await throttled(message("ann"))
    await throttled(message("bob"))
    with pytest.raises(TooFast):
        await throttled(message("ann"))


@given(st.lists(st.floats(0, 40), max_size=60), st.integers(1, 5))
def test_no_minute_ever_holds_more_than_allowed(gaps, most):
    clock = Held()
    throttled = Throttled(deliver, most=most, clock=clock)
    taken = []
    for gap in gaps:
        clock.seconds += gap
        step = throttled(message())
        try:
            step.send(None)
        except StopIteration:
            taken.append(clock.seconds)
        except TooFast:
            pass
    for start in taken:
        assert sum(start <= each < start + 60 for each in taken) <= most
