"""Room in the queue: asked for seldom, kept exactly within a replica, never in the way of what can be pushed."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

import pytest

from actors.ids import new_id
from serve_app.queue_room import COUNT_TTL_S, QueueRoom, queue_full
from workflow.errors import StoreUnavailable
from workflow.ports import Isolation

SPACE = new_id()


class Queue:
    """A database that counts, a clock that stands still, and the room between them."""

    def __init__(self, queued_max: int = 3) -> None:
        self.counts = {Isolation.POOLED: 0, Isolation.DEDICATED: 0}
        self.asked = 0
        self.broken = False
        self.now_s = 0.0
        self.room = QueueRoom(self._count, queued_max, now=lambda: self.now_s)

    async def _count(self, workspace_id: UUID, limit: int) -> Mapping[Isolation, int]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.broken:
            raise StoreUnavailable("gone")
        return {kind: min(count, limit) for kind, count in self.counts.items()}

    async def queue(self, isolation: Isolation = Isolation.POOLED) -> bool:
        """Queue one as a request does; whether there was room."""
        if await self.room.full(SPACE, pushable=False):
            return False
        self.room.enter(SPACE, isolation)
        await asyncio.sleep(0)  # the insert
        self.counts[isolation] += 1
        self.room.leave(SPACE, isolation, entered=True, queued=True)
        return True


async def test_the_database_is_asked_once_a_second_however_many_come():
    queue = Queue(queued_max=1_000)

    assert all(await asyncio.gather(*(queue.queue() for _ in range(50))))
    assert queue.asked == 1
    queue.now_s = COUNT_TTL_S
    assert await queue.queue()
    assert queue.asked == 2


async def test_of_many_that_come_at_once_no_more_are_queued_than_there_is_room_for():
    queue = Queue(queued_max=3)

    found = await asyncio.gather(*(queue.queue() for _ in range(10)))

    assert (sum(found), queue.counts[Isolation.POOLED]) == (3, 3)


async def test_room_that_actors_made_is_seen_with_the_next_count():
    queue = Queue(queued_max=3)
    while await queue.queue():
        pass
    queue.counts[Isolation.POOLED] = 1

    assert not await queue.queue()
    queue.now_s = COUNT_TTL_S
    assert await queue.queue()
    assert await queue.queue()
    assert not await queue.queue()


async def test_both_kinds_of_queued_executions_count():
    queue = Queue(queued_max=3)
    queue.counts = {Isolation.POOLED: 1, Isolation.DEDICATED: 1}

    assert await queue.queue(Isolation.DEDICATED)
    assert not await queue.queue()
    assert not await queue.queue(Isolation.DEDICATED)


async def test_what_can_be_pushed_is_neither_counted_nor_refused():
    queue = Queue(queued_max=1)
    queue.counts[Isolation.DEDICATED] = 5

    assert not await queue.room.full(SPACE, pushable=True)
    assert queue.asked == 0
    assert await queue.room.full(SPACE, pushable=False)
    assert not await queue.room.full(SPACE, pushable=True), "only what is pooled stands in its way"


async def test_what_was_queued_although_it_could_be_pushed_makes_the_replica_look():
    queue = Queue(queued_max=2)
    queue.counts[Isolation.POOLED] = 2
    queue.room.leave(SPACE, Isolation.POOLED, entered=False, queued=True)

    assert await queue.room.full(SPACE, pushable=True)
    queue.counts[Isolation.POOLED] = 0
    queue.now_s = COUNT_TTL_S
    assert not await queue.room.full(SPACE, pushable=True)


async def test_what_was_not_queued_after_all_takes_no_room():
    queue = Queue(queued_max=1)
    for queued in (False, True):
        assert not await queue.room.full(SPACE, pushable=False)
        queue.room.enter(SPACE, Isolation.POOLED)
        assert await queue.room.full(SPACE, pushable=False)
        queue.room.leave(SPACE, Isolation.POOLED, entered=True, queued=queued)

    assert await queue.room.full(SPACE, pushable=False)


async def test_without_a_limit_nobody_is_asked():
    queue = Queue(queued_max=0)
    queue.counts[Isolation.POOLED] = 10**6

    assert await queue.queue()
    assert queue.asked == 0


async def test_an_outage_is_told_and_the_next_one_asks_again():
    queue = Queue()
    queue.broken = True
    with pytest.raises(StoreUnavailable):
        await queue.queue()
    queue.broken = False

    assert await queue.queue()
    assert queue.asked == 2


def test_a_full_queue_says_when_to_come_back():
    error = queue_full(SPACE, 7)

    assert (error.status, error.code, error.fields["queued_max"]) == (429, "queue_full", 7)
    assert error.fields["retry_after_s"] >= 1
