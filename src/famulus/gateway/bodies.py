"""What requests and answers carry: within limits, and only a few large ones at a time.

A large body is several times its size in memory until it is stored or sent. Those that have to wait
are not read, so that they stay with their senders or in the database.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import BodyPartReader, web

from famulus.core.config import Limits
from famulus.core.errors import Invalid, TooLarge
from famulus.core.memory import give_back_large_blocks

T = TypeVar("T")

_LARGE_BYTES = 1024 * 1024
_LARGE_AT_ONCE = 3
_PIECE_BYTES = 256 * 1024
_SECONDS = 60.0
_LARGE_SECONDS = 600.0
# Who holds one of the few places and says nothing any more gives it up.
_SILENT_SECONDS = 30.0


class Bodies:
    def __init__(self, limits: Limits, *, at_once: int = _LARGE_AT_ONCE) -> None:
        self._limits = limits
        self._coming = asyncio.Semaphore(at_once)
        self._going = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def room(self, request: web.Request) -> AsyncIterator[None]:
        """Hold this while a body is read and until it is stored. Waits where it is a large one."""
        length = request.content_length
        if length is not None and length <= _LARGE_BYTES:
            yield
            return
        give_back_large_blocks()
        async with self._coming:
            yield

    async def answer(
        self,
        request: web.Request,
        size: int,
        read: Callable[[], Awaitable[bytes]],
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Send what `read` gives, which is asked for when there is room for its `size`."""
        if size <= _LARGE_BYTES or request.method == "HEAD":
            return web.Response(body=await read(), headers=headers)
        give_back_large_blocks()
        async with self._going:
            data = await read()
            response = web.StreamResponse(headers=headers)
            response.content_length = len(data)
            await response.prepare(request)
            try:
                for start in range(0, len(data), _PIECE_BYTES):
                    await _heard(response.write(data[start : start + _PIECE_BYTES]))
            except TimeoutError:
                # It has its headers already: nothing but the end of the connection can tell.
                if request.transport:
                    request.transport.abort()
            return response

    async def whole(self, request: web.Request, *, most: int = 0) -> bytes:
        """The whole body, at most `most` bytes or `limits.body`. Raises `TooLarge`."""
        most = most or self._limits.body
        data = bytearray()
        if (request.content_length or 0) > most:
            raise TooLarge("The request is too large.")
        async with asyncio.timeout(_LARGE_SECONDS if most > _LARGE_BYTES else _SECONDS):
            while chunk := await _heard(request.content.readany()):
                data += chunk
                if len(data) > most:
                    raise TooLarge("The request is too large.")
        return bytes(data)

    async def file(self, request: web.Request) -> tuple[BodyPartReader, bytes]:
        """The first part of a form that is named `file`, with its bytes."""
        if not request.content_type.startswith("multipart/"):
            raise Invalid('Send the file as multipart/form-data in a field named "file".')
        try:
            async with asyncio.timeout(_LARGE_SECONDS):
                return await self._file(request)
        except ValueError as error:
            raise Invalid(f"The form cannot be read: {error}") from None

    async def _file(self, request: web.Request) -> tuple[BodyPartReader, bytes]:
        reader = await request.multipart()
        while (part := await _heard(reader.next())) is not None:
            if isinstance(part, BodyPartReader) and part.name == "file":
                data = bytearray()
                while chunk := await _heard(part.read_chunk(64 * 1024)):
                    data += chunk
                    if len(data) > self._limits.upload:
                        raise TooLarge(f"The file is larger than {self._limits.upload:,} bytes.")
                # Only the boundary behind the file tells that nothing of it was cut off.
                await _heard(reader.next())
                return part, bytes(data)
        raise Invalid('The form has no field named "file".')


async def _heard(coming: Awaitable[T]) -> T:
    async with asyncio.timeout(_SILENT_SECONDS):
        return await coming
