"""A few worker processes, used one evaluation at a time each, replaced when they are used up or must be killed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from nodes.sandbox.turns import FairTurns
from workflow.errors import NodeError

SPARE_WORKERS = 1
"""Beyond the size of a pool, for whoever has none while all are busy for others: their code may run for minutes."""


class Worker(Protocol):
    """A worker process as the pool sees it."""

    def reusable(self) -> bool:
        """Whether it is idle, alive and may take another evaluation."""
        ...

    def kill(self) -> None:
        """End the process at once, without waiting; may be called again and in any state."""
        ...

    def finish(self) -> None:
        """Wait for the end of a killed worker and free all that belongs to it; blocks."""
        ...


W = TypeVar("W", bound=Worker)


class WorkerPool(Generic[W]):
    """At most `size` workers at a time, made by `make` when needed, and a spare one. Workspaces use them in turns."""

    def __init__(self, make: Callable[[], W], size: int) -> None:
        self._make = make
        self._turns = FairTurns(size, SPARE_WORKERS)
        self._idle: list[W] = []
        self._busy: set[W] = set()
        self._ending: set[asyncio.Future[None]] = set()
        self._returned = asyncio.Event()
        self._closed = False

    @asynccontextmanager
    async def worker(self, whose: Hashable = None) -> AsyncIterator[W]:
        """Lend a worker to somebody. Afterwards it goes back if it says it is reusable, and is killed otherwise.

        Raises `NodeError` (`sandbox_closed`, retryable) after `close`.
        """
        async with self._turns.turn(whose):
            if self._closed:
                raise NodeError("the sandbox is closed", "sandbox_closed", {"retryable": True})
            worker = self._take()
            self._busy.add(worker)
            try:
                yield worker
            finally:
                self._busy.discard(worker)
                self._returned.set()
                if worker.reusable() and not self._closed:
                    self._idle.append(worker)
                else:
                    self._end(worker)

    async def close(self) -> None:
        """Kill every worker and wait until all are gone."""
        self._closed = True
        for worker in self._busy:
            worker.kill()
        while self._idle:
            self._end(self._idle.pop())
        while self._busy:
            self._returned.clear()
            await self._returned.wait()
        if self._ending:
            await asyncio.wait(self._ending)

    def _take(self) -> W:
        while self._idle:
            worker = self._idle.pop()
            if worker.reusable():
                return worker
            self._end(worker)
        return self._make()

    def _end(self, worker: W) -> None:
        worker.kill()
        # Freeing the memory of a large process takes tens of milliseconds, which the event loop does not have.
        ending = asyncio.get_running_loop().run_in_executor(None, worker.finish)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
