"""Executions that wait and pause on their actor: no wake-up is lost, nothing begins that is held, nobody is forsaken."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import orjson
import pytest

from actors.outside import Nobody, NodeRun
from store.memory_executions import MemoryExecutions
from tests.unit.actors.plant import Plant, Process
from workflow.ports import Claimed, LeaseEnd, SignalKind
from workflow.resting import due_nodes
from workflow.spec import Catalog
from workflow.state import State
from workflow.states import ExecutionStatus
from workflow.waiting import Going, NewRequest, Request, Requests, RequestStatus

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


class Overdue(Nobody):
    """Asks about failures; the time of each is over as soon as it is asked, and finding that takes until `found`."""

    def __init__(self, plant: Plant, *, action: str) -> None:
        self.plant = plant
        self.response = {"action": action} if action else None
        self.found = asyncio.Event()
        self.looks = 0

    def requests(self, _claimed: Claimed, _run: NodeRun, _ordinal: int = 0, _lapses: int = 0) -> Requests:
        return self

    def at(self, _place: int) -> Requests:
        return self

    async def open(self, new: NewRequest) -> Request:
        assert new.expires_ms is not None
        self.plant.now_ms = new.expires_ms
        return Request(id=UUID(int=1), status=RequestStatus.PENDING, expires_ms=new.expires_ms)

    async def look(self, *, expire: bool = False) -> Request:
        assert expire
        self.looks += 1
        self.plant.world.changed.set()
        await self.found.wait()
        return Request(id=UUID(int=1), status=RequestStatus.TIMEOUT, response=self.response)


@pytest.mark.parametrize(
    ("kind", "action", "status"),
    [
        ("draw.break", "skip", COMPLETED),
        ("draw.flaky", "retry", COMPLETED),
        ("draw.break", "abort", ExecutionStatus.FAILED),
        ("draw.break", "", ExecutionStatus.FAILED),
        ("draw.once", "retry", ExecutionStatus.FAILED),
        ("draw.break", "replace", ExecutionStatus.FAILED),
    ],
)
async def test_time_decides_about_a_failure_when_nobody_has(
    plant: Plant, kind: str, action: str, status: ExecutionStatus
):
    outside = Overdue(plant, action=action)
    outside.found.set()
    process = plant.process(outside=outside)
    plant.world.failures["a"] = 1
    fields = {"on_error": "ask", "ask": {"timeout_ms": 60_000}}
    execution_id = await begun(plant, process, "a -> b", a=kind, nodes={"a": fields})

    await until(plant, execution_id, status)
    recovered = [event for event in plant.row(execution_id).events if event.kind == "node.recovered"]
    assert [orjson.loads(event.body)["by"] for event in recovered] == ["timeout"]


async def test_while_it_is_found_that_the_time_is_over_nothing_is_looked_for_in_a_circle(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
):
    rounds = []

    def counted(state: State, now_ms: int) -> list[int]:
        rounds.append(now_ms)
        return due_nodes(state, now_ms)

    monkeypatch.setattr("actors.execution.due_nodes", counted)
    outside = Overdue(plant, action="skip")
    process = plant.process(outside=outside)
    fields = {"on_error": "ask", "ask": {"timeout_ms": 60_000}}
    execution_id = await begun(plant, process, "a -> b", a="draw.break", nodes={"a": fields})
    await plant.world.until(lambda: outside.looks == 1)
    await wake(plant, process, execution_id, "a")
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(rounds) <= 1
    outside.found.set()

    await until(plant, execution_id, COMPLETED)
    assert outside.looks == 1


class AnsweredMeanwhile(Overdue):
    """What is asked is answered after it was looked at, and before that is heard."""

    async def open(self, new: NewRequest) -> Request:
        self.looks += 1
        if self.looks > 1:
            return Request(id=UUID(int=1), status=RequestStatus.ANSWERED, response={"action": "skip"})
        self.plant.world.changed.set()
        await self.found.wait()
        return Request(id=UUID(int=1), status=RequestStatus.PENDING)


async def test_an_answer_that_comes_while_it_is_being_asked_is_not_lost(plant: Plant):
    outside = AnsweredMeanwhile(plant, action="")
    process = plant.process(outside=outside)
    execution_id = await begun(plant, process, "a -> b", a="draw.break", nodes={"a": {"on_error": "ask"}})
    await plant.world.until(lambda: outside.looks == 1)
    await wake(plant, process, execution_id, "a")
    for _ in range(100):  # it hears of that
        await asyncio.sleep(0)
    outside.found.set()

    await until(plant, execution_id, COMPLETED)
    assert outside.looks == 2


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
