"""Executions: accept them, look at them."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from actors.ids import new_id, now_ms
from serve_app import models, views
from serve_app.accepting import Request as Accepting
from serve_app.auth import Executor, Viewer
from serve_app.bodies import PRIORITY_DEFAULT, parse_object, priority_of, read_body
from serve_app.once import REPLAYED, execution_key
from serve_app.openapi import DOCUMENT_REF, KEY, object_body, problems
from serve_app.parts import cut_until, until_node_of
from serve_app.routes.asking import Asked, ExecutionId, WorkflowId, answer, stream_wanted, wait_seconds
from serve_app.services import Runnable, Services
from serve_app.streaming import MEDIA_TYPE, event_stream, stream_response
from workflow.concurrency import ConcurrencyTemplate
from workflow.errors import InvalidRequest, Unprocessable, WorkflowChanged
from workflow.inputs import check_input, input_json
from workflow.ports import Accepted, ExecutionView, NewExecution, Outcome

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["executions"])

EXECUTE_FIELDS = frozenset({"input", "priority", "until_node"})
EXECUTE_DEFINITION_FIELDS = EXECUTE_FIELDS | {"definition"}
VERSIONS_MAX = 5
"""So many versions of a workflow, each newer than the one before, one request is tried with."""
WAIT = {
    "name": "wait",
    "in": "query",
    "schema": {"type": "number", "minimum": 0},
    "description": "seconds to wait for the end: 200 with the result when it came, else 202 with the execution",
}
STREAM = {
    "name": "stream",
    "in": "query",
    "schema": {"type": "boolean", "default": False},
    "description": "answer with the stream of its events at once (server-sent), as `GET executions/{id}/events` gives it",
}
EXECUTION_KEY = {
    **KEY,
    "description": (
        "for 24 hours the same key with the same path and body returns the same execution, as it is then, however long it is waited "
        "for; with another request it is refused (422 `idempotency_key_reused`)"
    ),
}
ITEMS_SCHEMA = {"description": "a JSON object, a list of objects, or null"}
PRIORITY_SCHEMA = {
    "type": "integer",
    "minimum": 1,
    "maximum": 10,
    "default": PRIORITY_DEFAULT,
    "description": "of those of the workspace that are queued, the ones with the higher priority begin first",
}
UNTIL_SCHEMA = {
    "type": "string",
    "description": "the id of a node: only it and the nodes before it are executed; without it the whole",
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": models.ExecutionOut,
        "description": "it has ended; with `stream` its events",
        "content": {MEDIA_TYPE: {}},
    },
    202: {"model": models.ExecutionOut, "description": "it is durable and goes its way"},
    **problems(400, 409, 413, 429),
}


def body_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Return what a route that executes says of its body and of what goes with it."""
    return {"parameters": [WAIT, STREAM, EXECUTION_KEY], **object_body(properties, required)}


@router.post(
    "/workflows/{workflow_id}/execute",
    operation_id="execute_workflow",
    responses=ANSWERS,
    openapi_extra=body_of({"input": ITEMS_SCHEMA, "priority": PRIORITY_SCHEMA, "until_node": UNTIL_SCHEMA}, []),
)
async def execute_workflow(workflow_id: WorkflowId, request: Request, caller: Executor, services: Asked) -> Response:
    """Execute the current version of a workflow, or the part of it that ends with `until_node`."""
    wait_s, streams = wait_seconds(request, services.config.limits.wait_s_max), stream_wanted(request)
    body = await read_body(request, services.config.limits.body_bytes_max)
    asked = parse_object(body, EXECUTE_FIELDS)
    new = NewExecution(
        id=new_id(),
        workspace_id=caller.workspace_id,
        workflow_id=workflow_id,
        definition=None,
        input=input_json(asked.get("input"), services.config.limits.input_bytes_max),
        nodes_total=0,
        trigger_type="api",
        triggered_by=caller.user_id,
        priority=priority_of(asked),
        idempotency=execution_key(request, body),
    )
    current = await services.versions.current(caller.workspace_id, workflow_id)
    for _ in range(VERSIONS_MAX):
        try:
            whole = _of_version(current, new, asked.get("input"), waits=wait_s > 0)
            cut = await cut_until(services, whole, until_node_of(asked))
            return await accept(services, cut, wait_s, streams=streams)
        except (InvalidRequest, WorkflowChanged):
            # Judged by a version that is a moment old perhaps: only what the current one refuses is refused.
            latest = await services.versions.fresh(caller.workspace_id, workflow_id)
            if latest.version == current.version:
                raise
            current = latest
    raise WorkflowChanged("the workflow is changed faster than it can be executed: try again")


def _of_version(current: Runnable, new: NewExecution, given: Any, *, waits: bool) -> Accepting:
    """Return the request for an execution of a version. Raises `Unprocessable` where its input does not fit."""
    check_input(given, current.input_schema)
    new = replace(
        new,
        nodes_total=current.nodes_total,
        isolation=current.isolation,
        concurrency=current.concurrency.of(given),
        expected_version=current.version,
    )
    return Accepting(
        new=new, workflow_name=current.name, version=current.version, definition=current.definition, waits=waits
    )


