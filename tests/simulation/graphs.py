"""Random workflows for the simulation, and what a single fault-free evaluation of them gives."""

import hashlib
from collections import deque
from random import Random
from typing import Any
from uuid import UUID

import orjson

from actors.results import Results
from tests.graphs import node_type
from workflow.commands import FinishExecution, StartNode
from workflow.document import Document, parse_document
from workflow.errors import NodeError
from workflow.events import ExecutionStarted, NodeCompleted
from workflow.machine import step
from workflow.plan import Plan, make_plan
from workflow.regions import ReturnsFromOutside, TwoEntries
from workflow.spec import Catalog, Config, Effect, Item, Items, NodeContext, NodeType, Outputs
from workflow.state import initial
from workflow.states import ExecutionStatus

KINDS = (
    "sim.pure",
    "sim.work",
    "sim.branch",
    "sim.effect",
    "sim.once",
    "sim.task",
    "sim.loop",
    "sim.try",
    "sim.fails",
    "sim.wait",
    "sim.ask",
    "sim.call",
)
HANDLES = {
    "sim.branch": ("true", "false"),
    "sim.loop": ("loop", "done"),
    "sim.try": ("try", "catch", "done"),
}
INPUT = [{"n": 1}, {"n": 2}, {"n": 3}]


def draw_document(random: Random, nodes_max: int) -> dict[str, Any]:
    """Return a workflow that compiles: mostly forward connections, sometimes loops, tries, cycles by hand."""
    while True:
        count = random.randint(2, nodes_max)
        kinds = ["sim.trigger", *(random.choice(KINDS) for _ in range(count - 1))]
        links: dict[tuple[int, int, str], None] = {}
        for target in range(1, count):
            for source in random.sample(range(target), k=min(target, random.choice((1, 1, 1, 2)))):
                links[source, target, _handle(random, kinds[source])] = None
        for _ in range(random.choice((0, 0, 1, 2))):
            source, target = random.randint(1, count - 1), random.randint(1, count - 1)
            if target < source:
                links[source, target, _handle(random, kinds[source])] = None
        value = {
            "name": "simulated",
            "nodes": [_node(random, number, kind) for number, kind in enumerate(kinds)],
            "connections": [
                {"source": f"n{source}", "target": f"n{target}", "sourceHandle": handle}
                for source, target, handle in links
            ],
            "settings": {
                "cycles": "allow",
                "max_node_runs": 4,
                "max_parallel_nodes": random.choice((0, 0, 1, 2)),
                "timeout_ms": random.choice((0, 0, 0, 0, 20_000)),
            },
        }
        try:
            make_plan(parse_document(value), drawn_catalog())
        except (TwoEntries, ReturnsFromOutside):
            continue
        return value


def _handle(random: Random, kind: str) -> str:
    handles = HANDLES.get(kind, ("main",))
    return random.choice((handles[0], handles[0], *handles))


def _node(random: Random, number: int, kind: str) -> dict[str, Any]:
    node: dict[str, Any] = {"id": f"n{number}", "type": kind}
    if number and kind != "sim.once" and random.random() < 0.3:
        node["retry"] = {"max_attempts": random.randint(1, 3), "initial_ms": 200, "max_ms": 2_000}
    if number and random.random() < 0.4:
        node["on_error"] = random.choice(("continue", "error_output", "ask"))
        if node["on_error"] == "ask" and random.random() < 0.5:
            actions = (None, "skip", "abort") if kind == "sim.once" else (None, "retry", "skip", "abort")
            node["ask"] = {"timeout_ms": random.randint(1_000, 20_000), "auto_action": random.choice(actions)}
    if number and random.random() < 0.05:
        node["disabled"] = True
    if kind in ("sim.wait", "sim.ask", "sim.call") and random.random() < 0.4:
        node["timeout_ms"] = random.choice((1_500, 5_000, 15_000))
    return node


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone: a pure node gives the same whenever it is computed."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


async def _pure(context: NodeContext, _config: Config, items: Items) -> Outputs:
    return {"main": [Item(json={**item["json"], "by": context.node_id}, paired_item=i) for i, item in enumerate(items)]}


