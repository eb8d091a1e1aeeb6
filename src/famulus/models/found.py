"""The models that are found and not asked for: keys in the environment, an Ollama, or `offline`."""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from famulus.core.config import Provider
from famulus.models.nearby import is_nearby
from famulus.models.vendors import VENDORS, provider_from

_TIMEOUT_SECONDS = 0.3
_LARGEST_ANSWER = 1024 * 1024
_NO_CHAT = re.compile(r"embed|minilm|rerank|\bbge\b|[:-]cloud$", re.IGNORECASE)
_NO_CHAT_FAMILIES = frozenset({"bert", "nomic-bert"})


class Found(Struct, frozen=True):
    """`model` is `provider/model-id`; `provider` is the section that goes with it. `fallbacks` are
    the others that were found, and `simple` is a local one for simple messages.
    """

    model: str
    provider: Provider
    reason: str
    fallbacks: tuple[str, ...] = ()
    simple: str = ""


async def find_model(environment: Mapping[str, str], *, pair: bool = True) -> Found:
    """The models to use when the configuration names none. Beside a key it looks for an Ollama only
    to `pair` the two.
    """
    keyed: dict[str, Found] = {}
    for name, vendor in VENDORS.items():
        found = None if vendor.voice else _of_key(name, environment)
        if found and vendor.key_variable not in keyed:
            keyed[vendor.key_variable] = found
    first, *others = keyed.values() or (None,)
    if first and not pair:
        return replace(first, fallbacks=tuple(each.model for each in others if each))
    provider = provider_from("ollama", environment)
    wanted = environment.get("OLLAMA_MODEL", "").strip()
    models = await _ollama_models(provider.base_url)
    near = f"ollama/{wanted or models[0]}" if models else ""
    if first:
        # What is not local is no counterpart of a vendor.
        simple = near if is_nearby(provider.base_url) and not _NO_CHAT.search(near) else ""
        fallbacks = (*(each.model for each in others if each), *filter(None, [simple]))
        return replace(first, fallbacks=fallbacks, simple=simple)
    if near:
        return Found(near, provider, f"Ollama answers at {provider.base_url}")
    for name in (name for name, vendor in VENDORS.items() if vendor.voice):
        if found := _of_key(name, environment):
            return found
    return Found(
        "offline/offline", Provider(type="offline"), "there is no key and no Ollama with a model"
    )


def _of_key(name: str, environment: Mapping[str, str]) -> Found | None:
    """A vendor whose key is there; for a server of one's own, its address is enough."""
    vendor = VENDORS[name]
    if vendor.wire == "ollama":
        return None
    provider = provider_from(name, environment)
    model = environment.get(vendor.model_variable, "").strip() or vendor.model
    variables = (vendor.key_variable, *(() if vendor.needs_key else (vendor.address_variable,)))
    known = [each for each in variables if environment.get(each, "").strip()]
    return Found(f"{name}/{model}", provider, f"{known[0]} is set") if known and model else None


class _Details(Struct):
    family: str = ""


class _Tag(Struct):
    name: str
    details: _Details | None = None


class _Tags(Struct):
    models: list[_Tag] = []


async def _ollama_models(base_url: str) -> list[str]:
    """The chat models on an Ollama's machine, newest first; empty when none answers."""
    url = urlsplit(base_url)
    if url.scheme != "http" or not url.hostname:
        return []
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            body = await _get(url.hostname, url.port or 80, f"{url.path}/api/tags")
        tags = msgspec.json.decode(body, type=_Tags)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.MsgspecError, ValueError):
        return []
    return [tag.name for tag in tags.models if _chats(tag)]


def _chats(tag: _Tag) -> bool:
    family = tag.details.family if tag.details else ""
    return not _NO_CHAT.search(tag.name) and family not in _NO_CHAT_FAMILIES


async def _get(host: str, port: int, path: str) -> bytes:
    """The body of an answer to a plain GET. Importing an HTTP client would cost 200 ms."""
    reader, writer = await asyncio.open_connection(host, port, limit=_LARGEST_ANSWER)
    try:
        # HTTP/1.0, so that the body is neither chunked nor followed by anything.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise ValueError("not an Ollama")
        body = bytearray()
        while len(body) < _LARGEST_ANSWER and (piece := await reader.read(65536)):
            body += piece
        return bytes(body)
    finally:
        writer.close()
