"""Which pages may talk to the gateway, and what a browser may do with its answers.

A page of another site can send requests to this machine, and by DNS rebinding even read the
answers. Against the first stands the Origin header, against the second the Host header.
"""

from urllib.parse import urlsplit

from aiohttp import web

from famulus.core.config import Server as Settings
from famulus.gateway.listening import is_loopback

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "famulus",
}
# Headers of browsers and of proxies, and proofs: who sends one is not simply let in.
_SPOKEN_FOR = frozenset(
    {
        "origin",
        "cookie",
        "authorization",
        "via",
        "x-real-ip",
    }
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    def __init__(self, settings: Settings) -> None:
        self._trust_loopback = settings.trust_loopback
        self._loopback = is_loopback(settings.host)
        self._host = settings.host.lower()
        self._public = urlsplit(settings.public_url.lower())

    def refusal(self, request: web.Request) -> str:
        """Why the request is refused, in words for its sender; empty if it is not."""
        if not self._host_allowed(_name(request.host)):
            return (
                "The gateway is not known by this address."
                " Set [server] public_url to the address that you use."
            )
        if request.method in _SAFE and "Upgrade" not in request.headers:
            return ""
        if not self._origin_allowed(request):
            return "This request comes from a page of another site."
        return ""

    def is_own_program(self, request: web.Request) -> bool:
        """Whether `trust_loopback` holds for a request: it comes from this machine, and neither
        from a browser nor through anything that speaks for somebody else.
        """
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return (
            self._trust_loopback
            and isinstance(peer, tuple)
            and is_loopback(peer[0])
            # By DNS rebinding a page reaches loopback under its own name.
            and is_loopback(_name(request.host))
            # A browser says with every WebSocket whose page wants it.
            and not any(
                name in _SPOKEN_FOR
                or name.startswith(("sec-fetch-", "cf-"))
                or "forwarded" in name
                or name.endswith("client-ip")
                for name in map(str.lower, request.headers)
            )
        )

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser came by `public_url` over TLS, so that its cookie can demand it."""
        return self._public.scheme == "https" and request.host.lower() == self._public.netloc

    def _host_allowed(self, name: str) -> bool:
        if not self._loopback:
            # A name of the attacker's gets no cookie, so all it sees is the login page.
            return True
        return is_loopback(name) or name in {self._host, self._public.hostname or self._host}

    def _origin_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:
            # Browsers send one of the two with every such request; other programs send none.
            return request.headers.get("Sec-Fetch-Site", "none") in {"same-origin", "none"}
        parts = urlsplit(origin.lower())
        if self._public.netloc and parts.netloc == self._public.netloc:
            return parts.scheme == self._public.scheme
        return parts.scheme in {"http", "https"} and parts.netloc == request.host.lower()


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        # What stands before an @ or behind a slash is no part of a host.
        return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""
    except ValueError:
        return ""