@router.post(
    "/executions",
    operation_id="execute_definition",
    responses=ANSWERS,
    openapi_extra=body_of(
        {"definition": DOCUMENT_REF, "input": ITEMS_SCHEMA, "priority": PRIORITY_SCHEMA, "until_node": UNTIL_SCHEMA},
        ["definition"],
    ),
)
async def execute_definition(request: Request, caller: Executor, services: Asked) -> Response:
    """Execute a workflow document that is sent along, or the part that ends with `until_node`; it is stored with the execution."""
    limits = services.config.limits
    wait_s = wait_seconds(request, limits.wait_s_max)
    body = await read_body(request, limits.body_bytes_max)
    asked = parse_object(body, EXECUTE_DEFINITION_FIELDS)
    if "definition" not in asked:
        raise Unprocessable("the body needs the field `definition`, a workflow document", "definition_missing")
    given = input_json(asked.get("input"), limits.input_bytes_max)
    document = await services.documents.compiled(asked["definition"])
    check_input(asked.get("input"), document.input_schema)
    definition = orjson.dumps(asked["definition"])
    new = NewExecution(
        id=new_id(),
        workspace_id=caller.workspace_id,
        workflow_id=None,
        definition=definition,
        input=given,
        nodes_total=len(document.nodes),
        trigger_type="api",
        triggered_by=caller.user_id,
        isolation=document.settings.isolation,
        priority=priority_of(asked),
        concurrency=ConcurrencyTemplate(document.settings.concurrency, None, document.name).of(asked.get("input")),
        idempotency=execution_key(request, body),
    )

    whole = Accepting(
        new=new,
        workflow_name=document.name,
        version=None,
        definition=definition,
        waits=wait_s > 0,
    )
    cut = await cut_until(services, whole, until_node_of(asked))
    return await accept(services, cut, wait_s, streams=stream_wanted(request))


@router.get("/executions/{execution_id}", operation_id="get_execution", response_model=models.ExecutionOut)
async def get_execution(execution_id: ExecutionId, caller: Viewer, services: Asked) -> Response:
    """Show an execution with its output."""
    return await _shown(services, await services.executions.get(caller.workspace_id, execution_id))


@router.get("/executions/{execution_id}/nodes", operation_id="list_execution_nodes", response_model=models.NodesOut)
async def list_nodes(execution_id: ExecutionId, caller: Viewer, services: Asked) -> Response:
    """Show the nodes of an execution with their outputs, in the order in which they ended."""
    rows = await services.executions.nodes(caller.workspace_id, execution_id)
    return answer({"items": [views.node(row) for row in rows], "next_cursor": None})


async def accept(services: Services, asked: Accepting, wait_s: float, *, streams: bool = False) -> Response:
    """Accept an execution, and answer with it: as it ended, or, where it is not waited for or takes longer, as it is.

    With `streams`, the answer is the stream of its events.
    """
    deadline = monotonic() + wait_s
    queued_ms = now_ms()
    submitted = await services.acceptor.accept(asked)
    services.metrics.pushes.labels("pushed" if submitted.reply is not None else "queued").inc()
    new = asked.new
    if streams:
        location = _location(new.workspace_id, submitted.accepted)
        return stream_response(event_stream(services, new.workspace_id, submitted.accepted.id, 0), location)
    if wait_s and submitted.reply is not None:
        done, _ = await asyncio.wait({submitted.reply}, timeout=wait_s)
        reply = submitted.reply.result() if done else None
        if reply is not None and reply.finished is not None and submitted.member is not None:
            end = reply.finished
            version = submitted.accepted.workflow_version
            output = await services.output(new.workspace_id, end.ending)
            body = views.finished(new, version, submitted.member, end, output, queued_ms)
            return answer(body)
    if not wait_s and submitted.accepted.outcome is Outcome.CREATED:
        body = views.accepted(new, submitted.accepted, submitted.member, queued_ms)
        return answer(body, HTTPStatus.ACCEPTED, _location(new.workspace_id, submitted.accepted))
    return await follow(services, new.workspace_id, submitted.accepted, max(0.0, deadline - monotonic()))


async def follow(services: Services, workspace_id: UUID, accepted: Accepted, left_s: float) -> Response:
    """Answer with an execution that was accepted: as it ended, or as it is when the time is over."""
    view = await services.follower.terminal(workspace_id, accepted.id, left_s)
    status = HTTPStatus.OK if view.status.terminal else HTTPStatus.ACCEPTED
    return await _shown(services, view, status, _location(workspace_id, accepted))


async def _shown(
    services: Services, view: ExecutionView, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    output = await services.output(view.workspace_id, view)
    return answer(views.execution(view, output), status, headers)


def _location(workspace_id: UUID, accepted: Accepted) -> dict[str, str]:
    headers = {"Location": f"/api/v1/workspaces/{workspace_id}/executions/{accepted.id}"}
    if accepted.outcome is Outcome.REPLAYED:
        headers[REPLAYED] = "true"
    return headers
