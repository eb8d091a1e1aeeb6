"""Reading what a start cannot do without, from a database that may be away just then."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from famulus.core.clock import Clock
from famulus.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_SECONDS = 1.0


async def when_available(read: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What `read` gives, as soon as the database answers."""
    while True:
        try:
            return await read()
        except StoreUnavailable as error:
            log.warning("the database is waited for error=%s", error)
            await clock.sleep(_AGAIN_SECONDS)
