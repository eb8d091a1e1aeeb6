"""The built-in model without a network: rules that drive the real tools from plain sentences."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain

import msgspec

from famulus.core.messages import (
    Message,
    Origin,
    Part,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from famulus.core.protocols import Chunk, Done, ModelCard, Request, TextDelta
from famulus.models.offline_rules import RESULT, Ask, stages
from famulus.models.offline_words import language_of, missing, said, worded

_TALK = frozenset({"greet", "thanks", "bye", "help", "who", "remind", "unknown"})
_WORD = re.compile(r"\S+\s*|\s+")

CARD = ModelCard(
    name="offline", id="offline", provider="offline", local=True, context_tokens=1_000_000
)


class Offline:
    """Answers at once, always the same, and says that it is rules and no AI.

    Only what the user wrote in the last message counts: what a tool gave back is repeated or
    written where the user said, never obeyed.
    """

    def __init__(self, card: ModelCard = CARD) -> None:
        self.card = card

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        parts = tuple(_answer(request))
        for part in parts:
            if isinstance(part, Text):
                for word in _WORD.findall(part.text):
                    yield TextDelta(word)
        calls = any(isinstance(part, ToolCall) for part in parts)
        yield Done(
            parts=parts,
            usage=Usage(),
            reason="tool_calls" if calls else "stop",
            model=self.card.id,
        )


def _answer(request: Request) -> Iterator[Part]:
    """The calls of the next stage, or the text when there is none left to make."""
    asked, since = _asked(request.messages)
    language = language_of(asked)
    tools = {tool.name for tool in request.tools}
    plan = stages(asked)
    rounds = [message.calls for message in since if message.calls]
    results = {
        part.call_id: part
        for message in since
        for part in message.parts
        if isinstance(part, ToolResult)
    }
    last = [results.get(call.id) for call in rounds[-1]] if rounds else []
    if len(rounds) < len(plan) and all(result and result.ok for result in last):
        ready = [ask for ask in plan[len(rounds)] if ask.does in tools]
        first = next((result for result in last if result), None)
        if ready and (first or not rounds):
            number = sum(len(message.calls) for message in request.messages)
            for offset, ask in enumerate(ready, 1):
                yield _call(f"offline-{number + offset}", ask, first)
            return
    told = [
        worded(language, call, results[call.id])
        for call in chain.from_iterable(rounds)
        if call.id in results
    ]
    yield Text("\n\n".join((*told, *_spoken(plan, language, tools))), Origin.ASSISTANT)


def _asked(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """What the user last wrote, and the messages after it."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            texts = (
                part.text
                for part in messages[at].parts
                if isinstance(part, Text) and part.origin in (Origin.OWNER, Origin.GUEST)
            )
            if text := "\n".join(texts).strip():
                return text, messages[at + 1 :]
    return "", ()


def _call(id_: str, ask: Ask, result: ToolResult | None) -> ToolCall:
    given = result.text.strip() if result else ""
    arguments = {
        name: f"{given}\n" if value == RESULT else value for name, value in ask.arguments.items()
    }
    return ToolCall(id_, ask.does, msgspec.json.encode(arguments).decode())


def _spoken(plan: list[list[Ask]], language: str, tools: set[str]) -> Iterator[str]:
    """What is said without a tool: talk when it is all there is, and what cannot be done."""
    asks = list(chain.from_iterable(plan))
    works = any(ask.does not in _TALK for ask in asks)
    for does in dict.fromkeys(ask.does for ask in asks):
        if does in _TALK:
            if not works or does in ("remind", "unknown"):
                text = next(a.arguments.get("text", "") for a in asks if a.does == does)
                yield said(language, does, tools, text)
        elif does not in tools:
            yield missing(language, does)
    if not asks:
        yield said(language, "greet", tools)
