"""What the fake model vendors share: a real server, scripted answers, faults, and a journal."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Self

from aiohttp import web
from msgspec import Struct


class Call(Struct, frozen=True):
    """A tool call to answer with. `arguments` is JSON text, well formed or not."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


class Answer(Struct, frozen=True, kw_only=True):
    """What the model says. Each piece of `text` and `reasoning` becomes one event."""

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop: str = ""
    input_tokens: int = 12
    output_tokens: int = 7
    cached_tokens: int = 0


class Fault(Struct, frozen=True, kw_only=True):
    """What goes wrong with one request.

    With a `status` the request is refused in the vendor's error format, or with `body` as it is.
    Without one, the answer begins, and after `after_events` events comes what is set: `cut` breaks
    the connection, `garbage` sends nonsense, `error` sends the vendor's error event of that type,
    `ends` just ends the stream, `hang` sends nothing until the client is gone. `end_seconds` pass
    between the last event and the end of the response.
    """

    status: int = 0
    kind: str = ""
    message: str = "It did not work."
    param: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    latency_seconds: float = 0.0
    first_byte_seconds: float = 0.0
    end_seconds: float = 0.0
    content_type: str = ""
    after_events: int = 0
    cut: bool = False
    garbage: bool = False
    ends: bool = False
    hang: bool = False
    error: str = ""


class Received:
    """A request as it came in. `hanging` is set when a fault makes the answer stop in the middle,
    `closed_early` when the client left before the end.
    """

    def __init__(self, path: str, headers: Mapping[str, str], raw: bytes) -> None:
        self.path = path
        self.headers = headers
        self.raw = raw
        self.body: Any = None
        self.status = 0
        self.peer: Any = None
        self.hanging = asyncio.Event()
        self.closed_early = asyncio.Event()


class Wrong(Exception):
    """The request breaks the vendor's rules."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "", param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param


class FakeVendor(ABC):
    """A server on a free port. Answers and faults are used up in the order they were given; with
    none left it says "Hello." and nothing goes wrong.
    """

    key = "key-of-the-fake-vendor"
    path: str
    media_type = "text/event-stream"
    streams = False  # unless the request says so

    def __init__(self) -> None:
        self.url = ""
        self.journal: list[Received] = []
        self._answers: deque[Answer] = deque()
        self._faults: deque[Fault] = deque()
        self._arrived = asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )

    def say(self, *answers: Answer) -> None:
        self._answers.extend(answers)

    def fail(self, *faults: Fault) -> None:
        self._faults.extend(faults)

    def forget(self) -> None:
        """Drop the answers and faults that were not used up."""
        self._answers.clear()
        self._faults.clear()

    async def arrived(self) -> None:
        """Wait for the next request."""
        self._arrived.clear()
        await self._arrived.wait()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # ------------------------------------------------------------ what a vendor does its own way

    @abstractmethod
    def check(self, headers: Mapping[str, str], body: Any) -> None:
        """Raise `Wrong` where the vendor would refuse the request."""

    @abstractmethod
    def refusal(self, status: int, kind: str, message: str, param: str) -> Any:
        """The body of an error."""

    @abstractmethod
    def whole(self, answer: Answer, body: Any) -> Any:
        """The body of an answer that is not streamed."""

    @abstractmethod
    def events(self, answer: Answer, body: Any) -> Iterable[bytes]:
        """The events of an answer that is streamed."""

    @abstractmethod
    def error_event(self, kind: str, message: str) -> bytes:
        """An error in the middle of a stream."""

    def decoded(self, raw: bytes, headers: Mapping[str, str]) -> Any:
        """The body as an object. Raises `Wrong` where the vendor could not read it."""
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Wrong("the content type must be application/json", status=415)
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise Wrong(f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise Wrong("the body must be an object")
        return body

    def beside(self, request: web.Request, raw: bytes) -> web.Response | None:
        """The answer to a request that is not for the model; it is in no journal."""
        return None

    # ------------------------------------------------------------ serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if (other := self.beside(request, raw)) is not None:
            return other
        received = Received(request.path, request.headers.copy(), raw)
        if request.transport is not None:
            received.peer = request.transport.get_extra_info("peername")
        self.journal.append(received)
        self._arrived.set()
        fault = self._faults.popleft() if self._faults else Fault()
        await self._pause(fault.latency_seconds, received)
        try:
            if request.method != "POST" or request.path != self.path:
                raise Wrong(f"no such address: {request.method} {request.path}", status=404)
            received.body = self.decoded(raw, request.headers)
            self.check(request.headers, received.body)
        except Wrong as wrong:
            received.status = wrong.status
            body = self.refusal(wrong.status, wrong.kind, str(wrong), wrong.param)
            return web.json_response(body, status=wrong.status)
        received.status = fault.status or 200
        if fault.status or fault.body:
            refusal = self.refusal(fault.status, fault.kind, fault.message, fault.param)
            return web.Response(
                status=received.status,
                body=fault.body or json.dumps(refusal).encode(),
                headers=dict(fault.headers),
                content_type=fault.content_type or "application/json",
            )
        answer = self._answers.popleft() if self._answers else Answer(text=("Hello.",))
        if not received.body.get("stream", self.streams):
            return web.json_response(self.whole(answer, received.body))
        return await self._stream(request, received, answer, fault)

    async def _stream(
        self, request: web.Request, received: Received, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=dict(fault.headers))
        response.content_type = fault.content_type or self.media_type
        await response.prepare(request)
        await self._pause(fault.first_byte_seconds, received)
        for number, event in enumerate(self.events(answer, received.body)):
            if number == fault.after_events:
                if fault.cut and request.transport is not None:
                    request.transport.abort()
                    break
                if fault.garbage:
                    await response.write(b"data: {this is: not JSON]\n\n")
                if fault.error:
                    await response.write(self.error_event(fault.error, fault.message))
                    break
                if fault.hang:
                    received.hanging.set()
                    await self._pause(3600, received)
                if fault.ends:
                    break
            await response.write(event)
        await self._pause(fault.end_seconds, received)
        return response

    async def _pause(self, seconds: float, received: Received) -> None:
        """Do nothing for a while, and notice when the client does not wait for the end."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            received.closed_early.set()
            raise


def event(data: Any, name: str = "") -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"event: {name}\ndata: {text}\n\n".encode() if name else f"data: {text}\n\n".encode()


# ---------------------------------------------------------------- rules in a few words


def need(condition: object, message: str, param: str = "") -> None:
    """Refuse the request unless `condition` holds."""
    if not condition:
        raise Wrong(message, param=param)


def known(value: Any, names: str, where: str) -> None:
    """Refuse what is not an object or has a field other than `names`."""
    need(isinstance(value, dict), f"{where}: must be an object", where)
    for name in value:
        field = f"{where}.{name}" if where else name
        need(name in names.split(), f"{field}: Extra inputs are not permitted", field)
