"""The JSON endpoints under `/api`."""

from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import Struct

from famulus.channels.web import Web
from famulus.core.config import Limits
from famulus.core.errors import Invalid, NotAllowed
from famulus.core.messages import Inbound, SessionKey
from famulus.engine.turns import Engine
from famulus.gateway.attachments import IMAGE_TYPES, Attachments
from famulus.gateway.auth import COOKIE, Auth
from famulus.gateway.bodies import Bodies
from famulus.gateway.decoding import T, decode
from famulus.gateway.gate import check_id
from famulus.gateway.history import history
from famulus.gateway.incoming import (
    CHAT,
    Attachment,
    Incoming,
    Said,
    session_key,
)
from famulus.gateway.origin import Origins
from famulus.gateway.ws import Sockets
from famulus.state.blobs import Blobs
from famulus.state.messages import Messages
from famulus.state.people import OWNER
from famulus.state.sessions import Sessions
from famulus.store.database import Database

# Before anyone has logged in there is little to say.
_LOGIN_BYTES = 16 * 1024
_HISTORY = 200
_MOST_HISTORY = 1000

_encode = msgspec.json.Encoder().encode


class LoginBody(Struct):
    password: str = ""
    token: str = ""


class ChatBody(Struct):
    message: str
    chat_id: str = CHAT.chat_id
    message_id: str = ""
    session_id: str = ""
    attachments: tuple[Attachment, ...] = ()
    timezone: str = ""


class Rest:
    def __init__(
        self,
        *,
        channel: Web,
        auth: Auth,
        origins: Origins,
        sockets: Sockets,
        incoming: Incoming,
        attachments: Attachments,
        engine: Engine,
        sessions: Sessions,
        messages: Messages,
        blobs: Blobs,
        database: Database,
        limits: Limits,
    ) -> None:
        self._channel = channel
        self._auth = auth
        self._origins = origins
        self._sockets = sockets
        self._incoming = incoming
        self._attachments = attachments
        self._engine = engine
        self._sessions = sessions
        self._messages = messages
        self._blobs = blobs
        self._database = database
        self._limits = limits
        self._bodies = Bodies(limits)

    async def login(self, request: web.Request) -> web.Response:
        body = await self._body(request, LoginBody, most=_LOGIN_BYTES)
        try:
            cookie = await self._auth.login(
                password=body.password, token=body.token, address=request.remote or ""
            )
        except NotAllowed as error:
            return answer({"error": str(error)}, status=401)
        response = answer({"ok": True})
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=self._auth.lifetime_seconds,
            httponly=True,
            samesite="Strict",
            secure=self._origins.is_secure(request),
        )
        return response

    async def logout(self, request: web.Request) -> web.Response:
        if cookie := request.cookies.get(COOKIE):
            await self._sockets.close_login(await self._auth.logout(cookie))
        response = answer({"ok": True})
        response.del_cookie(COOKIE, httponly=True, samesite="Strict")
        return response

    async def chat(self, request: web.Request) -> web.Response:
        async with self._bodies.room(request):
            inbound = await self._inbound(request)
        with self._channel.answering(inbound):
            accepted = await self._channel.deliver(inbound)
            reply = await self._engine.answer(accepted.turn_id)
        return answer(
            {
                "reply": reply.text,
                "turn_id": reply.turn_id,
                "session_id": accepted.session,
                "model": reply.model,
                "usage": reply.usage,
            }
        )

    async def _inbound(self, request: web.Request) -> Inbound:
        body = await self._body(request, ChatBody)
        key = SessionKey(CHAT.channel, body.chat_id, "")
        if body.session_id:
            key = session_key(body.session_id)
            if not self._channel.serves(key.channel):
                raise Invalid(f"{key} is a session of {key.channel}; write there.")
        return await self._incoming.inbound(
            Said(
                text=body.message,
                key=key,
                message_id=body.message_id,
                attachments=body.attachments,
                timezone=body.timezone,
            )
        )

    async def history(self, request: web.Request) -> web.Response:
        session_id = request.query.get("session_id", "")
        chat_id = request.query.get("chat_id", CHAT.chat_id)
        check_id("chat_id", chat_id)
        key = session_key(session_id) if session_id else SessionKey(CHAT.channel, chat_id, "")
        if not key.dialog_id:
            key = await self._sessions.current(key.channel, key.chat_id, OWNER)
        limit = request.query.get("limit", str(_HISTORY))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST_HISTORY):
            raise Invalid(f"limit must be a number from 1 to {_MOST_HISTORY}.")
        entries = await history(self._database, self._messages, str(key), limit=int(limit))
        return answer({"messages": entries, "session_id": str(key)})

    async def upload(self, request: web.Request) -> web.Response:
        async with self._bodies.room(request):
            part, data = await self._bodies.file(request)
            blob = await self._attachments.keep(
                data,
                name=(part.filename or "file")[-200:],
                media_type=part.headers.get("Content-Type", ""),
            )
        return answer(
            {"id": blob.hash, "name": blob.name, "media_type": blob.media_type, "size": blob.size}
        )

    async def blob(self, request: web.Request) -> web.StreamResponse:
        hash_ = request.match_info["hash"]
        blob = await self._blobs.find(hash_)
        if blob is None:
            raise web.HTTPNotFound
        inline = blob.media_type in IMAGE_TYPES
        # Anything but a picture is only ever saved: it may be a page with a script in it.
        way = "inline" if inline else "attachment"
        return await self._bodies.answer(
            request,
            blob.size,
            lambda: self._data(hash_),
            {
                "Content-Type": blob.media_type if inline else "application/octet-stream",
                "Content-Disposition": f"{way}; filename*=UTF-8''{quote(blob.name, safe='')}",
                "Cache-Control": "private, max-age=31536000, immutable",
            },
        )

    async def _data(self, hash_: str) -> bytes:
        found = await self._blobs.read([hash_])
        if hash_ not in found:
            raise web.HTTPNotFound
        return found[hash_]

    async def _body(self, request: web.Request, kind: type[T], *, most: int = 0) -> T:
        data = await self._bodies.whole(request, most=most)
        return decode(data, kind, depth=self._limits.json_depth)


def answer(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        body=_encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
