"""The part of a session's past that a prompt shows.

The window moves in large steps, so that prompts keep their beginning for many turns and vendors
can cache it: it grows until it is over its budget, then it starts anew with half of it. A summary
of what fell out then stands before it.
"""

import sys
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from famulus.agent.media import PDF
from famulus.agent.summaries import shown
from famulus.core.messages import File, Image, Message, ToolResult
from famulus.engine.turns import Turn
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages, Said, decoded, encoded
from famulus.state.sessions import Session, Sessions
from famulus.store.database import Statement

_TITLE_CHARACTERS = 60
# A third more in base64: half of what the strictest vendor takes.
_MOST_DOCUMENT_BYTES = 12_000_000


class Window(Struct, frozen=True):
    """`start` is the id of the oldest message shown; 0 shows all. `before` is what was shown the
    last time and falls out now; `size` is in bytes.
    """

    session: Session
    said: tuple[Said, ...]
    start: int
    before: tuple[Said, ...] = ()
    size: int = 0

    def __post_init__(self) -> None:
        # Added up once: a long window has hundreds of messages, and is looked at in each round.
        size = sum(each.size for each in self.said) + len(self.session.summary)
        msgspec.structs.force_setattr(self, "size", size)

    @property
    def summary(self) -> Message | None:
        if not self.session.summary:
            return None
        parts = decoded(self.session.summary)
        return Message("summary", parts, self.session.summary_private)

    @property
    def messages(self) -> tuple[Message, ...]:
        return (*shown(self.summary), *(each.message for each in self.said))

    def since(self, start: int) -> "Window":
        if start == self.start:
            return self
        everything = (*self.before, *self.said)
        return Window(
            self.session,
            tuple(each for each in everything if each.id >= start),
            start,
            tuple(each for each in everything if each.id < start),
        )

    def within(self, most_bytes: int) -> "Window":
        """What of it fits a model with a smaller window, for one turn. It begins a half of
        `most_bytes` further on than before, or a multiple of that, so that prompts keep their
        beginning there too.
        """
        if self.size <= most_bytes:
            return self
        step = max(most_bytes // 2, 1)
        over = -((most_bytes - self.size) // step) * step
        left = 0
        for number, each in enumerate(self.said):
            if left >= over and each.message.role == "user":
                return Window(self.session, self.said[number:], self.start)
            left += each.size
        return Window(self.session, (), self.start)


class History:
    """Reads windows and writes what a turn said. A window has at most `most_messages`; 0 is for
    any number.
    """

    def __init__(
        self, *, sessions: Sessions, messages: Messages, blobs: Blobs, most_messages: int = 0
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._blobs = blobs
        self._most_messages = most_messages or sys.maxsize

    async def session(self, key: str) -> Session:
        return await self._sessions.find(key) or Session(key=key, person="")

    async def window(self, session: Session, most_bytes: int) -> Window:
        """The window of a session: as it was, or moved where it is larger than `most_bytes` or
        has too many messages.

        Then it begins at a user's message half of that back, so no call is parted from its result;
        the newest is kept whatever its size.
        """
        said = tuple(await self._messages.window(session.key, session.window_start))
        window = Window(session, said, session.window_start)
        if window.size <= most_bytes and len(said) <= self._most_messages:
            return window
        kept, found = 0, window.start
        for count, each in enumerate(reversed(said), start=1):
            kept += each.size
            if each.message.role == "user":
                full = kept > most_bytes // 2 or count > self._most_messages // 2
                if found != window.start and full:
                    break
                found = each.id
        return window.since(found)

    async def condensed(self, window: Window, summary: Message, at: float) -> Window:
        """Let `summary` stand for what falls out of the window from now on, and keep it among the
        messages as well, where a search finds it. Nothing else happens when it is done again.
        """
        session = window.session
        said = self._messages.summarised(
            summary, session=session.key, person=session.person, start=window.start, at=at
        )
        await self._sessions.condense(
            session, encoded(summary.parts), window.start, said, private=summary.private
        )
        return msgspec.structs.replace(window, session=await self.session(session.key), before=())

    def added(
        self, turn: Turn, record: Sequence[Message], window: Window | None
    ) -> list[Statement]:
        """The statements that write a turn's messages and bring its session up to date."""
        at = turn.clock.now().timestamp()
        session = window.session if window else Session(key=turn.session, person=turn.person)
        said = turn.inbound.text or (record[0].text if record else "")
        title = " ".join(said.split())[:_TITLE_CHARACTERS]
        return [
            *self._messages.added(
                record, session=turn.session, person=turn.person, turn=turn.id, at=at
            ),
            self._sessions.touch(session, window_start=window.start if window else 0, title=title),
        ]

    async def media(
        self, messages: Sequence[Message], *, documents: bool = False
    ) -> dict[str, bytes]:
        """The bytes of the pictures in `messages`, and of the PDFs that fit, the newest first."""
        wanted = {blob for message in messages for blob in _pictures(message)}
        if documents:
            wanted |= await self._fitting(messages)
        return await self._blobs.read(wanted) if wanted else {}

    async def _fitting(self, messages: Sequence[Message]) -> set[str]:
        kept: set[str] = set()
        room = _MOST_DOCUMENT_BYTES
        for message in reversed(messages):
            for part in message.parts:
                if not isinstance(part, File) or part.media_type != PDF or part.blob in kept:
                    continue
                blob = await self._blobs.find(part.blob)
                if blob and blob.size <= room:
                    room -= blob.size
                    kept.add(blob.hash)
        return kept


def _pictures(message: Message) -> Iterable[str]:
    for part in message.parts:
        if isinstance(part, Image):
            yield part.blob
        elif isinstance(part, ToolResult):
            yield from (each.blob for each in part.parts if isinstance(each, Image))
