"""The one door for HTTP requests that tools make.

The address is checked where it is dialled: the connector makes its sockets here and shows the very
address each one will connect to, be it written in the URL or the answer of a name server. So there
is no second look-up that could answer differently. Redirects are followed by hand and pass the
same door. Only http and https on ports 80, 443 and from 1024 up; nothing is taken from the
environment, no cookies are kept.
"""

import asyncio
import socket
import zlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from famulus.core.errors import ToolError
from famulus.core.protocols import Fetched
from famulus.policy.addresses import is_own, refusal

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import AbstractResolver
    from yarl import URL

_MOST_REDIRECTS = 5
_LONGEST_URL = 8192
# All that may follow a redirect to another site: any other header can hold a credential.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
# What decides where a request ends and who it is for is not the caller's to write.
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Refused(OSError):
    """An address that may not be dialled."""


class Door:
    """An `Egress`. `allow_hosts` are `host:port` pairs that may be dialled whatever they are; the
    owner writes them by hand. An async context manager, which closes its connections.
    """

    def __init__(
        self,
        *,
        allow_hosts: Iterable[str] = (),
        max_bytes: int = 2_000_000,
        timeout_seconds: float = 15.0,
        resolver: "AbstractResolver | None" = None,
    ) -> None:
        self._allowed = frozenset(host.lower() for host in allow_hosts)
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver
        self._sessions: dict[bool, ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Fetched:
        """Ask for `url` and follow its redirects. Raises `ToolError` when refused or failed."""
        from aiohttp import ClientError  # noqa: PLC0415 - starts without a fetch save 100 ms

        sent = {name: value for name, value in (headers or {}).items() if name.lower() not in _OURS}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(_parsed(url), method, sent, body)
        except TimeoutError:
            raise ToolError(f"{url} took longer than {self._timeout_seconds:g} seconds.") from None
        except (ClientError, OSError, ValueError) as error:
            # The client wraps what the system or _checked_socket said.
            said = getattr(error, "os_error", None) or error
            raise ToolError(f"{url} failed: {str(said) or type(said).__name__}.") from error

    async def _follow(
        self, url: "URL", method: str, headers: dict[str, str], body: bytes
    ) -> Fetched:
        for _ in range(_MOST_REDIRECTS + 1):
            session = self._session(free=f"{url.host}:{url.port}" in self._allowed)
            async with session.request(
                method, url, headers=headers, data=body or None, allow_redirects=False
            ) as response:
                target = response.headers.get("Location", "")
                if response.status not in (301, 302, 303, 307, 308) or not target:
                    return await self._answer(response)
                status = response.status
            following = _parsed(target, url)
            if status == 303 or (status in (301, 302) and method == "POST"):
                method, body = "GET" if method != "HEAD" else method, b""
            if following.origin() != url.origin():
                if body:
                    raise ToolError(f"{url} redirects what was sent to another site: {following}.")
                headers = {
                    name: value for name, value in headers.items() if name.lower() in _HARMLESS
                }
            url = following
        raise ToolError(f"{url}: more than {_MOST_REDIRECTS} redirects.")

    async def _answer(self, response: "ClientResponse") -> Fetched:
        body, truncated = await _bounded(response, self._max_bytes)
        return Fetched(
            url=str(response.url),
            status=response.status,
            media_type=response.content_type,
            charset=response.charset or "",
            body=body,
            truncated=truncated,
        )

    def _session(self, *, free: bool) -> "ClientSession":
        """Free and checked requests share no connection."""
        from aiohttp import (  # noqa: PLC0415 - starts without a fetch save 100 ms
            ClientSession,
            ClientTimeout,
            DummyCookieJar,
            TCPConnector,
        )

        if free not in self._sessions:
            connector = TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,
                limit=20,
                socket_factory=None if free else _checked_socket,
            )
            self._sessions[free] = ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=ClientTimeout(total=None),
                headers={"User-Agent": "Famulus", "Accept-Encoding": "gzip"},
            )
        return self._sessions[free]


def _checked_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that is allowed to be dialled: `info` is one of getaddrinfo's."""
    family, kind, protocol, _, target = info
    address = target[0]
    reason = refusal(address) or ("this machine" if is_own(address) else "")
    if reason:
        raise _Refused(f"{address} is not allowed ({reason})")
    return socket.socket(family, kind, protocol)


def _parsed(url: str, base: "URL | None" = None) -> "URL":
    """`url` as the client itself reads it: a second parser could see another host."""
    from yarl import URL  # noqa: PLC0415 - it comes with aiohttp

    if len(url) > _LONGEST_URL:
        raise ToolError(f"The URL is longer than {_LONGEST_URL} characters.")
    try:
        parsed = base.join(URL(url)) if base else URL(url)
        host, port = parsed.host, parsed.port
    except ValueError as error:
        raise ToolError(f"{url[:200]} is not a URL: {error}.") from None
    if parsed.scheme not in ("http", "https") or not host:
        raise ToolError(f"{url[:200]} is not an http or https URL.")
    if parsed.user is not None or parsed.password is not None:
        raise ToolError("A URL with a user name or password in it is refused.")
    if port not in (80, 443) and (port or 0) < 1024:
        raise ToolError(f"Port {port} is refused: only 80, 443 and ports from 1024 up are for web.")
    return parsed.with_fragment(None)


async def _bounded(response: "ClientResponse", most: int) -> tuple[bytes, bool]:
    """The unpacked body, cut at `most` bytes, and whether it was cut."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", *_ENCODINGS):
        raise ToolError(f"{response.url} answers in the encoding {encoding!r}, which is not known.")
    unpack = zlib.decompressobj(_ENCODINGS[encoding]) if encoding in _ENCODINGS else None
    body = bytearray()
    async for piece in response.content.iter_any():
        try:
            body += unpack.decompress(piece, most + 1 - len(body)) if unpack else piece
        except zlib.error:
            raise ToolError(f"{response.url} sends broken {encoding} data.") from None
        if len(body) > most:
            # The rest is not wanted, so neither is the connection.
            response.close()
            return bytes(body[:most]), True
    return bytes(body), False
