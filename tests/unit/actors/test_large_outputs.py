"""Outputs that are too large for a row: durable before the flush that names them, fetched by the next owner, released in time."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from actors.config import BLOB_ABOVE_BYTES
from actors.results import Results
from actors.surroundings import Finished
from tests.graphs import graph
from tests.unit.actors.plant import WORKSPACE, Plant
from workflow.events import ExecutionStarted, NodeCompleted
from workflow.machine import step
from workflow.plan import Plan
from workflow.state import State, initial
from workflow.states import ExecutionStatus

LARGE = "draw.large:100000"


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    made = Plant()
    yield made
    await made.close()


async def recovered(plant: Plant, execution_id) -> None:
    """Let another process take up an execution and end it."""
    heir = plant.process()
    (claimed,) = await heir.executions.claim(heir.id, 1, 0)
    assert claimed.id == execution_id
    plant.world.gate("b").set()
    await heir.owner.run(claimed)


async def test_a_large_output_is_a_blob_and_the_row_names_it(plant: Plant):
    process = plant.process()
    finished = await (await plant.push(process, "a -> b", a=LARGE))
    row = plant.row(finished.id)
    a, b = (row.nodes[name, 0][1] for name in "ab")

    assert (a.output, a.output_ref.items) == (None, {"main": 1})
    assert len(plant.store.blobs[WORKSPACE, a.output_ref.sha256][0]) == a.output_ref.size > BLOB_ABOVE_BYTES
    assert b.output is None
    assert finished.ending.output is None
    output = plant.store.blobs[WORKSPACE, finished.ending.output_ref.sha256][0]
    assert len(orjson.loads(output)["b"][0]["text"]) == 100_000
    assert (row.output, row.output_ref) == (None, finished.ending.output_ref)


async def test_nothing_is_flushed_before_its_blobs_are_there(plant: Plant):
    process = plant.process()
    flush, absent = process.executions.flush, []

    async def watched(parts):
        named = [node.output_ref for part in parts for node in part.nodes if node.output_ref is not None]
        absent.extend(ref for ref in named if (WORKSPACE, ref.sha256) not in plant.store.blobs)
        return await flush(parts)

    process.executions.flush = watched
    for _ in range(3):
        plant.store.fail_next_put()
    finished = await (await plant.push(process, "a -> b -> c", a=LARGE))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert [node.output_ref is None for part in process.flushes for node in part.nodes] == [False] * 3
    assert absent == []


async def test_error_items_may_be_large(plant: Plant):
    process = plant.process()
    finished = await (
        await plant.push(process, "a -> b -> c", a=LARGE, b="draw.break", nodes={"b": {"on_error": "continue"}})
    )
    failed = plant.row(finished.id).nodes["b", 0][1]

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert (failed.output, failed.output_ref.items, failed.error_code) == (None, {"main": 1}, "boom")


async def test_the_next_owner_fetches_what_it_needs(plant: Plant):
    process = plant.process()
    task = await plant.push(process, "a -> z -> b -> c", a=LARGE, z=LARGE, b="draw.gate")
    await plant.world.until(
        lambda: (
            "b" in plant.world.running
            and any("z" in key for row in plant.store.executions.values() for key in row.nodes)
        )
    )
    (row,) = plant.store.executions.values()
    await process.kill()
    await asyncio.gather(task, return_exceptions=True)
    del plant.store.blobs[WORKSPACE, row.nodes["a", 0][1].output_ref.sha256]  # everybody who needed it is done
    await recovered(plant, row.new.id)

    assert row.status is ExecutionStatus.COMPLETED
    output = plant.store.blobs[WORKSPACE, row.output_ref.sha256][0]
    assert orjson.loads(output)["c"][0]["of"] == "z"


async def test_a_missing_blob_fails_its_execution_and_nothing_else(plant: Plant):
    process = plant.process()
    task = await plant.push(process, "a -> b -> c", a=LARGE, b="draw.gate")
    await plant.world.until(lambda: "b" in plant.world.running and bool(plant.store.blobs))
    (row,) = plant.store.executions.values()
    await plant.world.until(lambda: ("a", 0) in row.nodes)
    await process.kill()
    await asyncio.gather(task, return_exceptions=True)
    plant.store.blobs.clear()
    await recovered(plant, row.new.id)

    assert (row.status, row.error_code) == (ExecutionStatus.FAILED, "blob_missing")
    assert "is not there" in row.error_message


async def test_a_large_input_is_fetched_by_who_claims_it(plant: Plant):
    accepted, _ = await plant.accept("a -> b", large_input=True)
    process = plant.process()
    (claimed,) = await process.executions.claim(process.id, 1, 0)
    finished: Finished = await process.owner.run(claimed)
    output = plant.store.blobs[WORKSPACE, finished.ending.output_ref.sha256][0]

    assert accepted.id == finished.id
    assert len(orjson.loads(output)["b"][0]["text"]) == 100_000


def ended(results: Results, state: State, plan: Plan, name: str, handles: dict[str, int], run: int = 0) -> None:
    """A run has ended with so many items of 1,000 bytes on its handles."""
    index = plan.by_id[name]
    outputs = {handle: [{"json": {"text": "x" * 1000}}] * count for handle, count in handles.items()}
    results.accept(index, run, outputs, 10**9)
    counts = {handle: count for handle, count in handles.items() if count}
    step(
        state,
        NodeCompleted(at_ms=0, node_id=name, run_index=run, attempt=1, handles=counts, duration_ms=0),
    )
    results.settled(state, index, run)


def begun(drawing: str) -> tuple[Results, State, Plan]:
    plan = graph(drawing)
    state = initial(plan)
    step(state, ExecutionStarted(at_ms=0, epoch=1))
    return Results(plan, b"{}", released_above_bytes=500), state, plan


def held(results: Results, plan: Plan) -> list[str]:
    return [f"{plan.nodes[index].id}{run or ''}" for index, run in results._outputs]


def test_what_a_chain_has_passed_is_released():
    results, state, plan = begun("a -> b -> c -> d")
    for name, left in (("a", ["a"]), ("b", ["b"]), ("c", ["c"]), ("d", ["d"])):
        ended(results, state, plan, name, {"main": 1})
        assert held(results, plan) == left


def test_an_output_stays_until_the_last_that_is_given_it_has_settled():
    results, state, plan = begun("a -> b -> d; a -> c -> d; c -> e")
    for name in "abc":
        ended(results, state, plan, name, {"main": 1})
    assert held(results, plan) == ["b", "c"]
    ended(results, state, plan, "e", {"main": 1})
    assert held(results, plan) == ["b", "c", "e"]
    ended(results, state, plan, "d", {"main": 1})
    assert held(results, plan) == ["e", "d"]


def test_what_no_connection_takes_on_is_not_held():
    results, state, plan = begun("a:true -> b; a:false -> c")
    ended(results, state, plan, "a", {"true": 2, "false": 0})
    assert held(results, plan) == ["a"]
    ended(results, state, plan, "b", {"main": 0})
    assert held(results, plan) == ["b"], "an end is kept, whatever it gave"


def test_what_expressions_name_and_what_they_look_through_is_kept():
    nodes = {"d": {"config": {"x": "{{ $node['s'].json.n }}"}}}
    plan = graph("a -> b -> c -> d -> e; a -> s -> t", nodes=nodes)

    assert {plan.nodes[index].id for index in plan.kept} == {"a", "b", "c", "s", "e", "t"}


def test_what_leads_into_a_loop_is_kept_and_what_passes_through_its_body_is_not():
    results, state, plan = begun("a -> loop:loop -> b -> c -> loop; loop:done -> e")
    ended(results, state, plan, "a", {"main": 1})
    for run in range(2):
        ended(results, state, plan, "loop", {"loop": 1, "done": 0}, run)
        ended(results, state, plan, "b", {"main": 1}, run)
        ended(results, state, plan, "c", {"main": 1}, run)
    assert held(results, plan) == ["a", "c", "c1"]
    ended(results, state, plan, "loop", {"loop": 0, "done": 1}, 2)
    ended(results, state, plan, "e", {"main": 1})
    assert held(results, plan) == ["a", "c", "c1", "e"]
