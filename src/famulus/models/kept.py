"""The model for turns that a rule keeps on this machine."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from famulus.core.errors import ModelError, ModelRejected
from famulus.core.protocols import Chunk, Done, Model, Request, ToolSpec
from famulus.models.answers import unknown_call
from famulus.models.routed import offered_tools
from famulus.models.streamed import streamed

# Not which rule, nor which words: that is told to whoever asks what was spent.
_ROUTE = "kept here: a local rule matches"
_ALONE = "(A rule keeps this message on this machine, so no other model was asked.)"


class Kept:
    """A local model with the tools that match `tools`, and nobody behind it: a failure is shown.

    What a tool writes is not marked, so it may call no others. `Done.route` says that a rule
    chose it.
    """

    def __init__(self, model: Model, tools: Sequence[str]) -> None:
        self.card = model.card
        self._model = model
        self._tools = tuple(tools)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        tools = offered_tools(request.tools, self._tools, self.card.tools)
        caller = msgspec.structs.replace(request.caller, reason=_ROUTE)
        request = msgspec.structs.replace(request, tools=tools, caller=caller)
        try:
            async with streamed(self._model, request) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, Done):
                        self._check(chunk, tools)
                        yield msgspec.structs.replace(chunk, route=_ROUTE)
                    else:
                        yield chunk
        except ModelError as error:
            error.args = (f"{error} {_ALONE}",)
            raise

    def _check(self, done: Done, tools: Sequence[ToolSpec]) -> None:
        if reason := unknown_call(done, tools):
            raise ModelRejected(
                f"{self.card.name} failed: {reason}. In a private turn it has the tools of "
                "router.local_tools."
            )
