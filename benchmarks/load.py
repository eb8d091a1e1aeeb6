"""The client: new chats, some of them at once, each one message after the other.

    python load.py URL TOKEN CHATS AT_ONCE TURNS TEXT

Prints `{"seconds": …, "latencies": [[…], …]}` with the seconds of each turn by chat.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit


class Client:
    """One connection to a gateway."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = (
            f"POST /api/chat HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def say(self, chat: str, text: str) -> float:
        """One turn; its seconds."""
        body = json.dumps({"message": text, "chat_id": chat}).encode()
        started = time.perf_counter()
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        answer = await self._reader.readexactly(length)
        seconds = time.perf_counter() - started
        if " 200 " not in head.partition("\r\n")[0]:
            raise RuntimeError(f"the gateway refused a turn: {answer.decode()}")
        if "a short answer" not in json.loads(answer)["reply"]:
            raise RuntimeError(f"the gateway gave another answer: {answer.decode()}")
        return seconds

    def close(self) -> None:
        self._writer.close()


async def main(client_of: Callable[[], Client], numbers: Sequence[int], text: str) -> None:
    chats, at_once, turns = numbers
    waiting = iter(range(chats))
    latencies: list[list[float]] = []

    async def talk(client: Client) -> None:
        for _ in waiting:
            name = uuid.uuid4().hex
            latencies.append([await client.say(name, text) for _ in range(turns)])

    clients = [client_of() for _ in range(at_once)]
    for client in clients:
        await client.connect()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(talk(client))
    seconds = time.perf_counter() - started
    for client in clients:
        client.close()
    print(json.dumps({"seconds": seconds, "latencies": latencies}))


if __name__ == "__main__":
    address, bearer, *numbers, words = sys.argv[1:]
    asyncio.run(main(lambda: Client(address, bearer), [int(each) for each in numbers], words))
