"""What is said, by whom, and where: the vocabulary every room shares.

Everything here is immutable and turns into JSON and back by msgspec, because all of it is
written into the journal. A field that is added later needs a default.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

from msgspec import Struct


class Origin(StrEnum):
    """Who said it. What is not the owner's, the assistant's or our own is never an instruction."""

    OWNER = "owner"
    GUEST = "guest"
    ASSISTANT = "assistant"
    TOOL = "tool"
    OUTSIDE = "outside"


class Text(Struct, frozen=True, tag_field="type", tag="text"):
    text: str
    origin: Origin


class Note(Struct, frozen=True, tag_field="type", tag="note"):
    """A fact put beside a message for the model alone, such as the time it was said."""

    text: str
    origin: Origin = Origin.TOOL


class Image(Struct, frozen=True, tag_field="type", tag="image"):
    """`blob` is the SHA-256 in hex of the bytes, which lie in the database."""

    blob: str
    media_type: str
    origin: Origin
    name: str = ""


class File(Struct, frozen=True, tag_field="type", tag="file"):
    """A received file. `path` is where it lies in the workspace.

    An origin other than OUTSIDE is for a voice message: the sender's own words, only spoken.
    """

    blob: str
    media_type: str
    origin: Origin
    name: str
    path: str = ""


class Reasoning(Struct, frozen=True, tag_field="type", tag="reasoning"):
    """What a model thought. `opaque` is the vendor's own block, replayed to that vendor alone."""

    text: str
    provider: str
    opaque: str = ""
    origin: Origin = Origin.ASSISTANT


class ToolCall(Struct, frozen=True, tag_field="type", tag="call"):
    """`arguments` is the JSON text just as the model wrote it, so that replaying it is exact; in a
    conversation, repaired where that was needed to run it.
    """

    id: str
    name: str
    arguments: str
    origin: Origin = Origin.ASSISTANT


class ToolResult(Struct, frozen=True, tag_field="type", tag="result"):
    call_id: str
    name: str
    parts: "tuple[Text | Image, ...]"
    ok: bool = True
    origin: Origin = Origin.TOOL

    @property
    def text(self) -> str:
        return text_of(self.parts)


Part = Text | Note | Image | File | Reasoning | ToolCall | ToolResult


def text_of(parts: Iterable[Part]) -> str:
    """The plain text in `parts`, joined without a separator as streaming delivers it."""
    return "".join(part.text for part in parts if isinstance(part, Text))


class Message(Struct, frozen=True, omit_defaults=True):
    """One entry of a conversation. A `tool` message carries only `ToolResult` parts. A `summary`
    of what was said before it stands in the timeline alone; no model is sent that role. What is
    `private`, and what is made of it, is shown to local models alone.
    """

    role: Literal["user", "assistant", "tool", "summary"]
    parts: tuple[Part, ...]
    private: bool = False

    @property
    def text(self) -> str:
        return text_of(self.parts)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


class Usage(Struct, frozen=True):
    """Tokens of one or more model calls. `input_tokens` includes those that were read from the
    vendor's cache (`cached_tokens`) and written to it; `output_tokens` includes the reasoning.
    `audio_seconds` is the sound that was listened to, as it is paid for. `cost_usd` leaves the
    `unpriced_calls` out: what these cost is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    audio_seconds: float = 0.0
    unpriced_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            # Sums of decimal fractions get dust; costs are kept to a billionth of a dollar.
            cost_usd=round(self.cost_usd + other.cost_usd, 9),
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            audio_tokens=self.audio_tokens + other.audio_tokens,
            audio_seconds=self.audio_seconds + other.audio_seconds,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )


class SessionKey(Struct, frozen=True):
    """`<channel>:<chat_id>:<dialog_id>`. A chat id may hold colons, the other two may not. An empty
    dialog stands for the chat's current one.
    """

    channel: str
    chat_id: str
    dialog_id: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.chat_id}:{self.dialog_id}"

    @classmethod
    def parse(cls, text: str) -> "SessionKey":
        """The key of one dialog. Raise ValueError when `text` has fewer than three parts."""
        key = cls.find(text)
        if not key.dialog_id:
            raise ValueError(f"{text!r} is not <channel>:<chat_id>:<dialog_id>")
        return key

    @classmethod
    def find(cls, text: str) -> "SessionKey":
        """What a person writes: a key, or `<channel>:<chat_id>` for the current dialog of a chat. A
        chat id with colons needs one behind it, `<channel>:<chat_id>:`, as what follows the last
        one is the dialog. Raise ValueError for anything else.
        """
        channel, _, rest = text.partition(":")
        chat_id, _, dialog_id = rest.rpartition(":") if ":" in rest else (rest, "", "")
        if not (channel and chat_id):
            raise ValueError(f"{text!r} is not <channel>:<chat_id>:<dialog_id>")
        return cls(channel, chat_id, dialog_id)


class Inbound(Struct, frozen=True, kw_only=True):
    """A message as a channel received it.

    `message_id` is the platform's own and makes the turn's id, so that a redelivery is recognised.
    `dialog_id` is empty for the chat's current dialog. `person` is filled in by the gate, and so
    is `private`: a rule keeps this message on this machine.
    `timezone` is the IANA name that the sender's device told, or empty; it is known to exist.
    `one_shot`: a command asks this and answers it itself; once that is dead, nobody waits for it.
    """

    channel: str
    chat_id: str
    sender_id: str
    message_id: str
    parts: tuple[Part, ...]
    at: datetime
    account: str = ""
    sender_name: str = ""
    dialog_id: str = ""
    group: bool = False
    person: str = ""
    model: str = ""
    parent: str = ""
    correlation_id: str = ""
    private: bool = False
    timezone: str = ""
    one_shot: bool = False

    @property
    def turn_id(self) -> str:
        """The same for the same message, and for no other."""
        plain = self.plain_id
        if plain.count(":") == 3 and "%" not in plain and "#" not in plain:
            return plain
        names = (self.channel, self.account, self.chat_id, self.message_id)
        return ":".join(_escaped(name) for name in names)

    @property
    def plain_id(self) -> str:
        """What `turn_id` was before it was escaped, which another message can have too."""
        # Telegram numbers messages per chat, so the chat belongs to the identity.
        return f"{self.channel}:{self.account}:{self.chat_id}:{self.message_id}"

    @property
    def text(self) -> str:
        return text_of(self.parts)


def _escaped(name: str) -> str:
    """Without the signs that part an id, a `#` before the number of a step included."""
    return name.replace("%", "%25").replace(":", "%3A").replace("#", "%23")


class Outbound(Struct, frozen=True, kw_only=True):
    """A message on its way to a channel.

    `id` is the idempotency key. `answers` are the platform ids of the messages it answers.
    `quiet` says that the user was told already; only a channel that shows every turn needs it.
    `failed` says that the turn ended without what was asked for.
    """

    id: str
    channel: str
    chat_id: str
    session: str
    turn_id: str
    parts: tuple[Part, ...]
    expires_at: datetime
    account: str = ""
    answers: tuple[str, ...] = ()
    model: str = ""
    usage: Usage = Usage()
    quiet: bool = False
    failed: bool = False
    correlation_id: str = ""

    @property
    def text(self) -> str:
        return text_of(self.parts)
