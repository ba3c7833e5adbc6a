"""The stream of an execution's events: numbered, resumable with `Last-Event-ID`, with a heartbeat, ended by the terminal event."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from serve_app.auth import Viewer
from serve_app.routes.asking import Asked, ExecutionId
from serve_app.streaming import MEDIA_TYPE, event_stream, stream_response
from workflow.errors import Unprocessable

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["executions"])


@router.get(
    "/executions/{execution_id}/events",
    operation_id="stream_execution_events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "the events"},
        204: {"description": "the stream has ended and there is nothing after Last-Event-ID"},
    },
)
async def stream_events(
    execution_id: ExecutionId,
    caller: Viewer,
    services: Asked,
    last_event_id: Annotated[str, Header(description="the number of the last event that was seen")] = "0",
    after: Annotated[int | None, Query(ge=0, description="the same, for those who cannot set headers")] = None,
) -> Response:
    """Stream the events of an execution as server-sent events, from the first or from after the last one seen.

    Between them come, without a number, `token` events: what a model is writing, at its offset in characters; and `rollback`: what
    was written at that place is void, it is written anew. The result of the node is what counts.
    """
    if not last_event_id.isascii() or not last_event_id.isdecimal():
        raise Unprocessable("Last-Event-ID is the number of an event", "last_event_id_invalid")
    seen = after if after is not None else int(last_event_id)
    view = await services.executions.get(caller.workspace_id, execution_id)
    if view.status.terminal and seen >= view.last_seq:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return stream_response(event_stream(services, caller.workspace_id, execution_id, seen))
