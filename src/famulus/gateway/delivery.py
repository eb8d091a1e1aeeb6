"""The one way out: from the outbox to the channel, in order for each chat.

A reply is marked before and after it is sent. What a crash left unsent is sent at the next start,
unless it has expired: nothing old is sent again. One that nobody can take now lets those behind it
pass, and one that fails again and again holds them up for a while only.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from famulus.core.clock import Clock
from famulus.core.errors import ChannelError, SendLater, SendRejected, StoreError, Unreachable
from famulus.core.logs import correlation
from famulus.core.messages import Outbound
from famulus.core.protocols import Channel, Watcher
from famulus.engine import outbox
from famulus.store.database import Database
from famulus.store.waiting import when_available

log = logging.getLogger(__name__)

_AGAIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
# The database is ours: it need not be spared, and nobody waits much longer than it is away.
_AWAY_SECONDS = 2.0
# A channel that is away for less keeps its order whatever happens.
_HOLD_SECONDS = 300.0
# Longer than any upload: a `send` that never returns would hold up its chat for ever.
_SEND_SECONDS = 120.0


@dataclass(slots=True, eq=False)
class _Reply:
    """A reply on its way. `expires` is on the clock that nobody sets, `failing_since` is when it
    failed first, `receipt` what the channel gave when it was sent, so that only the mark is made
    again.
    """

    outbound: Outbound
    expires: float
    tries: int = 0
    failing_since: float = 0.0
    receipt: str | None = None
    deleted: bool = False


@dataclass(slots=True, eq=False)
class _Chat:
    """`poked`: somebody came while a round was under way, so that it begins anew."""

    waiting: list[_Reply] = field(default_factory=list)
    sending: bool = False
    poked: bool = False
    pause: asyncio.Task[None] | None = None


class Delivery:
    """Sends what `put` gives it and what the database still holds."""

    def __init__(
        self, database: Database, channels: Mapping[str, Channel], *, clock: Clock
    ) -> None:
        self._database = database
        self._channels = channels
        self._watchers = {name for name, each in channels.items() if isinstance(each, Watcher)}
        self._clock = clock
        self._chats: dict[tuple[str, str], _Chat] = {}
        self._group: asyncio.TaskGroup | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0

    def put(self, outbound: Outbound) -> None:
        """Send a reply that is on disk. Returns at once."""
        key = (outbound.channel, outbound.chat_id)
        chat = self._chats.setdefault(key, _Chat())
        if all(each.outbound.id != outbound.id for each in chat.waiting):
            left = (outbound.expires_at - self._clock.now()).total_seconds()
            chat.waiting.append(_Reply(outbound, self._clock.elapsed() + left))
        self._start(key)

    def poke(self, channel: str, chat_id: str) -> None:
        """Somebody can be reached again in this chat."""
        if chat := self._chats.get((channel, chat_id)):
            chat.poked = True
            if chat.pause:
                chat.pause.cancel()
            self._start((channel, chat_id))

    def forget(self, turns: Collection[str]) -> None:
        """Do not send what these turns said: it is deleted."""
        for chat in self._chats.values():
            for reply in chat.waiting:
                reply.deleted = reply.deleted or reply.outbound.turn_id in turns

    async def run(self, channel: str = "") -> None:
        """Send until cancelled; what an earlier process left too, all of it or one channel's."""
        async with asyncio.TaskGroup() as group:
            for outbound in await when_available(
                lambda: outbox.open_replies(self._database, channel), self._clock
            ):
                self.put(outbound)
            self._group = group
            try:
                for key in list(self._chats):
                    self._start(key)
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def drain(self, seconds: float) -> None:
        """Wait until everything that can be sent is sent, at most that long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.info("replies will be sent at the next start chats=%d", self._busy)

    def _start(self, key: tuple[str, str]) -> None:
        chat = self._chats[key]
        if self._group and chat.waiting and not chat.sending:
            chat.sending = True
            self._busy += 1
            self._idle.clear()
            self._group.create_task(self._empty(key, chat))

    async def _empty(self, key: tuple[str, str], chat: _Chat) -> None:
        try:
            while (seconds := await self._round(chat)) is not None:
                await self._wait(chat, seconds)
            if not chat.waiting:
                self._chats.pop(key, None)
        finally:
            chat.sending = False
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _round(self, chat: _Chat) -> float | None:
        """Try what waits, in its order. Returns in how many seconds to try again; None when all
        is sent, or waits for somebody who can be reached.
        """
        chat.poked = False
        again: float | None = None
        position = 0
        while position < len(chat.waiting):
            reply = chat.waiting[position]
            correlation.set(reply.outbound.correlation_id)
            try:
                settled = reply.deleted or await self._deliver(reply)
            except Exception as error:  # noqa: BLE001 - a channel's fault must not end the others
                again = self._failed(reply, error)
                if self._clock.monotonic() - reply.failing_since < _HOLD_SECONDS:
                    return again
                settled = False
            if settled:
                del chat.waiting[position]
            else:
                position += 1
            if chat.poked:
                chat.poked, again, position = False, None, 0
        return again

    def _failed(self, reply: _Reply, error: Exception) -> float:
        """Note that a reply did not get through; in how many seconds to try it again."""
        if not reply.tries:
            reply.failing_since = self._clock.monotonic()
        wait = _AGAIN_SECONDS[min(reply.tries, len(_AGAIN_SECONDS) - 1)]
        if isinstance(error, SendLater):
            wait = max(wait, error.retry_after_seconds)
        if isinstance(error, StoreError):
            wait = min(wait, _AWAY_SECONDS)
        reply.tries += 1
        known = isinstance(error, ChannelError | StoreError | OSError)
        log.warning(
            "a reply waits id=%s error=%s seconds=%g",
            reply.outbound.id,
            error if known else repr(error),
            wait,
            exc_info=None if known else error,
        )
        return wait

    async def _wait(self, chat: _Chat, seconds: float) -> None:
        """Wait, unless somebody comes."""
        async with asyncio.TaskGroup() as group:
            chat.pause = group.create_task(self._clock.sleep(seconds))
        chat.pause = None

    async def _deliver(self, reply: _Reply) -> bool:
        """Send one reply, or give it up for good; False when nobody can take it now."""
        outbound = reply.outbound
        if reply.receipt is None and reply.expires <= self._clock.elapsed():
            log.warning("a reply expired id=%s", outbound.id)
            await self._mark(outbound, "expired")
            return True
        try:
            if reply.receipt is None:
                reply.receipt = await self._send(outbound)
        except Unreachable:
            return False
        except SendRejected as error:
            log.error("the platform refused a reply id=%s error=%s", outbound.id, error)
            await self._mark(outbound, "failed", receipt=str(error))
            return True
        await self._mark(outbound, "sent", receipt=reply.receipt)
        log.info("sent id=%s", outbound.id)
        return True

    async def _send(self, outbound: Outbound) -> str:
        channel = self._channels.get(outbound.channel)
        if channel is None:
            raise Unreachable("its channel does not run here")
        if outbound.channel not in self._watchers:
            if outbound.quiet:
                return ""
            # One that shows turns knows a reply by its turn; elsewhere a crash between the two
            # marks is the only trace of a reply that may have been sent.
            await self._mark(outbound, "sending")
        async with asyncio.timeout(_SEND_SECONDS):
            return await channel.send(outbound)

    async def _mark(self, outbound: Outbound, status: str, *, receipt: str = "") -> None:
        await self._database.transaction([outbox.mark(outbound.id, status, receipt=receipt)])
