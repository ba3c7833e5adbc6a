"""One execution on one owner: what is written when, what may start before it, what a failure or a cancel leaves behind."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from tests.contract.making import flush, node
from tests.unit.actors.plant import Plant
from workflow.events import ExecutionStarted, NodeCompleted, to_body
from workflow.ports import EventRow, LeaseEnd
from workflow.states import ExecutionStatus, NodeStatus


async def test_a_chain_of_pure_nodes_is_one_flush_with_its_end(plant: Plant):
    process = plant.process()

    finished = await (await plant.push(process, "a -> b -> c"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert finished.ending.shared is False
    assert len(process.flushes) == 1
    row = plant.row(finished.id)
    assert [e.kind for e in row.events] == ["execution.started", *["node.completed"] * 3, "execution.completed"]
    assert [e.seq for e in row.events] == [1, 2, 3, 4, 5]
    assert orjson.loads(row.output) == {"c": [{"n": 1}]}


async def test_it_is_kept_whether_an_execution_had_its_actor_to_itself(plant: Plant):
    process = plant.process()
    first = await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    second = await plant.push(process, "b")
    await second
    plant.world.gate("a").set()

    ends = [await first, await second, await (await plant.push(process, "c"))]

    assert [end.ending.shared for end in ends] == [True, True, False]
    assert [plant.row(end.id).shared for end in ends] == [True, True, False]


async def test_an_effect_starts_only_when_all_that_it_depends_on_is_committed(plant: Plant):
    process = plant.process()
    process.may_flush.clear()
    running = await plant.push(process, "a -> fx -> b")
    await plant.world.until(lambda: process.owner.active == 1)
    for _ in range(50):
        await asyncio.sleep(0)

    assert plant.world.journal == []
    process.may_flush.set()
    finished = await running
    assert plant.world.journal == [f"{finished.id}:fx:0"]
    kinds = [e.kind for e in process.flushes[0].events]
    assert kinds[:2] == ["execution.started", "node.completed"]


async def test_pure_nodes_do_not_wait_for_flushes(plant: Plant):
    process = plant.process()
    process.may_flush.clear()
    plant.world.gate("b").set()
    running = await plant.push(process, "a -> b -> c -> d", b="draw.gate", d="draw.gate")

    await plant.world.until(lambda: "d" in plant.world.running)
    process.may_flush.set()
    plant.world.gate("d").set()
    assert (await running).ending.status is ExecutionStatus.COMPLETED


async def test_results_that_arrive_one_after_the_other_are_all_taken_up(plant: Plant):
    process = plant.process()
    running = await plant.push(process, "a -> b -> d; a -> c -> d", b="draw.gate", c="draw.gate")
    await plant.world.until(lambda: plant.world.running == {"b", "c"})

    plant.world.gate("b").set()
    await plant.world.until(lambda: plant.world.running == {"c"})
    plant.world.gate("c").set()

    assert (await asyncio.wait_for(running, 5)).ending.status is ExecutionStatus.COMPLETED


async def test_an_at_most_once_node_starts_only_when_its_start_is_committed(plant: Plant):
    process = plant.process()

    finished = await (await plant.push(process, "a -> once -> b"))

    assert plant.world.journal == [f"{finished.id}:once:0"]
    before = process.flushes[0]
    assert before.events[-1].kind == "node.started"


async def test_a_node_that_the_document_wants_to_start_at_most_once_waits_for_its_start_to_be_committed(plant: Plant):
    process = plant.process()
    process.may_flush.clear()
    running = await plant.push(process, "fx", nodes={"fx": {"at_most_once": True}})
    for _ in range(100):
        await asyncio.sleep(0)
    assert plant.world.journal == []
    process.may_flush.set()

    finished = await running

    assert plant.world.journal == [f"{finished.id}:fx:0"]
    assert "node.started" in {event.kind for event in process.flushes[0].events}


async def test_an_at_most_once_node_whose_cause_is_committed_still_waits_for_its_start_to_be(plant: Plant):
    """Its owner had stumbled just before it: the next one of the same epoch has nothing to write but the start."""
    process = plant.process()
    accepted, _ = await plant.accept("a -> once", owner=process.id)
    before = [
        ExecutionStarted(at_ms=plant.now_ms, epoch=1),
        NodeCompleted(at_ms=plant.now_ms, node_id="a", run_index=0, attempt=1, handles={"main": 1}, duration_ms=1),
    ]
    rows = [
        EventRow(seq=seq, kind=event.kind, at_ms=event.at_ms, body=orjson.dumps(to_body(event)))
        for seq, event in enumerate(before, 1)
    ]
    part = flush(accepted.id, last_seq=0, nodes=[node("a", output=b'{"main": [{"json": {"n": 1}}]}')])
    await process.executions.flush([replace(part, events=rows)])
    process.may_flush.clear()
    process.owner.take(await process.executions.read_owned(process.id, accepted.id))
    for _ in range(100):
        await asyncio.sleep(0)

    assert plant.world.journal == []
    process.may_flush.set()
    await plant.world.until(lambda: plant.row(accepted.id).status.terminal)
    assert plant.world.journal == [f"{accepted.id}:once:0"]
    assert [row.kind for row in process.flushes[0].events] == ["node.started"]


async def test_nothing_visible_starts_past_the_deadline_of_the_lease(plant: Plant):
    process = plant.process()
    process.valid = False
    running = await plant.push(process, "fx -> b")
    await plant.world.until(lambda: bool(process.flushes))
    for _ in range(50):
        await asyncio.sleep(0)

    assert plant.world.journal == []
    process.valid = True
    finished = await running
    assert len(plant.world.journal) == 1
    assert finished.ending.status is ExecutionStatus.COMPLETED


async def test_a_failed_node_fails_the_execution_and_aborts_the_others(plant: Plant):
    process = plant.process()

    finished = await (await plant.push(process, "a -> b; a -> c -> d", b="draw.gate", c="draw.break"))

    assert finished.ending.status is ExecutionStatus.FAILED
    assert (finished.ending.error_code, finished.ending.error_node_id) == ("boom", "c")
    nodes = {n.node_id: n for _, n in plant.row(finished.id).nodes.values()}
    assert nodes["b"].status is NodeStatus.CANCELLED
    assert nodes["c"].error_message == "it broke"
    assert "d" not in nodes
    assert not plant.world.running


@pytest.mark.parametrize(
    ("what", "code"), [("nan", "nan_not_allowed"), ("nul", "nul_not_allowed"), ("big", "output_too_large")]
)
async def test_an_output_that_cannot_be_kept_is_the_nodes_failure(plant: Plant, what: str, code: str):
    finished = await (await plant.push(plant.process(), "a -> b", a=f"draw.strange:{what}"))

    assert finished.ending.status is ExecutionStatus.FAILED
    assert finished.ending.error_code == code


async def test_a_signal_to_cancel_aborts_what_is_under_way(plant: Plant):
    process = plant.process()
    running = await plant.push(process, "a -> b -> c", b="draw.gate")
    await plant.world.until(lambda: "b" in plant.world.running)
    (execution_id,) = plant.store.executions
    await plant.cancel(execution_id)

    await process.owner.deliver([execution_id])

    finished = await running
    assert finished.ending.status is ExecutionStatus.CANCELLED
    assert not plant.world.running
    assert plant.row(execution_id).error_message == "cancelled by me"
    assert not plant.store.unread


async def test_a_skipped_branch_has_rows_and_the_join_gets_what_is_live(plant: Plant):
    finished = await (await plant.push(plant.process(), "a:true -> b -> d; a:false -> c -> e -> d"))

    nodes = {n.node_id: n.status for _, n in plant.row(finished.id).nodes.values()}
    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert nodes == {
        "a": NodeStatus.COMPLETED,
        "b": NodeStatus.COMPLETED,
        "c": NodeStatus.SKIPPED,
        "e": NodeStatus.SKIPPED,
        "d": NodeStatus.COMPLETED,
    }
    assert finished.nodes_completed == 3


async def test_an_ambiguous_commit_is_recognised_and_nothing_is_written_twice(plant: Plant):
    process = plant.process()
    plant.store.fail_next_flush(after_commit=True)

    finished = await (await plant.push(process, "a -> fx -> b"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert [e.seq for e in plant.row(finished.id).events] == list(range(1, finished.last_seq + 1))


async def test_the_database_going_away_delays_but_loses_nothing(plant: Plant):
    process = plant.process()
    plant.store.fail_next_flush(after_commit=False)

    finished = await (await plant.push(process, "a -> fx -> b"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert len(plant.world.journal) == 1


async def test_a_fenced_owner_drops_the_execution_and_writes_nothing_more(plant: Plant):
    old, new = plant.process(), plant.process()
    plant.world.gate("b")
    running = await plant.push(old, "a -> b -> fx", b="draw.gate")
    await plant.world.until(lambda: bool(plant.row(next(iter(plant.store.executions))).events))
    (execution_id,) = plant.store.executions
    old.leases.end(old.id, LeaseEnd.EXPIRED)
    (taken,) = await new.executions.claim(new.id, 8, 0)
    new.owner.take(taken)
    await plant.world.until(lambda: plant.row(execution_id).last_seq >= 3)

    plant.world.gate("b").set()

    assert (await running) is None, "the former owner cannot tell"
    await plant.world.until(lambda: plant.row(execution_id).status.terminal)
    assert plant.row(execution_id).status is ExecutionStatus.COMPLETED
    assert len(plant.world.journal) == 1
