"""The terminal: `famulus ask` and `famulus chat` without a gateway."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from famulus.core.events import Delta, Event, ToolFinished, ToolStarted
from famulus.core.messages import Inbound, Origin, Outbound, Part, SessionKey, Text
from famulus.core.protocols import Deliver

CHAT = "main"


class Console:
    """One person at one terminal. `show` gets the events of the turns it started."""

    name = "console"

    def __init__(self, *, show: Callable[[Event], None] | None = None) -> None:
        self._show = show
        self._mine: dict[str, asyncio.Future[Outbound]] = {}

    async def run(self, deliver: Deliver) -> None:
        """Nothing comes in by itself: `inbound` makes what the command line hands over."""
        await asyncio.Event().wait()

    async def send(self, outbound: Outbound) -> str:
        waiting = self._mine.get(outbound.turn_id)
        if waiting is None:
            # An answer that an earlier command did not live to see would confuse this one's reader;
            # it is in the session's history, and nobody will ever come for it.
            return "its command is gone"
        if not waiting.done() and outbound.id == outbound.turn_id:
            waiting.set_result(outbound)
        return ""

    def watch(self, event: Event) -> None:
        if self._show and event.turn_id in self._mine:
            match event:
                case Delta() | ToolStarted() | ToolFinished():
                    self._show(event)

    def expect(self, turn_id: str) -> "asyncio.Future[Outbound]":
        """The reply to a turn, once it is delivered here."""
        future: asyncio.Future[Outbound] = asyncio.get_running_loop().create_future()
        return self._mine.setdefault(turn_id, future)


def inbound(
    text: str, *, session: str = "", model: str = "", parts: tuple[Part, ...] = ()
) -> Inbound:
    """A message typed at the terminal. `session` is one that `SessionKey.find` knows, or a dialog's
    id of the terminal's own chat; empty is its current dialog.
    """
    key = SessionKey.find(session) if ":" in session else SessionKey("console", CHAT, session)
    return Inbound(
        channel=key.channel,
        chat_id=key.chat_id,
        dialog_id=key.dialog_id,
        sender_id="owner",
        message_id=uuid4().hex,
        parts=(Text(text, Origin.OWNER), *parts),
        at=datetime.now(UTC),
        model=model,
        one_shot=True,
    )
