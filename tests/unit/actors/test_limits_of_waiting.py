"""Time limits of what waits: a node that waits too long fails, and an execution whose time is over needs no slot to end."""

from typing import Any
from uuid import UUID

import pytest

from tests.unit.actors.plant import TTL_MS, Plant, Process
from tests.unit.actors.test_waiting import Forsaken, begun, until
from workflow.errors import NodeError
from workflow.ports import Claimed, LeaseEnd
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import PLACES_MAX, Going, Request, RequestStatus

WAITING, FAILED, COMPLETED = ExecutionStatus.WAITING, ExecutionStatus.FAILED, ExecutionStatus.COMPLETED
LIMIT_MS = 5_000


async def waits(plant: Plant, process: Process, drawing: str = "a", *, alone: bool = True, **of_node: Any) -> UUID:
    """Begin an execution whose node `a` waits, and has a limit; with `alone` the same process will go on with it."""
    plant.world.gate("a").set()
    nodes = {"a": {"timeout_ms": LIMIT_MS, **of_node}}
    execution_id = await begun(plant, process, drawing, a="draw.asking", nodes=nodes)
    await until(plant, execution_id, WAITING)
    if alone:
        process.owner.start()
    return execution_id


def pass_time(plant: Plant, process: Process, ms: int) -> None:
    """Let time pass, while the process keeps its lease."""
    plant.now_ms += ms
    process.leases.renew(process.id, TTL_MS)


async def test_a_node_that_waits_too_long_fails_though_its_actor_has_gone(plant: Plant):
    first, outside = plant.process(), Forsaken()
    execution_id = await waits(plant, first, alone=False)
    assert plant.row(execution_id).wake_ms == plant.now_ms + LIMIT_MS
    await first.kill(LeaseEnd.CRASHED)
    plant.now_ms += LIMIT_MS
    plant.process(outside=outside).owner.start()

    await until(plant, execution_id, FAILED)

    row = plant.row(execution_id)
    assert (row.error_code, row.error_node_id) == ("node_timeout", "a")
    assert row.error_message == "'a' took longer than its 5000 ms"
    assert plant.world.journal == ["look a"], "it is not called again"
    assert outside.kept == [[]]
    _, node = row.nodes["a", 0]
    assert (node.status, node.duration_ms, node.started_ms) == (NodeStatus.FAILED, LIMIT_MS, plant.now_ms - LIMIT_MS)


async def test_what_it_had_asked_is_withdrawn_where_the_execution_goes_on(plant: Plant):
    outside = Forsaken()
    process = plant.process(outside=outside)
    execution_id = await waits(plant, process, "a -> b", on_error="continue")
    pass_time(plant, process, LIMIT_MS)
    process.owner.wake()

    await until(plant, execution_id, COMPLETED)
    assert outside.kept == [[]]


async def test_another_attempt_has_its_own_time_and_wants_nothing_of_what_was_asked_before(plant: Plant):
    outside = Forsaken()
    process = plant.process(outside=outside)
    policy = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 0, "max_ms": 0}
    execution_id = await waits(plant, process, retry=policy)
    pass_time(plant, process, LIMIT_MS)
    process.owner.wake()
    await plant.world.until(lambda: plant.world.journal == ["look a"] * 2)
    await until(plant, execution_id, WAITING)
    assert plant.row(execution_id).wake_ms == plant.now_ms + LIMIT_MS
    assert outside.kept == [[Going("a", 0, PLACES_MAX)]]
    pass_time(plant, process, LIMIT_MS)
    process.owner.wake()

    await until(plant, execution_id, FAILED)
    assert plant.row(execution_id).error_code == "node_timeout"


async def test_while_somebody_is_asked_about_the_failure_it_only_waits_for_that(plant: Plant):
    class Unanswered(Forsaken):
        def requests(self, claimed: Claimed, run: object, ordinal: int = 0, lapses: int = 0) -> Any:
            return super().requests(claimed, run, ordinal, lapses) if not ordinal else Pending()

    outside = Unanswered()
    process = plant.process(outside=outside)
    execution_id = await waits(plant, process, on_error="ask")
    pass_time(plant, process, LIMIT_MS)
    process.owner.wake()
    await plant.world.until(
        lambda: plant.row(execution_id).events[-1].kind == "execution.waiting" and outside.kept != []
    )

    assert plant.row(execution_id).wake_ms is None
    assert outside.kept[0] == [Going("a", 0, PLACES_MAX)]


class Pending:
    async def open(self, new: object) -> Any:
        return Request(id=UUID(int=5), status=RequestStatus.PENDING)


@pytest.mark.parametrize("free", [0, 1])
async def test_what_rests_and_has_no_time_left_ends_whether_a_slot_is_free(plant: Plant, free: int):
    process = plant.process(slots=1 + free)
    plant.world.gate("a").set()
    execution_id = await begun(plant, process, "a", a="draw.asking", settings={"timeout_ms": LIMIT_MS})
    await until(plant, execution_id, WAITING)
    assert plant.row(execution_id).deadline_ms == plant.now_ms + LIMIT_MS
    await plant.push(process, "b", b="draw.gate")
    await plant.world.until(lambda: "b" in plant.world.running)
    process.owner.start()
    pass_time(plant, process, LIMIT_MS)
    process.owner.wake()

    await until(plant, execution_id, ExecutionStatus.TIMEOUT)

    row = plant.row(execution_id)
    assert row.error_message == f"the execution took longer than its {LIMIT_MS} ms"
    assert "b" in plant.world.running


async def test_what_has_no_time_left_starts_nothing_on_its_way_to_the_end(plant: Plant):
    process = plant.process(slots=1)
    policy = {"max_attempts": 2, "backoff": "fixed", "initial_ms": LIMIT_MS, "max_ms": LIMIT_MS}
    plant.world.failures["a"] = 1
    plant.world.gate("a").set()
    execution_id = await begun(
        plant, process, "a", a="draw.flaky", nodes={"a": {"retry": policy}}, settings={"timeout_ms": LIMIT_MS}
    )
    await until(plant, execution_id, WAITING)
    pass_time(plant, process, 2 * LIMIT_MS)
    process.owner.start()

    await until(plant, execution_id, ExecutionStatus.TIMEOUT)
    assert [event.kind for event in plant.row(execution_id).events][-2:] == ["execution.time_over", "execution.timeout"]
    assert all(event.kind != "node.completed" for event in plant.row(execution_id).events)


async def test_the_end_says_what_became_of_the_error_workflow(plant: Plant):
    class Reports(Forsaken):
        refuses = False

        async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> UUID:
            if self.refuses:
                raise NodeError("there is none", "workflow_not_found")
            return UUID(int=7)

    bodies = []
    for refuses in (False, True):
        outside = Reports()
        outside.refuses = refuses
        process = plant.process(outside=outside)
        run = await plant.push(process, "a", a="draw.break", settings={"error_workflow": str(UUID(int=9))})
        ended = await run
        assert ended is not None
        [event] = [each for each in plant.row(ended.id).events if each.kind == "execution.failed"]
        bodies.append(event.body)

    assert b'"error_workflow":{"execution_id":"00000000-0000-0000-0000-000000000007"}' in bodies[0]
    assert b'"error_workflow":{"refused":"workflow_not_found"}' in bodies[1]
