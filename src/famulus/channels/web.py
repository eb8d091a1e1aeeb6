"""The web chat: browsers and other clients of the gateway that read a chat while it happens.

The gateway's routes own the sockets. This channel knows who reads which chat, turns events and
replies into frames, and says when a reply was written to somebody.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from famulus.core import events
from famulus.core.clock import Clock
from famulus.core.errors import NotReady, Unreachable
from famulus.core.messages import File, Image, Inbound, Outbound
from famulus.core.plugins import NoSettings, Services
from famulus.core.protocols import Accepted, Deliver

Frame = dict[str, Any]
_Chat = tuple[str, str]

MAX_FRAMES = 1000
MAX_BYTES = 8 * 1024 * 1024
_DELTA_BYTES = 64  # about what a piece of text costs beside its characters
_REMEMBERED = 1000

_encode = msgspec.json.Encoder().encode


class _Receipt:
    """Whether a frame that went to several readers was written to at least one of them."""

    def __init__(self, readers: int) -> None:
        self._open = readers
        self.written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(self, *, written: bool) -> None:
        self._open -= 1
        if not self.written.done() and (written or not self._open):
            self.written.set_result(written)


class _Queued(Struct):
    """A frame as text, or a delta and the contents that were appended to it while it waits."""

    size: int
    text: str = ""
    delta: Frame = {}
    contents: list[str] = []
    receipt: _Receipt | None = None


class Feed:
    """Frames on their way to one client. `chats` are those it reads, as (channel, chat id).

    A client too slow for its queue is cut off: `on_overflow` is called once and the feed is closed.
    """

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self.chats: set[_Chat] = set()
        self.closed = False
        self._on_overflow = on_overflow
        self._queue: deque[_Queued] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._answered: OrderedDict[str, None] = OrderedDict()

    def put(self, frame: Frame, receipt: _Receipt | None = None) -> None:
        """Line a frame up. Never blocks. The answer of a turn is lined up once."""
        if self.closed:
            if receipt:
                receipt.settle(written=False)
            return
        if frame["type"] == "assistant_response":
            if frame["turn_id"] in self._answered:
                if receipt:
                    receipt.settle(written=True)
                return
            _remember(self._answered, frame["turn_id"], None)
        if frame["type"] == "assistant_delta":
            size = self._put_delta(frame)
        else:
            text = _encode(frame).decode()
            size = len(text)
            self._queue.append(_Queued(size, text=text, receipt=receipt))
        self._bytes += size
        self._filled.set()
        full = len(self._queue) > MAX_FRAMES or self._bytes > MAX_BYTES
        if full and len(self._queue) > 1:
            self.close()
            self._on_overflow()

    async def next(self, write: Callable[[str], Any]) -> None:
        """Wait for the next frame and pass it to `write`; what `write` raises is raised."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        queued = self._queue.popleft()
        self._bytes -= queued.size
        written = False
        try:
            await write(queued.text or _joined(queued))
            written = True
        finally:
            if queued.receipt:
                queued.receipt.settle(written=written)

    def close(self) -> None:
        """Take no more frames. What was not written goes to whoever connects next."""
        self.closed = True
        while self._queue:
            queued = self._queue.popleft()
            if queued.receipt:
                queued.receipt.settle(written=False)

    def _put_delta(self, frame: Frame) -> int:
        """Append to a delta of the same turn that still waits, to spare a slow client."""
        size = len(frame["content"]) + _DELTA_BYTES
        last = self._queue[-1] if self._queue else None
        if (
            last
            and last.delta
            and last.delta["turn_id"] == frame["turn_id"]
            and "restarted" not in frame
        ):
            last.contents.append(frame["content"])
            last.size += size
        else:
            self._queue.append(_Queued(size, delta=frame, contents=[frame["content"]]))
        return size


def _joined(queued: _Queued) -> str:
    return _encode({**queued.delta, "content": "".join(queued.contents)}).decode()


