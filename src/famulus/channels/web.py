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
from famulus.core.errors import Busy, Unreachable
from famulus.core.messages import File, Image, Inbound, Outbound
from famulus.core.plugins import NoSettings, Services
from famulus.core.protocols import Accepted, Deliver

Frame = dict[str, Any]

MAX_FRAMES = 1000
MAX_BYTES = 8 * 1024 * 1024
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
    frame: Frame
    size: int
    receipt: _Receipt | None = None


class Feed:
    """Frames on their way to one client. `chats` are those it reads.

    A client too slow for its queue is cut off: `on_overflow` is called once and the feed is closed.
    """

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self.chats: set[str] = set()
        self.closed = False
        self._on_overflow = on_overflow
        self._queue: deque[_Queued] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def put(self, frame: Frame, receipt: _Receipt | None = None) -> None:
        """Line a frame up. Never blocks."""
        if self.closed:
            if receipt:
                receipt.settle(written=False)
            return
        size = 200 + sum(len(value) for value in frame.values() if isinstance(value, str))
        if not (self._queue and self._merge(self._queue[-1], frame, size)):
            self._queue.append(_Queued(frame, size, receipt))
        self._bytes += size
        self._filled.set()
        if len(self._queue) > MAX_FRAMES or self._bytes > MAX_BYTES:
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
            await write(_encode(queued.frame).decode())
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

    @staticmethod
    def _merge(last: _Queued, frame: Frame, size: int) -> bool:
        """Append a delta to one of the same turn that still waits, to spare a slow client."""
        ours = last.frame
        if not (
            ours["type"] == frame["type"] == "assistant_delta"
            and ours["turn_id"] == frame["turn_id"]
            and "restarted" not in frame
        ):
            return False
        # The queued frame may be shared with other clients.
        last.frame = {**ours, "content": ours["content"] + frame["content"]}
        last.size += size
        return True


class Web:
    """See `Channel` and `Watcher`. `on_reachable(channel, chat_id)` is called when a client begins
    to read a chat, so that replies that found nobody are tried again.
    """

    name = "web"

    def __init__(self, *, clock: Clock) -> None:
        self.on_reachable: Callable[[str, str], None] = lambda channel, chat_id: None
        self._clock = clock
        self._deliver: Deliver | None = None
        self._feeds: dict[str, set[Feed]] = {}
        # Requests that wait for the answer to a message, and turns such a request has answered.
        self._waiting: set[tuple[str, str]] = set()
        self._answered: OrderedDict[tuple[str, str], None] = OrderedDict()
        # After /new the answer belongs to the new session, which its turn cannot know.
        self._moved: OrderedDict[str, str] = OrderedDict()

    # ------------------------------------------------------------ in

    async def run(self, deliver: Deliver) -> None:
        self._deliver = deliver
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._deliver = None

    async def deliver(self, inbound: Inbound) -> Accepted:
        """What `Deliver` says; `Busy` while the channel is not running."""
        if self._deliver is None:
            raise Busy("Famulus is starting or stopping. Please try again in a moment.")
        return await self._deliver(inbound)

    # ------------------------------------------------------------ who reads

    @contextmanager
    def reader(self, on_overflow: Callable[[], None]) -> Iterator[Feed]:
        """A feed for a client that has just connected; call `watch_chat` for its chats."""
        feed = Feed(on_overflow)
        try:
            yield feed
        finally:
            feed.close()
            for chat_id in feed.chats:
                readers = self._feeds[chat_id]
                readers.discard(feed)
                if not readers:
                    del self._feeds[chat_id]

    def watch_chat(self, feed: Feed, chat_id: str) -> None:
        if chat_id not in feed.chats:
            feed.chats.add(chat_id)
            self._feeds.setdefault(chat_id, set()).add(feed)
            self.on_reachable(self.name, chat_id)

    @contextmanager
    def answering(self, chat_id: str, message_id: str) -> Iterator[None]:
        """While a request waits for the answer to a message, and after it got it without an
        exception, that reply counts as sent, as it goes out in the response.
        """
        key = (chat_id, message_id)
        self._waiting.add(key)
        try:
            yield
            _remember(self._answered, key, None)
        finally:
            self._waiting.discard(key)

    def tell(self, chat_id: str, frame: Frame) -> None:
        """Show a frame to everyone who reads the chat."""
        for feed in list(self._feeds.get(chat_id, ())):
            feed.put(frame)

    # ------------------------------------------------------------ out

    async def send(self, outbound: Outbound) -> str:
        frame = self._reply(outbound)
        keys = [(outbound.chat_id, message_id) for message_id in outbound.answers]
        by_request = any(key in self._waiting or key in self._answered for key in keys)
        readers = [*self._feeds.get(outbound.chat_id, ())]
        if readers:
            receipt = _Receipt(len(readers))
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
            case events.CommandExecuted():
                self._executed(event)
                return
            case _:
                return
        self.tell(event.chat_id, frame)

    def _executed(self, event: events.CommandExecuted) -> None:
        _remember(self._moved, event.turn_id, event.current)
        now: Frame = {
            "session_id": event.current,
            "chat_id": event.chat_id,
            "title": event.title,
        }
        more: Frame = {"command": event.command, "message_ids": event.answers}
        self.tell(event.chat_id, {"type": "command_executed", **now, **more})
        if event.command == "delete":
            self.tell(
                event.chat_id,
                {"type": "session_deleted", "session_id": event.session, "chat_id": event.chat_id},
            )
        if event.command in _MOVES and (event.current != event.session or event.title):
            self.tell(event.chat_id, {"type": _MOVES[event.command], **now})

    def _reply(self, outbound: Outbound) -> Frame:
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
