"""The one way out: from the outbox to the channel, in order for each chat.

A reply is marked before and after it is sent. What a crash left unsent is sent at the next start,
unless it has expired: nothing old is sent again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from famulus.core.clock import Clock
from famulus.core.errors import ChannelError, SendLater, SendRejected, StoreError, Unreachable
from famulus.core.logs import correlation
from famulus.core.messages import Outbound
from famulus.core.protocols import Channel, Watcher
from famulus.engine import journal
from famulus.store.database import Database

log = logging.getLogger(__name__)

_AGAIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)


@dataclass(slots=True, eq=False)
class _Chat:
    waiting: deque[Outbound] = field(default_factory=deque)
    sending: bool = False


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
        if all(each.id != outbound.id for each in chat.waiting):
            chat.waiting.append(outbound)
        self._start(key)

    def poke(self, channel: str, chat_id: str) -> None:
        """Somebody can be reached again in this chat."""
        if (channel, chat_id) in self._chats:
            self._start((channel, chat_id))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for outbound in await journal.open_outbox(self._database):
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
            while chat.waiting:
                outbound = chat.waiting[0]
                correlation.set(outbound.correlation_id)
                if not await self._deliver(outbound):
                    return
                chat.waiting.popleft()
            self._chats.pop(key, None)
        finally:
            chat.sending = False
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _deliver(self, outbound: Outbound) -> bool:
        """Send one reply; False when nobody can be reached, so that the chat waits."""
        tries = 0
        while outbound.expires_at > self._clock.now():
            try:
                return await self._send(outbound)
            except SendRejected as error:
                log.error("the platform refused a reply id=%s error=%s", outbound.id, error)
                await self._mark(outbound, "failed", receipt=str(error))
                return True
            except (ChannelError, StoreError, OSError, TimeoutError) as error:
                wait = _AGAIN_SECONDS[min(tries, len(_AGAIN_SECONDS) - 1)]
                if isinstance(error, SendLater):
                    wait = max(wait, error.retry_after_seconds)
                log.warning("a reply waits id=%s error=%s seconds=%g", outbound.id, error, wait)
                tries += 1
                await self._clock.sleep(wait)
        log.warning("a reply expired id=%s", outbound.id)
        await self._mark(outbound, "expired")
        return True

    async def _send(self, outbound: Outbound) -> bool:
        channel = self._channels.get(outbound.channel)
        if channel is None:
            return False
        shows_turns = outbound.channel in self._watchers
        receipt = ""
        if not (outbound.quiet and not shows_turns):
            if not shows_turns:
                # One that shows turns knows a reply by its turn; elsewhere a crash between the
                # two marks is the only trace of a reply that may have been sent.
                await self._mark(outbound, "sending")
            try:
                receipt = await channel.send(outbound)
            except Unreachable:
                return False
        await self._mark(outbound, "sent", receipt=receipt)
        log.info("sent id=%s", outbound.id)
        return True

    async def _mark(self, outbound: Outbound, status: str, *, receipt: str = "") -> None:
        await self._database.transaction([journal.mark(outbound.id, status, receipt=receipt)])
