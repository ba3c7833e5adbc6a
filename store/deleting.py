"""Deleting executions with all that belongs to them: results, events, signals, idempotency keys.

Their blobs are no longer named by them; `Blobs.sweep` removes those that nothing else names.

Only terminal ones are deleted: of the others an owner may be writing. What is deleted is still counted in its workflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.documents import NOT_INDEXED
from store.listing import ExecutionFilter, conditions
from store.outages import transaction
from store.tables import (
    blob_references,
    documents,
    effect_results,
    executions,
    hitl_requests,
    idempotency_keys,
    node_executions,
    signals,
    stream_events,
    workflows,
)
from workflow.states import TERMINAL, ExecutionStatus

BATCH = 250
"""Executions deleted in one transaction: a batch with much data takes some tenths of a second."""
UNINDEXED = "documents.status IN ('pending', 'processing')"
"""Written out, as the index of these is."""
DELETED_MAX = 5_000
"""Executions deleted by one call with a filter."""
OWNED = (
    (node_executions, node_executions.c.execution_id),
    (stream_events, stream_events.c.execution_id),
    (signals, signals.c.execution_id),
    (hitl_requests, hitl_requests.c.execution_id),
    (idempotency_keys, idempotency_keys.c.execution_id),
    (blob_references, blob_references.c.execution_id),
    (effect_results, effect_results.c.execution_id),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """How many were deleted; which of the named were not, for they have not ended or are not there; whether more are left."""

    count: int
    not_terminal: Sequence[UUID] = ()
    not_found: Sequence[UUID] = ()
    more: bool = False


class Deleting:
    """Deletes executions. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def delete(self, workspace_id: UUID, execution_ids: Sequence[UUID]) -> Deleted:
        """Delete those of the executions that are terminal, in batches."""
        named = sorted(set(execution_ids))
        gone: set[UUID] = set()
        for start in range(0, len(named), BATCH):
            batch = named[start : start + BATCH]
            chosen = and_(executions.c.id.between(batch[0], batch[-1]), executions.c.id.in_(batch))
            gone |= await self._delete(_ended(workspace_id, ExecutionFilter()).where(chosen))
        left = [identity for identity in named if identity not in gone]
        there = await self._there(workspace_id, left) if left else set()
        return Deleted(
            count=len(gone),
            not_terminal=[identity for identity in left if identity in there],
            not_found=[identity for identity in left if identity not in there],
        )

    async def delete_before(
        self,
        workspace_id: UUID,
        before: datetime,
        *,
        statuses: Sequence[ExecutionStatus] = (),
        workflow_id: UUID | None = None,
    ) -> Deleted:
        """Delete the terminal executions made before a time, the oldest first, at most `DELETED_MAX`."""
        wanted = ExecutionFilter(statuses=statuses, workflow_id=workflow_id, created_before=before)
        count = 0
        while count < DELETED_MAX:
            gone = await self._delete(_ended(workspace_id, wanted).limit(BATCH))
            count += len(gone)
            if len(gone) < BATCH:
                return Deleted(count=count)
        async with transaction(self._engine) as connection:
            more = (await connection.execute(_ended(workspace_id, wanted).limit(1))).first()
        return Deleted(count=count, more=more is not None)

    async def _delete(self, wanted: Select[Any]) -> set[UUID]:
        async with transaction(self._engine) as connection:
            # Locked in the order of their ids, so that two that delete at once do not wait for each other in a circle.
            rows = (await connection.execute(wanted.with_for_update(of=executions))).all()
            if not rows:
                return set()
            gone = [row.id for row in rows]
            await _tell_documents(connection, gone)
            for table, column in OWNED:
                await connection.execute(delete(table).where(column.between(gone[0], gone[-1]), column.in_(gone)))
            await connection.execute(
                delete(executions).where(executions.c.id.between(gone[0], gone[-1]), executions.c.id.in_(gone))
            )
            await _count(connection, rows)
            return set(gone)

    async def _there(self, workspace_id: UUID, execution_ids: Sequence[UUID]) -> set[UUID]:
        wished = and_(
            executions.c.workspace_id == workspace_id,
            executions.c.id.between(execution_ids[0], execution_ids[-1]),
            executions.c.id.in_(execution_ids),
        )
        async with transaction(self._engine) as connection:
            return set((await connection.execute(select(executions.c.id).where(wished))).scalars())


def _ended(workspace_id: UUID, wanted: ExecutionFilter) -> Select[Any]:
    statuses = TERMINAL.intersection(wanted.statuses) if wanted.statuses else TERMINAL
    ended = executions.c.status.in_(sorted(status.value for status in statuses))
    wished = [*conditions(workspace_id, replace(wanted, statuses=())), ended]
    shown = select(executions.c.id, executions.c.workflow_id, executions.c.queued_at)
    return shown.where(*wished).order_by(executions.c.id)


async def _tell_documents(connection: AsyncConnection, gone: Sequence[UUID]) -> None:
    """Write into documents that these executions were to index why they are not: so far their rows were asked for it."""
    own = executions.c
    failed = {
        "status": "failed",
        "error_code": func.coalesce(func.nullif(own.error_code, ""), "not_indexed"),
        "error_message": func.coalesce(func.nullif(own.error_message, ""), NOT_INDEXED),
    }
    await connection.execute(
        update(documents)
        .where(documents.c.execution_id.in_(gone), text(UNINDEXED))
        .where(own.id == documents.c.execution_id, own.id.between(gone[0], gone[-1]))
        .values(failed)
    )


async def _count(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
    of_workflow: dict[UUID, list[datetime]] = {}
    for row in rows:
        if row.workflow_id is not None:
            of_workflow.setdefault(row.workflow_id, []).append(row.queued_at)
    for workflow_id, times in sorted(of_workflow.items()):
        last = func.greatest(workflows.c.last_executed_at, max(times))
        counted = workflows.c.execution_count + len(times)
        await connection.execute(
            update(workflows)
            .where(workflows.c.id == workflow_id)
            .values(execution_count=counted, last_executed_at=last)
        )
