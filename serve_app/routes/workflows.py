"""Workflows: store them, look at them, make their next version."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from serve_app.auth import Editor, Viewer
from serve_app.bodies import parse_object, read_body
from serve_app.compiling import compile_document
from serve_app.routes.asking import Asked, Cursor, Limit, answer, before
from serve_app.services import Services
from store.workflows import Draft, Workflow, WorkflowSummary
from workflow.document import Document, parse_document
from workflow.errors import Unprocessable

router = APIRouter(prefix="/workspaces/{workspace_id}/workflows", tags=["workflows"])

DOCUMENT_FIELDS = frozenset(Document.model_fields)
WRAPPED_FIELDS = frozenset({"definition", "description", "tags"})
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Document.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}
IF_MATCH = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "schema": {"type": "string"},
            "description": "the version that was read; 409 when another one was made meanwhile",
        }
    ]
}


class WorkflowSummaryOut(BaseModel):
    """A workflow in a list."""

    id: UUID
    name: str
    slug: str
    description: str
    status: str
    version: int
    tags: list[str]
    created_at: str
    updated_at: str


class WorkflowOut(WorkflowSummaryOut):
    """A workflow with the document of its current version; `warnings` come with a write."""

    workspace_id: UUID
    definition: dict[str, Any]
    execution_count: int
    last_executed_at: str | None
    warnings: list[dict[str, str]] = []


class WorkflowsOut(BaseModel):
    """A page of workflows, newest first."""

    items: list[WorkflowSummaryOut]
    next_cursor: str | None


@router.post(
    "", operation_id="create_workflow", status_code=HTTPStatus.CREATED, response_model=WorkflowOut, openapi_extra=BODY
)
async def create_workflow(request: Request, caller: Editor, services: Asked) -> Response:
    """Store a workflow document as version 1. The document is the body, or its field `definition`."""
    draft, warnings = await _read_draft(request, services)
    made = await services.workflows.create(caller.workspace_id, draft, created_by=caller.user_id)
    headers = {"Location": f"/api/v1/workspaces/{caller.workspace_id}/workflows/{made.summary.id}"}
    return answer({**_workflow(made), "warnings": warnings}, HTTPStatus.CREATED, headers)


@router.get("", operation_id="list_workflows", response_model=WorkflowsOut)
async def list_workflows(caller: Viewer, services: Asked, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """List the workspace's workflows, newest first."""
    page = await services.workflows.page(caller.workspace_id, limit=limit, before=before(cursor))
    return answer({"items": [_summary(item) for item in page.items], "next_cursor": page.next_before})


@router.get("/{workflow_id}", operation_id="get_workflow", response_model=WorkflowOut)
async def get_workflow(workflow_id: UUID, caller: Viewer, services: Asked) -> Response:
    """Show a workflow with the document of its current version."""
    return answer(_workflow(await services.workflows.get(caller.workspace_id, workflow_id)))


@router.put(
    "/{workflow_id}", operation_id="update_workflow", response_model=WorkflowOut, openapi_extra={**BODY, **IF_MATCH}
)
async def update_workflow(workflow_id: UUID, request: Request, caller: Editor, services: Asked) -> Response:
    """Store a document as the workflow's next version; executions under way stay on the version they started with."""
    draft, warnings = await _read_draft(request, services)
    expected = _if_match(request)
    if expected is None:
        expected = (await services.workflows.get(caller.workspace_id, workflow_id)).summary.version
    made = await services.workflows.update(
        caller.workspace_id, workflow_id, draft, expected_version=expected, changed_by=caller.user_id
    )
    services.versions.forget(caller.workspace_id, workflow_id)
    return answer({**_workflow(made), "warnings": warnings})


async def _read_draft(request: Request, services: Services) -> tuple[Draft, list[dict[str, str]]]:
    asked = parse_object(
        await read_body(request, services.config.limits.body_bytes_max), DOCUMENT_FIELDS | WRAPPED_FIELDS
    )
    written = asked.get("definition", {name: value for name, value in asked.items() if name in DOCUMENT_FIELDS})
    document = parse_document(written)
    tags, description = asked.get("tags", []), asked.get("description", "")
    if not isinstance(description, str) or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Unprocessable("`description` is a text and `tags` is a list of texts", "invalid_fields")
    warnings = await compile_document(services.compiler, document)
    stored = document.model_dump(mode="json")
    draft = Draft(
        name=document.name,
        nodes=stored["nodes"],
        connections=stored["connections"],
        settings=stored["settings"],
        viewport=stored["viewport"],
        input_schema=stored["input_schema"],
        description=description,
        tags=tags,
    )
    return draft, warnings


def _if_match(request: Request) -> int | None:
    text = request.headers.get("if-match", "").strip().strip('"')
    if not text or text == "*":
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Unprocessable("If-Match is the number of a version", "if_match_invalid")
    return int(text)


def _summary(found: WorkflowSummary) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "slug": found.slug,
        "description": found.description,
        "status": found.status,
        "version": found.version,
        "tags": list(found.tags),
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def _workflow(found: Workflow) -> dict[str, Any]:
    return {
        **_summary(found.summary),
        "workspace_id": found.workspace_id,
        "definition": found.definition,
        "execution_count": found.execution_count,
        "last_executed_at": found.last_executed_at,
    }
