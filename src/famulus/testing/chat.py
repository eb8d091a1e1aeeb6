"""A client for tests that kill the program: what is not answered it sends again."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

WAIT_SECONDS = 30
_AGAIN_SECONDS = 0.1


class Chat:
    """A client that sends its messages in order, and again after each lost connection, until each
    is answered. `ahead` is how many it sends by itself without waiting for an answer. What was
    `refused` for want of a database it sends again if it is `patient`.
    """

    def __init__(
        self, name: str, *, ahead: int = 0, twice: bool = False, patient: bool = False
    ) -> None:
        self.name = name
        self.ahead = ahead
        self.patient = patient
        self.refused: set[str] = set()
        self.sent: list[str] = []
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.answers: dict[str, str] = {}
        self.frames: dict[str, dict[str, Any]] = {}
        self.errors: list[dict[str, Any]] = []
        self.seen_again = 0
        self._copies = 2 if twice else 1
        self._socket: ClientWebSocketResponse | None = None
        self._changed = asyncio.Condition()

    async def say(self, text: str = "") -> str:
        """Send the next message, by default one for the model; its id."""
        message = f"{self.name}-{len(self.sent)}"
        self.texts[message] = text or f"Please do {message}."
        self.sent.append(message)
        self.open.append(message)
        await self._send(message)
        return message

    async def say_again(self) -> None:
        """Send what is not answered yet once more."""
        for message in list(self.open):
            await self._send(message)

    async def until(self, holds: Callable[["Chat"], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    async def answered(self) -> None:
        await self.until(lambda chat: not chat.open)

    async def talk(self, session: ClientSession) -> None:
        """One connection, until it breaks."""
        with contextlib.suppress(ClientError, ConnectionError):
            async with session.ws_connect(f"/ws?chat_id={self.name}") as socket:
                self._socket = socket
                try:
                    await self.say_again()
                    await self._go_on()
                    async for frame in socket:
                        if frame.type is WSMsgType.TEXT:
                            await self._take(json.loads(frame.data))
                finally:
                    self._socket = None

    async def _send(self, message: str) -> None:
        frame = {"type": "user_input", "content": self.texts[message], "message_id": message}
        for _ in range(self._copies):
            if self._socket:
                with contextlib.suppress(ClientError, ConnectionError):
                    await self._socket.send_json(frame)

    async def _take(self, frame: dict[str, Any]) -> None:
        async with self._changed:
            if frame["type"] == "assistant_response":
                self._note(frame)
            elif frame["type"] == "error":
                self.errors.append(frame)
            self._changed.notify_all()
        if frame["type"] == "error" and self.patient and frame["code"] == "unavailable":
            self.refused.add(frame["message_id"])
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._send(frame["message_id"])
        await self._go_on()

    def _note(self, frame: dict[str, Any]) -> None:
        turn = frame["turn_id"]
        if turn in self.frames:
            self.seen_again += 1
            assert frame["content"] == self.frames[turn]["content"]
            return
        self.frames[turn] = frame
        for message in frame["message_ids"]:
            assert message not in self.answers, f"{message} was answered by two turns"
            self.answers[message] = turn
            self.open.remove(message)

    async def _go_on(self) -> None:
        while len(self.open) < self.ahead:
            await self.say()


class Caller:
    """A client of the HTTP API, which asks again until it gets an answer. See `Chat`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[str] = []
        self.open: list[str] = []
        self.frames: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()

    async def say(self, session: ClientSession) -> None:
        """Send the next message, and return when it is answered."""
        message = f"{self.name}-{len(self.sent)}"
        self.sent.append(message)
        self.open.append(message)
        body = {"message": f"Please do {message}.", "chat_id": self.name, "message_id": message}
        while True:
            async with session.post("/api/chat", json=body) as response:
                found = await response.json()
            if response.status == 200:
                break
            assert response.status == 503, found
            assert int(response.headers["Retry-After"]) >= 1
            self.refused.add(message)
            await asyncio.sleep(_AGAIN_SECONDS)
        assert found["turn_id"] not in self.frames
        self.frames[found["turn_id"]] = {"message_ids": [message], "content": found["reply"]}
        self.open.remove(message)
