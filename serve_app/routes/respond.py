"""Answers without a login: whoever has a request's link may see it and answer it, once. Browsers get a page with a form."""

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response

from actors.ids import now_ms
from serve_app import models
from serve_app.bodies import read_body
from serve_app.once import begin_by_link
from serve_app.openapi import problems
from serve_app.request_page import filled_in, page
from serve_app.requests import public_view, read_answer
from serve_app.routes.asking import Asked, answer
from serve_app.routes.hitl import take
from store.inbox import Asked as Found
from workflow.answers import Answer
from workflow.errors import InvalidRequest
from workflow.links import token_hash
from workflow.values import decode, encode
from workflow.waiting import RequestType

router = APIRouter(prefix="/respond", tags=["hitl"])

FORM_TYPE = "application/x-www-form-urlencoded"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
Token = Annotated[str, Path(max_length=100, description="the secret part of the link")]


@router.get(
    "/{token}",
    operation_id="get_request_by_link",
    response_model=models.PublicRequestOut,
    responses=problems(404),
)
async def show(token: Token, request: Request, services: Asked) -> Response:
    """Show what is asked, to whoever has the link: JSON, or a page to browsers."""
    found = await services.inbox.by_token(token_hash(token))
    if _is_browser(request):
        return HTMLResponse(page(found), headers=HEADERS)
    return answer(public_view(found), headers=HEADERS)


@router.post(
    "/{token}",
    operation_id="respond_by_link",
    response_model=models.PublicRequestOut,
    responses=problems(400, 403, 404, 409, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": False,
            "description": "an answer as `respond_to_request` takes it; for a request of type `webhook` any JSON",
            "content": {"application/json": {"schema": {}}, FORM_TYPE: {"schema": {"type": "object"}}},
        }
    },
)
async def respond(token: Token, request: Request, services: Asked) -> Response:
    """Answer what is asked. The link works once: 409 when it was answered or is closed, 403 where several people have to approve."""
    found = await services.inbox.by_token(token_hash(token))
    await begin_by_link(request, found.workspace_id, token_hash(token))
    body = await read_body(request, services.config.limits.input_bytes_max)
    from_page = request.headers.get("content-type", "").partition(";")[0].strip() == FORM_TYPE
    if not (from_page and _is_browser(request)):
        # Nothing caches it, for it answers a POST; what says `no-store` is not kept for whoever asks again with the same key.
        return answer(public_view(await take(services, found, _answer(found, body), request)))
    try:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        given = filled_in(found, fields)
        encode(given)  # refuses what JSON could not have brought: NUL, NaN, integers beyond 64 bits
        decided = await take(services, found, _said(**given), request)
    except InvalidRequest as error:
        return HTMLResponse(page(found, error.message), error.status, HEADERS)
    return HTMLResponse(page(decided), headers=HEADERS)


def _answer(found: Found, body: bytes) -> Answer:
    if found.open.type is RequestType.WEBHOOK:
        return _said(data=decode(body) if body.strip() else None)
    given = read_answer(body)
    return _said(action=given.action, data=given.data, comment=given.comment)


def _said(*, action: str = "", data: Any = None, comment: str = "") -> Answer:
    return Answer(action=action, data=data, comment=comment, role="", at_ms=now_ms())


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
