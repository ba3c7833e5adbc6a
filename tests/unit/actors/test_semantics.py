"""What loops, tries, retries, errors that go on, disabled and pinned nodes mean for items and rows: the whole engine in one process."""

import orjson
import pytest

from tests.unit.actors.plant import Plant
from workflow.ports import LeaseEnd
from workflow.states import ExecutionStatus, NodeStatus

FAST = {"max_attempts": 3, "backoff": "fixed", "initial_ms": 1, "max_ms": 1}


def output(plant: Plant, finished) -> object:
    return orjson.loads(plant.row(finished.id).output)


def runs(plant: Plant, finished) -> dict[str, list[str]]:
    """Return the statuses of each node's runs, in order."""
    found: dict[str, list[str]] = {}
    for _, row in sorted(plant.row(finished.id).nodes.values(), key=lambda each: each[1].run_index):
        found.setdefault(row.node_id, []).append(row.status.value)
    return found


async def test_a_loop_really_iterates_and_gathers_what_its_body_returns(plant: Plant):
    finished = await (await plant.push(plant.process(), "start -> loop:loop -> fx -> loop; loop:done -> z"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert runs(plant, finished) == {
        "start": ["completed"],
        "loop": ["completed"] * 4,
        "fx": ["completed"] * 3,
        "z": ["completed"],
    }
    assert plant.world.journal == [f"{finished.id}:fx:{run}" for run in range(3)]
    assert output(plant, finished) == {"z": [{"n": 1}] * 3}


async def test_an_owner_that_dies_in_a_round_is_followed_by_one_that_goes_on_in_it(plant: Plant):
    first, second = plant.process(), plant.process()
    await plant.push(first, "start -> loop:loop -> b -> fx -> loop; loop:done -> z", b="draw.gate")
    plant.world.gate("b").set()
    (execution_id,) = plant.store.executions
    await plant.world.until(lambda: len(plant.world.journal) == 2)
    await first.kill(LeaseEnd.CRASHED)
    (taken,) = await second.executions.claim(second.id, 8, 0)
    second.owner.take(taken)

    await plant.world.until(lambda: plant.row(execution_id).status.terminal)

    assert plant.row(execution_id).status is ExecutionStatus.COMPLETED
    assert sorted(set(plant.world.journal)) == [f"{execution_id}:fx:{run}" for run in range(3)]
    assert orjson.loads(plant.row(execution_id).output) == {"z": [{"n": 1}] * 3}


async def test_a_failure_that_is_caught_goes_on_with_its_error(plant: Plant):
    finished = await (
        await plant.push(plant.process(), "start -> try:try -> a -> b; try:catch -> c; try:done -> d", a="draw.break")
    )

    assert output(plant, finished) == {"c": [{"code": "boom", "node_id": "a"}]}
    assert runs(plant, finished) == {
        "start": ["completed"],
        "try": ["completed", "completed"],
        "a": ["failed"],
        "c": ["completed"],
        "d": ["skipped"],
    }


@pytest.mark.parametrize(
    ("on_error", "drawing"), [("continue", "start -> a -> b"), ("error_output", "start -> a; a:error -> b")]
)
async def test_failed_items_go_on_with_their_error_beside_them(plant: Plant, on_error: str, drawing: str):
    finished = await (await plant.push(plant.process(), drawing, nodes={"a": {"on_error": on_error}}, a="draw.break"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    error = {"code": "boom", "message": "it broke", "node_id": "a"}
    assert output(plant, finished) == {"b": [{"n": 1, "error": error}]}
    assert runs(plant, finished)["a"] == ["failed"]


async def test_a_node_is_tried_as_often_as_it_says_and_each_attempt_is_recorded(plant: Plant):
    finished = await (
        await plant.push(plant.process(), "start -> a -> b", nodes={"a": {"retry": FAST}}, a="draw.break")
    )

    events = [orjson.loads(e.body) for e in plant.row(finished.id).events if e.kind == "node.failed"]
    assert [event["attempt"] for event in events] == [1, 2, 3]
    (_, row) = plant.row(finished.id).nodes["a", 0]
    assert (row.status, row.attempt, row.error_code) == (NodeStatus.FAILED, 3, "boom")
    assert finished.ending.status is ExecutionStatus.FAILED


async def test_a_node_that_succeeds_when_tried_again_is_like_any_other(plant: Plant):
    plant.world.failures["a"] = 2
    finished = await (
        await plant.push(plant.process(), "start -> a -> b", nodes={"a": {"retry": FAST}}, a="draw.flaky")
    )

    assert output(plant, finished) == {"b": [{"n": 1}]}
    (_, row) = plant.row(finished.id).nodes["a", 0]
    assert (row.status, row.attempt, row.error_code) == (NodeStatus.COMPLETED, 3, "")


@pytest.mark.parametrize("on_error", ["continue", "error_output"])
async def test_items_that_fail_one_by_one_are_tried_again_before_they_are_given_up(plant: Plant, on_error: str):
    plant.world.failures = {"a:1": 1, "a:2": 2, "a:3": 9, "a:4": 9}
    plant.world.final = {"a:4"}
    pinned = {"main": [{"p": number} for number in range(5)]}
    nodes = {"p": {"pinned": pinned}, "a": {"retry": FAST, "on_error": on_error}}

    finished = await (
        await plant.push(plant.process(), "start -> p -> a -> b; a:error -> c", nodes=nodes, a="draw.by_item")
        if on_error == "error_output"
        else await plant.push(plant.process(), "start -> p -> a -> b", nodes=nodes, a="draw.by_item")
    )

    error = {"code": "boom", "message": "it broke", "node_id": "a"}
    good, bad = [{"p": 0}, {"p": 1}, {"p": 2}], [{"p": 3, "error": error}, {"p": 4, "error": error}]
    wanted = {"b": good, "c": bad} if on_error == "error_output" else {"b": [*good, *bad]}
    assert output(plant, finished) == wanted
    assert plant.world.journal == [f"a:{index}" for index in range(5)] * 3
    events = [orjson.loads(e.body) for e in plant.row(finished.id).events if e.kind == "node.failed"]
    assert [event["attempt"] for event in events] == [1, 2]
    (_, row) = plant.row(finished.id).nodes["a", 0]
    assert (row.status, row.attempt) == (NodeStatus.COMPLETED, 3)


async def test_an_item_whose_failure_is_final_takes_no_other_attempt(plant: Plant):
    plant.world.failures, plant.world.final = {"a:0": 9}, {"a:0"}
    nodes = {"a": {"retry": FAST, "on_error": "continue"}}

    finished = await (await plant.push(plant.process(), "start -> a -> b", nodes=nodes, a="draw.by_item"))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert plant.world.journal == ["a:0"]


async def test_a_loop_that_fails_and_goes_on_goes_on_behind_its_body(plant: Plant):
    nodes = {"loop": {"on_error": "continue"}}
    drawing = "start -> loop:loop -> fx -> loop; loop:done -> z"

    finished = await (await plant.push(plant.process(), drawing, nodes=nodes, loop="draw.broken_loop"))

    assert runs(plant, finished) == {"start": ["completed"], "loop": ["failed"], "fx": ["skipped"], "z": ["completed"]}
    assert plant.world.journal == []
    error = {"code": "boom", "message": "it broke", "node_id": "loop"}
    assert output(plant, finished) == {"z": [{"n": 1, "error": error}]}


async def test_what_other_nodes_follow_in_a_cycle_by_hand_is_no_end(plant: Plant):
    settings = {"cycles": "allow", "max_node_runs": 5}
    drawing = "start -> poll -> if; if:true -> z; if:false -> poll"

    finished = await (await plant.push(plant.process(), drawing, settings=settings))

    assert finished.ending.status is ExecutionStatus.COMPLETED
    assert set(output(plant, finished)) == {"z"}


async def test_disabled_nodes_pass_on_and_pinned_ones_give_what_is_pinned(plant: Plant):
    nodes = {"fx": {"disabled": True}, "once": {"pinned": {"main": [{"p": 1}, {"p": 2}]}}}
    finished = await (await plant.push(plant.process(), "start -> fx -> a; start -> once -> b", nodes=nodes))

    assert output(plant, finished) == {"a": [{"n": 1}], "b": [{"p": 1}, {"p": 2}]}
    assert plant.world.journal == []


async def test_an_execution_has_a_time_limit_that_counts_from_its_start(plant: Plant):
    finished = await (await plant.push(plant.process(), "start -> a -> b", settings={"timeout_ms": 30}, a="draw.gate"))

    assert finished.ending.status is ExecutionStatus.TIMEOUT
    assert finished.ending.error_code == "execution_timeout"
    assert runs(plant, finished) == {"start": ["completed"], "a": ["cancelled"]}
    assert plant.row(finished.id).status is ExecutionStatus.TIMEOUT


async def test_a_recovered_execution_has_only_what_is_left_of_its_time(plant: Plant):
    first = plant.process()
    await plant.push(first, "start -> a -> b", settings={"timeout_ms": 60_000}, a="draw.gate")
    await plant.world.until(lambda: "a" in plant.world.running)
    (execution_id,) = plant.store.executions
    await plant.world.until(lambda: plant.row(execution_id).last_seq > 0)
    await first.kill(LeaseEnd.CRASHED)
    plant.now_ms += 60_001
    second = plant.process()
    (taken,) = await second.executions.claim(second.id, 8, 0)
    second.owner.take(taken)

    await plant.world.until(lambda: plant.row(execution_id).status.terminal)

    assert plant.row(execution_id).status is ExecutionStatus.TIMEOUT


async def test_no_more_nodes_are_under_way_than_the_workflow_allows(plant: Plant):
    names = "abcdef"
    drawing = "; ".join(f"start -> {name}" for name in names)
    running = await plant.push(
        plant.process(), drawing, settings={"max_parallel_nodes": 2}, **dict.fromkeys(names, "draw.gate")
    )
    for name in names:
        await plant.world.until(lambda name=name: name in plant.world.running)
        assert len(plant.world.running) <= 2
        plant.world.gate(name).set()
    assert (await running).ending.status is ExecutionStatus.COMPLETED


async def test_an_error_of_our_own_ends_the_execution_and_tells_no_rows(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    process = plant.process()
    flush = process.executions.flush

    async def broken(parts):
        monkeypatch.setattr(process.executions, "flush", flush)
        raise RuntimeError("Failing row contains (a secret)")

    monkeypatch.setattr(process.executions, "flush", broken)
    finished = await (await plant.push(process, "start -> a"))

    ending = finished.ending
    assert (ending.status, ending.error_code) == (ExecutionStatus.FAILED, "engine_error")
    assert "RuntimeError" in ending.error_message
    assert "secret" not in ending.error_message
