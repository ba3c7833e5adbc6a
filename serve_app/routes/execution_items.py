"""The items of one node's result, a page at a time."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from serve_app import models
from serve_app.auth import Viewer
from serve_app.routes.asking import NUMBER_MAX, Asked, Cursor, ExecutionId, Limit, answer, number_in, plain_texts

router = APIRouter(prefix="/workspaces/{workspace_id}/executions", tags=["executions"])

NAME_CHARS_MAX = 100


@router.get("/{execution_id}/nodes/{node_id}/items", operation_id="list_node_items", response_model=models.ItemsOut)
async def list_items(
    execution_id: ExecutionId,
    node_id: Annotated[str, Path(max_length=NAME_CHARS_MAX, description="the node's id in the document")],
    caller: Viewer,
    services: Asked,
    handle: Annotated[
        str | None,
        Query(max_length=NAME_CHARS_MAX, description="the output handle; by default `main`, or else the first"),
    ] = None,
    run_index: Annotated[
        int | None, Query(ge=0, le=NUMBER_MAX, description="which run of the node; by default the last")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """List the items of a node's result. A cursor goes with the handle and run that its page was of."""
    plain_texts(node_id, handle or "")
    page = await services.node_items.page(
        caller.workspace_id,
        execution_id,
        node_id,
        handle=handle,
        run_index=run_index,
        start=number_in(cursor) or 0,
        limit=limit,
    )
    body = {
        "items": [orjson.Fragment(item) for item in page.items],
        "next_cursor": None if page.next_start is None else str(page.next_start),
        "run_index": page.run_index,
        "status": page.status,
        "handle": page.handle,
        "handles": dict(page.handles),
    }
    return answer(body)
