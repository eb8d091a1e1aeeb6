"""What the wrappers around a model share."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from famulus.core.protocols import Chunk, Model, ReasoningDelta, Request, Restarted, TextDelta


def streamed(model: Model, request: Request) -> "aclosing[AsyncGenerator[Chunk]]":
    """The model's answer, closed at the end of an `async with` whatever happens there."""
    return aclosing(cast("AsyncGenerator[Chunk]", model.stream(request)))


def shown(before: bool, chunk: Chunk) -> bool:
    """Whether somebody may have seen a piece of the answer, after `chunk`."""
    seen = isinstance(chunk, TextDelta | ReasoningDelta)
    return seen or (before and not isinstance(chunk, Restarted))
