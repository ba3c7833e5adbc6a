"""Work for every item, several at a time; items fail one by one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workflow.spec import NodeContext

T = TypeVar("T")


async def for_each(
    context: NodeContext, count: int, at_once: int, work: Callable[[int], Awaitable[T]]
) -> list[tuple[int, T]]:
    """Return what `work` gave for each index that did not fail, in order. Raises `NodeError` where the node is to stop."""
    room = asyncio.Semaphore(at_once)
    given: dict[int, T] = {}

    async def one(index: int) -> None:
        async with room:
            with context.item(index):
                given[index] = await work(index)

    tasks = [asyncio.ensure_future(one(index)) for index in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return sorted(given.items())
