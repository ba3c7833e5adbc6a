"""Execute again what has ended: retry what failed, replay it as a whole or from a node; execute one node of a workflow."""

from time import monotonic
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from actors.ids import new_id
from serve_app.accepting import Request as Accepting
from serve_app.auth import Executor
from serve_app.bodies import PRIORITY_DEFAULT, parse_object, read_body
from serve_app.once import execution_key
from serve_app.openapi import DOCUMENT_REF
from serve_app.parts import cut_out
from serve_app.repeating import Wish, replay, retry, with_last_data
from serve_app.routes.asking import NUMBER_MAX, Asked, ExecutionId, WorkflowId, wait_seconds
from serve_app.routes.executions import ANSWERS, accept, body_of, follow
from serve_app.services import Runnable, Services
from store.repeating import ONE_NODE
from workflow.errors import Unprocessable
from workflow.inputs import input_json
from workflow.parts import sources
from workflow.ports import Accepted, NewExecution

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["executions"])

REPLAY_FIELDS = frozenset({"from_node", "input", "version", "definition"})
NODE_FIELDS = frozenset({"items", "data"})
OBJECTS = {"type": "array", "items": {"type": "object"}}
REPLAY_SCHEMA = {
    "from_node": {
        "type": "string",
        "description": "the id of a node: it and what follows it run again, the results of the others are kept; without it all runs "
        "again",
    },
    "input": {
        "description": "another input: a JSON object, a list of objects, or null. With `from_node` only where that runs every "
        "node again that the input goes to"
    },
    "version": {
        "type": "integer",
        "minimum": 1,
        "description": "the version of the workflow to execute; without it, the one that was executed",
    },
    "definition": {
        **DOCUMENT_REF,
        "description": "the document to execute, for executions without a workflow; without it, the one that was executed",
    },
}
NODE_SCHEMA = {
    "items": {
        "anyOf": [OBJECTS, {"type": "null"}],
        "description": "the objects that the node is given; without them, what its sources give",
    },
    "data": {
        "type": "object",
        "additionalProperties": {"anyOf": [OBJECTS, {"type": "object", "additionalProperties": OBJECTS}]},
        "description": "by node: the objects that it gives, or these by output; for the node's sources, and for nodes that its "
        "expressions name",
    },
}
NodeIdPath = Annotated[str, Path(description="the node's id in the document")]


@router.post(
    "/executions/{execution_id}/retry",
    operation_id="retry_execution",
    responses=ANSWERS,
    openapi_extra=body_of({}, []),
)
async def retry_execution(execution_id: ExecutionId, request: Request, caller: Executor, services: Asked) -> Response:
    """Make a new execution of one that has failed, was cancelled or timed out: it keeps all results and goes on with the rest.

    The same version (or document) and input; `retry_count` goes up by one, `parent_execution_id` is the former one. Failures that were
    caught or passed on are results, too. A sub-workflow that has failed is executed anew, as a whole. A node that may start at most
    once and whose outcome is not known starts again: so you wished. 409 for one that is completed or has not ended.
    """
    deadline, wish, _ = await _asked(request, caller, services, frozenset())
    return await _answer(services, wish, await retry(services, wish, execution_id), deadline)


@router.post(
    "/executions/{execution_id}/replay",
    operation_id="replay_execution",
    responses=ANSWERS,
    openapi_extra=body_of(REPLAY_SCHEMA, []),
)
async def replay_execution(execution_id: ExecutionId, request: Request, caller: Executor, services: Asked) -> Response:
    """Make a new execution of one that has ended: all of it runs again, or only a node and what follows it.

    A loop or a try that the node is in runs again as a whole. With another version, a kept result is of a node that is the same in
    both (type, config, `on_error`, what is pinned, what leads to it) and has only such nodes before it. What the former one has not
    settled runs in any case. 409 for one that has not ended.
    """
    deadline, wish, asked = await _asked(request, caller, services, REPLAY_FIELDS)
    _check_replay(asked)
    return await _answer(services, wish, await replay(services, wish, execution_id, asked), deadline)


