"""The inbox: what executions ask the people of a workspace, and their answers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from actors.ids import now_ms
from serve_app import models
from serve_app.auth import Viewer
from serve_app.bodies import read_body
from serve_app.openapi import model_body, problems
from serve_app.requests import RespondBody, read_answer, request_view
from serve_app.routes.asking import Asked, Cursor, Limit, answer, before
from serve_app.routes.execution_control import poke
from serve_app.services import Services
from store.inbox import Asked as Found
from store.inbox import From
from workflow.answers import Answer
from workflow.links import PATH, link_token
from workflow.waiting import RequestStatus, RequestType

router = APIRouter(prefix="/workspaces/{workspace_id}/hitl", tags=["hitl"])

RequestId = Annotated[UUID, Path(description="the request's id")]


@router.get("", operation_id="list_requests", response_model=models.RequestsOut)
async def list_requests(
    caller: Viewer,
    services: Asked,
    status: Annotated[list[RequestStatus] | None, Query(description="only those in one of these states")] = None,
    type: Annotated[list[RequestType] | None, Query(description="only those of one of these kinds")] = None,  # noqa: A002
    execution_id: Annotated[UUID | None, Query(description="only those of this execution")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """List what the workspace's executions ask, newest first."""
    page = await services.inbox.page(
        caller.workspace_id,
        statuses=status or (),
        types=type or (),
        execution_id=execution_id,
        before=before(cursor),
        limit=limit,
    )
    items = [request_view(found, caller.role, link_of(services, found)) for found in page.items]
    return answer({"items": items, "next_cursor": page.next_before})


@router.get("/{request_id}", operation_id="get_request", response_model=models.RequestOut)
async def get_request(request_id: RequestId, caller: Viewer, services: Asked) -> Response:
    """Show a request, with its link if the caller may answer it."""
    found = await services.inbox.get(caller.workspace_id, request_id)
    return answer(request_view(found, caller.role, link_of(services, found)))


@router.post(
    "/{request_id}/respond",
    operation_id="respond_to_request",
    response_model=models.RequestOut,
    responses=problems(400, 409, 413),
    openapi_extra=model_body(RespondBody),
)
async def respond(request_id: RequestId, request: Request, caller: Viewer, services: Asked) -> Response:
    """Answer a request. The first decision counts: 409 when it is closed, or answered by the caller already.

    Who may answer stands in the request; where it names no roles, everybody who may edit.
    """
    given = read_answer(await read_body(request, services.config.limits.input_bytes_max))
    found = await services.inbox.get(caller.workspace_id, request_id)
    said = Answer(
        action=given.action,
        data=given.data,
        comment=given.comment,
        user_id=caller.user_id,
        role=caller.role,
        at_ms=now_ms(),
    )
    return answer(request_view(await take(services, found, said, request), caller.role, link_of(services, found)))


def link_of(services: Services, found: Found) -> str:
    """Return the link by which a request is answered without a login."""
    key = bytes.fromhex(services.config.link_key)
    token = link_token(key, found.execution_id, found.node_id, found.run_index, found.ordinal)
    return services.config.public_url + PATH + token


async def take(services: Services, found: Found, said: Answer, request: Request) -> Found:
    """Take an answer, and have the execution look at it. Raises what `Inbox.respond` raises."""
    address = request.client.host if request.client else ""
    origin = From(ip_address=address, user_agent=request.headers.get("user-agent", ""))
    decided = await services.inbox.respond(found, said, origin)
    if decided.open.status is not RequestStatus.PENDING:
        poke(services, await services.executions.get(found.workspace_id, found.execution_id))
    return decided
