"""The group-commit writer: batching, order, cancelled waiters, bad items, outages."""

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from store.writer import Backoff, GroupWriter
from workflow.errors import StoreUnavailable, Unavailable


class Disk:
    """Records batches; holds a flush until it is let go; fails as told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.outages = 0
        self.under_way = 0
        self.most_under_way = 0

    async def flush(self, items: Sequence[int]) -> list[int]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.batches.append(list(items))
        self.begun.set()
        try:
            await self.open.wait()
            if self.outages:
                self.outages -= 1
                raise StoreUnavailable("away")
            if any(item < 0 for item in items):
                raise ValueError("bad item")
            return [item * 10 for item in items]
        finally:
            self.under_way -= 1


async def busy(disk: Disk, writer: GroupWriter[int, int]) -> "asyncio.Task[int]":
    """Have a first flush under way that waits."""
    disk.open.clear()
    first = asyncio.create_task(writer.submit(0))
    await disk.begun.wait()
    return first


async def started(writer: GroupWriter[int, int], items: Sequence[int]) -> "list[asyncio.Task[int]]":
    tasks = [asyncio.create_task(writer.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_an_idle_writer_flushes_at_once() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")

    assert [await writer.submit(item) for item in (1, 2)] == [10, 20]
    assert disk.batches == [[1], [2]]
    await writer.close()


async def test_what_comes_during_a_flush_goes_together_and_in_order() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")
    first = await busy(disk, writer)
    later = await started(writer, [3, 1, 2])
    disk.open.set()

    assert [await first, *[await task for task in later]] == [0, 30, 10, 20]
    assert disk.batches == [[0], [3, 1, 2]]
    assert disk.most_under_way == 1
    await writer.close()


async def test_batches_end_at_the_count_and_at_the_bytes() -> None:
    disk = Disk()
    by_count = GroupWriter(disk.flush, name="test", batch_max=2)
    first = await busy(disk, by_count)
    tasks = await started(by_count, [1, 2, 3])
    disk.open.set()
    await asyncio.gather(first, *tasks)
    counted, disk.batches = disk.batches, []
    disk.begun.clear()
    by_size = GroupWriter(disk.flush, name="test", size_max=5, size_of=lambda item: item)
    first = await busy(disk, by_size)
    tasks = await started(by_size, [2, 3, 9, 1])
    disk.open.set()
    await asyncio.gather(first, *tasks)

    assert counted == [[0], [1, 2], [3]]
    assert disk.batches == [[0], [2, 3], [9], [1]]
    await by_count.close()
    await by_size.close()


async def test_a_cancelled_waiter_does_not_kill_the_writer() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")
    first = await busy(disk, writer)
    later = await started(writer, [1, 2])
    first.cancel()
    later[0].cancel()
    disk.open.set()

    assert await later[1] == 20
    assert await writer.submit(3) == 30
    assert disk.batches == [[0], [1, 2], [3]], "a cancelled waiter gives up the answer, not the write"
    await writer.close()


async def test_only_the_bad_item_fails() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")
    first = await busy(disk, writer)
    later = await started(writer, [1, 2, -3, 4, 5])
    disk.open.set()
    await first
    answers = await asyncio.gather(*later, return_exceptions=True)

    assert [answer for answer in answers if isinstance(answer, int)] == [10, 20, 40, 50]
    assert isinstance(answers[2], ValueError)
    assert disk.batches[1:] == [[1, 2, -3, 4, 5], [1, 2], [-3, 4, 5], [-3], [4, 5]]
    await writer.close()


async def test_an_outage_is_retried_as_long_as_it_is_worth_it() -> None:
    disk = Disk()
    disk.outages = 3
    backoff = Backoff(initial_ms=1, max_ms=2)
    writer = GroupWriter(disk.flush, name="test", retry_while=lambda: True, backoff=backoff)

    assert await writer.submit(1) == 10
    assert disk.batches == [[1]] * 4
    await writer.close()


async def test_without_retry_an_outage_fails_all_waiters_at_once() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")
    first = await busy(disk, writer)
    later = await started(writer, [1, 2])
    disk.outages = 2
    disk.open.set()
    answers = await asyncio.gather(first, *later, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert disk.batches == [[0], [1, 2]], "an outage is nobody's fault: no bisection"
    assert await writer.submit(3) == 30
    await writer.close()


async def test_close_flushes_and_then_refuses() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test")
    first = await busy(disk, writer)
    [later] = await started(writer, [1])
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    disk.open.set()
    await closing

    assert (await first, await later) == (0, 10)
    with pytest.raises(Unavailable):
        await writer.submit(2)


async def test_the_writer_runs_in_an_empty_context() -> None:
    marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="unset")
    seen: list[str] = []

    async def flush(items: Sequence[int]) -> Sequence[int]:
        seen.append(marker.get())
        return items

    marker.set("of the request")
    writer = GroupWriter(flush, name="test")
    await writer.submit(1)

    assert seen == ["unset"]
    await writer.close()


def test_backoff_doubles_up_to_its_limit() -> None:
    backoff = Backoff(initial_ms=10, max_ms=100)

    assert [backoff.delay_s(failures, 0.0) for failures in (0, 1, 2, 10, 1000)] == [0.005, 0.01, 0.02, 0.05, 0.05]
    assert backoff.delay_s(10, 0.999) < 0.1


async def test_after_a_crowd_the_next_batch_gathers() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test", gather_ms=60_000)
    first = await busy(disk, writer)
    crowd = await started(writer, range(1, 9))
    disk.open.set()
    await asyncio.gather(first, *crowd)

    late = await started(writer, [20, 21])
    closing = asyncio.create_task(writer.submit(22))
    for _ in range(50):
        await asyncio.sleep(0)

    assert disk.batches == [[0], list(range(1, 9))], "it waits for company"
    for task in (*late, closing):
        task.cancel()


async def test_who_comes_alone_does_not_wait_for_company() -> None:
    disk = Disk()
    writer = GroupWriter(disk.flush, name="test", gather_ms=60_000)
    first = await busy(disk, writer)
    few = await started(writer, range(1, 8))
    disk.open.set()

    assert await asyncio.gather(first, *few, writer.submit(9)) == [item * 10 for item in (0, 1, 2, 3, 4, 5, 6, 7, 9)]
