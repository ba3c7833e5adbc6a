"""Workflows as documents: validate one, copy one, take them out and bring them in."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from serve_app import workflow_views as views
from serve_app.auth import Editor, Viewer
from serve_app.bodies import parse_object, read_body
from serve_app.drafts import read_imports, read_unchecked
from serve_app.once import new_ids
from serve_app.openapi import document_body, import_body, object_body, problems
from serve_app.routes.asking import Asked, WorkflowId, answer
from serve_app.routes.workflows import shown
from store.workflow_names import NAME_CHARS_MAX
from store.workflow_rows import Draft
from workflow.errors import Unprocessable
from workflow.portable import FORMAT, FORMAT_VERSION, portable

router = APIRouter(prefix="/workspaces/{workspace_id}/workflows", tags=["workflows"])

NAME: dict[str, Any] = {
    "name": {"type": "string", "maxLength": NAME_CHARS_MAX, "description": "the copy's name; by default the original's"}
}


@router.post(
    "/validate",
    operation_id="validate_workflow",
    response_model=views.ValidationOut,
    responses=problems(400, 413, 429),
    openapi_extra=document_body(),
)
async def validate_workflow(
    request: Request,
    caller: Viewer,
    services: Asked,
    workflow_id: Annotated[UUID | None, Query(description="the workflow that it would be the next version of")] = None,
) -> Response:
    """Say what storing a document would find, and store nothing. Answers 200 for malformed documents, too."""
    written = await read_unchecked(request, services)
    verdict = await services.documents.validate(written, caller.workspace_id, workflow_id)
    return answer({"valid": verdict.valid, "findings": verdict.findings})


@router.post(
    "/import",
    operation_id="import_workflows",
    status_code=HTTPStatus.CREATED,
    response_model=views.ImportedOut,
    responses=problems(400, 413, 429),
    openapi_extra=import_body(),
)
async def import_workflows(request: Request, caller: Editor, services: Asked) -> Response:
    """Store the workflows of an export, or bare documents, one or a list: all of them or, where one is not valid, none.

    They come as drafts. A name that is taken gets a number.
    """
    writings = await read_imports(request, services, caller.workspace_id)
    made = await services.workflows.create_apart(
        caller.workspace_id,
        [writing.draft for writing in writings],
        created_by=caller.user_id,
        change_message="imported",
        ids=new_ids(request),
    )
    items = [views.workflow(one, writing.warnings) for one, writing in zip(made, writings, strict=True)]
    return answer({"items": items}, HTTPStatus.CREATED)


@router.post(
    "/{workflow_id}/clone",
    operation_id="clone_workflow",
    status_code=HTTPStatus.CREATED,
    response_model=views.WorkflowOut,
    responses=problems(400, 413, 429),
    openapi_extra=object_body(NAME, []),
)
async def clone_workflow(workflow_id: WorkflowId, request: Request, caller: Editor, services: Asked) -> Response:
    """Copy the current version of a workflow into a new one, as a draft. A name that is taken gets a number."""
    asked = parse_object(await read_body(request, services.config.limits.body_bytes_max), frozenset(NAME))
    name = asked.get("name")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= NAME_CHARS_MAX):
        raise Unprocessable(f"`name` is a text of 1 to {NAME_CHARS_MAX} characters", "name_invalid")
    original = await services.workflows.get(caller.workspace_id, workflow_id)
    definition, about = original.definition, original.summary
    draft = Draft(
        name=name or about.name,
        nodes=definition["nodes"],
        connections=definition["connections"],
        settings=definition["settings"],
        viewport=definition["viewport"],
        input_schema=definition["input_schema"],
        description=about.description,
        tags=about.tags,
    )
    message = f"copy of {workflow_id}, version {about.version}"
    (made,) = await services.workflows.create_apart(
        caller.workspace_id, [draft], created_by=caller.user_id, change_message=message, ids=new_ids(request)
    )
    return shown(made, None, HTTPStatus.CREATED)


@router.get("/{workflow_id}/export", operation_id="export_workflow", response_model=views.ExportOut)
async def export_workflow(workflow_id: WorkflowId, caller: Viewer, services: Asked) -> Response:
    """Give the current version as a file to be imported elsewhere: without secrets, and without ids of this installation."""
    found = await services.workflows.get(caller.workspace_id, workflow_id)
    definition, removed = await services.documents.shown(
        found.definition, lambda written: portable(*services.secrets.emptied(written))
    )
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": found.summary.name,
        "description": found.summary.description,
        "tags": list(found.summary.tags),
        "definition": definition,
        "removed": removed,
    }
    file = quote(f"{found.summary.slug}.json")
    return answer(body, headers={"Content-Disposition": f'attachment; filename="{file}"'})
