"""What every `Channel` must keep. Subclass `ChannelContract` and give it the fixture `platform`.

class TestTelegram(ChannelContract):
    @pytest.fixture
    async def platform(self): ...  # yields a `Platform`
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from famulus.core.errors import Busy
from famulus.core.events import Delta, TurnStarted
from famulus.core.messages import Inbound, Origin, Outbound, Text
from famulus.core.protocols import Accepted, Channel, Watcher

_SECONDS = 10.0


class Platform(Protocol):
    """A channel together with the other side of it: a person on the real or a fake platform."""

    channel: Channel

    async def say(self, text: str) -> str:
        """The person writes; returns their chat's id once the platform has the message."""

    async def heard(self) -> str:
        """The next text that the person gets."""


class Inbox:
    """A `Deliver` that keeps what it is given. While `refuses` is set, nothing gets in."""

    def __init__(self) -> None:
        self.refuses: Busy | None = None
        self.taken: list[Inbound] = []
        self._arrived = asyncio.Event()

    async def __call__(self, inbound: Inbound) -> Accepted:
        if self.refuses:
            raise self.refuses
        known = {each.turn_id for each in self.taken}
        self.taken.append(inbound)
        self._arrived.set()
        session = f"{inbound.channel}:{inbound.chat_id}:1"
        return Accepted(inbound.turn_id, session, duplicate=inbound.turn_id in known)

    async def next(self) -> Inbound:
        async with asyncio.timeout(_SECONDS):
            await self._arrived.wait()
        self._arrived.clear()
        return self.taken[-1]


@asynccontextmanager
async def running(channel: Channel, inbox: Inbox) -> AsyncIterator[None]:
    """`channel.run` beside the test, cancelled at its end."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(channel.run(inbox))
        await asyncio.sleep(0)
        yield
        assert not task.done(), "run ended before it was cancelled"
        task.cancel()


def reply(channel: str, chat_id: str, text: str, *, answers: tuple[str, ...] = ()) -> Outbound:
    return Outbound(
        id=f"{channel}::{chat_id}:{text}",
        channel=channel,
        chat_id=chat_id,
        session=f"{channel}:{chat_id}:1",
        turn_id=f"{channel}::{chat_id}:{text}",
        parts=(Text(text, Origin.ASSISTANT),),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        answers=answers,
    )


@pytest.mark.anyio
class ChannelContract:
    @pytest.fixture
    def platform(self) -> Platform:
        raise NotImplementedError

    async def test_a_message_comes_in_with_who_and_where(self, platform: Platform) -> None:
        inbox = Inbox()
        async with running(platform.channel, inbox):
            chat_id = await platform.say("hello")
            inbound = await inbox.next()
        assert inbound.text == "hello"
        assert inbound.channel == platform.channel.name
        assert inbound.chat_id == chat_id
        assert inbound.message_id
        assert inbound.sender_id
        assert inbound.at.utcoffset() == timedelta(0)

    async def test_two_messages_are_two_turns(self, platform: Platform) -> None:
        inbox = Inbox()
        async with running(platform.channel, inbox):
            await platform.say("one")
            first = await inbox.next()
            await platform.say("two")
            second = await inbox.next()
        assert first.turn_id != second.turn_id

    async def test_a_reply_reaches_the_person(self, platform: Platform) -> None:
        inbox = Inbox()
        async with running(platform.channel, inbox):
            chat_id = await platform.say("hello")
            inbound = await inbox.next()
            text = "Grüße, 世界 👋"
            outbound = reply(platform.channel.name, chat_id, text, answers=(inbound.message_id,))
            async with asyncio.timeout(_SECONDS):
                assert isinstance(await platform.channel.send(outbound), str)
                assert await platform.heard() == text

    async def test_it_goes_on_after_a_message_was_refused(self, platform: Platform) -> None:
        inbox = Inbox()
        async with running(platform.channel, inbox):
            inbox.refuses = Busy("full", retry_after_seconds=0.01)
            await platform.say("too early")
            inbox.refuses = None
            await platform.say("later")
            async with asyncio.timeout(_SECONDS):
                while "later" not in [each.text for each in inbox.taken]:
                    await inbox.next()

    async def test_it_can_run_again(self, platform: Platform) -> None:
        async with running(platform.channel, Inbox()):
            pass
        inbox = Inbox()
        async with running(platform.channel, inbox):
            await platform.say("hello again")
            assert (await inbox.next()).text == "hello again"

    async def test_watching_neither_blocks_nor_raises(self, platform: Platform) -> None:
        channel = platform.channel
        if not isinstance(channel, Watcher):
            pytest.skip("this channel shows only replies")
        name, chat_id = channel.name, "nobody-here"
        turn, session = f"{name}::{chat_id}:1", f"{name}:{chat_id}:1"
        channel.watch(TurnStarted(turn_id=turn, session=session, channel=name, chat_id=chat_id))
        for _ in range(100):
            channel.watch(
                Delta(
                    turn_id=turn, session=session, channel=name, chat_id=chat_id, content="x" * 99
                )
            )
