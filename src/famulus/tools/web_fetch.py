"""Fetches a page and gives its readable text."""

import asyncio
import importlib.util
import re
from html.parser import HTMLParser
from typing import Annotated

import msgspec

from famulus.core import checks
from famulus.core.errors import ToolError
from famulus.core.messages import Origin, Text
from famulus.core.plugins import Services, Unavailable
from famulus.core.protocols import Context, Effect, Fetched, Replay, Tool, ToolAnswer
from famulus.core.settings import Section, doc
from famulus.core.tools import tool
from famulus.core.workspace import shortened

_TEXT = re.compile(r"text/|application/(.*\+)?(json|xml|javascript|yaml|toml)$|^$")
_HTML = ("text/html", "application/xhtml+xml")


SECTION = "web"


class Settings(Section, frozen=True):
    """Reading web pages."""

    enabled: Annotated[bool, doc("Whether the tool is there.")] = True
    allow_hosts: Annotated[
        tuple[Annotated[str, doc("One of them.", check=checks.host_and_port)], ...],
        doc("`host:port` pairs in your own network that tools may reach; none by default."),
    ] = ()


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    url: str


def build(settings: Settings, services: Services) -> Tool:
    egress = services.egress
    if egress is None:
        raise Unavailable("Tools may not use the network here.")

    @tool(effects=(Effect.READS, Effect.NETWORK), replay=Replay.SAFE)
    async def web_fetch(context: Context, arguments: Arguments) -> ToolAnswer:
        """Fetch a web page as text."""
        url = arguments.url if "://" in arguments.url else f"https://{arguments.url}"
        fetched = await egress.fetch(url, headers={"Accept": "text/html, text/*, */*;q=0.5"})
        text = await asyncio.to_thread(_readable, fetched)
        if fetched.truncated:
            text += f"\n[cut after {len(fetched.body):,} bytes]"
        ok = fetched.status < 400
        head = f"{fetched.url}\n" if ok else f"{fetched.url} answered {fetched.status}\n"
        body = await asyncio.to_thread(
            shortened,
            context.workspace, context.key, text, Origin.OUTSIDE, services.tool_output - len(head),
            private=context.private,
        )  # fmt: skip
        return ToolAnswer((Text(head + body, Origin.OUTSIDE),), ok)

    return web_fetch


def _readable(fetched: Fetched) -> str:
    kind = fetched.media_type
    if not _TEXT.match(kind) or b"\0" in fetched.body[:1024]:
        size = f"{len(fetched.body):,} bytes"
        raise ToolError(f"{fetched.url} is not text: {kind or 'unknown type'}, {size}.")
    text = _decoded(fetched)
    if kind not in _HTML:
        return text
    if importlib.util.find_spec("trafilatura"):
        from trafilatura import extract  # noqa: PLC0415 - optional, and a second to import

        if found := extract(text, url=fetched.url, include_links=True, output_format="markdown"):
            return str(found)
    page = _Page()
    page.feed(text)
    page.close()
    return page.text()


def _decoded(fetched: Fetched) -> str:
    declared = re.search(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{1,40})", fetched.body[:2048])
    names = (fetched.charset, declared[1].decode() if declared else "")
    for name in filter(None, names):
        try:
            return fetched.body.decode(name, "replace")
        except LookupError:
            continue
    return fetched.body.decode("utf-8", "replace")


class _Page(HTMLParser):
    """The text of a page, without what is not meant to be read."""

    _HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "iframe"})
    _BREAKS = frozenset(
        {"p", "div", "br", "li", "tr", "ul", "ol", "table", "pre", "title", "section", "article"}
        | {"header", "footer", "h1", "h2", "h3", "h4", "h5", "h6"}
    )

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in self._HIDDEN
        if tag in self._BREAKS:
            self._pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(self._hidden - (tag in self._HIDDEN), 0)
        if tag in self._BREAKS:
            self._pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._pieces.append(data)

    def text(self) -> str:
        lines = ("".join(self._pieces)).splitlines()
        kept = (" ".join(line.split()) for line in lines)
        return "\n".join(line for line in kept if line)
