"""Slots are shared by time between workspaces: a simulated owner over the store in memory, with durations and a clock of its own."""

import heapq
from dataclasses import dataclass, field
from uuid import UUID

from actors.fairness import Fairness
from store.memory import MemoryLeases, MemoryStore
from store.memory_executions import MemoryExecutions
from tests.contract.making import an_id, ending, flush, holder, new_execution

SLOTS = 8
FOR_EVER_MS = 10**9


@dataclass
class Simulated:
    """An owner whose executions only take time. What is claimed ends after the duration of its workspace."""

    slots: int = SLOTS
    now_ms: int = 0
    durations_ms: dict[UUID, int] = field(default_factory=dict)
    under_way: list[tuple[int, UUID, UUID, int, float]] = field(default_factory=list)
    began_ms: dict[UUID, int] = field(default_factory=dict)
    used_ms: dict[UUID, int] = field(default_factory=dict)
    idle_with_work: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryStore(lambda: self.now_ms)
        self.executions = MemoryExecutions(self.store)
        self.fairness = Fairness(lambda: self.now_ms)
        self.owner = an_id()
        MemoryLeases(self.store).register(holder(self.owner), FOR_EVER_MS)

    async def queue(self, workspace: UUID, count: int, duration_ms: int, priority: int = 5) -> list[UUID]:
        self.durations_ms[workspace] = duration_ms
        news = [new_execution(workspace, priority=priority) for _ in range(count)]
        await self.executions.accept(news)
        return [new.id for new in news]

    async def run_until(self, until_ms: int) -> None:
        while True:
            await self._claim()
            if not self.under_way or self.under_way[0][0] > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = self.under_way[0][0]
            while self.under_way and self.under_way[0][0] <= self.now_ms:
                _, execution_id, workspace, epoch, begun = heapq.heappop(self.under_way)
                self.fairness.end(workspace, begun)
                self.used_ms[workspace] = self.used_ms.get(workspace, 0) + self.durations_ms[workspace]
                await self.executions.flush([flush(execution_id, epoch=epoch, ending=ending())])
                del self.store.executions[execution_id]

    async def _claim(self) -> None:
        free = self.slots - len(self.under_way)
        if not free:
            return
        for claimed in await self.executions.claim(self.owner, free, 0, self.fairness.shares()):
            workspace = claimed.workspace_id
            begun = self.fairness.begin(workspace)
            self.began_ms[claimed.id] = self.now_ms
            end_ms = self.now_ms + self.durations_ms[workspace]
            heapq.heappush(self.under_way, (end_ms, claimed.id, workspace, claimed.epoch, begun))
        waiting = any(row.status.value == "queued" for row in self.store.executions.values())
        self.idle_with_work += waiting and len(self.under_way) < self.slots


async def test_a_long_queue_delays_nobody_else_by_more_than_the_next_free_slot() -> None:
    engine, heavy, light = Simulated(), an_id(), an_id()
    await engine.queue(heavy, 400, 200)
    waits = []
    for at_ms in range(1_050, 8_000, 777):
        await engine.run_until(at_ms)
        [one] = await engine.queue(light, 1, 10)
        await engine.run_until(at_ms + 400)
        waits.append(engine.began_ms[one] - at_ms)

    assert max(waits) <= 200
    assert engine.idle_with_work == 0


async def test_workspaces_share_slots_by_time_and_not_by_count() -> None:
    engine, slow, fast = Simulated(), an_id(), an_id()
    await engine.queue(slow, 40, 2_000)
    await engine.queue(fast, 900, 50)
    await engine.run_until(8_000)

    assert 0.8 < engine.used_ms[slow] / engine.used_ms[fast] < 1.25


async def test_with_a_single_slot_it_is_the_time_that_was_used_that_counts() -> None:
    engine, slow, fast = Simulated(slots=1), an_id(), an_id()
    await engine.queue(slow, 20, 1_000)
    await engine.queue(fast, 150, 100)
    await engine.run_until(20_000)

    assert 0.8 < engine.used_ms[slow] / engine.used_ms[fast] < 1.25


async def test_more_workspaces_than_slots_all_have_their_turn() -> None:
    engine = Simulated(slots=2)
    spaces = [an_id() for _ in range(9)]
    for space in spaces:
        await engine.queue(space, 40, 100)
    await engine.run_until(9_000)

    assert set(engine.used_ms) == set(spaces)
    assert max(engine.used_ms.values()) - min(engine.used_ms.values()) <= 200


async def test_priority_counts_within_a_workspace_and_starves_no_other() -> None:
    engine, loud, quiet = Simulated(), an_id(), an_id()
    ordinary = await engine.queue(loud, 100, 100, priority=5)
    urgent = await engine.queue(loud, 100, 100, priority=10)
    humble = await engine.queue(quiet, 100, 100, priority=1)
    await engine.run_until(1_050)

    begun = set(engine.began_ms)
    assert len(begun & set(humble)) >= 40
    assert len(begun & set(urgent)) >= 40
    assert not begun & set(ordinary)


async def test_one_alone_has_all_slots_and_owes_nothing_for_it() -> None:
    engine, first, second = Simulated(), an_id(), an_id()
    await engine.queue(first, 300, 100)
    await engine.run_until(2_000)
    alone_ms = engine.used_ms[first]
    await engine.queue(second, 150, 100)
    await engine.run_until(4_000)

    assert alone_ms >= (2_000 - 100) * SLOTS
    assert 0.8 < (engine.used_ms[first] - alone_ms) / engine.used_ms[second] < 1.25, "neither credit nor debt"


def test_only_so_many_workspaces_are_remembered_and_those_with_a_lead_longest() -> None:
    now = [0.0]
    fairness = Fairness(lambda: now[0])
    holder, greedy = an_id(), an_id()
    fairness.begin(holder)
    begun = fairness.begin(greedy)
    now[0] += 60_000
    fairness.end(greedy, begun)
    for _ in range(3_000):
        space = an_id()
        begun = fairness.begin(space)
        now[0] += 1
        fairness.end(space, begun)

    assert len(fairness) <= 1_024
    assert fairness.holding() == [holder]
    assert greedy in {share.workspace_id for share in fairness.shares()}
