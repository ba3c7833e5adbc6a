"""The stream of an execution's events: numbered, resumable with `Last-Event-ID`, with a heartbeat, ended by the terminal event."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import format_sse_event

from serve_app import views
from serve_app.auth import Viewer
from serve_app.following import pause
from serve_app.routes.asking import Asked, ExecutionId
from serve_app.services import Services
from workflow.errors import Unprocessable
from workflow.events import TERMINAL_KINDS

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["executions"])

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
POLL_S = 0.5
PAGE = 500


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
    """Stream the events of an execution as server-sent events, from the first or from after the last one seen."""
    if not last_event_id.isascii() or not last_event_id.isdecimal():
        raise Unprocessable("Last-Event-ID is the number of an event", "last_event_id_invalid")
    seen = after if after is not None else int(last_event_id)
    view = await services.executions.get(caller.workspace_id, execution_id)
    if view.status.terminal and seen >= view.last_seq:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _stream(services, caller.workspace_id, execution_id, seen)
    return StreamingResponse(stream, headers=headers, media_type=MEDIA_TYPE)


async def _stream(services: Services, workspace_id: UUID, execution_id: UUID, seen: int) -> AsyncIterator[bytes]:
    silent_s = 0.0
    with services.follower.changes(execution_id) as changed:
        while True:
            rows = await services.executions.events(workspace_id, execution_id, seen, PAGE)
            for row in rows:
                yield format_sse_event(data_str=views.event(row).decode(), event=row.kind, id=str(row.seq))
                seen = row.seq
                silent_s = 0.0
                if row.kind in TERMINAL_KINDS:
                    return
            if len(rows) == PAGE:
                continue
            if not await pause(changed, POLL_S):
                silent_s += POLL_S
            if silent_s >= HEARTBEAT_S:
                yield b": still there\n\n"
                silent_s = 0.0
