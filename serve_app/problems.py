"""Errors as RFC 9457 problem+json: `type`, `title`, `status`, `detail`, our stable `code`, and the error's own fields.

One table decides the status: `RayloomError.status`. What nobody foresaw is a 500 with code `internal_error` and no details.
"""

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from workflow.errors import InvalidRequest, RayloomError, StoreUnavailable

MEDIA_TYPE = "application/problem+json"
RESERVED = frozenset({"type", "title", "status", "detail", "code"})


def problem_of(status: int, code: str, detail: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an error as an object of problem+json."""
    body: dict[str, Any] = {
        "type": f"urn:rayloom:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body.update((name, value) for name, value in (fields or {}).items() if name not in RESERVED)
    return body


def problem(status: int, code: str, detail: str, fields: dict[str, Any] | None = None) -> Response:
    """Return the response for an error."""
    body = problem_of(status, code, detail, fields)
    headers = {}
    if "retry_after_s" in body:
        headers["Retry-After"] = str(body["retry_after_s"])
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(body, default=str), status, headers, MEDIA_TYPE)


def answer_errors(app: FastAPI) -> None:
    """Let the application answer every error as a problem."""
    log = structlog.get_logger("rayloom.api")

    async def ours(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RayloomError):
            raise error
        if not isinstance(error, InvalidRequest) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request.failed", code=error.code, error=error.message)
        # What the driver says names the database's host and port; that is for the log alone.
        message = "the database does not answer just now" if isinstance(error, StoreUnavailable) else error.message
        return problem(error.status, error.code, message, error.fields)

    async def malformed(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        found = [{"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"]} for e in error.errors()[:20]]
        detail = f"{found[0]['field']}: {found[0]['message']}" if found else "the request is malformed"
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameters", detail, {"errors": found})

    async def starlettes(_request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return problem(error.status_code, code, str(error.detail))

    async def unforeseen(_request: Request, error: Exception) -> Response:
        log.error("request.broken", error=f"{type(error).__name__}: {error}", exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "something broke on our side; it has been logged"
        )

    app.add_exception_handler(RayloomError, ours)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, starlettes)
    app.add_exception_handler(Exception, unforeseen)
