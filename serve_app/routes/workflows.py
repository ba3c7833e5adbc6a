"""Workflows: store them, look at them, make their next version, take them into service and out of it."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from serve_app import workflow_views as views
from serve_app.auth import Editor, Viewer, may_see_secrets
from serve_app.drafts import if_match, read_writing
from serve_app.once import new_ids
from serve_app.openapi import document_body, problems
from serve_app.routes.asking import Asked, Cursor, Limit, WorkflowId, answer, plain_texts
from store.workflow_lists import WorkflowFilter, WorkflowSort
from store.workflow_rows import Workflow
from store.workflows import no_trigger
from workflow.errors import InvalidDefinition, Unprocessable
from workflow.lifecycle import WorkflowAction, WorkflowStatus

router = APIRouter(prefix="/workspaces/{workspace_id}/workflows", tags=["workflows"])

IF_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "schema": {"type": "string"},
            "description": "the version that was read, as in `ETag`; 409 when another one was made meanwhile",
        }
    ]
}
SEARCH_CHARS_MAX = 200


@router.post(
    "",
    operation_id="create_workflow",
    status_code=HTTPStatus.CREATED,
    response_model=views.WorkflowOut,
    responses=problems(400, 413, 429),
    openapi_extra=document_body(),
)
async def create_workflow(request: Request, caller: Editor, services: Asked) -> Response:
    """Store a workflow document as version 1, as a draft. The document is the body, or its field `definition`."""
    writing = await read_writing(request, services, caller.workspace_id)
    made = await services.workflows.create(
        caller.workspace_id, writing.draft, created_by=caller.user_id, ids=new_ids(request)
    )
    return shown(made, writing.warnings, HTTPStatus.CREATED)


@router.get("", operation_id="list_workflows", response_model=views.WorkflowsOut)
async def list_workflows(
    caller: Viewer,
    services: Asked,
    status: Annotated[
        list[WorkflowStatus] | None,
        Query(description="only those in one of these states; without it all but the archived"),
    ] = None,
    tag: Annotated[list[str] | None, Query(description="only those with all of these tags")] = None,
    q: Annotated[
        str,
        Query(max_length=SEARCH_CHARS_MAX, description="only those with this text in name or description, in any case"),
    ] = "",
    sort: Annotated[
        WorkflowSort, Query(description="newest first, last changed first, or by name from A to Z")
    ] = WorkflowSort.CREATED_AT,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """List the workspace's workflows. A cursor goes with the order that its page was in."""
    wanted = WorkflowFilter(statuses=status or (), tags=tag or (), text=q)
    plain_texts(q, *wanted.tags)
    page = await services.workflow_lists.page(caller.workspace_id, wanted, sort=sort, limit=limit, cursor=cursor)
    return answer({"items": [views.summary(item) for item in page.items], "next_cursor": page.next_cursor})


@router.get("/tags", operation_id="list_workflow_tags", response_model=views.TagsOut)
async def list_tags(caller: Viewer, services: Asked) -> Response:
    """List the tags of the workflows that are not archived, and how many workflows have each."""
    tags = await services.workflow_lists.tags(caller.workspace_id)
    return answer({"items": [{"tag": tag, "count": count} for tag, count in tags], "next_cursor": None})


@router.get("/{workflow_id}", operation_id="get_workflow", response_model=views.WorkflowOut)
async def get_workflow(workflow_id: WorkflowId, caller: Viewer, services: Asked) -> Response:
    """Show a workflow with the document of its current version, archived or not. Viewers are shown no secrets of it."""
    found = await services.workflows.get(caller.workspace_id, workflow_id)
    if not may_see_secrets(caller):
        found = replace(found, definition=await services.documents.shown(found.definition, services.secrets.hidden))
    return shown(found)


@router.put(
    "/{workflow_id}",
    operation_id="update_workflow",
    response_model=views.WorkflowOut,
    responses=problems(400, 409, 413, 429),
    openapi_extra={**document_body(change=True), **IF_MATCH},
)
async def update_workflow(workflow_id: WorkflowId, request: Request, caller: Editor, services: Asked) -> Response:
    """Store a document as the workflow's next version; executions under way stay on the version they started with.

    Description and tags stay as they are where the body does not name them. An archived workflow takes no version, an active one
    none without a trigger.
    """
    writing = await read_writing(request, services, caller.workspace_id, changed=workflow_id)
    made = await services.workflows.update(
        caller.workspace_id,
        workflow_id,
        writing.draft,
        expected_version=if_match(request),
        changed_by=caller.user_id,
        change_message=writing.change_message,
        ids=new_ids(request),
    )
    services.versions.forget(caller.workspace_id, workflow_id)
    return shown(made, writing.warnings)


@router.post(
    "/{workflow_id}/activate",
    operation_id="activate_workflow",
    response_model=views.WorkflowOut,
    responses=problems(409),
)
async def activate_workflow(workflow_id: WorkflowId, caller: Editor, services: Asked) -> Response:
    """Take a workflow into service: a draft or a paused one that compiles without errors and has a trigger."""
    found = await services.workflows.get(caller.workspace_id, workflow_id)
    try:
        read = await services.documents.read(found.definition, caller.workspace_id, workflow_id)
    except InvalidDefinition as error:  # what compiled once may not any more: a node type may be gone
        raise Unprocessable(f"it cannot be activated: {error.message}", error.code, error.fields) from error
    if not read.triggered:
        raise no_trigger()
    return await _change(services, caller.workspace_id, workflow_id, WorkflowAction.ACTIVATE, found.summary.version)


@router.post(
    "/{workflow_id}/deactivate",
    operation_id="deactivate_workflow",
    response_model=views.WorkflowOut,
    responses=problems(409),
)
async def deactivate_workflow(workflow_id: WorkflowId, caller: Editor, services: Asked) -> Response:
    """Take an active workflow out of service: it is paused, and nothing of it begins. What is under way goes on."""
    return await _change(services, caller.workspace_id, workflow_id, WorkflowAction.DEACTIVATE)


@router.delete("/{workflow_id}", operation_id="archive_workflow", status_code=HTTPStatus.NO_CONTENT)
async def archive_workflow(workflow_id: WorkflowId, caller: Editor, services: Asked) -> Response:
    """Archive a workflow: its versions and executions are kept. Doing it again answers the same."""
    await services.workflows.change_status(caller.workspace_id, workflow_id, WorkflowAction.ARCHIVE)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/{workflow_id}/unarchive",
    operation_id="unarchive_workflow",
    response_model=views.WorkflowOut,
    responses=problems(409),
)
async def unarchive_workflow(workflow_id: WorkflowId, caller: Editor, services: Asked) -> Response:
    """Bring an archived workflow back, as a draft."""
    return await _change(services, caller.workspace_id, workflow_id, WorkflowAction.UNARCHIVE)


def shown(found: Workflow, warnings: list[dict[str, str]] | None = None, status: int = HTTPStatus.OK) -> Response:
    """Return a workflow as the answer, with its version as `ETag`: what `If-Match` takes."""
    headers = {"ETag": f'"{found.summary.version}"'}
    if status == HTTPStatus.CREATED:
        headers["Location"] = f"/api/v1/workspaces/{found.workspace_id}/workflows/{found.summary.id}"
    return answer(views.workflow(found, warnings), status, headers)


async def _change(
    services: Asked, workspace_id: UUID, workflow_id: UUID, action: WorkflowAction, version: int | None = None
) -> Response:
    made = await services.workflows.change_status(workspace_id, workflow_id, action, expected_version=version)
    return shown(made)
