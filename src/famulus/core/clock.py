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

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
