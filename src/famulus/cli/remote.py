"""A conversation through the gateway that runs in the same home, over its WebSocket."""

import asyncio
import mimetypes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import aiohttp
import msgspec

from famulus.channels.console import CHAT
from famulus.cli.conversation import Gateway, Reply, Show
from famulus.core.errors import FamulusError
from famulus.core.events import Delta, Event, ToolFinished, ToolStarted

_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_STOP = 2.0
_EVENTS: dict[str, type[Event]] = {
    "assistant_delta": Delta,
    "tool_started": ToolStarted,
    "tool_finished": ToolFinished,
}


class Remote:
    """See `Conversation`. An async context manager."""

    place = "the gateway"

    def __init__(self, gateway: Gateway, *, show: Show | None) -> None:
        self._gateway = gateway
        self._show = show
        self._session = self._turn = ""

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            self._gateway.url,
            headers={"Authorization": f"Bearer {self._gateway.token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS_TO_CONNECT),
            trust_env=False,
        )
        try:
            self._socket = await self._http.ws_connect(
                "/ws", params={"channel": "console"}, max_msg_size=0
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            await self._http.close()
            raise FamulusError(
                f"The gateway of this home (process {self._gateway.pid}) does not answer at "
                f"{self._gateway.url}: {error}. Stop it, or start it again."
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._socket.close()
        await self._http.close()

    async def ask(
        self, text: str, *, session: str = "", model: str = "", attach: Sequence[Path] = ()
    ) -> Reply:
        message_id = uuid4().hex
        frame: dict[str, Any] = {"type": "user_input", "content": text, "message_id": message_id}
        if session:
            frame["session_id"] = session if ":" in session else f"console:{CHAT}:{session}"
        if model:
            frame["model"] = model
        if attach:
            frame["attachments"] = [{"id": await self._upload(path)} for path in attach]
        try:
            await self._socket.send_json(frame)
            return await self._reply(message_id)
        except (aiohttp.ClientError, ConnectionError):
            raise _lost() from None
        except asyncio.CancelledError:
            # Only what is being answered: what is before it in the conversation is another's.
            if self._session:
                with suppress(TimeoutError, FamulusError, aiohttp.ClientError, ConnectionError):
                    async with asyncio.timeout(_SECONDS_TO_STOP):
                        self._show = None
                        await self.stop()
                        await self._reply(message_id)
            raise

    async def stop(self) -> None:
        await self._socket.send_json({"type": "stop", "session_id": self._session})

    async def _reply(self, message_id: str) -> Reply:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            frame = message.json()
            kind = frame["type"]
            if kind == "assistant_response" and message_id in frame["message_ids"]:
                return msgspec.convert(frame, Reply)
            if kind == "error" and frame.get("message_id", message_id) == message_id:
                raise FamulusError(frame["message"])
            if kind == "turn_started" and message_id in frame["message_ids"]:
                self._session, self._turn = frame["session_id"], frame["turn_id"]
            if self._show and kind in _EVENTS and frame["turn_id"] == self._turn:
                self._show(_event(_EVENTS[kind], frame))
        raise _lost()

    async def _upload(self, path: Path) -> str:
        """Hand a file over; returns the id by which a message refers to it."""
        form = aiohttp.FormData(quote_fields=False)  # names stay as they are
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        data = await asyncio.to_thread(path.read_bytes)
        form.add_field("file", data, filename=path.name, content_type=media_type)
        async with self._http.post("/api/upload", data=form) as response:
            answer = await response.json()
            if response.status != 200:
                raise FamulusError(str(answer.get("error", response.status)))
            return str(answer["id"])


def _lost() -> FamulusError:
    return FamulusError(
        "The gateway ended the connection. Your message is kept: start the gateway again and"
        " look at the conversation with famulus sessions show console:main"
    )


def _event(kind: type[Event], frame: dict[str, Any]) -> Event:
    return msgspec.convert({**frame, "session": frame["session_id"], "channel": "console"}, kind)
