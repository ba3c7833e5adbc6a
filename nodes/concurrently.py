"""Work side by side, so many at a time: of any kind, and for items, which fail one by one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workflow.spec import NodeContext

T = TypeVar("T")


async def side_by_side(count: int, at_once: int, work: Callable[[int], Awaitable[T]]) -> list[T]:
    """Return what `work` gave for each number below `count`, in order. The first failure ends the others and is raised."""
    room = asyncio.Semaphore(at_once)

    async def one(number: int) -> T:
        async with room:
            return await work(number)

    tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def for_each(
    context: NodeContext, count: int, at_once: int, work: Callable[[int], Awaitable[T]]
) -> list[tuple[int, T]]:
    """Return what `work` gave for each index that did not fail, in order. Raises `NodeError` where the node is to stop."""
    given: dict[int, T] = {}

    async def one(index: int) -> None:
        with context.item(index):
            given[index] = await work(index)

    await side_by_side(count, at_once, one)
    return sorted(given.items())
