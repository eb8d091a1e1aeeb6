"""Another try without pictures and documents."""

import logging
from collections.abc import AsyncIterator

import msgspec

from famulus.core.errors import ContextOverflow, ModelError, ModelRejected
from famulus.core.protocols import Chunk, Model, Request, Restarted
from famulus.models.streamed import shown, streamed

logger = logging.getLogger(__name__)


class Lightened:
    """Asks `model` once more without media when it refuses a request that has some.

    They are part of the conversation, so one that a vendor cannot read or finds too large would
    otherwise fail each message from then on. The wires put a line of text in their place.
    """

    def __init__(self, model: Model) -> None:
        self.card = model.card
        self._model = model

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        visible = False
        try:
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    visible = shown(visible, chunk)
                    yield chunk
            return
        except ModelError as error:
            if not (request.media and _may_be_media(error)):
                raise
            reason = str(error)
        logger.warning("asking without media model=%s reason=%s", self.card.name, reason)
        if visible:
            yield Restarted(reason)
        async with streamed(self._model, msgspec.structs.replace(request, media={})) as chunks:
            async for chunk in chunks:
                yield chunk


def _may_be_media(error: ModelError) -> bool:
    """Too large a body is an overflow of its own; a prompt that is too long is left to others."""
    if isinstance(error, ModelRejected):
        return error.status in (400, 413, 415, 422)
    return isinstance(error, ContextOverflow) and error.status == 413
