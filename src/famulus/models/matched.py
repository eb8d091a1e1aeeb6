"""Pictures only for models that can see them."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from fnmatch import fnmatchcase

import msgspec

from famulus.core.errors import ModelRejected
from famulus.core.messages import Image, Origin, Text, ToolResult, Usage
from famulus.core.protocols import Chunk, Done, Model, Request, TextDelta
from famulus.models.streamed import streamed
from famulus.models.withheld import turn_of

logger = logging.getLogger(__name__)


class Blind(ModelRejected):
    """A server says that its model cannot see, though the card lets it. Nothing was sent to it."""

    def __init__(self, text: str, *, provider: str = "", status: int = 0) -> None:
        super().__init__(text, provider=provider, status=status)
        self.sent = False


class Matched:
    """Asks `model`, but `vision` for a turn with a picture that `model` cannot see, as its card or
    its server says.

    Without a `vision`, a picture from the user is answered with how to get it seen, and nobody is
    asked. A picture that a tool gave, or one of an earlier turn, is no reason to refuse: the wires
    put a line of text in its place.
    """

    def __init__(self, model: Model, vision: Model | None = None) -> None:
        self.card = model.card
        self._model = model
        self.vision = vision

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        blind = False
        if "image" not in self.card.inputs:
            asked = shows_picture(request)
            blind = asked or (self.vision is not None and _shown_by_tools(request))
        if not blind:
            try:
                async with streamed(self._model, request) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except Blind:
                pass  # said before any answer began
        async with aclosing(self._instead(request)) as answer:
            async for chunk in answer:
                yield chunk

    async def _instead(self, request: Request) -> AsyncGenerator[Chunk]:
        if self.vision is None:
            text = (
                f"{self.card.name} cannot see pictures, so I have not asked it. Set agent.vision "
                "to a model that can and send the picture again, or describe it in words."
            )
            yield TextDelta(text)
            yield Done(
                parts=(Text(text, Origin.ASSISTANT),),
                usage=Usage(),
                reason="stop",
                model=self.card.id,
            )
            return
        logger.info("pictures instead=%s model=%s", self.card.name, self.vision.card.name)
        async with streamed(self.vision, _trusted(request, self.vision)) as chunks:
            async for chunk in chunks:
                yield chunk


def shows_picture(request: Request) -> bool:
    """Whether the user's last words came with a picture."""
    parts = (part for message in turn_of(request.messages) for part in message.parts)
    return any(isinstance(part, Image) for part in parts)


def _shown_by_tools(request: Request) -> bool:
    turn = turn_of(request.messages)
    results = (part for each in turn for part in each.parts if isinstance(part, ToolResult))
    return any(isinstance(part, Image) for result in results for part in result.parts)


def _trusted(request: Request, model: Model) -> Request:
    """The request with the tools that the configuration trusts `model` with."""
    patterns = model.card.tools
    tools = [
        tool for tool in request.tools if any(fnmatchcase(tool.name, each) for each in patterns)
    ]
    return msgspec.structs.replace(request, tools=tuple(tools))