@router.post(
    "/workflows/{workflow_id}/nodes/{node_id}/execute",
    operation_id="execute_node",
    responses=ANSWERS,
    openapi_extra=body_of(NODE_SCHEMA, []),
)
async def execute_node(
    workflow_id: WorkflowId, node_id: NodeIdPath, request: Request, caller: Executor, services: Asked
) -> Response:
    """Execute one node of the current version: with items, with data of the nodes before it, or with those of the last execution.

    With `items` or `data`, the other nodes that matter give what is given for them, or pinned at them, or nothing, and do no work. With
    neither, all before the node keeps what it gave in the last completed execution, whatever has been changed since; its `expressions`
    see that, too. In a loop or a try that is not possible: give `items` or `data`. The node works also where data are pinned at it.
    """
    deadline, wish, asked = await _asked(request, caller, services, NODE_FIELDS)
    items, data = asked.get("items"), _data(asked.get("data"))
    if items is not None and not _are_objects(items):
        raise Unprocessable("`items` is a list of JSON objects, or null", "items_invalid")
    current = await services.versions.fresh(wish.workspace_id, workflow_id)
    if items is None and not data and await _has_sources(services, current, node_id):
        last = await with_last_data(services, wish, workflow_id, current, node_id)
        return await _answer(services, wish, last, deadline)
    limits = services.config.limits
    new = NewExecution(
        id=new_id(),
        workspace_id=wish.workspace_id,
        workflow_id=workflow_id,
        definition=None,
        input=input_json(items, limits.input_bytes_max),
        nodes_total=0,
        trigger_type=ONE_NODE,
        triggered_by=wish.user_id,
        priority=PRIORITY_DEFAULT,
        idempotency=wish.idempotency,
    )

    whole = Accepting(
        new=new,
        workflow_name=current.name,
        version=current.version,
        definition=current.definition,
        waits=deadline > monotonic(),
    )
    part = await cut_out(services, whole, node_id, data, from_input=items is not None or not data)
    return await accept(services, part, max(0.0, deadline - monotonic()))


async def _asked(
    request: Request, caller: Executor, services: Services, fields: frozenset[str]
) -> tuple[float, Wish, dict[str, Any]]:
    """Return until when the caller waits, who wishes, and what."""
    limits = services.config.limits
    deadline = monotonic() + wait_seconds(request, limits.wait_s_max)
    body = await read_body(request, limits.body_bytes_max)
    wish = Wish(caller.workspace_id, caller.user_id, execution_key(request, body))
    return deadline, wish, parse_object(body, fields)


async def _answer(services: Services, wish: Wish, accepted: Accepted, deadline: float) -> Response:
    return await follow(services, wish.workspace_id, accepted, max(0.0, deadline - monotonic()))


async def _has_sources(services: Services, current: Runnable, node_id: str) -> bool:
    written = [orjson.loads(current.definition)]
    return bool(await services.documents.apart(written, lambda one: sources(one, node_id)))


def _check_replay(asked: dict[str, Any]) -> None:
    version, from_node = asked.get("version"), asked.get("from_node")
    wrong = isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= NUMBER_MAX
    if "version" in asked and wrong:
        raise Unprocessable("`version` is the number of a version", "version_invalid")
    if from_node is not None and not isinstance(from_node, str):
        raise Unprocessable("`from_node` is the id of a node", "from_node_invalid")


def _data(value: Any) -> dict[str, Any]:
    """Return the data for nodes. Raises `Unprocessable`."""
    found = {} if value is None else value
    if not isinstance(found, dict) or not all(_are_data(each) for each in found.values()):
        message = "`data` is an object: by node a list of JSON objects, or such lists by output"
        raise Unprocessable(message, "data_invalid")
    return found


def _are_data(value: Any) -> bool:
    return all(map(_are_objects, value.values())) if isinstance(value, dict) else _are_objects(value)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
