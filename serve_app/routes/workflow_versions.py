"""Versions of workflows: list them, look at one, compare two, go back to one."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from serve_app import workflow_views as views
from serve_app.auth import Editor, Viewer, may_see_secrets
from serve_app.bodies import parse_object, read_body
from serve_app.drafts import CHANGE_FIELDS, change_message, draft_of, if_match
from serve_app.once import new_ids
from serve_app.openapi import object_body, problems
from serve_app.routes.asking import NUMBER_MAX, Asked, Cursor, Limit, WorkflowId, answer, number_in
from serve_app.routes.workflows import IF_MATCH, shown
from workflow.diff import compare

router = APIRouter(prefix="/workspaces/{workspace_id}/workflows/{workflow_id}/versions", tags=["workflows"])

Number = Annotated[int, Path(ge=1, le=NUMBER_MAX, description="the number of a version")]
MESSAGE: dict[str, Any] = {"change_message": {"type": "string", "description": "what is said of the change"}}


@router.get("", operation_id="list_workflow_versions", response_model=views.VersionsOut)
async def list_versions(
    workflow_id: WorkflowId, caller: Viewer, services: Asked, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """List the versions of a workflow, newest first."""
    items, left = await services.workflows.versions(
        caller.workspace_id, workflow_id, limit=limit, before=number_in(cursor)
    )
    shown = [views.version_summary(item) for item in items]
    return answer({"items": shown, "next_cursor": None if left is None else str(left)})


@router.get("/{version}", operation_id="get_workflow_version", response_model=views.VersionOut)
async def get_version(workflow_id: WorkflowId, version: Number, caller: Viewer, services: Asked) -> Response:
    """Show a version with its document. Viewers are shown no secrets of it."""
    found = await services.workflows.get_version(caller.workspace_id, workflow_id, version)
    if not may_see_secrets(caller):
        found = replace(found, definition=await services.documents.shown(found.definition, services.secrets.hidden))
    return answer(views.version(found))


@router.post(
    "/{version}/restore",
    operation_id="restore_workflow_version",
    response_model=views.WorkflowOut,
    responses=problems(400, 409, 413, 429),
    openapi_extra={**object_body(MESSAGE, []), **IF_MATCH},
)
async def restore_version(
    workflow_id: WorkflowId, version: Number, request: Request, caller: Editor, services: Asked
) -> Response:
    """Make a next version with the content of this one. Description, tags and viewport stay as they are."""
    asked = parse_object(await read_body(request, services.config.limits.body_bytes_max), CHANGE_FIELDS)
    message = change_message(asked) or f"restored version {version}"
    old = await services.workflows.get_version(caller.workspace_id, workflow_id, version)
    read = await services.documents.read(old.definition, caller.workspace_id, workflow_id)
    made = await services.workflows.update(
        caller.workspace_id,
        workflow_id,
        replace(draft_of(read), viewport=None),
        expected_version=if_match(request),
        changed_by=caller.user_id,
        change_message=message,
        ids=new_ids(request),
    )
    services.versions.forget(caller.workspace_id, workflow_id)
    return shown(made, read.warnings)


@router.get("/{version}/diff", operation_id="diff_workflow_versions", response_model=views.DiffOut)
async def diff_versions(
    workflow_id: WorkflowId,
    version: Number,
    caller: Viewer,
    services: Asked,
    against: Annotated[
        int | None, Query(ge=1, le=NUMBER_MAX, description="the version to compare with; the current one by default")
    ] = None,
) -> Response:
    """Show what changed from the version `against` to this one; to viewers without secrets, only that they changed."""
    if against is None:
        against = await services.workflows.current_version(caller.workspace_id, workflow_id)
    before = await services.workflows.get_version(caller.workspace_id, workflow_id, against)
    after = await services.workflows.get_version(caller.workspace_id, workflow_id, version)
    show = dict if may_see_secrets(caller) else services.secrets.hidden_in
    found = await services.documents.apart(
        [before.definition, after.definition], lambda old, new: compare(old, new, show).as_dict()
    )
    return answer({"before": against, "after": version, **found})
