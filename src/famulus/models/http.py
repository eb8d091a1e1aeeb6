"""What the wire formats share: one POST, and the stream of events that answers it."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any, Protocol

import aiohttp
import msgspec
from yarl import URL

from famulus.core.config import Provider
from famulus.core.errors import ConfigError, ModelUnavailable
from famulus.core.protocols import Chunk, Done, ModelCard
from famulus.models.failures import Failures, Fault
from famulus.models.sized import TooLarge

_LARGEST_EVENT = 16 * 1024 * 1024
_LARGEST_ERROR = 64 * 1024
_LARGEST_ANSWER = 4 * 1024 * 1024
_LARGE_BODY = 256 * 1024
_DRAIN_SECONDS = 0.25
_MOST_IN_VAIN = 4 * 1024 * 1024
_MOST_AT_ONCE = 64
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Reading(Protocol):
    """One answer while it is read. `complete` turns true with the vendor's last event."""

    complete: bool

    @property
    def size(self) -> int:
        """About how many bytes are kept of it."""

    def take(self, data: bytes) -> Iterable[Chunk]:
        """What one event adds, which may be a whole answer. Raises a `ModelError` kind, or
        `DecodeError` for nonsense.
        """

    def finish(self) -> Done:
        """The whole answer, or `ModelUnavailable` when the stream ended before it did."""


class Cut(Protocol):
    """Cuts a stream into events; one for each answer."""

    def feed(self, block: bytes) -> list[bytes]:
        """The data of the events that `block` completes. Raises DecodeError at one too large."""


class Events:
    """Server-sent events out of raw bytes, cut anywhere.

    Only the data: both vendors repeat in it what else an event says. An event that the end of
    the stream cuts off is dropped, as the standard wants.
    """

    def __init__(self, largest: int = _LARGEST_EVENT) -> None:
        self._largest = largest
        self._size = 0
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False

    def feed(self, block: bytes) -> list[bytes]:
        if self._after_return and block.startswith(b"\n"):
            block = block[1:]
            self._after_return = False
        if not block:
            return []
        self._after_return = block.endswith(b"\r")
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in block:
            self._tail.append(block)
            self._grow(len(block))
            return []
        lines = b"".join((*self._tail, block)).split(b"\n")
        self._tail = [lines.pop()]
        events = list(self._events(lines))
        self._size = sum(map(len, self._data)) + len(self._data)
        self._grow(len(self._tail[0]))
        return events

    def _events(self, lines: list[bytes]) -> Iterable[bytes]:
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data = []

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._largest:
            raise msgspec.DecodeError(f"an event is larger than {self._largest} bytes")


class Lines:
    """Events that are a line each, out of raw bytes cut anywhere. Empty lines are none."""

    def __init__(self, largest: int = _LARGEST_EVENT) -> None:
        self._largest = largest
        self._size = 0
        self._tail: list[bytes] = []

    def feed(self, block: bytes) -> list[bytes]:
        *ended, rest = block.split(b"\n")
        if ended:
            ended[0] = b"".join((*self._tail, ended[0]))
            self._tail, self._size = [], 0
        self._tail.append(rest)
        self._size += len(rest)
        if self._size > self._largest:
            raise msgspec.DecodeError(f"an event is larger than {self._largest} bytes")
        return [line for line in ended if line.strip()]


