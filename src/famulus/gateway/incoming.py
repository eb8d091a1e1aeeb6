"""What a client of the gateway says, made into a message."""

import asyncio
import binascii
import re
from base64 import b64decode
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from famulus.core import workspace as files
from famulus.core.clock import Clock
from famulus.core.config import Limits
from famulus.core.errors import Busy, Invalid, TooLarge, ToolError
from famulus.core.messages import File, Image, Inbound, Origin, Part, SessionKey, Text
from famulus.state.blobs import Blob, Blobs

CHAT = SessionKey("web", "main", "")
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_UNSAFE = re.compile(r"[^\w.\-]+")


class Attachment(Struct, frozen=True):
    """Either the `id` that an upload got, or the file itself with `data` in base64."""

    id: str = ""
    name: str = ""
    media_type: str = ""
    data: str = ""


class Said(Struct, frozen=True, kw_only=True):
    text: str
    key: SessionKey
    model: str = ""
    sender_id: str = ""
    message_id: str = ""
    attachments: tuple[Attachment, ...] = ()


class Incoming:
    """Makes messages. Raises `Invalid` kinds, or `Busy` when an attachment cannot be kept."""

    def __init__(self, blobs: Blobs, limits: Limits, *, workspace: Path, clock: Clock) -> None:
        self._blobs = blobs
        self._limits = limits
        self._workspace = workspace
        self._clock = clock

    async def inbound(self, said: Said) -> Inbound:
        if len(said.text.encode("utf-8", "replace")) > self._limits.message:
            raise TooLarge(
                f"The message is longer than {self._limits.message:,} bytes."
                " Please send it in parts or as a file."
            )
        if not (said.text.strip() or said.attachments):
            raise Invalid("The message is empty.")
        if len(said.attachments) > self._limits.attachments:
            raise TooLarge(
                f"{len(said.attachments)} attachments came;"
                f" the most I take is {self._limits.attachments}."
            )
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
        )

    async def keep(self, data: bytes, *, name: str, media_type: str) -> Blob:
        """Store an uploaded file."""
        if len(data) > self._limits.upload:
            raise TooLarge(f"The file is larger than {self._limits.upload:,} bytes.")
        if not data:
            raise Invalid("The file is empty.")
        return await self._blobs.add(data, media_type=media_type_of(data, media_type), name=name)

    async def _part(self, attachment: Attachment) -> Image | File:
        if attachment.id:
            blob = await self._blobs.find(attachment.id)
            if blob is None:
                raise Invalid("An attached file is not here (any more). Please upload it again.")
        else:
            try:
                data = b64decode(attachment.data, validate=True)
            except (binascii.Error, ValueError):
                raise Invalid("An attachment's data is not base64.") from None
            blob = await self.keep(data, name=attachment.name, media_type=attachment.media_type)
        name = attachment.name or blob.name
        if blob.media_type in IMAGE_TYPES:
            return Image(blob.hash, blob.media_type, Origin.OUTSIDE, name)
        return File(blob.hash, blob.media_type, Origin.OUTSIDE, name, await self._place(blob, name))

    async def _place(self, blob: Blob, name: str) -> str:
        """Put a file where the tools can read it; its path in the workspace."""
        path = f"{files.UPLOADS}/{blob.hash[:8]}-{_UNSAFE.sub('_', name)[-80:] or 'file'}"
        data = (await self._blobs.read([blob.hash]))[blob.hash]
        try:
            await asyncio.to_thread(files.write_bytes, self._workspace, path, data)
        except ToolError as error:
            raise Busy(f"The attached file was not stored: {error}") from None
        return path


def session_key(session_id: str) -> SessionKey:
    """`<channel>:<chat>:<dialog>`, or `<channel>:<chat>` with an empty dialog for the current one.

    Raises `Invalid`.
    """
    try:
        return SessionKey.parse(session_id)
    except ValueError:
        channel, _, chat_id = session_id.partition(":")
    if not (channel and chat_id):
        raise Invalid(f"{session_id[:200]!r} is not a session: <channel>:<chat_id>:<dialog_id>")
    return SessionKey(channel, chat_id, "")


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def media_type_of(data: bytes, claimed: str) -> str:
    """The type of the bytes. A picture is one by its bytes, whatever the sender claims."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    plain = claimed.partition(";")[0].strip().lower()
    if plain in IMAGE_TYPES or not re.fullmatch(r"[\w.+-]+/[\w.+-]+", plain):
        return "application/octet-stream"
    return plain
