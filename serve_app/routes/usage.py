"""What models were asked, and what that used and cost."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from actors.ids import now_ms
from serve_app import usage_views as views
from serve_app.auth import Viewer
from serve_app.routes.asking import Asked, Cursor, ExecutionId, Limit, answer, before
from store.accounting import By
from workflow.errors import Unprocessable

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["usage"])

DAYS, DAYS_MAX = 30, 366
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(9999, 12, 30)
"""What the ends of a range may be: a day more, and a month less, are days, too."""


@router.get(
    "/executions/{execution_id}/model-calls", operation_id="list_model_calls", response_model=views.ModelCallsOut
)
async def list_model_calls(
    execution_id: ExecutionId, caller: Viewer, services: Asked, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """List the calls of models that an execution made, in the order in which they were answered, and what all of them used."""
    page, total = await services.accountant.calls(caller.workspace_id, execution_id, after=before(cursor), limit=limit)
    items = [views.call(row) for row in page.items]
    return answer({"items": items, "total": views.total(total), "next_cursor": page.next_before})


@router.get("/usage", operation_id="get_usage", response_model=views.UsageOut)
async def get_usage(
    caller: Viewer,
    services: Asked,
    since: Annotated[
        date | None, Query(alias="from", description="the first day (UTC); by default 29 days before the last")
    ] = None,
    until: Annotated[date | None, Query(alias="to", description="the last day (UTC); by default today")] = None,
    by: Annotated[By, Query(description="what is summed up; `node` needs `workflow_id`")] = By.DAY,
    workflow_id: Annotated[UUID | None, Query(description="only calls of this workflow")] = None,
) -> Response:
    """Sum up the calls of models by day, workflow, node, model or user: tokens and cost, in at most 366 days."""
    first, last = _range(since, until)
    if by is By.NODE and workflow_id is None:
        raise Unprocessable(
            "`by=node` needs `workflow_id`: the ids of nodes are those of a workflow", "workflow_missing"
        )
    found = await services.accountant.usage(caller.workspace_id, first, last, by, workflow_id)
    return answer(views.usage(first, last, by, found))


def _range(since: date | None, until: date | None) -> tuple[date, date]:
    """Return the first and the last day that are asked for. Raises `Unprocessable`."""
    last = until or datetime.fromtimestamp(now_ms() / 1000, UTC).date()
    if not all(FIRST_DAY <= day <= LAST_DAY for day in (since or last, last)):
        raise Unprocessable(f"`from` and `to` are days from {FIRST_DAY} to {LAST_DAY}", "range_invalid")
    first = since or last - timedelta(days=DAYS - 1)
    if not 0 <= (last - first).days < DAYS_MAX:
        message = f"`to` is the day of `from` or a later one, and the days from one to the other are {DAYS_MAX} at most"
        raise Unprocessable(message, "range_invalid", {"days_max": DAYS_MAX})
    return first, last
