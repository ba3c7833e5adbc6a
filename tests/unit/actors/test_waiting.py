"""Executions that wait and pause on their actor: no wake-up is lost, nothing begins that is held, nobody is forsaken."""

from collections.abc import Collection
from uuid import UUID

from actors.outside import Nobody
from store.memory_executions import MemoryExecutions
from tests.unit.actors.plant import Plant, Process
from workflow.ports import Claimed, LeaseEnd, SignalKind
from workflow.spec import Catalog
from workflow.states import ExecutionStatus
from workflow.waiting import Going

WAITING, PAUSED, COMPLETED = ExecutionStatus.WAITING, ExecutionStatus.PAUSED, ExecutionStatus.COMPLETED


async def until(plant: Plant, execution_id: UUID, status: ExecutionStatus) -> None:
    await plant.world.until(lambda: plant.row(execution_id).status is status)


async def wake(plant: Plant, process: Process, execution_id: UUID, node_id: str) -> UUID:
    signal_id = UUID(int=len(plant.store.heard) + len(plant.store.unread) + 1)
    MemoryExecutions(plant.store).wake(signal_id, execution_id, node_id, 0)
    await process.owner.deliver([execution_id])
    return signal_id


async def begun(plant: Plant, process: Process, drawing: str, **options: object) -> UUID:
    await plant.push(process, drawing, **options)
    await plant.world.until(lambda: len(plant.store.executions) == 1)
    [execution_id] = plant.store.executions
    return execution_id


def unread(plant: Plant, execution_id: UUID) -> list[UUID]:
    return [signal.id for signal in plant.store.signals_of(execution_id)]


async def test_a_wake_up_that_comes_before_the_node_waits_is_not_lost(plant: Plant):
    process = plant.process()
    execution_id = await begun(plant, process, "a; b", a="draw.asking", b="draw.gate")
    await plant.world.until(lambda: plant.world.running == {"a", "b"})
    plant.world.answered.add("a")
    signal_id = await wake(plant, process, execution_id, "a")
    plant.world.gate("b").set()
    await plant.world.until(lambda: plant.row(execution_id).nodes_completed == 1)
    assert unread(plant, execution_id) == [signal_id], "whoever comes after a crash must hear of it, too"
    plant.world.gate("a").set()

    await until(plant, execution_id, COMPLETED)
    assert plant.world.journal == ["look a", "look a"]


async def test_a_wake_up_is_read_with_the_event_that_it_causes(plant: Plant):
    process = plant.process()
    plant.world.gate("a").set()
    execution_id = await begun(plant, process, "a", a="draw.asking")
    await until(plant, execution_id, WAITING)
    process.owner.start()
    signal_id = await wake(plant, process, execution_id, "a")
    process.owner.wake()
    await plant.world.until(lambda: plant.world.journal == ["look a", "look a"])
    await until(plant, execution_id, WAITING)

    [causing] = [part for part in process.flushes if any(row.kind == "node.woken" for row in part.events)]
    assert list(causing.signals_read) == [signal_id]
    assert unread(plant, execution_id) == []


async def test_a_wake_up_that_an_owner_has_only_heard_is_left_for_the_next(plant: Plant):
    process, heir = plant.process(), plant.process()
    execution_id = await begun(plant, process, "a", a="draw.asking")
    await plant.world.until(lambda: "a" in plant.world.running)
    await wake(plant, process, execution_id, "a")
    await process.kill(LeaseEnd.CRASHED)
    plant.world.answered.add("a")
    plant.world.gate("a").set()
    heir.owner.start()

    await until(plant, execution_id, COMPLETED)


async def test_while_paused_not_even_a_failed_node_is_tried_again(plant: Plant):
    process = plant.process()
    policy = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 0, "max_ms": 0}
    plant.world.failures["a"] = 1
    execution_id = await begun(plant, process, "a -> b", a="draw.gate", nodes={"a": {"retry": policy}})
    await plant.world.until(lambda: "a" in plant.world.running)
    await plant.wish(execution_id, SignalKind.PAUSE)
    await process.owner.deliver([execution_id])
    plant.world.gate("a").set()
    await until(plant, execution_id, PAUSED)
    kinds = [event.kind for event in plant.row(execution_id).events]
    assert "node.failed" in kinds
    assert "node.completed" not in kinds

    await plant.wish(execution_id, SignalKind.RESUME)
    process.owner.start()
    await until(plant, execution_id, COMPLETED)


class Forsaken(Nobody):
    """Notes what is forsaken."""

    def __init__(self) -> None:
        self.kept: list[list[Going]] = []

    async def forsake(self, claimed: Claimed, keep: Collection[Going]) -> None:
        self.kept.append(list(keep))


async def test_what_is_asked_is_forsaken_before_a_bad_end(plant: Plant):
    outside = Forsaken()
    process = plant.process(outside=outside)
    plant.world.gate("a").set()
    execution_id = await begun(plant, process, "a", a="draw.asking")
    await until(plant, execution_id, WAITING)
    assert outside.kept == []
    await plant.cancel(execution_id)
    process.owner.start()

    await until(plant, execution_id, ExecutionStatus.CANCELLED)
    assert outside.kept == [[]]


async def test_what_was_asked_by_a_definition_that_can_no_longer_be_run_is_forsaken(plant: Plant):
    first = plant.process()
    plant.world.gate("a").set()
    execution_id = await begun(plant, first, "a", a="draw.asking")
    await until(plant, execution_id, WAITING)
    await first.kill()
    await plant.cancel(execution_id)
    outside = Forsaken()
    without = Catalog({t.spec.type: t for t in plant.world.catalog() if t.spec.type != "draw.asking"})
    plant.process(catalog=without, outside=outside).owner.start()

    await until(plant, execution_id, ExecutionStatus.FAILED)

    assert outside.kept == [[]]
