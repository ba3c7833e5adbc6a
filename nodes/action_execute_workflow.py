"""`action.execute_workflow`: executes another workflow of the workspace, once or for every item, and waits for it or not."""

from typing import Any
from uuid import UUID

import orjson

from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
)
from workflow.states import ExecutionStatus
from workflow.values import encode
from workflow.waiting import Child, ChildState, Suspend

CHILDREN_MAX = 10_000

SPEC = NodeSpec(
    type="action.execute_workflow",
    title="Execute a workflow",
    category="action",
    description=(
        "Executes another workflow of the same workspace: once with all items, or once for every item. Where it waits for the end it "
        "gives what the other execution gave, and is held in no process meanwhile. What is given must be what the other workflow's "
        "`input_schema` wants; else the item fails, and nothing is executed for it. A workflow cannot execute itself, not by way of "
        "others either, and no more than three are executed below one another."
    ),
    effect=Effect.EFFECT,
    suspends=True,
    each_item=True,
    timeout_ms=3_600_000,
    aliases=("execute_workflow", "sub_workflow", "subworkflow"),
    examples=(
        Example(
            title="One execution for every order, without waiting",
            config={
                "workflow_id": "0190a3c2-0000-7000-8000-000000000001",
                "mode": "each_item",
                "wait": False,
                "input": {"order": "{{ $json.id }}"},
            },
            items=[{"id": 7}, {"id": 8}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "workflow_id": {
                "type": "string",
                "title": "Workflow",
                "description": "Its id. An export leaves it empty; it has to be named again before it is executed.",
            },
            "version": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": 999_999_999,
                "title": "Version",
                "description": "A version of it; without one, the current version when the execution begins.",
            },
            "mode": {
                "enum": ["once", "each_item"],
                "default": "once",
                "title": "How often",
                "description": "`once`: one execution gets all items. `each_item`: every item gets an execution of its own.",
            },
            "wait": {
                "type": "boolean",
                "default": True,
                "title": "Wait for the end",
                "description": "Without waiting it gives one item for each execution, with its `execution_id`.",
            },
            "input": {
                "type": "object",
                "title": "Input",
                "description": "The input of the execution; without it the items' objects, or the item's.",
            },
        },
        "required": ["workflow_id"],
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    """Start the executions; give what they gave when all have ended. Woken, it finds again what could not be started."""
    waits = config.whole.get("wait", True)
    begun = set() if context.woken is None else {state.place for state in await context.children.states()}
    children = await _fitting(context, _children(context, config, items, begun, awaited=waits))
    ids = await context.children.start(list(children.values())) if children else []
    if not waits:
        started = zip(children, ids, strict=True)
        return {MAIN: [_item({"execution_id": str(identity)}, at, items, config) for at, identity in started]}
    states = await context.children.states()
    if any(not state.status.terminal for state in states):
        return Suspend()
    given: Items = []
    for state in states:
        with context.item(state.place):
            given.extend(_item(each, state.place, items, config) for each in _objects(_output(state)))
    return {MAIN: given}


async def _fitting(context: NodeContext, children: dict[int, Child]) -> dict[int, Child]:
    """Return those that may be started; an item whose execution would be given what its workflow does not want fails."""
    misfits = await context.children.misfits(list(children.values())) if children else {}
    for place, misfit in misfits.items():
        with context.item(place):
            raise misfit
    return {place: child for place, child in children.items() if place not in misfits}


def _children(
    context: NodeContext, config: Config, items: Items, begun: set[int], *, awaited: bool
) -> dict[int, Child]:
    """Return what is still to start, by the index of the item that it is for; what cannot be evaluated for an item fails with it."""
    places = range(len(items)) if config.whole.get("mode") == "each_item" else range(1)
    if len(places) > CHILDREN_MAX:
        message = f"{len(places)} executions at once are more than the {CHILDREN_MAX} that one node may start"
        raise NodeError(message, "too_many_children", {"retryable": False})
    children: dict[int, Child] = {}
    for place in places:
        if place in begun:
            continue
        with context.item(place):
            own = config.of(place) if items else config.whole
            data, version = own.get("input"), own.get("version")
            if data is None:
                objects = [item["json"] for item in items]
                data = objects[place] if config.whole.get("mode") == "each_item" else objects
            children[place] = Child(
                workflow_id=_workflow_id(own["workflow_id"]),
                version=None if version is None else int(version),  # JSON knows whole numbers with a point, too
                input=encode(data),
                place=place,
                awaited=awaited,
            )
    return children


def _workflow_id(text: Any) -> UUID:
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise NodeError(f"{text!r} is not the id of a workflow", "workflow_not_found", {"retryable": False}) from None


def _output(state: ChildState) -> Any:
    if state.status is not ExecutionStatus.COMPLETED:
        what = state.error_message or state.status.value
        fields = {"execution_id": str(state.id), "child_code": state.error_code, "retryable": False}
        raise NodeError(f"the execution {state.id} is {state.status.value}: {what}", "child_failed", fields)
    return None if state.output is None else orjson.loads(state.output)


def _objects(output: Any) -> list[JsonObject]:
    """Return an execution's output as objects: what its ends gave, one after the other, or what it answered."""
    if isinstance(output, dict) and all(_is_objects(value) for value in output.values()):
        return [each for part in output.values() for each in part]
    if _is_objects(output):
        return list(output)
    return [output] if isinstance(output, dict) else [{"value": output}]


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _item(json: JsonObject, place: int, items: Items, config: Config) -> Item:
    paired = place if config.whole.get("mode") == "each_item" else list(range(len(items)))
    return Item(json=json, paired_item=paired)


NODE_TYPE = NodeType(SPEC, run)
