"""What a client of the gateway says, made into a message."""

import binascii
from base64 import b64decode
from uuid import uuid4

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.core.config import Limits
from famulus.core.errors import Invalid
from famulus.core.messages import File, Image, Inbound, Origin, Part, SessionKey, Text
from famulus.core.zones import known
from famulus.gateway.attachments import Attachments
from famulus.gateway.gate import check_size

CHAT = SessionKey("web", "main", "")

_LONGEST_KEY = 602  # three parts and their colons


class Attachment(Struct, frozen=True):
    """Either the `id` that an upload got, or the file itself with `data` in base64. `voice` says
    that the sender has just spoken it, in place of typing.
    """

    id: str = ""
    name: str = ""
    media_type: str = ""
    data: str = ""
    voice: bool = False


class Said(Struct, frozen=True, kw_only=True):
    text: str
    key: SessionKey
    model: str = ""
    sender_id: str = ""
    message_id: str = ""
    attachments: tuple[Attachment, ...] = ()
    timezone: str = ""


class Incoming:
    """Makes messages. Raises `Invalid` kinds, or `Busy` when an attachment cannot be kept."""

    def __init__(self, attachments: Attachments, limits: Limits, *, clock: Clock) -> None:
        self._attachments = attachments
        self._limits = limits
        self._clock = clock

    async def inbound(self, said: Said) -> Inbound:
        # Before anything that came with it is kept.
        check_size(said.text, len(said.attachments), self._limits)
        parts: list[Part] = [Text(said.text, Origin.OWNER)] if said.text.strip() else []
        parts += [await self._part(each) for each in said.attachments]
        return Inbound(
            channel=said.key.channel,
            chat_id=said.key.chat_id,
            dialog_id=said.key.dialog_id,
            sender_id=said.sender_id or "owner",
            message_id=said.message_id or uuid4().hex,
            parts=tuple(parts),
            at=self._clock.now(),
            model=said.model,
            timezone=known(said.timezone),
        )

    async def _part(self, attachment: Attachment) -> Image | File:
        if attachment.id:
            blob = await self._attachments.find(attachment.id)
        else:
            try:
                data = b64decode(attachment.data, validate=True)
            except (binascii.Error, ValueError):
                raise Invalid("An attachment's data is not base64.") from None
            blob = await self._attachments.keep(
                data, name=attachment.name, media_type=attachment.media_type
            )
        return await self._attachments.part(blob, name=attachment.name, voice=attachment.voice)


def session_key(session_id: str) -> SessionKey:
    """See `SessionKey.find`. Raises `Invalid`."""
    try:
        key = SessionKey.find(session_id)
    except ValueError:
        key = None
    if key is None or not session_id.isprintable() or len(session_id) > _LONGEST_KEY:
        raise Invalid(f"{session_id[:200]!r} is not a session: <channel>:<chat_id>:<dialog_id>")
    return key
