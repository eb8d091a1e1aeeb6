"""Another model where one fails."""

from collections.abc import AsyncIterator, Sequence

from famulus.core.errors import ContextOverflow, ModelError, ModelUnavailable, RateLimited
from famulus.core.protocols import Chunk, Model, Request, Restarted
from famulus.models.matched import Blind
from famulus.models.streamed import shown, streamed


class Fallback:
    """Asks the first of `models`, and the next when that one fails.

    Only `ModelError` kinds count as failing, so a bug of ours never looks like an outage. What is
    too long for one model goes only to one with a larger window. When all fail, the error is of
    the first one's kind and says why each of them failed. `on` is the kind of failure of the first
    one that brings in the others.
    """

    def __init__(self, models: Sequence[Model], *, on: type[ModelError] = ModelError) -> None:
        self.card = models[0].card
        self._models = tuple(models)
        self._on = on

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        failed: list[tuple[str, ModelError]] = []
        visible = False
        needed_tokens = 0
        for model in self._models:
            if model.card.context_tokens <= needed_tokens:
                continue
            if visible:
                name, why = failed[-1]
                yield Restarted(f"{name} failed, so {model.card.name} answers. {why}")
                visible = False
            try:
                async with streamed(model, request) as chunks:
                    async for chunk in chunks:
                        visible = shown(visible, chunk)
                        yield chunk
                return
            except ModelError as error:
                # Where the first one cannot see a picture, `Matched` knows who can.
                brings = isinstance(error, self._on) and not isinstance(error, Blind)
                if not failed and not brings:
                    raise
                failed.append((model.card.name, error))
                if isinstance(error, ContextOverflow):
                    needed_tokens = max(needed_tokens, model.card.context_tokens)
        raise _together(failed)


def _together(failed: Sequence[tuple[str, ModelError]]) -> ModelError:
    _, first = failed[0]
    if len(failed) == 1:
        return first
    reasons = " ".join(f"{name}: {error}" for name, error in failed)
    said = f"None of the models could answer. {reasons}"
    if isinstance(first, RateLimited | ModelUnavailable):
        together: ModelError = type(first)(
            said,
            provider=first.provider,
            status=first.status,
            retry_after_seconds=first.retry_after_seconds,
        )
    else:
        together = type(first)(said, provider=first.provider, status=first.status)
    together.model = first.model
    return together
