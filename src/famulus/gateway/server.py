"""The gateway's HTTP server: routes, who may use them, and what every answer has in common."""

import asyncio
import json
import logging
import math
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Literal, Self

from aiohttp import web

from famulus import __version__
from famulus.channels.web import Frame, Web
from famulus.core.clock import Clock
from famulus.core.config import Config
from famulus.core.errors import (
    Busy,
    Gone,
    NotAllowed,
    NotReady,
    Refused,
    StoreError,
    TooFast,
    TooLarge,
)
from famulus.engine.turns import Engine
from famulus.gateway.attachments import Attachments
from famulus.gateway.auth import COOKIE, Auth, Identity
from famulus.gateway.erasure import Erasure
from famulus.gateway.frames import Desk
from famulus.gateway.incoming import Incoming
from famulus.gateway.listening import check_host, check_trust, unusable
from famulus.gateway.metrics import Metrics
from famulus.gateway.origin import HEADERS, Origins
from famulus.gateway.rest import Rest, answer
from famulus.gateway.static import Static
from famulus.gateway.ws import Sockets
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages
from famulus.state.sessions import Sessions
from famulus.store.database import Database

log = logging.getLogger(__name__)

GATEWAY_FILE = "gateway.json"
"""In the home while the gateway runs: `{"pid", "url", "token"}`, for this user's programs."""

