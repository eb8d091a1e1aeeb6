"""The way out, on a real database with a channel that fails in every way."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from famulus.core.clock import Clock
from famulus.core.errors import (
    ChannelError,
    SendLater,
    SendRejected,
    StoreUnavailable,
    Unreachable,
)
from famulus.core.messages import Origin, Outbound, Text
from famulus.engine import outbox
from famulus.gateway.delivery import Delivery
from famulus.store.sqlite import SQLite

pytestmark = pytest.mark.anyio


class Post:
    """A channel whose `send` does what `script` says, then succeeds."""

    name = "post"

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []
        self.tried = 0

    async def run(self, deliver):
        await asyncio.Event().wait()

    async def send(self, outbound):
        self.tried += 1
        if self.script:
            error = self.script.pop(0)
            if error == "hang":
                await asyncio.Event().wait()
            raise error
        self.sent.append(outbound.text)
        return f"receipt {outbound.id}"


class Screen(Post):
    """A channel that shows turns."""

    name = "screen"

    def watch(self, event):
        pass


class Quick(Clock):
    """A clock whose sleeps take no time, but move its hands."""

    def __init__(self):
        self.slept = self.longest = 0.0
        self.set_forward = timedelta()

    def monotonic(self):
        return self.slept

    def elapsed(self):
        return self.slept

    def now(self):
        return super().now() + self.set_forward

    async def sleep(self, seconds):
        await asyncio.sleep(0.001)
        self.slept += seconds
        self.longest = max(self.longest, seconds)


class Picky(Post):
    """A channel that does with each reply what `fates` says, always the same."""

    def __init__(self, **fates):
        super().__init__()
        self.fates = fates
        self.seen = set()

    async def send(self, outbound):
        self.seen.add(outbound.text)
        if error := self.fates.get(outbound.text):
            self.tried += 1
            raise error
        return await super().send(outbound)


class Postbox(Picky):
    """One that shows turns."""

    name = "screen"

    def watch(self, event):
        pass


def outbound(text, *, channel="post", chat="1", quiet=False, seconds=60):
    return Outbound(
        id=f"{chat}/{text}",
        channel=channel,
        chat_id=chat,
        session="s",
        turn_id=text,
        parts=(Text(text, Origin.ASSISTANT),),
        expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        quiet=quiet,
    )


@pytest.fixture
def out(tmp_path):
    @asynccontextmanager
    async def running(*channels):
        async with SQLite(tmp_path / "famulus.db") as database:
            clock = Quick()
            delivery = Delivery(database, {each.name: each for each in channels}, clock=clock)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(delivery.run())
                try:
                    yield Out(delivery, database, clock)
                finally:
                    task.cancel()

    return running


class Out:
    def __init__(self, delivery, database, clock):
        self.clock = clock
        self.delivery = delivery
        self.database = database

    async def put(self, message):
        now = datetime.now(UTC).timestamp()
        await self.database.transaction([outbox.send(message, now=now)])
        self.delivery.put(message)

    async def state(self, message):
        (row,) = await self.database.fetch(
            "select status, receipt, attempts from outbox where id = :id", id=message.id
        )
        return row["status"], row["receipt"], row["attempts"]

    async def tried(self, channel, times):
        async with asyncio.timeout(5):
            while channel.tried < times:
                await asyncio.sleep(0.005)

    async def until(self, message, status):
        async with asyncio.timeout(5):
            while (await self.state(message))[0] != status:
                await asyncio.sleep(0.005)


async def test_a_reply_is_sent_once_and_marked(out):
    channel, reply = Post(), outbound("hello")
    async with out(channel) as sending:
        await sending.put(reply)
        await sending.until(reply, "sent")
        assert await sending.state(reply) == ("sent", f"receipt {reply.id}", 1)
    async with out(channel):
        pass
    assert channel.sent == ["hello"]


async def test_replies_of_a_chat_keep_their_order_through_failures(out):
    channel = Post(ChannelError("down"), SendLater("slow", retry_after_seconds=3), OSError("net"))
    replies = [outbound(str(n)) for n in range(5)]
    async with out(channel) as sending:
        for reply in replies:
            await sending.put(reply)
        await sending.until(replies[-1], "sent")
    assert channel.sent == ["0", "1", "2", "3", "4"]


async def test_a_chat_that_hangs_does_not_hold_up_another(out):
    channel = Post("hang")
    other = outbound("b", chat="2")
    async with out(channel) as sending:
        await sending.put(outbound("a", chat="1"))
        while not channel.tried:
            await asyncio.sleep(0.005)
        await sending.put(other)
        await sending.until(other, "sent")


async def test_what_a_crash_left_is_sent_at_the_next_start(out):
    channel, reply = Post("hang"), outbound("hello")
    async with out(channel) as sending:
        await sending.put(reply)
        await sending.until(reply, "sending")
    async with out(channel) as sending:
        await sending.until(reply, "sent")
        assert (await sending.state(reply))[2] == 2
    assert channel.sent == ["hello"]


async def test_nothing_old_is_sent(out):
    channel, reply = Post(), outbound("old", seconds=-1)
    async with out(channel) as sending:
        await sending.put(reply)
        await sending.until(reply, "expired")
    assert channel.sent == []


async def test_a_clock_that_is_set_a_day_forward_costs_nobody_a_reply(out):
    channel = Screen(Unreachable("nobody"))
    reply = outbound("x", channel="screen")
    async with out(channel) as sending:
        await sending.put(reply)
        await sending.tried(channel, 1)
        sending.clock.set_forward = timedelta(days=1)
        sending.delivery.poke("screen", "1")
        await sending.until(reply, "sent")
    assert channel.sent == ["x"]


async def test_a_reply_expires_while_it_waits(out):
    channel = Screen(Unreachable("nobody"), Unreachable("nobody"))
    reply = outbound("x", channel="screen", seconds=60)
    async with out(channel) as sending:
        await sending.put(reply)
        await sending.tried(channel, 1)
        sending.clock.slept = 61
        sending.delivery.poke("screen", "1")
        await sending.until(reply, "expired")
    assert channel.sent == []


async def test_a_refusal_for_good_is_not_tried_again(out):
    channel = Post(SendRejected("chat not found"))
    bad, good = outbound("bad"), outbound("good")
    async with out(channel) as sending:
        await sending.put(bad)
        await sending.put(good)
        await sending.until(good, "sent")
        assert (await sending.state(bad))[:2] == ("failed", "chat not found")
    assert channel.sent == ["good"]


async def test_a_reply_waits_for_somebody_to_read_it(out):
    channel, reply = Screen(Unreachable("nobody"), Unreachable("nobody")), outbound("x")
    reply = outbound("x", channel="screen")
    async with out(channel) as sending:
        await sending.put(reply)
        while channel.tried < 1:
            await asyncio.sleep(0.005)
        assert (await sending.state(reply))[0] == "pending"
        for tries in (2, 3):
            sending.delivery.poke("screen", "1")
            while channel.tried < tries:
                await asyncio.sleep(0.005)
        await sending.until(reply, "sent")
    assert channel.sent == ["x"]


async def test_a_reply_whose_reader_has_left_does_not_hold_up_the_one_behind_it(out):
    channel = Postbox(a=Unreachable("its reader has left"))
    a, b = outbound("a", channel="screen"), outbound("b", channel="screen")
    async with out(channel) as sending:
        await sending.put(a)
        await sending.put(b)
        await sending.until(b, "sent")
        assert (await sending.state(a))[0] == "pending"


async def test_replies_that_waited_for_a_reader_come_in_order_when_one_is_there(out):
    channel = Postbox(**dict.fromkeys("abc", Unreachable("nobody")))
    replies = [outbound(text, channel="screen") for text in "abc"]
    async with out(channel) as sending:
        for reply in replies:
            await sending.put(reply)
        async with asyncio.timeout(5):
            while "c" not in channel.seen:
                await asyncio.sleep(0.005)
        channel.fates.clear()
        sending.delivery.poke("screen", "1")
        await sending.until(replies[-1], "sent")
    assert channel.sent == ["a", "b", "c"]


@pytest.mark.parametrize("error", [ChannelError("400"), SendLater("busy"), RuntimeError("a bug")])
async def test_a_reply_that_never_gets_through_holds_up_the_others_for_a_while_only(out, error):
    channel = Picky(poison=error)
    poison, good = outbound("poison", seconds=7200), outbound("good", seconds=7200)
    async with out(channel) as sending:
        await sending.put(poison)
        await sending.put(good)
        await sending.until(good, "sent")
        assert (await sending.state(poison))[0] == "sending"
    assert channel.tried > 3


async def test_after_a_long_outage_replies_come_in_order(out):
    class Away(Post):
        async def send(self, outbound):
            if sending.clock.slept < 3600:
                raise ChannelError("down")
            return await super().send(outbound)

    channel, replies = Away(), [outbound(str(n), seconds=7200) for n in range(3)]
    async with out(channel) as sending:
        for reply in replies:
            await sending.put(reply)
        await sending.until(replies[-1], "sent")
    assert channel.sent == ["0", "1", "2"]


async def test_a_fault_in_a_channel_ends_neither_the_delivery_nor_other_chats(out):
    channel = Picky(bad=RuntimeError("a bug"))
    other = outbound("good", chat="2")
    async with out(channel) as sending:
        await sending.put(outbound("bad"))
        while not channel.tried:
            await asyncio.sleep(0.005)
        await sending.put(other)
        await sending.until(other, "sent")


async def test_a_reply_that_was_sent_is_not_sent_again_because_the_database_was_away(out):
    channel, reply = Post(), outbound("once")
    async with out(channel) as sending:
        real, failures = sending.database.transaction, [StoreUnavailable("away")] * 10

        async def transaction(statements, **options):
            if failures and statements[0].parameters.get("status") == "sent":
                raise failures.pop()
            return await real(statements, **options)

        sending.database.transaction = transaction
        await sending.put(reply)
        await sending.until(reply, "sent")
    assert channel.sent == ["once"]
    assert sending.clock.longest <= 2, "what waits behind it is held up after the database is back"


async def test_a_quiet_reply_is_only_for_channels_that_show_turns(out):
    post, screen = Post(), Screen()
    first = outbound("first", quiet=True)
    second = outbound("second", quiet=True, channel="screen")
    async with out(post, screen) as sending:
        for reply in (first, second):
            await sending.put(reply)
            await sending.until(reply, "sent")
    assert (post.sent, screen.sent) == ([], ["second"])


async def test_a_reply_for_a_channel_that_is_gone_waits(out):
    reply = outbound("x", channel="gone")
    async with out(Post()) as sending:
        await sending.put(reply)
        await sending.delivery.drain(1)
        assert (await sending.state(reply))[0] == "pending"
