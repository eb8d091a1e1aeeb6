"""Keeps a channel receiving: whatever ends its `run`, it starts again after a while."""

import logging

from famulus.core.clock import Clock
from famulus.core.protocols import Channel, Deliver

log = logging.getLogger(__name__)

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_HEALTHY_SECONDS = 300.0


async def supervise(channel: Channel, deliver: Deliver, *, clock: Clock) -> None:
    """Run a channel until cancelled. One that breaks down again and again is tried less often."""
    wait = _FIRST_SECONDS
    while True:
        started = clock.monotonic()
        try:
            await channel.run(deliver)
            log.error("channel stopped receiving channel=%s seconds=%g", channel.name, wait)
        except Exception:
            # A fault in one channel must not take the others down.
            log.exception("channel failed channel=%s seconds=%g", channel.name, wait)
        if clock.monotonic() - started > _HEALTHY_SECONDS:
            wait = _FIRST_SECONDS
        await clock.sleep(wait)
        wait = min(wait * 2, _LONGEST_SECONDS)
