"""Another try where the vendor has a bad moment."""

import random
from collections.abc import AsyncIterator, Callable

from famulus.core.clock import Clock
from famulus.core.errors import ModelUnavailable, ProviderResting, RateLimited
from famulus.core.protocols import Chunk, Model, Request, Restarted
from famulus.models.streamed import shown, streamed

_FIRST_WAIT_SECONDS = 1.0


class Retried:
    """Tries `model` up to `attempts` times when it is unavailable or limits our rate.

    A wait that the vendor asks for is kept; one longer than `longest_wait_seconds` is left to
    whoever has another model. Otherwise waits are random between nothing and a bound that doubles,
    so that many clients do not come back at once. `chance` gives numbers from 0 to 1. A provider
    that rests is not waited for at all.
    """

    def __init__(
        self,
        model: Model,
        *,
        clock: Clock,
        attempts: int = 3,
        longest_wait_seconds: float = 30.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.card = model.card
        self._model = model
        self._clock = clock
        self._attempts = attempts
        self._longest_wait_seconds = longest_wait_seconds
        self._chance = chance

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        visible = False
        for attempt in range(1, self._attempts + 1):
            try:
                async with streamed(self._model, request) as chunks:
                    async for chunk in chunks:
                        visible = shown(visible, chunk)
                        yield chunk
                return
            except ProviderResting:
                raise
            except (ModelUnavailable, RateLimited) as error:
                wait = self._wait_seconds(error, attempt)
                if attempt == self._attempts or wait > self._longest_wait_seconds:
                    raise
                reason = str(error)
            if visible:
                yield Restarted(reason)
                visible = False
            await self._clock.sleep(wait)

    def _wait_seconds(self, error: ModelUnavailable | RateLimited, attempt: int) -> float:
        if error.retry_after_seconds > 0:
            return error.retry_after_seconds
        bound = min(_FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1), self._longest_wait_seconds)
        return self._chance() * bound
