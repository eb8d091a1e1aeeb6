"""A gateway from a script: serves the web chat and speaks its HTTP and WebSocket, thinks nothing.

    with FakeGateway() as gateway:
        gateway.script["hello"] = [{"type": "assistant_delta", "content": "Hi"}, HOLD]
        ...a browser or a client at gateway.url...
        gateway.go_on()

It runs in a thread of its own, so that blocking test code can drive it. What a client sent over
the WebSocket stands in `received`, in order.
"""

import asyncio
import contextlib
import copy
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, Self
from uuid import uuid4

from aiohttp import WSMsgType, web

Frame = dict[str, Any]

HOLD: Final[Frame] = {"type": "hold"}
"""A step that waits for `go_on`, for a decision on an approval, or for the turn to be stopped."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
COMMANDS = [
    {"name": "new", "usage": "new [title]", "description": "Start a new conversation"},
    {"name": "help", "usage": "help", "description": "Show what can be typed"},
    {"name": "model", "usage": "model [name]", "description": "Show or choose the model"},
    {"name": "memory", "usage": "memory [query]", "description": "Search what is remembered"},
    {"name": "stop", "usage": "stop", "description": "Stop the running answer"},
]


@dataclass
class _Turn:
    turn_id: str
    session_id: str
    message_id: str
    question: Frame = field(default_factory=dict)
    answer: Frame | None = None
    stopped: bool = False
    go: asyncio.Event = field(default_factory=asyncio.Event)


class FakeGateway:
    """`script`: message text → the frames of its turn (`turn_id` is filled in). An
    `assistant_response` among them is the answer; without one the deltas are, or an echo.
    """

    def __init__(self, password: str = "open sesame") -> None:
        self.password = password
        self.login_tokens = {"once-only"}
        self.script: dict[str, list[Frame]] = {}
        self.received: list[Frame] = []
        self.uploads: list[tuple[str, bytes]] = []
        self.throttled = False
        self.refusing = False
        self.sessions: dict[str, Frame] = {}
        self.current = self.add_session("")
        self._files: list[Frame] = []
        self._cookies: set[str] = set()
        self._sockets: dict[web.WebSocketResponse, web.Request] = {}
        self._turns: dict[str, _Turn] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("The fake gateway did not start within 10 s.")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    def go_on(self) -> None:
        """Lets every turn that stands at a `HOLD` take its next step."""
        self._loop.call_soon_threadsafe(self._release)

    def drop(self) -> None:
        """Cuts every WebSocket without a goodbye, as a lost network does."""
        self._loop.call_soon_threadsafe(self._cut)

    def broadcast(self, frame: Frame) -> None:
        asyncio.run_coroutine_threadsafe(self._tell(frame), self._loop).result(10)

    def forget_logins(self) -> None:
        self._cookies.clear()

    def add_session(self, title: str) -> str:
        """A conversation beside those that are there; its id."""
        session_id = f"web:main:{uuid4().hex[:8]}"
        self.sessions[session_id] = {"title": title, "updated": _now(), "messages": []}
        return session_id

    def messages(self, kind: str) -> list[Frame]:
        return [frame for frame in self.received if frame["type"] == kind]

    # The server

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        pages = files("famulus") / "web"
        app = web.Application(client_max_size=25_000_000)
        app.on_response_prepare.append(self._protect)
        app.router.add_get("/", self._page)
        app.router.add_static("/static/", str(pages))
        app.router.add_post("/api/login", self._login)
        app.router.add_post("/api/logout", self._logout)
        app.router.add_get("/api/history", self._history)
        app.router.add_post("/api/upload", self._upload)
        app.router.add_get("/api/blob/{id}", self._blob)
        app.router.add_get("/ws", self._socket)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with asyncio.TaskGroup() as self._group:
            self._ready.set()
            await self._done.wait()
            for turn in self._turns.values():
                turn.stopped = True
            self._cut()
            self._release()
        await runner.cleanup()

    async def _protect(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(str(files("famulus") / "web" / "index.html"))

    def _known(self, request: web.Request) -> bool:
        return request.cookies.get("session") in self._cookies

    async def _login(self, request: web.Request) -> web.Response:
        if self.throttled:
            return web.json_response({"error": "Too many attempts. Wait a minute."}, status=429)
        proof = await request.json()
        if "token" in proof:
            if proof["token"] not in self.login_tokens:
                return web.json_response({"error": "That login link was used already"}, status=401)
            self.login_tokens.discard(proof["token"])
        elif proof.get("password") != self.password:
            return web.json_response({"error": "Wrong password"}, status=401)
        cookie = uuid4().hex
        self._cookies.add(cookie)
        response = web.json_response({"ok": True})
        response.set_cookie("session", cookie, httponly=True, samesite="Strict")
        return response

    async def _logout(self, request: web.Request) -> web.Response:
        self._cookies.discard(request.cookies.get("session", ""))
        response = web.json_response({"ok": True})
        response.del_cookie("session")
        return response

    async def _history(self, request: web.Request) -> web.Response:
        if not self._known(request):
            return web.json_response({"error": "Not logged in"}, status=401)
        session_id = request.query.get("session_id", self.current)
        asked = [
            {**turn.question, "message_id": message_id, "open": True}
            for message_id, turn in self._turns.items()
            if turn.session_id == session_id and not turn.answer
        ]
        messages = self.sessions[session_id]["messages"] + asked
        return web.json_response({"session_id": session_id, "messages": messages})

    async def _upload(self, request: web.Request) -> web.Response:
        if not self._known(request):
            return web.json_response({"error": "Not logged in"}, status=401)
        upload = (await request.post())["file"]
        if not isinstance(upload, web.FileField):
            return web.json_response({"error": "No file"}, status=400)
        content = upload.file.read()
        self.uploads.append((upload.filename, content))
        kind = upload.content_type
        answer = {"id": uuid4().hex, "name": upload.filename, "media_type": kind}
        self._files.append({**answer, "size": len(content)})
        return web.json_response(self._files[-1])

    async def _blob(self, request: web.Request) -> web.Response:
        kept = zip(self._files, self.uploads, strict=True)
        found = [(file, data) for file, (_, data) in kept if file["id"] == request.match_info["id"]]
        file, data = found[0]
        return web.Response(body=data, content_type=file["media_type"])

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self._known(request):
            return web.json_response({"error": "Not logged in"}, status=401)
        if self.refusing:
            return web.json_response({"error": "Starting"}, status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = request
        title = self.sessions[self.current]["title"]
        hello = {"type": "session_established", "session_id": self.current, "title": title}
        try:
            await socket.send_json(hello)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(socket, message.json())
        finally:
            self._sockets.pop(socket, None)
        return socket

    # The conversation

    async def _take(self, socket: web.WebSocketResponse, frame: Frame) -> None:
        self.received.append(frame)
        match frame["type"]:
            case "user_input" if frame["content"].startswith("/"):
                await self._command(frame)
            case "user_input":
                await self._said(socket, frame)
            case "stop":
                for turn in self._turns.values():
                    turn.stopped = True
                self._release()
            case "approve":
                self._release()
            case "list_sessions":
                current = {"current_session_id": self.current}
                await socket.send_json(
                    {"type": "session_list", "sessions": self._list(), **current}
                )
            case "get_slash_commands":
                await socket.send_json({"type": "slash_commands_list", "commands": COMMANDS})
            case "ping":
                await socket.send_json({"type": "pong"})
            case kind:
                await self._manage(kind, frame)

    async def _manage(self, kind: str, frame: Frame) -> None:
        session_id = frame.get("session_id", self.current)
        match kind:
            case "create_session":
                self.current = self.add_session(frame.get("title") or "")
                await self._opened("session_created")
            case "load_session":
                self.current = session_id
                await self._opened("session_loaded")
            case "rename_session":
                self.sessions[session_id]["title"] = frame["title"]
                await self._tell(
                    {"type": "session_renamed", "session_id": session_id, "title": frame["title"]}
                )
            case "delete_session" | "archive_session":
                del self.sessions[session_id]
                if session_id == self.current:
                    self.current = next(reversed(self.sessions), "") or self.add_session("")
                done = "session_deleted" if kind == "delete_session" else "session_archived"
                await self._tell({"type": done, "session_id": session_id})

    async def _command(self, frame: Frame) -> None:
        ids = {"turn_id": uuid4().hex, "message_ids": [frame["message_id"]]}
        await self._tell({"type": "turn_started", "session_id": self.current, **ids})
        command, _, rest = frame["content"][1:].partition(" ")
        if command == "new":
            self.current = self.add_session(rest)
        moved = {**ids, "session_id": self.current}
        title = self.sessions[self.current]["title"]
        await self._tell({"type": "command_executed", "command": command, "title": title, **moved})
        said = f"Did `{frame['content']}`."
        await self._tell({"type": "assistant_response", "content": said, **moved})

    async def _said(self, socket: web.WebSocketResponse, frame: Frame) -> None:
        message_id, content = frame["message_id"], frame["content"]
        if known := self._turns.get(message_id):
            if known.answer:
                await socket.send_json(known.answer)
            return
        turn = self._turns[message_id] = _Turn(uuid4().hex, self.current, message_id)
        session = self.sessions[self.current]
        session["title"] = session["title"] or content[:40]
        mine: Frame = {"role": "user", "content": content, "turn_id": turn.turn_id, "time": _now()}
        chosen = {attachment["id"] for attachment in frame.get("attachments") or ()}
        mine["attachments"] = [known for known in self._files if known["id"] in chosen]
        turn.question = mine
        steps = self.script.get(
            content, [{"type": "assistant_delta", "content": f"You: {content}"}]
        )
        self._group.create_task(self._run(turn, copy.deepcopy(steps)))

    async def _run(self, turn: _Turn, steps: Iterable[Frame]) -> None:
        ids = {"turn_id": turn.turn_id, "session_id": turn.session_id}
        await self._tell({"type": "turn_started", **ids, "message_ids": [turn.message_id]})
        text = ""
        answer: Frame = {}
        tools: dict[str, Frame] = {}
        for step in steps:
            if turn.stopped:
                break
            if step == HOLD:
                turn.go.clear()
                await turn.go.wait()
                continue
            if step["type"] == "assistant_response":
                answer = step
                continue
            if step["type"] == "assistant_delta":
                text = step["content"] if step.get("restarted") else text + step["content"]
            elif step["type"] in ("tool_started", "tool_finished"):
                tools.setdefault(step["call_id"], {}).update(step)
            await self._tell({**step, "turn_id": turn.turn_id})
        usage = {"input_tokens": 812, "output_tokens": 94, "cached_tokens": 0, "cost_usd": 0}
        content = "Stopped." if turn.stopped else text
        said = {"content": content, "model": "offline", "usage": usage, "time": _now(), **answer}
        turn.answer = {
            **said, **ids, "type": "assistant_response", "message_ids": [turn.message_id],
        }  # fmt: skip
        if session := self.sessions.get(turn.session_id):
            session["updated"] = _now()
            past = {**said, **ids, "role": "assistant", "tools": list(tools.values())}
            question = {**turn.question, "message_id": turn.message_id}
            session["messages"] += [question, past]
        await self._tell(turn.answer)

    async def _opened(self, kind: str) -> None:
        title = self.sessions[self.current]["title"]
        await self._tell({"type": kind, "session_id": self.current, "title": title})

    async def _tell(self, frame: Frame) -> None:
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionError):
                await socket.send_json(frame)

    def _list(self) -> list[Frame]:
        rows = [
            {"session_id": key, "title": row["title"], "updated": row["updated"], "archived": False}
            for key, row in self.sessions.items()
        ]
        return sorted(rows, key=lambda row: str(row["updated"]), reverse=True)

    def _release(self) -> None:
        for turn in self._turns.values():
            turn.go.set()

    def _cut(self) -> None:
        for request in self._sockets.values():
            if request.transport:
                request.transport.abort()


def _now() -> str:
    return datetime.now(UTC).isoformat()
