"""Where work happens, and what is made of work that was lost with its process."""

import asyncio
from dataclasses import replace

import pytest

from actors import dispatch
from actors.config import EngineLimits
from actors.dispatch import Dispatcher
from actors.ids import new_id
from actors.work import Outcome, TaskCall, WorkerLost
from nodes import data_set
from nodes.sandbox import LocalSandbox
from tests.graphs import graph
from tests.unit.actors.plant import NoSandbox
from workflow.config import ConfigTemplate, Frame
from workflow.document import Resources
from workflow.errors import NodeError
from workflow.plan import PlanNode
from workflow.spec import Effect, NodeContext, NodeSpec, NodeType, Placement, Sandbox


class Tasks:
    """Tasks whose workers die as often as the test says."""

    def __init__(self, deaths: int = 0) -> None:
        self.deaths = deaths
        self.calls: list[TaskCall] = []

    async def run(self, call: TaskCall) -> Outcome:
        self.calls.append(call)
        if len(self.calls) <= self.deaths:
            raise WorkerLost("it died")
        return Outcome(outputs={"main": call.items}, logs="", placement=Placement.TASK, pid=2, host="there")


def node(run=None, effect: Effect = Effect.PURE, timeout_ms: int = 1_000, **resources: float) -> PlanNode:
    spec = NodeSpec(
        type="t", title="t", category="test", description="", config_schema={}, effect=effect, may_move=True
    )

    async def pass_through(_context, _config, items):
        return {"main": items}

    return replace(
        graph("a").nodes[0],
        type=NodeType(spec, run or pass_through),
        template=ConfigTemplate({}, spec),
        timeout_ms=timeout_ms,
        resources=Resources(**resources),
    )


def context(timeout_ms: int = 1_000, sandbox: Sandbox | None = None) -> NodeContext:
    return NodeContext(
        execution_id=new_id(),
        workflow_id=None,
        workflow_name="w",
        node_id="a",
        run_index=0,
        attempt=1,
        timeout_ms=timeout_ms,
        sandbox=sandbox or NoSandbox(),
    )


def frame(items=()) -> Frame:
    return Frame(items=list(items), execution_id=new_id(), workflow_id=None, workflow_name="w")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(dispatch, "LOSS_PAUSE_S", 0)


def dispatcher(tasks: Tasks | None = None) -> Dispatcher:
    limits = EngineLimits(inline_items_max=10, inline_bytes_max=1_000, task_losses_max=3)
    return Dispatcher(lambda _: NoSandbox(), tasks or Tasks(), limits, pid=1, host="here")


@pytest.mark.parametrize(
    ("resources", "items", "size", "expected"),
    [
        ({}, 1, 10, Placement.ACTOR),
        ({"cpu": 1}, 1, 10, Placement.TASK),
        ({"memory": 1}, 1, 10, Placement.TASK),
        ({}, 11, 10, Placement.TASK),
        ({}, 1, 1_001, Placement.TASK),
    ],
)
def test_work_leaves_the_actor_when_it_asks_for_resources_or_is_large(resources, items, size, expected):
    assert dispatcher().placement(node(**resources), items, size) is expected


async def test_lost_work_of_a_pure_node_is_begun_again():
    tasks = Tasks(deaths=2)

    outcome = await dispatcher(tasks).run(node(cpu=1), context(), frame([{"json": {}}]), Placement.TASK)

    assert outcome.pid == 2
    assert len(tasks.calls) == 3


async def test_work_that_is_lost_again_and_again_is_the_nodes_failure():
    tasks = Tasks(deaths=99)

    with pytest.raises(NodeError) as failed:
        await dispatcher(tasks).run(node(cpu=1), context(), frame(), Placement.TASK)

    assert failed.value.code == "worker_lost"
    assert failed.value.retryable
    assert len(tasks.calls) == 3


async def test_lost_work_that_is_visible_outside_is_never_begun_again():
    tasks = Tasks(deaths=1)

    with pytest.raises(NodeError):
        await dispatcher(tasks).run(node(effect=Effect.EFFECT, cpu=1), context(), frame(), Placement.TASK)

    assert len(tasks.calls) == 1


async def test_a_sandbox_that_was_killed_is_lost_work_and_a_users_error_is_not():
    tries = []

    async def crashes_once(_context, _config, items):
        tries.append("crash")
        if len(tries) == 1:
            raise NodeError("killed", "sandbox_crashed")
        return {"main": items}

    async def fails(_context, _config, _items):
        tries.append("fail")
        raise NodeError("no", "code_error")

    await dispatcher().run(node(crashes_once), context(), frame(), Placement.ACTOR)
    with pytest.raises(NodeError):
        await dispatcher().run(node(fails), context(), frame(), Placement.ACTOR)

    assert tries == ["crash", "crash", "fail"]


async def test_a_node_that_takes_too_long_and_one_that_breaks_are_node_errors():
    async def sleeps(_context, _config, _items):
        await asyncio.Event().wait()

    async def breaks(_context, _config, _items):
        raise ZeroDivisionError("oops")

    with pytest.raises(NodeError) as slow:
        await dispatcher().run(node(sleeps), context(timeout_ms=10), frame(), Placement.ACTOR)
    with pytest.raises(NodeError) as broken:
        await dispatcher().run(node(breaks), context(), frame(), Placement.ACTOR)

    assert slow.value.code == "node_timeout"
    assert (broken.value.code, broken.value.message) == ("node_crashed", "ZeroDivisionError: oops")


async def test_expressions_see_the_attempt_and_stay_within_its_time():
    plain = node()

    def with_config(text: str) -> PlanNode:
        return replace(plain, type=data_set.NODE_TYPE, template=ConfigTemplate({"values": {"x": text}}, data_set.SPEC))

    async with LocalSandbox(1) as sandbox:
        limits = EngineLimits(inline_items_max=10, inline_bytes_max=1_000, task_losses_max=3)
        runner = Dispatcher(lambda _: sandbox, Tasks(), limits, pid=1, host="here")
        seen = replace(frame([{"json": {}}]), run_index=2, now_ms=5, timezone="Asia/Tokyo")

        outcome = await runner.run(
            with_config("{{ [$runIndex, $now.toMillis(), $now.zoneName, $workflow.name] }}"),
            context(timeout_ms=20_000, sandbox=sandbox),
            seen,
            Placement.ACTOR,
        )
        with pytest.raises(NodeError) as endless:
            await runner.run(
                with_config("{{ (() => { while (true); })() }}"),
                context(timeout_ms=200, sandbox=sandbox),
                frame([{"json": {}}]),
                Placement.ACTOR,
            )

    assert outcome.outputs["main"][0]["json"] == {"x": [2, 5, "Asia/Tokyo", "w"]}
    assert (endless.value.code, endless.value.fields) == ("expression_timeout", {"timeout_ms": 200})
