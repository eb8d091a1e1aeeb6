"""The turns that are not over here, and who waits for their answers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from famulus.engine.turns import Answer

T = TypeVar("T")


class Pending:
    """A turn is in it from before it is stored until it is over or somebody else's. An open row
    that is not in it is driven by nobody here.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}

    def __contains__(self, turn_id: str) -> bool:
        return turn_id in self._ids

    def add(self, turn_id: str) -> bool:
        """Whether it is new."""
        new = turn_id not in self._ids
        self._ids.add(turn_id)
        return new

    def discard(self, turn_id: str) -> None:
        self._ids.discard(turn_id)

    @contextmanager
    def expecting(self, turn_id: str) -> Iterator[asyncio.Future[Answer]]:
        """What becomes of a turn, from now on."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(turn_id, [])
        waiting.append(future)
        try:
            yield future
        finally:
            waiting.remove(future)
            if not waiting and self._waiting.get(turn_id) is waiting:
                del self._waiting[turn_id]

    def over(self, turn_id: str, answer: Answer) -> None:
        self._ids.discard(turn_id)
        for future in self._waiting.pop(turn_id, ()):
            tell(future, answer)

    def tell(self, turn_id: str, error: Exception) -> None:
        """Tell those who wait that nobody knows when it will be over."""
        for future in self._waiting.pop(turn_id, ()):
            tell(future, error)


def tell(future: asyncio.Future[T], outcome: T | Exception) -> None:
    """Unless whoever waited has left."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
