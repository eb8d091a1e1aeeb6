"""When a summary takes the place of what falls out of a window, and who is told."""

import msgspec

from famulus.agent.history import History, Window
from famulus.agent.room import Room
from famulus.agent.summaries import Compacted, condense
from famulus.core.main_agent import Agent as Settings
from famulus.core.messages import Message, Origin, Text, Usage
from famulus.core.protocols import Caller, Model
from famulus.engine.turns import Turn

_CONDENSED = "(I condensed the beginning of our conversation to go on with it.)"


class Compaction:
    """Condenses windows with the model that is shown them."""

    def __init__(self, settings: Settings, history: History) -> None:
        self._settings = settings
        self._history = history

    async def of_turn(
        self, turn: Turn, window: Window, model: Model, room: Room, caller: Caller
    ) -> tuple[Window, Usage]:
        """The window with a summary of what falls out of it; as it was where there is none."""
        made = await turn.step(
            "compact", Compacted, lambda _: self._made(window, model, room, caller)
        )
        if made.text:
            window = await self._history.condensed(
                window, _summary(made), turn.clock.now().timestamp()
            )
            if made.announced:
                await turn.reply((Text(_CONDENSED, Origin.ASSISTANT),))
        return window, made.usage

    async def now(self, window: Window, model: Model, room: Room, caller: Caller, at: float) -> str:
        """Condense a conversation up to its last question. The text says what came of it."""
        if not self._settings.compaction:
            return "Nothing is condensed here: agent.compaction is false."
        asked = [each.id for each in window.said if each.message.role == "user"]
        window = window.since(asked[-1] if asked else window.start)
        if not window.before:
            return "There is nothing to condense yet."
        made = await self._made(window, model, room, caller)
        if not made.text:
            return f"Nothing was condensed. {made.problem}"
        await self._history.condensed(window, _summary(made), at)
        return (
            f"{len(window.before)} messages are condensed to {len(made.text):,} characters. "
            "All of them are kept, and can be searched."
        )

    async def _made(self, window: Window, model: Model, room: Room, caller: Caller) -> Compacted:
        made = await condense(
            model,
            window.summary,
            [each.message for each in window.before],
            most_bytes=room.history_bytes // 4,
            input_bytes=room.messages_bytes,
            caller=caller,
            session=window.session.key,
        )
        announced = self._settings.announce_compaction
        return msgspec.structs.replace(made, announced=announced)


def _summary(made: Compacted) -> Message:
    return Message("summary", (Text(made.text, made.origin),), made.private)
