"""Lists of workflows: filtered, sorted, in pages; and the tags that there are.

A filter looks at the rows of one workspace, which an index gives in the wanted order; nothing here needs an extension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Row, Text, and_, cast, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from store.outages import transaction
from store.paging import SortedPage, bounded, not_a_cursor, read_cursor, write_cursor
from store.tables import workflows
from store.workflow_rows import SUMMARY_COLUMNS, WorkflowSummary, summary_of
from workflow.lifecycle import WorkflowStatus


class WorkflowSort(StrEnum):
    """What a list is sorted by: the newest, the last changed, or the first in the alphabet comes first."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFilter:
    """Which workflows are wanted: all of the tags, one of the statuses (without any: all but the archived), the text somewhere
    in name or description, whatever its case.
    """

    statuses: Sequence[WorkflowStatus] = ()
    tags: Sequence[str] = ()
    text: str = ""


class WorkflowLists:
    """Lists of workflows. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        workspace_id: UUID,
        wanted: WorkflowFilter = WorkflowFilter(),
        *,
        sort: WorkflowSort = WorkflowSort.CREATED_AT,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SortedPage[WorkflowSummary]:
        """Return workflows. Raises `Unprocessable` for a cursor of another list.

        What is changed while somebody turns the pages of a list sorted by that change may move to a page already seen.
        """
        key = _key(sort)
        wished = [workflows.c.workspace_id == workspace_id, *_conditions(wanted)]
        if cursor is not None:
            wished.append(_behind(sort, key, *read_cursor(cursor, sort.value)))
        order = (key.asc(), workflows.c.id.asc()) if sort is WorkflowSort.NAME else (key.desc(), workflows.c.id.desc())
        size = bounded(limit)
        async with transaction(self._engine) as connection:
            found = await connection.execute(
                select(*SUMMARY_COLUMNS, key.label("key")).where(*wished).order_by(*order).limit(size + 1)
            )
            rows: Sequence[Row[Any]] = found.all()  # type: ignore[assignment]
        last = rows[size - 1] if len(rows) > size else None
        return SortedPage(items=[summary_of(row) for row in rows[:size]], next_cursor=last and _cursor(sort, last))

    async def tags(self, workspace_id: UUID) -> list[tuple[str, int]]:
        """Return the tags of the workflows that are not archived, with how many have each, in the order of the alphabet."""
        listed = and_(workflows.c.workspace_id == workspace_id, workflows.c.status != WorkflowStatus.ARCHIVED.value)
        each = select(func.unnest(workflows.c.tags).label("tag")).where(listed).subquery()
        async with transaction(self._engine) as connection:
            rows = await connection.execute(select(each.c.tag, func.count()).group_by(each.c.tag).order_by(each.c.tag))
            return [(tag, count) for tag, count in rows]


def _conditions(wanted: WorkflowFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(workflows.c.status.in_([status.value for status in wanted.statuses]))
    else:
        found.append(workflows.c.status != WorkflowStatus.ARCHIVED.value)
    if wanted.tags:
        found.append(workflows.c.tags.bool_op("@>")(cast(list(wanted.tags), ARRAY(Text))))
    if wanted.text:
        text = wanted.text
        found.append(
            or_(
                workflows.c.name.icontains(text, autoescape=True),
                workflows.c.description.icontains(text, autoescape=True),
            )
        )
    return found


def _key(sort: WorkflowSort) -> ColumnElement[Any]:
    if sort is WorkflowSort.NAME:
        return func.lower(workflows.c.name)
    return workflows.c.updated_at if sort is WorkflowSort.UPDATED_AT else workflows.c.created_at


def _behind(sort: WorkflowSort, key: ColumnElement[Any], value: str, identity: UUID) -> ColumnElement[bool]:
    if sort is WorkflowSort.NAME:
        return tuple_(key, workflows.c.id) > tuple_(value, identity)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise not_a_cursor() from None
    return tuple_(key, workflows.c.id) < tuple_(at, identity)


def _cursor(sort: WorkflowSort, row: Row[Any]) -> str:
    value = row.key if sort is WorkflowSort.NAME else row.key.isoformat()
    return write_cursor(sort.value, value, row.id)
