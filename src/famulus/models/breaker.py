"""Leaving a provider alone that does not answer, so that nobody waits for it again and again."""

import logging
from collections import deque
from collections.abc import AsyncIterator

from famulus.core.clock import Clock
from famulus.core.errors import ModelUnavailable, ProviderResting
from famulus.core.protocols import Chunk, Done, Model, Request
from famulus.models.streamed import streamed

logger = logging.getLogger(__name__)


class Breaker:
    """Whether one provider is asked. All of its models share it.

    Closed, it lets every call pass. `failures` of them unavailable in a row within
    `window_seconds` open it. Open, it rejects every call, first for `first_seconds`. Then a
    single call goes through on trial: an answer closes it, another failure opens it for twice as
    long, up to `longest_seconds`. Any other end of the trial, a cancellation for one, says nothing
    about the provider, so the next call is on trial.

    Whoever begins a call asks `admit`, and reports the call's end with what that gave.
    """

    def __init__(
        self,
        provider: str,
        *,
        clock: Clock,
        failures: int = 5,
        window_seconds: float = 60.0,
        first_seconds: float = 30.0,
        longest_seconds: float = 600.0,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._window_seconds = window_seconds
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._open_seconds = 0.0  # 0: closed
        self._opened_at = 0.0
        self._on_trial = False

    def admit(self) -> bool:
        """Whether the call that may begin is on trial. Raises `ProviderResting` when none may."""
        if not self._open_seconds:
            return False
        if self._on_trial or self._left_seconds() > 0:
            seconds = max(1.0, self._left_seconds())
            raise ProviderResting(
                f"{self._provider} did not answer lately, so it is not asked for {seconds:.0f} "
                "seconds. Try again then, or name models of other providers in agent.fallbacks.",
                provider=self._provider,
                retry_after_seconds=seconds,
            )
        self._on_trial = True
        return True

    def succeeded(self, *, trial: bool) -> None:
        if trial:
            logger.info("provider answers again provider=%s", self._provider)
            self._open_seconds = 0.0
            self._on_trial = False
        self._failed_at.clear()

    def failed(self, *, trial: bool) -> bool:
        """Whether the provider rests now. Calls from before it began to rest change nothing."""
        now = self._clock.monotonic()
        if trial:
            self._on_trial = False
            self._open(now, min(self._open_seconds * 2, self._longest_seconds))
        elif not self._open_seconds:
            self._failed_at.append(now)
            full = len(self._failed_at) == self._failed_at.maxlen
            if full and now - self._failed_at[0] <= self._window_seconds:
                self._open(now, self._first_seconds)
        return self._open_seconds > 0

    def ended(self, *, trial: bool) -> None:
        """The call is over and said nothing about the provider."""
        if trial:
            self._on_trial = False

    def _open(self, now: float, seconds: float) -> None:
        logger.warning("provider rests provider=%s seconds=%.0f", self._provider, seconds)
        self._opened_at = now
        self._open_seconds = seconds

    def _left_seconds(self) -> float:
        return self._opened_at + self._open_seconds - self._clock.monotonic()


class Interrupted:
    """Asks `model` while `breaker` allows it, and tells it how that went.

    Only `ModelUnavailable` counts as a failure. The one that opens the breaker is raised as
    `ProviderResting` already, so that nobody waits for another try.
    """

    def __init__(self, model: Model, breaker: Breaker) -> None:
        self.card = model.card
        self._model = model
        self._breaker = breaker

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        trial = self._breaker.admit()
        try:
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Done):
                        self._breaker.succeeded(trial=trial)
                        trial = False
                    yield chunk
        except ModelUnavailable as error:
            if self._breaker.failed(trial=trial):
                raise ProviderResting(
                    str(error), provider=error.provider, status=error.status
                ) from error
            raise
        finally:
            self._breaker.ended(trial=trial)
