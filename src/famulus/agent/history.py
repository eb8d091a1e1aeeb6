"""The part of a session's past that a prompt shows.

The window moves in large steps, so that prompts keep their beginning for many turns and vendors
can cache it: it grows until it is over its budget, then it starts anew with half of it.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from famulus.agent.media import PDF
from famulus.core.messages import File, Image, Message, ToolResult
from famulus.engine.turns import Turn
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages, Said
from famulus.state.sessions import Session, Sessions
from famulus.store.database import Statement

# English takes about four bytes of JSON a token, Chinese about three; code less of both.
_BYTES_PER_TOKEN = 3.5
_TITLE_CHARACTERS = 60
# A third more in base64: half of what the strictest vendor takes.
_MOST_DOCUMENT_BYTES = 12_000_000


class Window(Struct, frozen=True):
    """`start` is the id of the oldest message shown; 0 shows all."""

    session: Session
    said: tuple[Said, ...]
    start: int

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(each.message for each in self.said)

    def since(self, start: int) -> "Window":
        if start == self.start:
            return self
        return Window(self.session, tuple(each for each in self.said if each.id >= start), start)


class History:
    """Reads windows and writes what a turn said. `tokens` is the budget of a window."""

    def __init__(
        self, *, sessions: Sessions, messages: Messages, blobs: Blobs, tokens: int
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._blobs = blobs
        self._most_bytes = int(tokens * _BYTES_PER_TOKEN)

    async def window(self, key: str) -> Window:
        session = await self._sessions.find(key)
        if session is None:
            session = Session(key=key, person="")
        said = tuple(await self._messages.window(key, session.window_start))
        start = self._start(said, session.window_start)
        return Window(session, said, session.window_start).since(start)

    def _start(self, said: Sequence[Said], start: int) -> int:
        """Where the window begins: where it did, or at a user's message half a budget back.

        The newest one is kept whatever its size.
        """
        if sum(each.size for each in said) <= self._most_bytes:
            return start
        kept, found = 0, start
        for each in reversed(said):
            kept += each.size
            if each.message.role == "user":
                if found != start and kept > self._most_bytes // 2:
                    break
                found = each.id
        return found

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
