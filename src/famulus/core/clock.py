"""Time, behind one object so that a test can hold it."""

import asyncio
import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock. Times are aware and in UTC; durations are seconds."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        """Like `monotonic`, but it goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
