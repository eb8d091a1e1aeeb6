"""What a request begins with stays the same, byte by byte, so that vendors can cache it."""

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
from famulus.testing.prompt_caches import (
    AnthropicCache,
    OpenAICache,
    anthropic_prompt,
    openai_prompt,
)
from famulus.testing.scripted import Scripted

pytestmark = pytest.mark.anyio

CARD = ModelCard(name="m", id="m", provider="p")


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
    return OpenAIChat(CARD, Provider(type="openai"), ModelEntry(), None).body(request)


def anthropic(request):
    return Anthropic(CARD, Provider(type="anthropic"), ModelEntry(), None).body(request)


@pytest.mark.parametrize(
    ("body", "prompt"), [(openai, openai_prompt), (anthropic, anthropic_prompt)]
)
async def test_two_hundred_turns_and_a_restart_only_ever_go_on(talk, body, prompt):
    requests, condensed = await conversation(
        talk, 200, restart_at=101, history_tokens=8000, compaction=True
    )
    bodies = [prompt(body(request)) for request in requests]
    changed = sum(not later.startswith(earlier) for earlier, later in pairwise(bodies))
    assert len(bodies) > 250
    assert changed == condensed
    assert 1 <= changed <= 8


async def test_nothing_in_a_body_but_its_messages_changes(talk):
    requests, _ = await conversation(talk, 20, restart_at=10)
    rest = {openai(request).partition(b'"messages":')[0] for request in requests}
    assert len(rest) == 1
    assert b'"prompt_cache_key":"test:main:1"' in rest.pop()


async def test_openai_reads_nine_tenths_from_its_cache(talk):
    cache = OpenAICache()
    requests, _ = await conversation(talk, 50, restart_at=25)
    for request in requests:
        cache.read(openai(request))
    assert cache.share >= 0.9


async def test_anthropic_reads_nine_tenths_from_its_cache(talk):
    cache = AnthropicCache()
    requests, _ = await conversation(talk, 50, restart_at=25)
    for request in requests:
        cache.read(anthropic(request))
    assert cache.share >= 0.9
    assert cache.most_marks <= 4
