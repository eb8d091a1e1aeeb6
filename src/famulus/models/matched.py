"""Pictures only for models that can see them."""

import logging
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from famulus.core.messages import Image, Message, Origin, Text, ToolResult, Usage
from famulus.core.protocols import Chunk, Done, Model, Request, TextDelta
from famulus.models.streamed import streamed
from famulus.models.withheld import turn_of

logger = logging.getLogger(__name__)


class Matched:
    """Asks `model`, but `vision` for a turn with a picture that `model` cannot see.

    Without a `vision`, a picture from the user is answered with how to get it seen, and nobody is
    asked. A picture that a tool gave, or one of an earlier turn, is no reason to refuse: the wires
    put a line of text in its place.
    """

    def __init__(self, model: Model, vision: Model | None = None) -> None:
        self.card = model.card
        self._model = model
        self.vision = vision

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        model = self._model
        if "image" not in self.card.inputs and (turn := turn_of(request.messages)):
            asked = any(isinstance(part, Image) for message in turn for part in message.parts)
            if self.vision and (asked or _shown_by_tools(turn)):
                model = self.vision
                request = _trusted(request, model)
                logger.info("pictures instead=%s model=%s", self.card.name, model.card.name)
            elif asked:
                text = self._refusal()
                yield TextDelta(text)
                yield Done(
                    parts=(Text(text, Origin.ASSISTANT),),
                    usage=Usage(),
                    reason="stop",
                    model=self.card.id,
                )
                return
        async with streamed(model, request) as chunks:
            async for chunk in chunks:
                yield chunk

    def _refusal(self) -> str:
        return (
            f"{self.card.name} cannot see pictures, so I have not asked it. Set agent.vision to a "
            "model that can and send the picture again, or describe it in words."
        )


def _shown_by_tools(messages: Sequence[Message]) -> bool:
    results = (part for each in messages for part in each.parts if isinstance(part, ToolResult))
    return any(isinstance(part, Image) for result in results for part in result.parts)


def _trusted(request: Request, model: Model) -> Request:
    """The request with the tools that the configuration trusts `model` with."""
    patterns = model.card.tools
    tools = [
        tool for tool in request.tools if any(fnmatchcase(tool.name, each) for each in patterns)
    ]
    return msgspec.structs.replace(request, tools=tuple(tools))
