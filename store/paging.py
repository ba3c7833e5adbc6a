"""Pages of a list, by keyset: the next page begins below the last id of this one, however many rows came meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")

PAGE_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items, newest first. `next_before` asks for the page after this one; None on the last."""

    items: Sequence[T]
    next_before: UUID | None


def bounded(limit: int) -> int:
    """Return the number of items to give for a wanted number."""
    return max(1, min(limit, PAGE_MAX))
