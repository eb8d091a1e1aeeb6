"""Several keys for one account or several, so that the limit of one does not stop the work."""

from collections.abc import AsyncIterator, Sequence
from zlib import crc32

from famulus.core.clock import Clock
from famulus.core.errors import ModelUnauthorized, RateLimited
from famulus.core.protocols import Chunk, Model, Request, Restarted
from famulus.models.streamed import shown, streamed

_LIMITED_SECONDS = 60.0  # when the vendor does not say
_REFUSED_SECONDS = 3600.0


class Keys:
    """Which of a provider's keys rest, and until when. All models of the provider share it.

    A conversation keeps its key while that works, because a vendor's cache of its beginning may
    belong to the key's account; conversations, and calls without one, are spread over the keys.
    """

    def __init__(self, provider: str, count: int, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._count = count
        self._turn = 0
        self._limited_until = [0.0] * count
        self._refused_until = [0.0] * count

    def order(self, session: str) -> list[int]:
        """The keys to try, best first. Raises `RateLimited` when it is too early for all.

        With nothing but refused keys, the one that rests longest is asked again: the vendor's
        answer says best what is wrong with it, and stops being true when the owner mends it.
        """
        now = self._clock.monotonic()
        if session:
            start = crc32(session.encode("utf-8", "surrogatepass")) % self._count
        else:
            start = self._turn = (self._turn + 1) % self._count
        circle = [(start + step) % self._count for step in range(self._count)]
        ready = [key for key in circle if max(self._rests(key)) <= now]
        if ready:
            return ready
        if min(self._refused_until) > now:
            return [min(circle, key=self._refused_until.__getitem__)]
        raise self._limited()

    def exhausted(self, last: RateLimited | ModelUnauthorized) -> RateLimited | ModelUnauthorized:
        """What to raise when no key is left and the last one failed so."""
        refused = min(self._refused_until) > self._clock.monotonic()
        return last if refused else self._limited()

    def _limited(self) -> RateLimited:
        left = min(max(self._rests(key)) for key in range(self._count)) - self._clock.monotonic()
        return RateLimited(
            f"{self._provider} takes no more requests for now with any of its {self._count} keys. "
            f"Try again in {left:.0f} seconds, or name other models in agent.fallbacks.",
            provider=self._provider,
            retry_after_seconds=max(left, 0.001),
        )

    def rest(self, key: int, error: RateLimited | ModelUnauthorized) -> None:
        now = self._clock.monotonic()
        if isinstance(error, RateLimited):
            self._limited_until[key] = now + (error.retry_after_seconds or _LIMITED_SECONDS)
        else:
            self._refused_until[key] = now + _REFUSED_SECONDS

    def _rests(self, key: int) -> tuple[float, float]:
        return self._limited_until[key], self._refused_until[key]


class Rotated:
    """One model reached with several keys: `models` are the same but for that.

    The next key is tried when one is over its limit or not accepted, and on nothing else: a
    server that is down is down for every key.
    """

    def __init__(self, models: Sequence[Model], keys: Keys) -> None:
        self.card = models[0].card
        self._models = tuple(models)
        self._keys = keys

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        visible = False
        failed: RateLimited | ModelUnauthorized | None = None
        for key in self._keys.order(request.session):
            if visible and failed is not None:
                yield Restarted(str(failed))
                visible = False
            try:
                async with streamed(self._models[key], request) as chunks:
                    async for chunk in chunks:
                        visible = shown(visible, chunk)
                        yield chunk
                return
            except (RateLimited, ModelUnauthorized) as error:
                self._keys.rest(key, error)
                failed = error
        if failed is not None:
            raise self._keys.exhausted(failed)