class Web:
    """See `Channel` and `Watcher`. `on_reachable(channel, chat_id)` is called when a client begins
    to read a chat, so that replies that found nobody are tried again.
    """

    name = "web"

    def __init__(self, *, clock: Clock) -> None:
        self.on_reachable: Callable[[str, str], None] = lambda channel, chat_id: None
        self._clock = clock
        self._deliver: dict[str, Deliver] = {}
        self._feeds: dict[_Chat, set[Feed]] = {}
        # Messages whose answer a request waits for, and those that such a request has answered.
        self._waiting: set[tuple[_Chat, str]] = set()
        self._answered: OrderedDict[tuple[_Chat, str], None] = OrderedDict()
        # After /new the answer belongs to the new session, which its turn cannot know.
        self._moved: OrderedDict[str, str] = OrderedDict()

    # ------------------------------------------------------------ in

    async def run(self, deliver: Deliver) -> None:
        await self.run_as(self.name, deliver)

    async def run_as(self, name: str, deliver: Deliver) -> None:
        self._deliver[name] = deliver
        try:
            await asyncio.Event().wait()
        finally:
            del self._deliver[name]

    async def deliver(self, inbound: Inbound) -> Accepted:
        """What `Deliver` says; `NotReady` while the channel is not running."""
        deliver = self._deliver.get(inbound.channel)
        if deliver is None:
            raise NotReady("Famulus is starting or stopping. Please try again in a moment.")
        return await deliver(inbound)

    def serves(self, channel: str) -> bool:
        """Whether clients of the gateway may speak in this channel's chats."""
        return channel == self.name or channel in self._deliver

    # ------------------------------------------------------------ who reads

    @contextmanager
    def reader(self, on_overflow: Callable[[], None]) -> Iterator[Feed]:
        """A feed for a client that has just connected; call `watch_chat` for its chats."""
        feed = Feed(on_overflow)
        try:
            yield feed
        finally:
            feed.close()
            for chat in feed.chats:
                readers = self._feeds[chat]
                readers.discard(feed)
                if not readers:
                    del self._feeds[chat]

    def watch_chat(self, feed: Feed, channel: str, chat_id: str) -> None:
        chat = (channel, chat_id)
        if chat not in feed.chats:
            feed.chats.add(chat)
            self._feeds.setdefault(chat, set()).add(feed)
            self.on_reachable(channel, chat_id)

    @contextmanager
    def answering(self, inbound: Inbound) -> Iterator[None]:
        """While a request waits for the answer to a message, and after it got it without an
        exception, that reply counts as sent, as it goes out in the response.
        """
        key = ((inbound.channel, inbound.chat_id), inbound.message_id)
        self._waiting.add(key)
        try:
            yield
            _remember(self._answered, key, None)
        finally:
            self._waiting.discard(key)

    def tell(self, channel: str, chat_id: str, frame: Frame) -> None:
        """Show a frame to everyone who reads the chat."""
        for feed in list(self._feeds.get((channel, chat_id), ())):
            feed.put(frame)

    # ------------------------------------------------------------ out

    async def send(self, outbound: Outbound) -> str:
        chat = (outbound.channel, outbound.chat_id)
        keys = [(chat, message_id) for message_id in outbound.answers]
        by_request = any(key in self._waiting or key in self._answered for key in keys)
        readers = [*self._feeds.get(chat, ())]
        if readers:
            frame, receipt = self.reply(outbound), _Receipt(len(readers))
            for feed in readers:
                feed.put(frame, receipt)
            if await receipt.written:
                return "websocket"
        if by_request:
            return "http"
        raise Unreachable("Nobody reads this chat now.")

    def watch(self, event: events.Event) -> None:
        frame: Frame = {
            "type": "",
            "turn_id": event.turn_id,
            "session_id": event.session,
            "chat_id": event.chat_id,
        }
        match event:
            case events.Delta(content=content, restarted=restarted):
                frame |= {"type": "assistant_delta", "content": content}
                if restarted:
                    frame["restarted"] = True
            case events.TurnStarted(answers=answers):
                frame |= {"type": "turn_started", "message_ids": answers}
            case events.ToolStarted() | events.ToolFinished() | events.ApprovalRequested():
                frame |= {"type": _KINDS[type(event)], **_own_fields(event)}
            case events.Notified(text=text):
                frame |= {"type": "system_notification", "content": text}
            case events.CommandExecuted():
                self._executed(event)
                return
            case _:
                return
        self.tell(event.channel, event.chat_id, frame)

    def _executed(self, event: events.CommandExecuted) -> None:
        _remember(self._moved, event.turn_id, event.current)
        here: Frame = {"chat_id": event.chat_id}
        # The title is that of the conversation which the chat is in now.
        now: Frame = {"session_id": event.current, "title": event.title}
        frames: list[Frame] = [
            {
                "type": "command_executed",
                "command": event.command,
                "message_ids": event.answers,
                **now,
            }
        ]
        if event.command == "delete":
            frames.append({"type": "session_deleted", "session_id": event.session})
        if event.command in _MOVES and (event.current != event.session or event.title):
            frames.append({"type": _MOVES[event.command], **now})
        for frame in frames:
            self.tell(event.channel, event.chat_id, frame | here)

    def reply(self, outbound: Outbound) -> Frame:
        """The frame that answers a turn."""
        frame: Frame = {
            "type": "assistant_response",
            "turn_id": outbound.turn_id,
            "session_id": self._moved.get(outbound.turn_id, outbound.session),
            "chat_id": outbound.chat_id,
            "content": outbound.text,
            "message_ids": outbound.answers,
            "model": outbound.model,
            "usage": outbound.usage,
            "time": self._clock.now().isoformat(),
        }
        if outbound.failed:
            frame["failed"] = True
        files = [
            {"id": part.blob, "name": part.name, "media_type": part.media_type}
            for part in outbound.parts
            if isinstance(part, Image | File)
        ]
        if files:
            frame["attachments"] = files
        if outbound.id != outbound.turn_id:
            # Said before the end of its turn, whose response is still to come.
            frame["type"] = "system_notification"
        return frame


class Twin:
    """The same clients under the name of another channel, for `famulus ask` and `famulus chat`,
    whose chats are not those of the browser.
    """

    def __init__(self, name: str, web: Web) -> None:
        self.name = name
        self._web = web

    async def run(self, deliver: Deliver) -> None:
        await self._web.run_as(self.name, deliver)

    async def send(self, outbound: Outbound) -> str:
        return await self._web.send(outbound)

    def watch(self, event: events.Event) -> None:
        self._web.watch(event)


_KINDS: dict[type[events.Event], str] = {
    events.ToolStarted: "tool_started",
    events.ToolFinished: "tool_finished",
    events.ApprovalRequested: "approval_requested",
}
# What a command did to the chat's session, in the frames that clients know for it.
_MOVES = {
    "new": "session_created",
    "switch": "session_loaded",
    "delete": "session_loaded",
    "rename": "session_renamed",
}
_SHARED = frozenset(events.Event.__struct_fields__)


def _own_fields(event: events.Event) -> Frame:
    return {name: getattr(event, name) for name in event.__struct_fields__ if name not in _SHARED}


def _remember(memory: OrderedDict[Any, Any], key: object, value: object) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


Settings = NoSettings


def build(settings: NoSettings, services: Services) -> Web:
    return Web(clock=services.clock)
