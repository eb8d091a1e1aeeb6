"""Files that came with a message: kept by their hash, and in the workspace for the tools."""

import asyncio
import mimetypes
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from famulus.core import workspace as files
from famulus.core.config import Limits
from famulus.core.errors import FamulusError, Invalid, NotReady, TooLarge, ToolError
from famulus.core.messages import File, Image, Origin, Part
from famulus.state.blobs import Blob, Blobs

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_HASH = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r"[^\w.\-]+")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_BY_BYTES = IMAGE_TYPES | {"application/pdf"}


class Attachments:
    """Raises `Invalid` kinds, or `NotReady` when there is no room. `is_private` says whether a rule
    keeps a message on this machine.
    """

    def __init__(
        self,
        blobs: Blobs,
        limits: Limits,
        *,
        workspace: Path,
        is_private: Callable[[Sequence[Part]], Awaitable[bool]] | None = None,
    ) -> None:
        self._is_private = is_private
        self._blobs = blobs
        self._limits = limits
        self._workspace = workspace

    async def keep(self, data: bytes, *, name: str, media_type: str) -> Blob:
        """Store a file that was received."""
        if len(data) > self._limits.upload:
            raise TooLarge(f"The file is larger than {self._limits.upload:,} bytes.")
        if not data:
            raise Invalid("The file is empty.")
        return await self._blobs.add(
            data, media_type=media_type_of(data, media_type), name=name.replace("\0", "")
        )

    async def find(self, blob_id: str) -> Blob:
        """A file that was uploaded before."""
        blob = await self._blobs.find(blob_id) if _HASH.fullmatch(blob_id) else None
        if blob is None:
            raise Invalid("An attached file is not here (any more). Please upload it again.")
        return blob

    async def part(self, blob: Blob, *, name: str = "", voice: bool = False) -> Image | File:
        """The file as a part of a message; `voice`: its sender has just spoken it."""
        name = name.replace("\0", "") or blob.name
        if blob.media_type in IMAGE_TYPES:
            return Image(blob.hash, blob.media_type, Origin.OUTSIDE, name)
        path = await self._place(blob, name)
        origin = Origin.OWNER if voice else Origin.OUTSIDE
        return File(blob.hash, blob.media_type, origin, name, path)

    async def from_path(self, path: Path) -> Image | File:
        """A file of this machine that the owner names. Raises FamulusError if it is not there."""
        try:
            size = path.stat().st_size
            if size > self._limits.upload:
                raise TooLarge(f"{path} is larger than {self._limits.upload:,} bytes.")
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise FamulusError(f"{path} cannot be read: {error.strerror}.") from None
        media_type = mimetypes.guess_type(path.name)[0] or ""
        return await self.part(await self.keep(data, name=path.name, media_type=media_type))

    async def kept(self, parts: Sequence[Part]) -> Sequence[Part] | None:
        """The parts of a message that a rule keeps on this machine, or None for another message.

        Their files are taken out of the workspace: models elsewhere can read there, too.
        """
        if self._is_private is None or not await self._is_private(parts):
            return None
        hashes = [part.blob for part in parts if isinstance(part, File) and part.path]
        if hashes:
            await asyncio.to_thread(files.remove_uploaded, self._workspace, hashes)
        return [replace(part, path="") if isinstance(part, File) else part for part in parts]

    async def _place(self, blob: Blob, name: str) -> str:
        """Put a file where the tools can read it; its path in the workspace."""
        plain = _UNSAFE.sub("_", name)[-80:] or "file"
        path = f"{files.UPLOADS}/{files.uploaded_name(blob.hash, plain)}"
        data = (await self._blobs.read([blob.hash]))[blob.hash]
        try:
            await asyncio.to_thread(files.write_bytes, self._workspace, path, data)
        except ToolError as error:
            raise NotReady(f"The attached file was not stored: {error}") from None
        return path


def media_type_of(data: bytes, claimed: str) -> str:
    """The type of the bytes. A picture or a PDF is one by its bytes, whatever the sender claims:
    a vendor that is shown another thing refuses the whole conversation.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    plain = claimed.partition(";")[0].strip().lower()
    if plain in _BY_BYTES or not re.fullmatch(r"[\w.+-]+/[\w.+-]+", plain):
        return "application/octet-stream"
    return plain