class Endpoint:
    """An address that answers a POST with a stream of events.

    The session comes from outside, one per process, and must not use proxies from the
    environment, which is aiohttp's default. `media_type` is the stream's, `cut` what cuts it.
    `advice` is for one whose address nobody answers at.
    """

    def __init__(
        self,
        card: ModelCard,
        provider: Provider,
        url: str,
        headers: Mapping[str, str],
        session: aiohttp.ClientSession,
        *,
        media_type: str = "text/event-stream",
        cut: Callable[[], Cut] = Events,
        advice: str = "",
    ) -> None:
        self._url = _checked_url(card, url)
        self._media_type = media_type
        self._cut = cut
        self._advice = advice
        own = {name: value.reveal() for name, value in provider.headers.items()}
        self._headers = {
            "Content-Type": "application/json",
            "Accept": media_type,
            # A compressor would hold back what should be shown at once.
            "Accept-Encoding": "identity",
            **headers,
            **own,
        }
        _check_headers(card, self._headers)
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=provider.connect_timeout, sock_read=provider.timeout
        )
        self._silence = provider.timeout
        self._provider = card.provider
        self._largest = card.answer_bytes
        self._session = session
        self.failures = Failures(card, (provider.api_key.reveal().strip(), *own.values()))

    async def stream(self, body: bytes, reading: Reading) -> AsyncIterator[Chunk]:
        """Send `body` and give what `reading` makes of the answer, then its `Done`.

        Raises `TooLarge` when more than the card allows is kept of it.
        """
        # aiohttp writes bytes in one go, but a file piece by piece.
        data = body if len(body) < _LARGE_BODY else io.BytesIO(body)
        try:
            async with self._post(self._url, data, self._headers) as response:
                await self._check(response, streamed=True)
                async with aclosing(self._events(response, reading)) as events:
                    async for event in events:
                        for chunk in reading.take(event):
                            yield chunk
                        if reading.size > self._largest:
                            raise TooLarge(self._provider, reading.size)
                        if reading.complete:
                            await _drain(response)
                            break
            done = reading.finish()
        except (aiohttp.ClientError, OSError) as error:
            # Not `from error`: aiohttp's errors hold the request with the key in its headers.
            failure = self.failures.unavailable(self._broken(error))
            failure.sent = not isinstance(error, _NEVER_SENT)
            raise failure from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            why = f"sent an answer that makes no sense: {error}"
            raise self.failures.unavailable(why) from error
        yield done

    async def _events(
        self, response: aiohttp.ClientResponse, reading: Reading
    ) -> AsyncGenerator[bytes]:
        """The events of an answer, or all of one that is not streamed.

        Signs of life from a vendor that works are few; one that sends nothing else is left.
        """
        if response.content_type != self._media_type:
            yield await _read(response, _LARGEST_EVENT)
            raise self._other(response)  # who takes it for an answer asks for no more
        cut = self._cut()
        in_vain = size = 0
        async for block in response.content.iter_any():
            for number, data in enumerate(cut.feed(block), start=1):
                yield data
                if number % _MOST_AT_ONCE == 0:
                    await asyncio.sleep(0)  # a block may hold thousands, and everybody waits
            in_vain = 0 if reading.size > size else in_vain + len(block)
            size = reading.size
            if in_vain > _MOST_IN_VAIN:
                raise self.failures.unavailable("sends without end what is no answer")

    async def submit(self, form: aiohttp.FormData) -> bytes:
        """The whole answer to a form. Raises what a refusal means."""
        headers = {name: each for name, each in self._headers.items() if name != "Content-Type"}
        try:
            async with self._post(self._url, form, headers) as response:
                await self._check(response)
                return await _read(response, _LARGEST_ANSWER)
        except (aiohttp.ClientError, OSError) as error:
            raise self.failures.unavailable(self._broken(error)) from None

    async def ask(self, url: str, body: bytes) -> bytes:
        """The whole answer at another address of the same server; empty when it refuses."""
        headers = {**self._headers, "Accept": "application/json"}
        try:
            async with self._post(url, body, headers) as response:
                plain = response.status == 200 and not _packed(response)
                return await _read(response, _LARGEST_ANSWER) if plain else b""
        except (aiohttp.ClientError, OSError) as error:
            raise self.failures.unavailable(self._broken(error)) from None

    def _post(
        self, url: URL | str, data: Any, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.post(
            url,
            data=data,
            headers=headers,
            timeout=self._timeout,
            allow_redirects=False,  # the key is for this address alone
            auto_decompress=False,  # a few bytes could unpack to more than there is memory
        )

    def _broken(self, error: aiohttp.ClientError | OSError) -> str:
        """What happened to the connection."""
        where = f"cannot be reached at {self._url.host}:{self._url.port}"
        match error:
            case aiohttp.ConnectionTimeoutError():
                return f"{where} in time"
            case TimeoutError():
                return f"was silent for {self._silence:g} seconds"
            case aiohttp.ClientConnectorCertificateError():
                return f"{where}: {error.certificate_error}"
            case aiohttp.ClientConnectorError():
                return f"{where}: {error.os_error}{self._advice}"
        return f"broke the connection off: {str(error) or type(error).__name__}"

    async def _check(self, response: aiohttp.ClientResponse, *, streamed: bool = False) -> None:
        """Return when an answer begins, else raise what there is instead.

        Where it should be `streamed`, a server that cannot do so may give all of it at once.
        """
        packed = _packed(response)
        if response.status != 200:
            body = b"" if packed else await _read(response, _LARGEST_ERROR)
            raise self.failures.answered(response.status, Fault.of_body(body), response.headers)
        if packed:
            raise self.failures.unavailable(
                f"compressed its answer ({packed}), though it was asked not to"
            )
        kinds = (self._media_type, "application/json") if streamed else (self._media_type,)
        if response.content_type not in kinds:
            raise self._other(response)

    def _other(self, response: aiohttp.ClientResponse) -> ModelUnavailable:
        return self.failures.unavailable(
            f"answered with {response.content_type} instead of {self._media_type}; "
            "is its base_url right?"
        )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, or its first bytes."""
    body = bytearray()
    while part := await response.content.read(most - len(body)):
        body += part
    return bytes(body)


def _packed(response: aiohttp.ClientResponse) -> str:
    """How the body is compressed; empty when it is not."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding[:40]


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read up to the end, so that the connection can be used again; without it, it is closed."""
    if response.content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in response.content.iter_any():
                pass


def encoded(body: Any) -> bytes:
    """`body` as JSON. Half of a surrogate pair, which no JSON can hold, becomes a question mark."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(body))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def _checked_url(card: ModelCard, url: str) -> URL:
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.user:
        raise ConfigError(
            f"providers.{card.provider}.base_url is not an address that can be used. Write it like "
            '"https://api.example.com/v1", without a user name, or leave it out for the vendor\'s.'
        )
    return parsed


def _check_headers(card: ModelCard, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if any(ord(character) < 32 for character in name + value):
            raise ConfigError(
                f"providers.{card.provider}: the key or the header {name!r} has a line break or "
                "another control character in it. Copy it again."
            )
