"""Sweeping goes on, whatever goes wrong."""

import asyncio

from actors.sweeping import sweep_for_ever
from workflow.errors import StoreUnavailable


async def test_a_sweep_that_failed_is_followed_by_the_next():
    swept: list[str] = []
    enough = asyncio.Event()

    async def sweep() -> int:
        swept.append("")
        if len(swept) == 1:
            raise StoreUnavailable("gone")
        if len(swept) == 3:
            enough.set()
        return len(swept)

    task = asyncio.create_task(sweep_for_ever("things", sweep, 0.001))
    async with asyncio.timeout(5):
        await enough.wait()
    task.cancel()

    assert len(swept) >= 3
