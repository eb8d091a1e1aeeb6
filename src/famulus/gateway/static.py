"""The page's files. Only those that are there at the start are served, by their exact name."""

import hashlib
import mimetypes
from pathlib import Path

from aiohttp import web

import famulus

_FOLDER = Path(famulus.__file__).parent / "web"
_TYPES = {".js": "text/javascript", ".html": "text/html", ".css": "text/css"}


class Static:
    def __init__(self, folder: Path = _FOLDER) -> None:
        self._paths = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".LICENSE" and "__pycache__" not in path.parts
        }
        self._loaded: dict[str, tuple[bytes, str]] = {}

    async def index(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, "index.html")

    async def file(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, request.match_info["path"])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        path = self._paths.get(name)
        if path is None:
            raise web.HTTPNotFound
        if name not in self._loaded:
            content = path.read_bytes()
            self._loaded[name] = content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        content, tag = self._loaded[name]
        # A new version must show at once, so each file is asked for again and costs a 304.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        kind = (
            _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        )
        charset = "utf-8" if kind.startswith("text/") else None
        return web.Response(body=content, headers=headers, content_type=kind, charset=charset)
