"""Each message to the model that fits it."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import cast

import msgspec

from famulus.core.errors import ModelError, ModelRejected
from famulus.core.messages import Image, Message, Origin, Reasoning, Text, ToolCall
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
from famulus.models.classify import Decision, Rules, classify

_HELD_CHARACTERS = 80
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEPT = "[This message stays on its owner's machine.]"
_ANSWER_KEPT = "[So does its answer.]"

logger = logging.getLogger(__name__)


class Routed:
    """Simple messages go to `simple` with the tools that match `local_tools`, the others to
    `complex` and `tool`.

    When `simple` fails, says nothing or calls a tool wrongly, `complex` answers instead and nobody
    notices: the beginning of a simple answer is held back until it looks like one. A text that a
    `local` rule matches goes to `simple` whatever it is, which must be a local model, and is not
    shown to a model elsewhere later.
    """

    def __init__(
        self,
        *,
        simple: Model,
        complex: Model,  # noqa: A002 - named as in the configuration
        tool: Model,
        rules: Rules,
        local_tools: Sequence[str],
    ) -> None:
        self.card = complex.card
        self._simple = simple
        self._complex = complex
        self._tool = tool
        self._rules = rules
        self._local_tools = tuple(local_tools)

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        decision, turn = self._decision(request.messages)
        model = self._model(decision, turn)
        reasons = "; ".join(decision.reasons)
        logger.info(
            "routed class=%s model=%s reasons=%s", decision.class_, model.card.name, reasons
        )
        if decision.keep_local:
            if not model.card.local:
                raise ModelRejected(
                    "A rule keeps this message on this machine, but the model "
                    f"{model.card.name} is not local. Set router.simple to a local model."
                )
            return model.stream(self._local(request))
        if model is self._simple and model is not self._complex:
            return self._escalating(request)
        return model.stream(self._remote(request, model))

    def _decision(self, messages: Sequence[Message]) -> tuple[Decision, Sequence[Message]]:
        """The decision on this turn, and its messages: the user's last words and what followed."""
        last = max((at for at, message in enumerate(messages) if _said(message)), default=0)
        while last and messages[last - 1].role == "user":
            last -= 1
        turn = messages[last:]
        said = "\n".join(filter(None, map(_said, turn)))
        return classify(said, self._rules), turn

    def _model(self, decision: Decision, turn: Sequence[Message]) -> Model:
        if decision.keep_local:
            return self._simple
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
        tools = tuple(tool for tool in request.tools if self._allowed_locally(tool.name))
        return msgspec.structs.replace(request, tools=tools)

    def _remote(self, request: Request, model: Model) -> Request:
        tools = tuple(tool for tool in request.tools if _matches(tool.name, model.card.tools))
        messages = request.messages
        if self._rules.local and not model.card.local:
            messages = tuple(self._without_kept(messages))
        return msgspec.structs.replace(request, tools=tools, messages=messages)

    def _without_kept(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation without the turns that a `local` rule keeps here."""
        shown: list[Message] = []
        kept = False
        for message in messages:
            if message.role == "user":
                kept = self._rules.keeps_local(message.text)
                shown.append(Message("user", (Text(_KEPT, Origin.TOOL),)) if kept else message)
            elif not kept:
                shown.append(message)
            elif shown[-1].role == "user":
                shown.append(Message("assistant", (Text(_ANSWER_KEPT, Origin.ASSISTANT),)))
        return shown

    async def _escalating(self, request: Request) -> AsyncIterator[Chunk]:
        """The simple model's answer when it is one, else the complex model's."""
        local = self._local(request)
        held: list[Chunk] = []
        shown = False
        reason = ""
        try:
            async with aclosing(_streamed(self._simple, local)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Restarted) and not shown:
                        held.clear()
                        continue
                    if isinstance(chunk, Done) and (reason := _unusable(chunk, local.tools)):
                        break
                    held.append(chunk)
                    shown = shown or isinstance(chunk, Done) or _length(held) > _HELD_CHARACTERS
                    if shown:
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
        async with aclosing(
            _streamed(self._complex, self._remote(request, self._complex))
        ) as chunks:
            async for chunk in chunks:
                yield chunk


def _streamed(model: Model, request: Request) -> AsyncGenerator[Chunk]:
    return cast("AsyncGenerator[Chunk]", model.stream(request))


def _said(message: Message) -> str:
    return message.text.strip() if message.role == "user" else ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _length(chunks: Sequence[Chunk]) -> int:
    return sum(len(c.text) for c in chunks if isinstance(c, TextDelta | ReasoningDelta))


def _unusable(done: Done, tools: Sequence[ToolSpec]) -> str:
    """Why a local answer must not be given to the user, or an empty text."""
    if done.reason == "refusal":
        return "it refused to answer"
    calls = [part for part in done.parts if isinstance(part, ToolCall)]
    known = {tool.name for tool in tools}
    for call in calls:
        if call.name not in known:
            return f"it called the tool {call.name}, which it does not have"
        try:
            _OBJECT.decode(call.arguments or "{}")
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return f"its arguments for {call.name} are not a JSON object"
    said = any(isinstance(part, Text) and part.text.strip() for part in done.parts)
    return "" if said or calls else "it said nothing"
