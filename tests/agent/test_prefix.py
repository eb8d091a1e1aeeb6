"""What a request begins with stays the same, byte by byte, so that vendors can cache it."""

import json
from hashlib import sha256
from itertools import pairwise
from typing import Annotated

import msgspec
import pytest

from famulus.core.config import ModelEntry, Provider
from famulus.core.messages import ToolCall
from famulus.core.protocols import Context, ModelCard
from famulus.core.settings import doc
from famulus.core.tools import tool
from famulus.models.anthropic import Anthropic
from famulus.models.openai_chat import OpenAIChat
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

CARD = ModelCard(name="m", id="m", provider="p")
BLOCK_TOKENS = 128
LEAST_CACHED_TOKENS = 1024
BYTES_PER_TOKEN = 4


class Arguments(msgspec.Struct):
    word: Annotated[str, doc("What to say.")] = "x"


@tool()
async def echo(context: Context, arguments: Arguments) -> str:
    """Say it again."""
    return f"echo {arguments.word}"


def answer(request):
    """Every third turn calls a tool first."""
    last = request.messages[-1]
    if last.role == "user" and "call" in last.text:
        return ToolCall(f"c{len(request.messages)}", "echo", '{"word": "word"}')
    return "an answer of a few words " * 10


async def conversation(talk, turns, *, restart_at=0, **settings):
    """The requests of a conversation, those to condense it apart."""
    requests = []
    bounds = [0, restart_at, turns] if restart_at else [0, turns]
    for first, last in pairwise(bounds):
        model = Scripted([answer] * 1000)
        async with talk(model, tools=[echo], **settings) as talking:
            for n in range(first, last):
                await talking.say(f"message {n} " * 10 + ("call" if n % 3 == 0 else ""))
        requests += model.requests
    chat = [each for each in requests if each.caller.kind == "chat"]
    return chat, len(requests) - len(chat)


def openai(request):
    """The request without what closes it, as the vendor puts it before the model."""
    wire = OpenAIChat(CARD, Provider(type="openai"), ModelEntry(), None)
    body = json.loads(wire.body(request))
    return _joined(body.get("tools"), body.pop("messages"))


def anthropic(request):
    wire = Anthropic(CARD, Provider(type="anthropic"), ModelEntry(), None)
    body = json.loads(wire.body(request), object_hook=_unmarked)
    pieces = [
        {"role": each["role"], "block": b} for each in body["messages"] for b in each["content"]
    ]
    return _joined(body.get("tools"), body["system"], pieces)


def _unmarked(value):
    value.pop("cache_control", None)
    return value


def _joined(*parts):
    """Lists one after the other, without the bracket that changes when one goes on."""
    return b"".join(json.dumps(each).encode() for part in parts for each in part or ())


@pytest.mark.parametrize("body", [openai, anthropic])
async def test_two_hundred_turns_and_a_restart_only_ever_go_on(talk, body):
    requests, condensed = await conversation(
        talk, 200, restart_at=101, history_tokens=8000, compaction=True
    )
    bodies = [body(request) for request in requests]
    changed = sum(not later.startswith(earlier) for earlier, later in pairwise(bodies))
    assert len(bodies) > 250
    assert changed == condensed
    assert 1 <= changed <= 8


async def test_nothing_in_a_body_but_its_messages_changes(talk):
    requests, _ = await conversation(talk, 20, restart_at=10)
    wire = OpenAIChat(CARD, Provider(type="openai"), ModelEntry(), None)
    rest = {wire.body(request).partition(b'"messages":')[0] for request in requests}
    assert len(rest) == 1
    assert b'"prompt_cache_key":"test:main:1"' in rest.pop()


class Cache:
    """OpenAI's: blocks of 128 tokens from the beginning on, none below 1024."""

    def __init__(self):
        self._known = set()
        self.tokens = self.cached = 0

    def read(self, body):
        size = BLOCK_TOKENS * BYTES_PER_TOKEN
        ends = range(size, len(body) + 1, size)
        blocks = [sha256(body[:end]).digest() for end in ends]
        hits = next((n for n, each in enumerate(blocks) if each not in self._known), len(blocks))
        self._known.update(blocks)
        tokens = hits * BLOCK_TOKENS
        self.tokens += len(body) // BYTES_PER_TOKEN
        self.cached += tokens if tokens >= LEAST_CACHED_TOKENS else 0

    @property
    def share(self):
        return self.cached / self.tokens


class Breakpoints:
    """Anthropic's: what ends at a mark is kept; a request finds what one before it marked, at most
    20 blocks before one of its own marks.
    """

    def __init__(self):
        self._known = set()
        self.tokens = self.cached = 0
        self.most_marks = 0

    def read(self, raw):
        body = json.loads(raw)
        blocks = [*body.get("tools", ()), *body["system"]]
        blocks += [block for each in body["messages"] for block in each["content"]]
        marks = [n for n, block in enumerate(blocks) if "cache_control" in block]
        self.most_marks = max(self.most_marks, len(marks))
        texts = [json.dumps(_unmarked(dict(block))).encode() for block in blocks]
        ends, digest = [], sha256()
        for text in texts:
            digest.update(text)
            ends.append(digest.digest())
        reach = {n for mark in marks for n in range(max(mark - 19, 0), mark + 1)}
        found = max((n for n in reach if ends[n] in self._known), default=-1)
        self._known.update(ends[mark] for mark in marks)
        self.tokens += sum(map(len, texts)) // BYTES_PER_TOKEN
        self.cached += sum(map(len, texts[: found + 1])) // BYTES_PER_TOKEN

    @property
    def share(self):
        return self.cached / self.tokens


async def test_openai_reads_nine_tenths_from_its_cache(talk):
    cache = Cache()
    requests, _ = await conversation(talk, 50, restart_at=25)
    for request in requests:
        cache.read(openai(request))
    assert cache.share >= 0.9


async def test_anthropic_reads_nine_tenths_from_its_cache(talk):
    cache = Breakpoints()
    requests, _ = await conversation(talk, 50, restart_at=25)
    wire = Anthropic(CARD, Provider(type="anthropic"), ModelEntry(), None)
    for request in requests:
        cache.read(wire.body(request))
    assert cache.share >= 0.9
    assert cache.most_marks <= 4
