"""Lists and counts of executions: for people and for metrics, never for the engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal_column, not_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from store.outages import transaction
from store.paging import Page, bounded
from store.partitions import first_id
from store.tables import executions
from workflow.states import ExecutionStatus

COLUMNS = (
    executions.c.id,
    executions.c.workflow_id,
    executions.c.workflow_version,
    executions.c.status,
    executions.c.trigger_type,
    executions.c.triggered_by,
    executions.c.priority,
    executions.c.queued_at,
    executions.c.started_at,
    executions.c.completed_at,
    executions.c.nodes_total,
    executions.c.nodes_completed,
    executions.c.error_code,
    executions.c.error_message,
    executions.c.concurrency_key,
    executions.c.held,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary:
    """An execution in a list: without its data."""

    id: UUID
    workflow_id: UUID | None
    workflow_version: int | None
    status: ExecutionStatus
    trigger_type: str
    triggered_by: UUID | None
    priority: int
    queued_ms: int
    started_ms: int | None
    completed_ms: int | None
    nodes_total: int
    nodes_completed: int
    error_code: str
    error_message: str
    concurrency_key: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFilter:
    """Which executions are wanted. Without statuses or trigger types: all; the times, from and below, are those in the ids.

    `held` wants those that their concurrency keys hold, or all but those.
    """

    statuses: Sequence[ExecutionStatus] = ()
    workflow_id: UUID | None = None
    trigger_types: Sequence[str] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    held: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What there is to do. `oldest_queued_ms` is the age of the oldest pooled execution in the queue."""

    queued: int
    queued_dedicated: int
    running: int
    oldest_queued_ms: int


class Listing:
    """Lists and counts. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        workspace_id: UUID,
        wanted: ExecutionFilter = ExecutionFilter(),
        *,
        limit: int = 50,
        before: UUID | None = None,
    ) -> Page[ExecutionSummary]:
        """Return executions of a workspace, newest first."""
        wished = conditions(workspace_id, wanted)
        if before is not None:
            wished.append(executions.c.id < before)
        size = bounded(limit)
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                select(*COLUMNS).where(*wished).order_by(executions.c.id.desc()).limit(size + 1)
            )
            items = [_summary(row) for row in rows.all()]
        return Page(items=items[:size], next_before=items[size - 1].id if len(items) > size else None)

    async def counts(self, workspace_id: UUID) -> dict[ExecutionStatus, int]:
        """Return how many executions of a workspace are kept in each status; reads them all, so seldom."""
        counted = select(executions.c.status, func.count()).where(executions.c.workspace_id == workspace_id)
        async with transaction(self._engine) as connection:
            rows = await connection.execute(counted.group_by(executions.c.status))
            return {ExecutionStatus(status): count for status, count in rows}

    async def load(self) -> Load:
        """Return what the whole system has to do.

        The statuses stand in the text, not in parameters: so every plan may use the partial indexes made for them.
        """
        queued = executions.c.status == literal_column("'queued'")
        pooled = executions.c.isolation == literal_column("'pooled'")
        dedicated = executions.c.isolation == literal_column("'dedicated'")
        running = executions.c.status == literal_column("'running'")
        age_s = func.extract("epoch", func.clock_timestamp() - func.min(executions.c.queued_at))
        async with transaction(self._engine) as connection:
            waiting, oldest_s = (await connection.execute(select(func.count(), age_s).where(queued, pooled))).one()
            alone = await connection.scalar(select(func.count()).where(queued, dedicated))
            active = await connection.scalar(select(func.count()).where(running))
        return Load(
            queued=waiting,
            queued_dedicated=alone or 0,
            running=active or 0,
            oldest_queued_ms=max(0, int((oldest_s or 0) * 1000)),
        )


def conditions(workspace_id: UUID, wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that a filter stands for. Times become ids, so that they choose months, and rows by the index."""
    found = [executions.c.workspace_id == workspace_id]
    if wanted.statuses:
        found.append(executions.c.status.in_([status.value for status in wanted.statuses]))
    if wanted.workflow_id is not None:
        found.append(executions.c.workflow_id == wanted.workflow_id)
    if wanted.trigger_types:
        found.append(executions.c.trigger_type.in_(wanted.trigger_types))
    if wanted.created_after is not None:
        found.append(executions.c.id >= _first_id(wanted.created_after))
    if wanted.created_before is not None:
        found.append(executions.c.id < _first_id(wanted.created_before))
    if wanted.held is not None:
        held = and_(executions.c.held, executions.c.status == literal_column("'queued'"))
        found.append(held if wanted.held else not_(held))
    return found


def _first_id(at: datetime) -> UUID:
    return first_id(max(0, _ms(at)))


def _summary(row: Any) -> ExecutionSummary:
    return ExecutionSummary(
        id=row.id,
        workflow_id=row.workflow_id,
        workflow_version=row.workflow_version,
        status=ExecutionStatus(row.status),
        trigger_type=row.trigger_type,
        triggered_by=row.triggered_by,
        priority=row.priority,
        queued_ms=_ms(row.queued_at),
        started_ms=row.started_at and _ms(row.started_at),
        completed_ms=row.completed_at and _ms(row.completed_at),
        nodes_total=row.nodes_total,
        nodes_completed=row.nodes_completed,
        error_code=row.error_code,
        error_message=row.error_message,
        concurrency_key=row.concurrency_key,
        held=row.held and row.status == ExecutionStatus.QUEUED,
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
