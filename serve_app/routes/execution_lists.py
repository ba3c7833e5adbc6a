"""Executions in numbers: list them, count them, delete them."""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app import models, views
from serve_app.auth import Admin, Viewer
from serve_app.bodies import parse_object, read_body
from serve_app.openapi import model_body, problems
from serve_app.routes.asking import Asked, Cursor, ExecutionId, Limit, answer, before, plain_texts
from store.listing import ExecutionFilter
from workflow.errors import Conflict, NotFound, Unprocessable
from workflow.states import TERMINAL, ExecutionStatus

router = APIRouter(prefix="/workspaces/{workspace_id}/executions", tags=["executions"])

IDS_MAX = 1_000
OfWorkflow = Annotated[UUID | None, Query(description="only those of this workflow")]


class DeleteFilter(BaseModel):
    """Which executions to delete."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    before: AwareDatetime
    """those made before this time"""
    status: list[ExecutionStatus] = sorted(TERMINAL)
    """those that ended in one of these states; by default all that have ended"""
    workflow_id: UUID | None = None
    """those of this workflow"""

    @model_validator(mode="after")
    def _only_terminal(self) -> "DeleteFilter":
        if not set(self.status) <= TERMINAL or not self.status:
            raise ValueError(f"only executions that have ended are deleted: {', '.join(sorted(TERMINAL))}")
        return self


class BulkDelete(BaseModel):
    """Executions by id, or by a filter: one of the two."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    ids: list[UUID] | None = Field(default=None, min_length=1, max_length=IDS_MAX)
    """the executions"""
    filter: DeleteFilter | None = None
    """which executions"""

    @model_validator(mode="after")
    def _one_of_two(self) -> "BulkDelete":
        if (self.ids is None) is (self.filter is None):
            raise ValueError("give either `ids` or `filter`")
        return self


BULK_FIELDS = frozenset(BulkDelete.model_fields)


@router.get("", operation_id="list_executions", response_model=models.ExecutionsOut)
async def list_executions(
    caller: Viewer,
    services: Asked,
    status: Annotated[list[ExecutionStatus] | None, Query(description="only those in one of these states")] = None,
    workflow_id: OfWorkflow = None,
    trigger_type: Annotated[list[str] | None, Query(description="only those begun in one of these ways")] = None,
    created_after: Annotated[AwareDatetime | None, Query(description="only those made at this time or later")] = None,
    created_before: Annotated[AwareDatetime | None, Query(description="only those made before this time")] = None,
    held: Annotated[
        bool | None, Query(description="only those that their concurrency keys hold in the queue, or only the others")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """List the workspace's executions, newest first, without their data."""
    plain_texts(*(trigger_type or ()))
    wanted = ExecutionFilter(
        statuses=status or (),
        workflow_id=workflow_id,
        trigger_types=trigger_type or (),
        created_after=created_after,
        created_before=created_before,
        held=held,
    )
    page = await services.listing.page(caller.workspace_id, wanted, before=before(cursor), limit=limit)
    return answer({"items": [views.summary(item) for item in page.items], "next_cursor": page.next_before})


@router.get("/stats", operation_id="get_execution_stats", response_model=models.StatsOut)
async def execution_stats(
    caller: Viewer,
    services: Asked,
    window: Annotated[
        Literal["1h", "24h", "7d", "30d"],
        Query(description="how far to look back; buckets are of a minute, an hour, six hours, a day"),
    ] = "24h",
    workflow_id: OfWorkflow = None,
) -> Response:
    """Count the executions accepted in the last hour, day, week or month: by state, by bucket, and how long they took."""
    found = await services.statistician.look_back(caller.workspace_id, window, workflow_id)
    return answer(views.statistics(window, found))


@router.post(
    "/bulk-delete",
    operation_id="bulk_delete_executions",
    response_model=models.DeletedOut,
    responses=problems(400, 413),
    openapi_extra=model_body(BulkDelete),
)
async def bulk_delete(request: Request, caller: Admin, services: Asked) -> Response:
    """Delete executions that have ended, with their results and events. Others are left, and named.

    By filter at most 5,000 at once: ask again while `more` is true.
    """
    asked = _bulk_delete(parse_object(await read_body(request, services.config.limits.body_bytes_max), BULK_FIELDS))
    wanted = asked.filter
    if wanted is None:
        deleted = await services.deleting.delete(caller.workspace_id, asked.ids or ())
    else:
        deleted = await services.deleting.delete_before(
            caller.workspace_id, wanted.before, statuses=wanted.status, workflow_id=wanted.workflow_id
        )
    return answer(views.deleted(deleted))


@router.delete(
    "/{execution_id}",
    operation_id="delete_execution",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(409),
)
async def delete_execution(execution_id: ExecutionId, caller: Admin, services: Asked) -> Response:
    """Delete an execution that has ended, with its results, events and idempotency key. Its workflow still counts it."""
    deleted = await services.deleting.delete(caller.workspace_id, [execution_id])
    fields = {"execution_id": str(execution_id)}
    if deleted.not_found:
        raise NotFound("there is no such execution", fields=fields)
    if deleted.not_terminal:
        raise Conflict("the execution has not ended: cancel it first", "execution_not_terminal", fields)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _bulk_delete(asked: dict[str, Any]) -> BulkDelete:
    try:
        return BulkDelete.model_validate(asked)
    except ValidationError as error:
        found = [
            {"field": ".".join(map(str, e["loc"])), "message": e["msg"].removeprefix("Value error, ")}
            for e in error.errors(include_url=False, include_input=False)[:20]
        ]
    message = f"{found[0]['field'] or 'the body'}: {found[0]['message']}"
    raise Unprocessable(message, "invalid_fields", {"errors": found})
