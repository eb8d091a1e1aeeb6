"""How often one sender may write."""

from collections import OrderedDict, deque

from famulus.core.clock import Clock
from famulus.core.errors import TooFast
from famulus.core.messages import Inbound
from famulus.core.protocols import Accepted, Deliver

_WINDOW_SECONDS = 60.0
_MOST_SENDERS = 10_000


class Throttled:
    """A `Deliver` that takes `most` messages a minute from each sender, by a sliding window.

    A message that is refused does not count.
    """

    def __init__(self, deliver: Deliver, *, most: int, clock: Clock) -> None:
        self._deliver = deliver
        self._most = most
        self._clock = clock
        self._times: OrderedDict[tuple[str, str, str], deque[float]] = OrderedDict()

    async def __call__(self, inbound: Inbound) -> Accepted:
        sender = (inbound.channel, inbound.account, inbound.sender_id)
        now = self._clock.monotonic()
        times = self._times.setdefault(sender, deque())
        self._times.move_to_end(sender)
        while times and times[0] <= now - _WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._most:
            wait = times[0] + _WINDOW_SECONDS - now
            raise TooFast(
                f"That is more than {self._most} messages a minute. "
                f"Please wait {wait:.0f} seconds.",
                retry_after_seconds=wait,
            )
        times.append(now)
        if len(self._times) > _MOST_SENDERS:
            self._times.popitem(last=False)
        return await self._deliver(inbound)
