"""A model server that costs next to nothing: every vendor's format, streamed, always alike.

With Chat Completions it asks for the tool `current_datetime` once when it is asked for the time;
it answers with the same words otherwise. A base URL of `/delay/200/v1` makes each answer take
200 ms. `GET /seen` tells the bytes of each request, `GET /bodies` the first of them as they came.
Prints its port and serves until it is killed.
"""

import asyncio
import json
from functools import cache

TIME_QUESTION = "What time is it?"
WORDS = ("Hello! ", "Here is ", "a short answer ", "of a few words.")


def _event(delta: object, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _chunk(json.dumps({"id": "c1", "model": "mock", "choices": [choice]}))


def _chunk(data: str) -> bytes:
    body = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
_END = _chunk(json.dumps({"choices": [], "usage": _USAGE})) + _chunk("[DONE]") + b"0\r\n\r\n"
_START = _HEAD + _event({"role": "assistant", "content": ""})
_CALL = {"index": 0, "id": "call_1", "type": "function"}
_FUNCTION = {"name": "current_datetime", "arguments": "{}"}

ANSWER = _START + b"".join(_event({"content": word}) for word in WORDS) + _event({}, "stop") + _END
CALLING = (
    _START
    + _event({"tool_calls": [_CALL | {"function": _FUNCTION}]})
    + _event({}, "tool_calls")
    + _END
)


MOST_BODIES = 200


@cache
def canned(path: str) -> bytes:
    """The answer of another vendor's address. Imported late: most runs are OpenAI's alone."""
    from famulus.testing.fake_anthropic import FakeAnthropic
    from famulus.testing.fake_ollama import FakeOllama
    from famulus.testing.fake_responses import FakeResponses
    from famulus.testing.fake_vendor import Answer

    vendor = next(
        each for each in (FakeAnthropic, FakeOllama, FakeResponses) if path.endswith(each.path)
    )()
    events = vendor.events(Answer(text=WORDS), {"model": "mock"})
    head = _HEAD.replace(b"text/event-stream", vendor.media_type.encode())
    chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
    return head + b"".join(chunks) + b"0\r\n\r\n"


class Seen:
    """What the server received."""

    def __init__(self) -> None:
        self.bytes: list[int] = []
        self.bodies: list[str] = []


class Connection(asyncio.Protocol):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            whole = end + 4 + int(fields.get("content-length", 0))
            if len(self._data) < whole:
                return
            body = bytes(self._data[end + 4 : whole])
            del self._data[:whole]
            self._answer(head.split(" ", 2)[1], body)

    def _answer(self, path: str, body: bytes) -> None:
        if path in ("/seen", "/bodies"):
            self._tell(self._seen.bytes if path == "/seen" else self._seen.bodies)
            return
        if path.endswith("/api/show"):  # Ollama's facts of a model, of which there are none
            self._tell({})
            return
        self._seen.bytes.append(len(body))
        if len(self._seen.bodies) < MOST_BODIES:
            self._seen.bodies.append(body.decode())
        if not path.endswith("/chat/completions"):
            self._write(canned(path))
            return
        asked = body.rfind(TIME_QUESTION.encode()) > body.rfind(b'"tool_call_id"')
        answer = CALLING if asked and b'"current_datetime"' in body else ANSWER
        if path.startswith("/delay/"):
            seconds = int(path.split("/")[2]) / 1000
            asyncio.get_running_loop().call_later(seconds, self._write, answer)
        else:
            self._write(answer)

    def _tell(self, value: object) -> None:
        told = json.dumps(value).encode()
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def main() -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