# Whoever could be answered was answered while turns drained.
_SHUTDOWN_SECONDS = 1.0
_KEEPALIVE_SECONDS = 75.0
_STORE_SECONDS = 30.0
_DATABASE_SECONDS = 2.0

Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Listens while it is entered. `state` is set by whoever starts and stops the rest."""

    _runner: web.AppRunner | None = None

    def __init__(
        self,
        config: Config,
        *,
        home: Path,
        web: Web,
        auth: Auth,
        engine: Engine,
        sessions: Sessions,
        messages: Messages,
        erasure: Erasure,
        blobs: Blobs,
        database: Database,
        metrics: Metrics,
        clock: Clock,
        workspace: Path,
        commands: Callable[[], Sequence[Frame]],
        model: str = "",
    ) -> None:
        """`commands` describes the slash commands: `{"name", "usage", "description"}`; `model` is
        the one of sessions that chose none.
        """
        self.state: Literal["starting", "ready", "draining"] = "starting"
        self.url = ""
        self._settings = config.server
        self._limits = config.limits
        self._file = home / GATEWAY_FILE
        self._auth = auth
        self._metrics = metrics
        self._database = database
        self._clock = clock
        self._origins = Origins(config.server)
        attachments = Attachments(blobs, config.limits, workspace=workspace)
        incoming = Incoming(attachments, config.limits, clock=clock)
        desk = Desk(
            channel=web,
            engine=engine,
            incoming=incoming,
            sessions=sessions,
            messages=messages,
            erasure=erasure,
            database=database,
            limits=config.limits,
            commands=commands,
            model=model,
        )
        self._sockets = Sockets(
            desk,
            channel=web,
            auth=auth,
            limits=config.limits,
            max_clients=config.server.max_clients,
        )
        self._rest = Rest(
            channel=web,
            auth=auth,
            origins=self._origins,
            sockets=self._sockets,
            incoming=incoming,
            attachments=attachments,
            engine=engine,
            sessions=sessions,
            messages=messages,
            blobs=blobs,
            database=database,
            limits=config.limits,
        )
        self._static = Static()
        metrics.gauges["famulus_websocket_clients"] = lambda: self._sockets.count

    def login_link(self) -> str:
        """The address that logs one browser in, once."""
        base = self._settings.public_url.rstrip("/") or self.url
        return f"{base}/#login={self._auth.login_token()}"

    # ------------------------------------------------------------ lifecycle

    async def __aenter__(self) -> Self:
        settings = self._settings
        check_host(settings)
        check_trust(settings)
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            await runner.cleanup()
            raise unusable(settings, error) from None
        port = runner.addresses[0][1]
        self.url = f"http://{_reachable(settings.host)}:{port}"
        try:
            self._write_file()
        except OSError as error:
            await runner.cleanup()
            raise StoreError(
                f"{self._file} cannot be written: {_reason(error)}."
                " Free some space, or check who owns the home folder."
            ) from None
        self._runner = runner
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.state = "draining"
        self._remove_file()
        if self._runner:
            await self._sockets.close_all()
            await self._runner.cleanup()
            self._runner = None

    def _application(self) -> web.Application:
        # Room for the envelope of an upload: what is too large is said with its own words.
        app = web.Application(client_max_size=self._limits.body, middlewares=[self._answered])
        rest, static = self._rest, self._static
        guarded = self._guarded
        app.add_routes(
            [
                web.get("/", static.index),
                web.get("/static/{path:.+}", static.file),
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/metrics", guarded(self._show_metrics)),
                web.get("/ws", self._websocket),
                web.post("/api/login", rest.login),
                web.post("/api/logout", rest.logout),
                web.post("/api/login-link", self._make_login_link),
                web.post("/api/close-ended", self._close_ended),
                web.post("/api/chat", guarded(rest.chat)),
                web.get("/api/history", guarded(rest.history)),
                web.post("/api/upload", guarded(rest.upload)),
                web.get("/api/blob/{hash:[0-9a-f]{64}}", guarded(rest.blob)),
            ]
        )
        app.on_response_prepare.append(_put_headers)
        return app

    # ------------------------------------------------------------ around every route

    @web.middleware
    async def _answered(self, request: web.Request, handler: Route) -> web.StreamResponse:
        """Every request gets an answer with words; a fault of ours gets an id to look for."""
        started = self._clock.monotonic()
        try:
            if refusal := self._origins.refusal(request):
                response: web.StreamResponse = answer({"error": refusal}, status=403)
            else:
                response = await handler(request)
        except Refused as error:
            response = _refused(error)
        except StoreError as error:
            response = _later(answer({"error": str(error)}, status=503), _STORE_SECONDS)
        except TimeoutError:
            response = answer({"error": "The request did not come to its end in time."}, status=408)
        except web.HTTPException as error:
            response = _plain(error)
        except ConnectionError:
            raise
        except Exception:
            # The last door: a fault in one request must neither end the others nor show itself.
            number = secrets.token_hex(6)
            log.exception("request failed path=%s fault=%s", request.path, number)
            words = f"Something went wrong here. The log knows more under {number}."
            response = answer({"error": words}, status=500)
        self._metrics.count("famulus_http_requests_total", status=str(response.status))
        log.debug(
            "request method=%s path=%s status=%d seconds=%.4f",
            request.method,
            request.path,
            response.status,
            self._clock.monotonic() - started,
        )
        return response

    def _guarded(self, route: Route) -> Route:
        async def checked(request: web.Request) -> web.StreamResponse:
            if await self._identify(request) is None:
                return _unknown()
            return await route(request)

        return checked

    async def _identify(self, request: web.Request) -> Identity | None:
        if bearer := _bearer(request):
            return await self._auth.by_bearer(bearer, request.remote or "")
        if cookie := request.cookies.get(COOKIE):
            return await self._auth.by_cookie(cookie)
        return None

    # ------------------------------------------------------------ small routes

    async def _health(self, request: web.Request) -> web.Response:
        return answer({"status": "ok", "version": __version__})

    async def _ready(self, request: web.Request) -> web.Response:
        if trouble := self._database.trouble:
            return answer({"status": "damaged", "problem": trouble}, status=503)
        state: str = self.state
        if state == "ready" and not await self._database_answers():
            state = "unavailable"
        return answer({"status": state}, status=200 if state == "ready" else 503)

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                await self._database.fetch("select 1")
        except (StoreError, TimeoutError):
            return False
        return True

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=await self._metrics.text(), content_type="text/plain")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        identity = await self._identify(request)
        if identity is None and self._origins.is_own_program(request):
            identity = Identity("loopback")
        if identity is None:
            return _unknown()
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return answer({"error": "This address speaks WebSocket only."}, status=426)
        return await self._sockets.serve(request, identity)

    async def _make_login_link(self, request: web.Request) -> web.Response:
        """For `famulus login`, which knows the local token."""
        if not self._auth.is_local(_bearer(request)):
            return answer({"error": "Only programs on this machine may ask for it."}, status=401)
        return answer({"url": self.login_link()})

    async def _close_ended(self, request: web.Request) -> web.Response:
        """For `famulus tokens remove`, after which nobody may read on."""
        if not self._auth.is_local(_bearer(request)):
            return answer({"error": "Only programs on this machine may ask for it."}, status=401)
        await self._sockets.close_ended()
        return answer({"ok": True})

    # ------------------------------------------------------------ the file for local programs

    def _write_file(self) -> None:
        content = {"pid": os.getpid(), "url": self.url, "token": self._auth.local_token}
        draft = self._file.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        draft.replace(self._file)

    def _remove_file(self) -> None:
        self._file.unlink(missing_ok=True)


async def _put_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _unknown() -> web.Response:
    return answer({"error": "Please log in."}, status=401)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


_STATUSES: dict[type[Refused], int] = {
    TooLarge: 413,
    NotAllowed: 403,
    Gone: 410,
    TooFast: 429,
    Busy: 429,
    NotReady: 503,
}


def _refused(error: Refused) -> web.Response:
    response = answer({"error": str(error)}, status=_STATUSES.get(type(error), 400))
    if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return _later(response, error.retry_after_seconds)
    return response


def _later(response: web.Response, seconds: float) -> web.Response:
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def _plain(error: web.HTTPException) -> web.Response:
    words = {404: "There is nothing here.", 413: "The request is too large."}
    response = answer({"error": words.get(error.status, error.reason)}, status=error.status)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).rstrip(".")


def _reachable(host: str) -> str:
    """The host for an address that a program on this machine can open."""
    if host in {"", "0.0.0.0"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
