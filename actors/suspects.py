"""The lane for suspects: an execution whose owner died may be why it died, so such executions are begun one after the other.

While one is alone on its actor this is noted with it, and a crash then counts against it; a crash among others counts for
nobody. It leaves the lane with its first flush, or when its time there is over; that grows with every owner lost without any
progress, so what kills slowly is caught, too, while bystanders of a crash are hardly held up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from workflow.ports import Claimed, Executions

FIRST_TURN_MS = 250
TURN_GROWTH = 4
TURN_MAX_MS = 64_000

R = TypeVar("R")


class SuspectLane:
    """Begins recovered executions one at a time, and knows which one is alone."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._lock = asyncio.Lock()
        self._begun = 0
        self._alone: Claimed | None = None

    async def beside(self, begin: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Drive an execution that is above suspicion."""
        await self._step_aside()
        self._begun += 1
        try:
            return await begin()
        finally:
            self._begun -= 1

    async def after_turn(
        self, claimed: Claimed, first_flush: asyncio.Event, begin: Callable[[], Coroutine[Any, Any, R]]
    ) -> R:
        """Drive a recovered execution: wait for the lane, begin alone if nothing else has begun here, then go on beside others."""
        task: asyncio.Task[R] | None = None
        try:
            async with self._lock:
                if self._begun == 0:
                    await self._executions.mark_alone(claimed.id, claimed.epoch, alone=True)
                    self._alone = claimed
                self._begun += 1
                task = asyncio.get_running_loop().create_task(begin())
                await _first_of(task, first_flush, turn_ms(claimed.losses))
                if self._alone is claimed:
                    await self._step_aside()
            return await task
        finally:
            if task is not None:
                self._begun -= 1
                task.cancel()

    async def _step_aside(self) -> None:
        alone, self._alone = self._alone, None
        if alone is not None:
            await self._executions.mark_alone(alone.id, alone.epoch, alone=False)


def turn_ms(losses: int) -> int:
    """Return how long an execution may keep the lane, by the owners it lost without progress."""
    return int(min(FIRST_TURN_MS * TURN_GROWTH ** max(0, min(losses, 10) - 1), TURN_MAX_MS))


async def _first_of(task: asyncio.Task[R], flushed: asyncio.Event, timeout_ms: int) -> None:
    waiting = asyncio.ensure_future(flushed.wait())
    try:
        await asyncio.wait({task, waiting}, timeout=timeout_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
