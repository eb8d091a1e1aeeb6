"""What a turn emits while it runs. Events are hints: they may be lost, the answer may not."""

from msgspec import Struct

from famulus.core.messages import Outbound


class Event(Struct, frozen=True, kw_only=True):
    """`session` is the whole session key; `channel` and `chat_id` say who is watching."""

    turn_id: str
    session: str
    channel: str
    chat_id: str


class TurnStarted(Event, frozen=True, kw_only=True):
    """`answers` are the platform ids of the messages that this turn takes up."""

    answers: tuple[str, ...] = ()


class Delta(Event, frozen=True, kw_only=True):
    """Text to append. `restarted`: what was shown of this turn's current text is void first."""

    content: str
    restarted: bool = False


class ToolStarted(Event, frozen=True, kw_only=True):
    call_id: str
    name: str
    arguments: str


class ToolFinished(Event, frozen=True, kw_only=True):
    call_id: str
    name: str
    ok: bool
    summary: str


class ApprovalRequested(Event, frozen=True, kw_only=True):
    approval_id: str
    name: str
    arguments: str


class Notified(Event, frozen=True, kw_only=True):
    """Something the user should know that is not part of the answer, such as a budget that ends."""

    text: str


class CommandExecuted(Event, frozen=True, kw_only=True):
    """A slash command did its work. `current` is the session that the chat is in afterwards."""

    command: str
    current: str
    title: str = ""
    answers: tuple[str, ...] = ()


class Answered(Event, frozen=True, kw_only=True):
    """The turn is over and its answer, `outbound`, is on disk."""

    outbound: Outbound
