"""Searching documents, and answering from them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from nodes.ai_rag_query import NODE_TYPE as RAG_QUERY
from nodes.chats import MODEL_PROPERTIES
from nodes.retrieval import SEARCH_PROPERTIES, find
from serve_app import document_views as views
from serve_app import internal
from serve_app.auth import Executor, Viewer
from serve_app.bodies import keep_body, parse_object, read_body
from serve_app.once import REPLAYED, execution_key
from serve_app.openapi import object_body, problems
from serve_app.problems import problem_of
from serve_app.routes.asking import Asked, answer
from serve_app.services import Services
from serve_app.streaming import MEDIA_TYPE, event_stream, stream_response, unnumbered
from workflow.errors import NodeError, NotFound, RayloomError, Unavailable, Unprocessable
from workflow.ports import ExecutionView, Outcome
from workflow.schemas import violations
from workflow.states import ExecutionStatus

router = APIRouter(prefix="/workspaces/{workspace_id}/rag", tags=["documents"])

QUERY = {"type": "string", "minLength": 1, "maxLength": 10_000, "description": "what is asked"}
SEARCH_FIELDS = {"query": QUERY, **SEARCH_PROPERTIES}
QUERY_FIELDS = {
    "query": QUERY,
    "instructions": RAG_QUERY.spec.config_schema["properties"]["instructions"],
    **SEARCH_PROPERTIES,
    **MODEL_PROPERTIES,
    "stream": {
        "type": "boolean",
        "default": False,
        "description": (
            "answer with the stream of the execution's events (server-sent): `token` while the model writes, `answer` with what is "
            "answered without it, then the terminal event"
        ),
    },
}
ANSWER_LIMIT_S = 290.0
BUSY = frozenset({"models_busy", "model_failed", "provider_failed", "provider_limited"})


@router.post(
    "/search",
    operation_id="search_documents",
    response_model=views.HitsOut,
    responses=problems(400, 413, 503),
    openapi_extra=object_body(SEARCH_FIELDS, ["query"]),
)
async def search_documents(request: Request, caller: Viewer, services: Asked) -> Response:
    """Find the passages of a collection that fit a question."""
    asked = await _asked(request, services, SEARCH_FIELDS)
    models = services.models(caller.workspace_id, caller.user_id)
    knowledge = services.knowledge.of(caller.workspace_id, caller.user_id)
    try:
        hits = await find(models, knowledge, asked["query"], asked)
    except NodeError as error:
        raise _told(error.code, error.message) from error
    return answer({"items": [hit.as_json() for hit in hits]})


@router.post(
    "/query",
    operation_id="query_documents",
    response_model=views.AnswerOut,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "the answer; with `stream` the events"},
        **problems(400, 409, 413, 429, 503),
    },
    openapi_extra=object_body(QUERY_FIELDS, ["query"]),
)
async def query_documents(request: Request, caller: Executor, services: Asked) -> Response:
    """Answer a question from documents, citing them by number. It is an execution: its events and its cost are there afterwards."""
    asked = await _asked(request, services, QUERY_FIELDS)
    config = {name: value for name, value in asked.items() if name not in ("query", "stream")}
    streams = bool(asked.get("stream"))
    _refuse_placeholders(config)
    submitted, new = await internal.execute(
        services,
        caller.workspace_id,
        caller.user_id,
        internal.answering(config),
        {"query": asked["query"]},
        internal.ANSWERING,
        key=execution_key(request, await read_body(request, services.config.limits.body_bytes_max)),
        waits=not streams,
    )
    if streams:
        return stream_response(_answer_stream(services, new.workspace_id, submitted.accepted.id))
    if submitted.reply is not None:
        await asyncio.wait({submitted.reply}, timeout=ANSWER_LIMIT_S)
    found = await services.follower.terminal(new.workspace_id, submitted.accepted.id, ANSWER_LIMIT_S)
    replayed = {REPLAYED: "true"} if submitted.accepted.outcome is Outcome.REPLAYED else {}
    return answer({**await _output(services, found), "execution_id": str(found.id)}, headers=replayed)


def _answer_stream(services: Services, workspace_id: UUID, execution_id: UUID) -> AsyncIterator[bytes]:
    async def answered() -> bytes:
        found = await services.executions.get(workspace_id, execution_id)
        try:
            return unnumbered("answer", {**await _output(services, found), "execution_id": str(found.id)})
        except RayloomError as error:
            return unnumbered("problem", problem_of(error.status, error.code, error.message))

    return event_stream(services, workspace_id, execution_id, 0, answered)


async def _asked(request: Request, services: Services, fields: dict[str, Any]) -> dict[str, Any]:
    body = await keep_body(request, services.config.limits.body_bytes_max)
    asked = parse_object(body, frozenset(fields))
    schema = {"type": "object", "properties": fields, "required": ["query"]}
    if errors := violations(asked, schema):
        message = f"{errors[0]['field'] or 'the body'}: {errors[0]['message']}"
        raise Unprocessable(message, "invalid_fields", {"errors": errors})
    return asked


def _refuse_placeholders(value: Any) -> None:
    """Nothing that comes with a request is evaluated: what would be, were it in a workflow, is refused. Raises `Unprocessable`."""
    if isinstance(value, str) and "{{" in value:
        raise Unprocessable("placeholders are for workflows: there are none in a request", "placeholder_not_allowed")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_placeholders(part)


async def _output(services: Services, found: ExecutionView) -> dict[str, Any]:
    if not found.status.terminal:
        message = f"no answer within {ANSWER_LIMIT_S:.0f} s; the execution {found.id} goes on"
        raise Unavailable(message, "answer_pending", {"execution_id": str(found.id)})
    if found.status is not ExecutionStatus.COMPLETED:
        raise _told(found.error_code or found.status.value, found.error_message or f"it is {found.status.value}")
    data = await services.output(found.workspace_id, found)
    (told,) = orjson.loads(data or b"{}")["answer"]
    return dict(told)


def _told(code: str, message: str) -> RayloomError:
    """Return the error of the API for one of a node."""
    if code.endswith("_not_found"):
        return NotFound(message, code)
    return Unavailable(message, code) if code in BUSY else Unprocessable(message, code)
