"""Each message to the model that fits it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import cast

import msgspec

from famulus.core.errors import ModelError, ModelUnavailable
from famulus.core.messages import Image, Message, Reasoning, ToolCall
from famulus.core.protocols import (
    Chunk,
    Done,
    Model,
    ReasoningDelta,
    Request,
    Restarted,
    TextDelta,
    ToolSpec,
)
from famulus.models.answers import refused, unusable
from famulus.models.classify import Decision, Rules, classify

_HELD_CHARACTERS = 80
_LONGEST_REASON = 200

logger = logging.getLogger(__name__)


class Routed:
    """Simple messages go to `simple` with the tools that match `local_tools`, the others to
    `complex` and `tool`.

    When `simple` fails, says nothing or calls a tool wrongly, `complex` answers instead and nobody
    notices: the beginning of a simple answer is held back until it looks like one, and silence
    for `local_timeout` seconds counts as failure. When there is a `shadow`, it answers everything,
    and decisions are only logged. `Done.route` says why a model answered.
    """

    def __init__(
        self,
        *,
        simple: Model,
        complex: Model,  # noqa: A002 - named as in the configuration
        tool: Model,
        rules: Rules,
        local_tools: Sequence[str],
        local_timeout: float = 20.0,
        shadow: Model | None = None,
    ) -> None:
        self.card = (shadow or complex).card
        self._simple = simple
        self._complex = complex
        self._tool = tool
        self._rules = rules
        self._local_tools = tuple(local_tools)
        self._local_timeout = local_timeout
        self._shadow = shadow

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        decision, turn = self._decision(request.messages)
        model = self._model(decision, turn)
        reasons = "; ".join(decision.reasons)
        if self._shadow:
            logger.info(
                "would have gone class=%s model=%s reasons=%s",
                decision.class_,
                model.card.name,
                reasons,
            )
            return self._answering(
                self._shadow, self._remote(request, self._shadow), f"shadow: {decision}"
            )
        logger.info(
            "routed class=%s model=%s reasons=%s", decision.class_, model.card.name, reasons
        )
        if model is self._simple and model is not self._complex:
            return self._escalating(request, str(decision))
        route = str(decision)
        if decision.class_ == "simple" and model is not self._simple:
            route = f"taken over: {decision}"
        return self._answering(model, self._remote(request, model), route)

    def _decision(self, messages: Sequence[Message]) -> tuple[Decision, Sequence[Message]]:
        """The decision on this turn, and its messages: the user's last words and what followed."""
        last = max((at for at, message in enumerate(messages) if _said(message)), default=0)
        while last and messages[last - 1].role == "user":
            last -= 1
        turn = messages[last:]
        said = "\n".join(filter(None, map(_said, turn)))
        return classify(said, self._rules), turn

    def _model(self, decision: Decision, turn: Sequence[Message]) -> Model:
        if decision.class_ == "tool":
            return self._tool
        if decision.class_ == "simple" and self._fits_simple(turn):
            return self._simple
        return self._complex

    def _fits_simple(self, turn: Sequence[Message]) -> bool:
        """Not when there is a picture it cannot see, nor when another model has taken over."""
        card = self._simple.card
        for part in (part for message in turn for part in message.parts):
            if isinstance(part, Image) and "image" not in card.inputs:
                return False
            if isinstance(part, ToolCall) and not self._allowed_locally(part.name):
                return False
            if isinstance(part, Reasoning) and part.provider != card.provider:
                return False
        return True

    def _allowed_locally(self, tool: str) -> bool:
        return _matches(tool, self._local_tools) and _matches(tool, self._simple.card.tools)

    def _local(self, request: Request) -> Request:
        tools = offered_tools(request.tools, self._local_tools, self._simple.card.tools)
        return msgspec.structs.replace(request, tools=tools)

    def _remote(self, request: Request, model: Model) -> Request:
        tools = offered_tools(request.tools, model.card.tools)
        return msgspec.structs.replace(request, tools=tools)

    async def _answering(self, model: Model, request: Request, route: str) -> AsyncGenerator[Chunk]:
        async with aclosing(_streamed(model, _because(request, route))) as chunks:
            async for chunk in chunks:
                yield _routed(chunk, route)

    async def _escalating(self, request: Request, route: str) -> AsyncIterator[Chunk]:
        """The simple model's answer when it is one, else the complex model's."""
        local = _because(self._local(request), route)
        held: list[Chunk] = []
        shown = False
        reason = ""
        try:
            async with aclosing(self._in_time(local)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Restarted) and not shown:
                        held.clear()
                        continue
                    if isinstance(chunk, Done) and (reason := unusable(chunk, local.tools)):
                        break
                    held.append(_routed(chunk, route))
                    enough = isinstance(chunk, Done) or _length(held) > _HELD_CHARACTERS
                    if enough and not shown and (reason := refused(_text(held))):
                        break
                    if shown := shown or enough:
                        for each in held:
                            yield each
                        held.clear()
        except ModelError as error:
            reason = str(error)
        if not reason:
            return
        logger.info("escalated model=%s reason=%s", self._complex.card.name, reason)
        if shown:
            yield Restarted(reason)
        remote = self._remote(request, self._complex)
        async with aclosing(
            self._answering(self._complex, remote, f"escalated: {reason}")
        ) as answer:
            async for chunk in answer:
                yield chunk

    async def _in_time(self, request: Request) -> AsyncGenerator[Chunk]:
        """The simple model's stream. Raises `ModelUnavailable` when it is silent too long."""
        now = asyncio.get_running_loop().time
        async with aclosing(_streamed(self._simple, request)) as chunks:
            deadline = now() + self._local_timeout
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, None)
                except TimeoutError as error:
                    raise ModelUnavailable(
                        f"it was silent for {self._local_timeout:g} s"
                    ) from error
                if chunk is None:
                    return
                yield chunk
                if not isinstance(chunk, Restarted):
                    deadline = now() + self._local_timeout


def offered_tools(tools: Sequence[ToolSpec], *patterns: Sequence[str]) -> tuple[ToolSpec, ...]:
    """The tools whose name matches a pattern of each of the lists."""
    return tuple(tool for tool in tools if all(_matches(tool.name, each) for each in patterns))


def _streamed(model: Model, request: Request) -> AsyncGenerator[Chunk]:
    return cast("AsyncGenerator[Chunk]", model.stream(request))


def _because(request: Request, reason: str) -> Request:
    """The request with why it goes where it goes, for who books it."""
    caller = msgspec.structs.replace(request.caller, reason=reason[:_LONGEST_REASON])
    return msgspec.structs.replace(request, caller=caller)


def _routed(chunk: Chunk, route: str) -> Chunk:
    return msgspec.structs.replace(chunk, route=route) if isinstance(chunk, Done) else chunk


def _said(message: Message) -> str:
    return message.text.strip() if message.role == "user" else ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))


def _length(chunks: Sequence[Chunk]) -> int:
    return sum(len(c.text) for c in chunks if isinstance(c, TextDelta | ReasoningDelta))
