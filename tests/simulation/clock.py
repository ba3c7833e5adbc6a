"""An event loop with a clock of its own: when nothing is left to do now, time jumps to what is due next."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is left to do, now or later, and the story has not ended."""


class _Selector(selectors.SelectSelector):
    """Never waits: what it would have waited is added to the time."""

    passed_s = 0.0
    idle = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.idle += 1
            if self.idle > 3:
                raise Stuck("nothing is due")
            return []
        self.idle = 0
        if timeout > 0:
            self.passed_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is the virtual time in seconds, from 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.passed_s


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story under virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story)
    finally:
        loop.close()
