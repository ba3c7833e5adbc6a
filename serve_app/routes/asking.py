"""What several routes ask of a request: the services, the time to wait, a JSON answer."""

from typing import Annotated, Any, cast
from uuid import UUID

import orjson
from fastapi import Depends, Path, Query, Request
from fastapi.responses import Response

from serve_app.services import Services
from store.paging import PAGE_MAX, not_a_cursor
from workflow.errors import Unprocessable

NUMBER_MAX = 2**31 - 1
"""What PostgreSQL's `integer` holds: numbers of versions, runs and places."""


async def _services(request: Request) -> Services:  # async: FastAPI sends plain functions through a thread pool
    return cast("Services", request.app.state.services)


Asked = Annotated[Services, Depends(_services)]
WorkflowId = Annotated[UUID, Path(description="the workflow's id")]
ExecutionId = Annotated[UUID, Path(description="the execution's id")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="how many at most")]


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), status, headers, "application/json")


def before(cursor: str | None) -> UUID | None:
    """Return the id that the page before ended with. Raises `Unprocessable`."""
    if cursor is None:
        return None
    try:
        return UUID(cursor)
    except ValueError:
        raise not_a_cursor() from None


def number_in(cursor: str | None) -> int | None:
    """Return the number that is the cursor of some lists. Raises `Unprocessable`."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 10 and int(cursor) <= NUMBER_MAX):
        raise not_a_cursor()
    return int(cursor)


def plain_texts(*texts: str) -> None:
    """Raise `Unprocessable` for a text that no row can hold."""
    if any("\0" in text for text in texts):
        raise Unprocessable("a parameter contains the NUL character", "nul_not_allowed")


def wait_seconds(request: Request, wait_s_max: int) -> float:
    """Return `?wait=` in seconds, 0 when it is absent. Raises `Unprocessable`."""
    text = request.query_params.get("wait", "")
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= wait_s_max:
        raise Unprocessable(
            f"`wait` is a number of seconds from 0 to {wait_s_max}", "wait_invalid", {"wait_s_max": wait_s_max}
        )
    return seconds


def stream_wanted(request: Request) -> bool:
    """Return whether the answer is to be a stream. Raises `Unprocessable` for anything but true and false."""
    text = request.query_params.get("stream", "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Unprocessable("`stream` is true or false", "stream_invalid")
    return text in ("true", "1")
