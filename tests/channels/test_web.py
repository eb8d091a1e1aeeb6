"""The web channel: feeds, receipts and the contract of all channels."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from famulus.channels import web as channel_module
from famulus.channels.web import MAX_FRAMES, Twin, Web, build
from famulus.core import events
from famulus.core.clock import Clock
from famulus.core.errors import Busy, Unreachable
from famulus.core.messages import Image, Inbound, Origin, Text
from famulus.core.plugins import NoSettings, Services
from famulus.testing.check_channel import ChannelContract, Inbox, reply, running

pytestmark = pytest.mark.anyio

WHERE = {"turn_id": "t", "session": "web:main:1", "channel": "web", "chat_id": "main"}


def message(text, message_id=""):
    return Inbound(
        channel="web",
        chat_id="main",
        sender_id="owner",
        message_id=message_id or uuid4().hex,
        parts=(Text(text, Origin.OWNER),),
        at=datetime.now(UTC),
    )


@pytest.fixture
def web():
    return Web(clock=Clock())


@pytest.fixture
def feed(web):
    with web.reader(lambda: None) as feed:
        web.watch_chat(feed, "web", "main")
        yield feed


async def read(feed):
    """The next frame as it goes over the wire."""
    got = []

    async def write(text):
        got.append(json.loads(text))

    async with asyncio.timeout(10):
        await feed.next(write)
    return got[0]


async def broken(text):
    raise ConnectionResetError


class Page:
    """A client without a socket in between, which reads a reply while it is sent."""

    def __init__(self, web, feed):
        self.channel = web
        self._feed = feed
        self._send = web.send
        web.send = self._read_too

    async def say(self, text):
        with suppress(Busy):
            await self.channel.deliver(message(text))
        return "main"

    async def heard(self):
        return self._heard.result()["content"]

    async def _read_too(self, outbound):
        async with asyncio.TaskGroup() as group:
            self._heard = group.create_task(read(self._feed))
            sent = group.create_task(self._send(outbound))
        return sent.result()


class TestWeb(ChannelContract):
    @pytest.fixture
    def platform(self, web, feed):
        return Page(web, feed)


async def test_a_reply_is_sent_when_it_was_written_and_not_before(web, feed):
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(web.send(reply("web", "main", "hi")))
        await asyncio.sleep(0)
        assert not sending.done()
        frame = await read(feed)
    assert frame["content"] == "hi"
    assert sending.result() == "websocket"


async def test_a_reply_that_nobody_reads_is_not_sent(web):
    with pytest.raises(Unreachable):
        await web.send(reply("web", "main", "hi"))


async def test_a_reply_whose_only_reader_broke_off_is_not_sent(web, feed):
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_outcome(web.send(reply("web", "main", "hi"))))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError):
            await feed.next(broken)
    assert isinstance(sending.result(), Unreachable)


async def test_a_reply_whose_reader_left_before_reading_is_not_sent(web):
    async with asyncio.TaskGroup() as group:
        with web.reader(lambda: None) as feed:
            web.watch_chat(feed, "web", "main")
            sending = group.create_task(_outcome(web.send(reply("web", "main", "hi"))))
            await asyncio.sleep(0)
    assert isinstance(sending.result(), Unreachable)


async def test_one_of_two_readers_is_enough(web, feed):
    with web.reader(lambda: None) as other:
        web.watch_chat(other, "web", "main")
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(web.send(reply("web", "main", "hi")))
            await asyncio.sleep(0)
            other.close()
            assert not sending.done()
            await read(feed)
    assert sending.result() == "websocket"


async def test_a_new_reader_makes_its_chat_reachable(web):
    reached = []
    web.on_reachable = lambda channel, chat_id: reached.append((channel, chat_id))
    with web.reader(lambda: None) as feed:
        web.watch_chat(feed, "web", "work")
        web.watch_chat(feed, "web", "work")
    assert reached == [("web", "work")]


async def test_a_request_that_waits_takes_the_reply_before_and_after_its_end(web):
    inbound = message("hello", "m1")
    outbound = reply("web", "main", "hi", answers=("m1",))
    with web.answering(inbound):
        assert await web.send(outbound) == "http"
    assert await web.send(outbound) == "http"
    with pytest.raises(Unreachable):
        await web.send(reply("web", "main", "hi", answers=("m2",)))


async def test_a_request_that_gave_up_takes_nothing(web):
    with pytest.raises(TimeoutError), web.answering(message("hello", "m1")):
        raise TimeoutError
    with pytest.raises(Unreachable):
        await web.send(reply("web", "main", "hi", answers=("m1",)))


async def test_deltas_of_a_turn_that_wait_become_one(web, feed):
    for text in ("a", "b", "c"):
        web.watch(events.Delta(**WHERE, content=text))
    web.watch(events.Delta(**WHERE, content="d", restarted=True))
    web.watch(events.Delta(**WHERE, content="e"))
    assert (await read(feed))["content"] == "abc"
    second = await read(feed)
    assert (second["content"], second["restarted"]) == ("de", True)


async def test_merging_for_a_slow_client_does_not_touch_the_others(web, feed):
    with web.reader(lambda: None) as other:
        web.watch_chat(other, "web", "main")
        web.watch(events.Delta(**WHERE, content="a"))
        assert (await read(other))["content"] == "a"
        web.watch(events.Delta(**WHERE, content="b"))
        assert (await read(other))["content"] == "b"
    assert (await read(feed))["content"] == "ab"


@pytest.mark.parametrize("frame", [{"type": "x"}, {"type": "x", "content": "y" * 100_000}])
async def test_a_reader_too_slow_for_its_queue_is_cut_off_once(web, frame):
    cut = []
    with web.reader(lambda: cut.append(True)) as feed:
        web.watch_chat(feed, "web", "main")
        for _ in range(MAX_FRAMES + 50):
            web.tell("web", "main", frame)
    assert cut == [True]
    assert feed.closed


async def test_what_was_said_before_the_end_of_a_turn_is_a_notification(web, feed):
    early = msgspec.structs.replace(reply("web", "main", "soon"), id="t#3")
    async with asyncio.TaskGroup() as group:
        group.create_task(web.send(early))
        assert (await read(feed))["type"] == "system_notification"


async def test_pictures_of_a_reply_are_named(web, feed):
    picture = Image("ab" * 32, "image/png", Origin.TOOL, "chart.png")
    outbound = msgspec.structs.replace(reply("web", "main", "look"), parts=(picture,))
    async with asyncio.TaskGroup() as group:
        group.create_task(web.send(outbound))
        frame = await read(feed)
    assert frame["attachments"] == [
        {"id": "ab" * 32, "name": "chart.png", "media_type": "image/png"}
    ]


async def test_nothing_is_taken_in_before_the_channel_runs(web):
    with pytest.raises(Busy):
        await web.deliver(message("hello"))


async def test_a_twin_brings_its_chats_to_the_same_clients(web):
    twin, inbox = Twin("console", web), Inbox()
    assert not web.serves("console")
    async with running(twin, inbox):
        assert web.serves("console")
        await web.deliver(msgspec.structs.replace(message("hello"), channel="console"))
    assert inbox.taken[0].channel == "console"
    with web.reader(lambda: None) as feed:
        web.watch_chat(feed, "console", "main")
        async with asyncio.TaskGroup() as group:
            group.create_task(twin.send(reply("console", "main", "hi")))
            assert (await read(feed))["content"] == "hi"
        with pytest.raises(Unreachable):
            await web.send(reply("web", "main", "hi"))


def test_it_is_built_like_any_plugin():
    built = build(NoSettings(), Services(clock=Clock()))
    assert built.name == channel_module.Web.name == "web"


async def _outcome(awaitable):
    try:
        return await awaitable
    except Unreachable as error:
        return error


async def test_notice_is_shown_to_who_reads_the_chat(web, feed):
    web.watch(events.Notified(**WHERE, text="80% of the daily limit is used."))
    frame = await read(feed)
    assert (frame["type"], frame["content"]) == (
        "system_notification",
        "80% of the daily limit is used.",
    )
