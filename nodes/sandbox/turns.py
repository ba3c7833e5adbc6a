"""Turns at a few places, shared fairly: who holds the fewest is next, and who holds none need not wait for the others to end."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class FairTurns:
    """`size` places, and `spare` ones more for whoever holds none while all are taken by others.

    A place is given to whoever of those waiting holds the fewest, and among these to who has waited longest.
    """

    def __init__(self, size: int, spare: int = 0) -> None:
        self._size = size
        self._spare = spare
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, whose: Hashable) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        await self._take(whose)
        try:
            yield
        finally:
            self._give_back(whose)

    async def _take(self, whose: Hashable) -> None:
        if whose not in self._waiting and self._may_have(whose):
            self._held[whose] += 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():
                self._give_back(whose)
            raise

    def _may_have(self, whose: Hashable) -> bool:
        taken = self._held.total()
        return taken < self._size or (not self._held[whose] and taken < self._size + self._spare)

    def _give_back(self, whose: Hashable) -> None:
        self._held[whose] -= 1
        if not self._held[whose]:
            del self._held[whose]
        while self._waiting:
            following = min(self._waiting, key=lambda each: self._held[each])  # the first of equals has waited longest
            if not self._may_have(following):
                return
            waiting = self._waiting.pop(following)
            given = waiting.popleft()
            if not given.cancelled():
                self._held[following] += 1
                given.set_result(None)
            if waiting:
                self._waiting[following] = waiting  # now behind those who have not been served since
