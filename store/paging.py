"""Pages of a list, by keyset: the next page begins after the last row of this one, however many rows came meanwhile.

A cursor is a text for the client to send back: what the list is sorted by, the last row's value of it, and its id.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

import orjson

from workflow.errors import Unprocessable

T = TypeVar("T")

PAGE_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items, newest first. `next_before` asks for the page after this one; None on the last."""

    items: Sequence[T]
    next_before: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedPage(Generic[T]):
    """Some items in the order that was asked for. `next_cursor` asks for the page after this one; None on the last."""

    items: Sequence[T]
    next_cursor: str | None


def bounded(limit: int) -> int:
    """Return the number of items to give for a wanted number."""
    return max(1, min(limit, PAGE_MAX))


def write_cursor(sort: str, value: str, identity: UUID) -> str:
    """Return the cursor behind a row."""
    return urlsafe_b64encode(orjson.dumps([sort, value, str(identity)])).decode().rstrip("=")


def read_cursor(cursor: str, sort: str) -> tuple[str, UUID]:
    """Return the value and the id that a page ended with. Raises `Unprocessable`, also for the cursor of another order."""
    try:
        made_for, value, identity = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        last = UUID(identity)
    except (ValueError, TypeError, AttributeError):
        raise not_a_cursor() from None
    if made_for != sort or not isinstance(value, str) or "\0" in value:
        raise not_a_cursor()
    return value, last


def not_a_cursor() -> Unprocessable:
    """Return the error of a cursor that no page of this list gave."""
    return Unprocessable("`cursor` is the `next_cursor` of a page of this list", "cursor_invalid")
