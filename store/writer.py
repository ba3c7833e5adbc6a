"""Adaptive group commit: flush at once when idle, otherwise everything that came while the last flush was under way.

One flush at a time, so an execution is never in two. Within a batch items keep the order in which they were submitted.
The engine waits for the answer to one flush of an execution before it submits the next, so a batch has each one once.
"""

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from workflow.errors import StoreUnavailable, Unavailable

T = TypeVar("T")
R = TypeVar("R")
CROWD = 8
"""After a batch of so many the next one gathers, where that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before trying again after an outage: doubling, between half and all of it by chance."""

    initial_ms: int = 20
    max_ms: int = 2_000

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after so many failures in a row; `chance` is in [0, 1)."""
        ceiling_ms = min(self.max_ms, self.initial_ms << min(failures, 20))
        return ceiling_ms * (0.5 + chance / 2) / 1000


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T, R]):
    item: T
    size: int
    answer: "asyncio.Future[R]"


class GroupWriter(Generic[T, R]):
    """Groups what many coroutines submit into batches for `flush`, which answers each item in order.

    A batch has at most `batch_max` items, and their sizes, as `size_of` tells them, are at most `size_max` together.

    After a batch of `CROWD` or more, the next one gathers for `gather_ms`: a statement costs the more by itself than by its rows.
    Who comes alone never waits for that.

    On `StoreUnavailable` a batch is tried again while `retry_while()` is true, else its waiters get the error.
    On any other error the batch is halved until the bad item stands alone: only its waiter gets the error.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        name: str,
        batch_max: int = 256,
        size_max: int = 4 * 1024 * 1024,
        gather_ms: float = 0,
        size_of: Callable[[T], int] | None = None,
        retry_while: Callable[[], bool] = lambda: False,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._flush = flush
        self._name = name
        self._batch_max = batch_max
        self._size_max = size_max
        self._gather_s = gather_ms / 1000
        self._crowded = False
        self._size_of = size_of
        self._retry_while = retry_while
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._queue: deque[_Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def waiting(self) -> int:
        """How many items wait for their flush to begin."""
        return len(self._queue)

    async def submit(self, item: T) -> R:
        """Return the answer to the item once its batch was flushed.

        A cancelled submit gives up the answer, not the write. Raises what `flush` raised for this item, and
        `Unavailable` after `close`.
        """
        if self._closing:
            raise Unavailable(f"the writer {self._name} is closed")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, self._size_of(item) if self._size_of else 0, answer))
        self._arrived.set()
        if self._task is None:
            # An empty context: the writer belongs to no request, and no request's cancellation may reach it.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"writer {self._name}", context=contextvars.Context()
            )
        return await answer

    async def close(self) -> None:
        """Flush what was submitted, then end. Let `retry_while` turn false first if the database may be away."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if self._crowded and len(self._queue) < self._batch_max and not self._closing:
                await asyncio.sleep(self._gather_s)
            batch = self._next_batch()
            self._crowded = self._gather_s > 0 and len(batch) >= CROWD
            await self._write(batch)

    def _next_batch(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        size = 0
        while self._queue and len(batch) < self._batch_max:
            if batch and size + self._queue[0].size > self._size_max:
                break
            waiting = self._queue.popleft()
            size += waiting.size
            batch.append(waiting)
        return batch

    async def _write(self, batch: list[_Waiting[T, R]]) -> None:
        # Halves go on a stack, not into a recursion: the left one first, so that order holds.
        left_over = [batch]
        while left_over:
            part = left_over.pop()
            try:
                answers = await self._flush_steadily([waiting.item for waiting in part])
            except Exception as error:  # noqa: BLE001 (whatever went wrong belongs to the waiters, never to the writer)
                if len(part) == 1 or isinstance(error, StoreUnavailable):
                    _give(part, error)
                else:
                    middle = len(part) // 2
                    left_over += [part[middle:], part[:middle]]
                continue
            for waiting, answer in zip(part, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)

    async def _flush_steadily(self, items: Sequence[T]) -> Sequence[R]:
        failures = 0
        while True:
            try:
                return await self._flush(items)
            except StoreUnavailable:
                if not self._retry_while():
                    raise
            await asyncio.sleep(self._backoff.delay_s(failures, self._chance()))
            failures += 1


def _give(batch: Sequence[_Waiting[T, R]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
