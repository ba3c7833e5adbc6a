"""Reading request bodies: bounded in bytes before they are parsed, in depth and numbers while they are."""

from typing import Any

from fastapi import Request

from workflow.errors import BadInput, TooLarge, Unprocessable
from workflow.values import decode

PRIORITY_DEFAULT = 5
DRAIN_BYTES_MAX = 256 * 1024 * 1024
"""A body over the limit is read and thrown away up to here, so that the client sees the answer and not a broken pipe."""


KEPT_BODY = "rayloom.body"


async def keep_body(request: Request, bytes_max: int) -> bytes:
    """Return the body, and let it be read again. Raises `TooLarge`."""
    body = request.scope[KEPT_BODY] = await read_body(request, bytes_max)
    return body


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body. Raises `TooLarge`."""
    kept: bytes | None = request.scope.get(KEPT_BODY)
    if kept is not None:
        if len(kept) > bytes_max:
            raise _too_large(len(kept), bytes_max)
        return kept
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else 0
    if length > DRAIN_BYTES_MAX:
        raise _too_large(length, bytes_max)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= bytes_max and length <= bytes_max:
            chunks.append(chunk)
        else:
            chunks.clear()
        if size > DRAIN_BYTES_MAX:
            break
    if max(size, length) > bytes_max:
        raise _too_large(max(size, length), bytes_max)
    return b"".join(chunks)


def parse_object(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    """Return the JSON object in a body; an empty body is an empty object. Raises `BadInput`, `Unprocessable`."""
    value = decode(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise BadInput("the body must be a JSON object", "body_not_an_object")
    require_known(value, known)
    return value


def require_known(value: dict[str, Any], known: frozenset[str]) -> None:
    """Raise `Unprocessable` for an object with other fields than these."""
    unknown = sorted(set(value) - known)
    if unknown:
        fields = {"unknown": unknown[:20], "known": sorted(known)}
        raise Unprocessable(f"the body has a field that is not known here: {unknown[0]!r}", "unknown_field", fields)


def priority_of(asked: dict[str, Any]) -> int:
    """Return the priority that a body asks for. Raises `Unprocessable` unless it is a whole number from 1 to 10."""
    priority = asked.get("priority", PRIORITY_DEFAULT)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= 10:
        raise Unprocessable("`priority` is a whole number from 1 to 10", "priority_invalid")
    return priority


def _too_large(size: int, bytes_max: int) -> TooLarge:
    fields = {"bytes": size, "bytes_max": bytes_max}
    return TooLarge(f"the body has {size} bytes, more than the {bytes_max} that are allowed", "body_too_large", fields)