async def _branch(context: NodeContext, _config: Config, items: Items) -> Outputs:
    outputs: Outputs = {"true": [], "false": []}
    for index, item in enumerate(items):
        way = chance(context.execution_id, context.node_id, context.run_index, index) < 0.6
        outputs["true" if way else "false"].append(Item(json=item["json"], paired_item=index))
    return outputs


async def _fails(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Fail for good in a third of the executions."""
    if chance(context.execution_id, context.node_id) < 0.33:
        raise NodeError("it always does", "broken")
    return await _pure(context, config, items)


async def _loop(context: NodeContext, _config: Config, _items: Items) -> Outputs:
    assert context.round is not None
    here = context.round
    if here.number < len(here.entered) and here.number < 3:
        return {"loop": [Item(json=here.entered[here.number]["json"], paired_item=here.number)]}
    return {"done": here.collected if here.returns else here.entered}


async def _try(context: NodeContext, _config: Config, _items: Items) -> Outputs:
    assert context.round is not None
    here = context.round
    if here.number == 0:
        return {"try": here.entered}
    if here.caught is not None:
        return {"catch": [Item(json={"caught": here.caught.code})]}
    return {"done": here.returned or here.entered}


def drawn_catalog(**functions: NodeType) -> Catalog:
    """Return the node types of the drawings; `functions` replace those that do more than compute."""
    types = {
        "sim.trigger": node_type("sim.trigger", trigger=True, run=_pure),
        "sim.pure": node_type("sim.pure", run=_pure),
        "sim.work": node_type("sim.work", run=_pure),
        "sim.branch": node_type("sim.branch", HANDLES["sim.branch"], run=_branch),
        "sim.effect": node_type("sim.effect", effect=Effect.EFFECT, run=_pure),
        "sim.once": node_type("sim.once", effect=Effect.AT_MOST_ONCE, run=_pure),
        "sim.task": node_type("sim.task", run=_pure),
        "sim.fails": node_type("sim.fails", run=_fails),
        "sim.wait": node_type("sim.wait", suspends=True, run=_pure),
        "sim.ask": node_type("sim.ask", suspends=True, run=_pure),
        "sim.call": node_type("sim.call", suspends=True, run=_pure),
        "sim.loop": node_type("sim.loop", HANDLES["sim.loop"], body="loop", run=_loop),
        "sim.try": node_type("sim.try", HANDLES["sim.try"], body="try", catches=True, run=_try),
    }
    return Catalog({**types, **{name.replace("_", "."): found for name, found in functions.items()}})


async def evaluate(document: Document, execution_id: UUID) -> bytes | None:
    """Return the output of an undisturbed evaluation, one node after the other; None where it does not complete.

    Where a failure has a way on, or a limit is hit, the order of nodes may decide about the output, so that is None as well.
    """
    plan = make_plan(document, drawn_catalog())
    state = initial(plan, execution_id)
    results = Results(plan, orjson.dumps(INPUT))
    todo = deque(step(state, ExecutionStarted(at_ms=0, epoch=1)))
    while todo:
        command = todo.popleft()
        if isinstance(command, StartNode):
            outputs = await _compute(plan, results, state, command, execution_id)
            if outputs is None:
                return None
            counts, _ = results.accept(command.node, command.run_index, outputs, 10**9)
            event = NodeCompleted(
                at_ms=0,
                node_id=plan.nodes[command.node].id,
                run_index=command.run_index,
                attempt=command.attempt,
                handles=counts,
                duration_ms=0,
            )
            todo.extend(step(state, event))
        elif isinstance(command, FinishExecution) and command.status is not ExecutionStatus.COMPLETED:
            return None
    return results.output(state, 10**9)


async def _compute(plan: Plan, results: Results, state: Any, command: StartNode, execution_id: UUID) -> Outputs | None:
    node = plan.nodes[command.node]
    given = results.given(state, command.node)
    context = NodeContext(
        execution_id=execution_id,
        workflow_id=None,
        workflow_name="",
        node_id=node.id,
        run_index=command.run_index,
        attempt=1,
        timeout_ms=1,
        sandbox=None,  # type: ignore[arg-type]
        round=given.round,
        branches=given.branches,
    )
    try:
        return await node.type.run(context, Config({}), given.items)
    except NodeError:
        return None
