"""A thread that takes all jobs that wait, does them together and wakes the event loop once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, Self, TypeVar

from famulus.core.errors import StoreError

Job = TypeVar("Job")

Work = Callable[[Sequence[Job]], Sequence[Any]]
"""Does a batch in order: one answer or one exception for each job."""

# A batch holds its write lock this long at most; 200 small transactions take about 5 ms.
_MOST_JOBS = 200


class _Waiting(NamedTuple):
    job: Any
    answer: asyncio.Future[Any]


class Lane(Generic[Job]):
    """Jobs are done in the order of the calls, also those whose caller is cancelled meanwhile.

    `source` is entered and left in the thread, so what it opens belongs to that thread. An async
    context manager of one event loop: entering raises what `source` raises, leaving waits for
    the queue.
    """

    def __init__(self, name: str, source: Callable[[], AbstractContextManager[Work[Job]]]) -> None:
        self._name = name
        self._source = source
        self._open = False

    def ask(self, job: Job) -> asyncio.Future[Any]:
        if not self._open:
            raise StoreError("The database is closed.")
        answer = self._loop.create_future()
        self._queue.put(_Waiting(job, answer))
        return answer

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        opened = self._loop.create_future()
        self._ended = self._loop.create_future()
        # A daemon: a process whose event loop died must be able to end. A commit stays atomic.
        Thread(target=self._live, args=(opened,), name=self._name, daemon=True).start()
        try:
            await opened
        except BaseException:
            self._queue.put(None)
            raise
        self._open = True
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._open = False
        self._queue.put(None)
        await self._ended

    def _live(self, opened: asyncio.Future[Any]) -> None:
        try:
            with self._source() as work:
                self._tell([opened], [None])
                self._serve(work)
        except Exception as error:  # noqa: BLE001  (whoever enters or leaves the lane gets it)
            self._tell([opened, self._ended], [error, None])
        else:
            self._tell([self._ended], [None])

    def _serve(self, work: Work[Job]) -> None:
        while True:
            waiting = [self._queue.get()]
            # This thread alone takes from the queue, so what it counts cannot vanish.
            waiting += [self._queue.get() for _ in range(min(self._queue.qsize(), _MOST_JOBS - 1))]
            batch = [one for one in waiting if one is not None]
            if batch:
                self._tell([one.answer for one in batch], self._do(work, batch))
            if len(batch) < len(waiting):
                return

    def _do(self, work: Work[Job], batch: Sequence[_Waiting]) -> Sequence[Any]:
        try:
            return work([one.job for one in batch])
        except Exception as error:  # noqa: BLE001  (the thread must outlive every job)
            return [error] * len(batch)

    def _tell(self, futures: Sequence[asyncio.Future[Any]], answers: Sequence[Any]) -> None:
        # The loop is closed when the program ends without leaving the lane: nobody waits then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, futures, answers)


def _resolve(futures: Sequence[asyncio.Future[Any]], answers: Sequence[Any]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
