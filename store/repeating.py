"""Executions made of former ones: read what there is to keep, and insert the new one with its history, in one statement.

Results are copied inside the database, row by row, so that no data travel. What they name as blobs is named by the new execution,
too: content belongs to the workspace. The former row is locked against deletion until the copy is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from store import repetition, statements
from store.arrays import bigints, ints, jsons, texts, uuids
from store.columns import PLACE_BITS
from store.engine import Pool
from store.outages import connection_of
from store.reading import EVENTS, absent, accepted_from, event_from
from workflow.blobs import BlobRef
from workflow.errors import Bug, NotFound
from workflow.lifecycle import WorkflowStatus
from workflow.ports import Accepted, Concurrency, EventRow, IdempotencyKey, Isolation, NodeRow, Outcome
from workflow.rerun import KeptRun
from workflow.states import ExecutionStatus
from workflow.waiting import NodeRun

ONE_NODE = "node"
"""What began the executions of single nodes: they have no results of others that are worth anything."""
LOOKED_AT_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """An execution as far as another one can be made of it."""

    id: UUID
    status: ExecutionStatus
    workflow_id: UUID | None
    workflow_version: int | None
    trigger_type: str
    priority: int
    isolation: Isolation
    retry_count: int
    input: bytes
    input_ref: BlobRef | None
    definition: bytes
    own_definition: bool
    """Whether the definition is stored with it: it came with the request, or is a part of the workflow's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """An execution to make of a former one, as queued. Without `input` it has the former one's; without `definition`, too.

    It has the former one's concurrency key, or, where it is `rekeyed`, what `concurrency` says.
    """

    id: UUID
    workspace_id: UUID
    former_id: UUID
    workflow_version: int | None
    nodes_total: int
    trigger_type: str
    triggered_by: UUID | None
    isolation: Isolation
    priority: int
    retry_count: int
    definition: bytes | None = None
    input: bytes | None = None
    input_ref: BlobRef | None = None
    idempotency: IdempotencyKey | None = None
    rekeyed: bool = False
    concurrency: Concurrency | None = None
    events: Sequence[EventRow] = field(default_factory=tuple)
    kept: Sequence[KeptRun] = field(default_factory=tuple)
    skipped: Sequence[NodeRow] = field(default_factory=tuple)
    nodes_completed: int = 0


class Repeating:
    """Makes executions of former ones. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def former(self, workspace_id: UUID, execution_id: UUID) -> Former:
        """Return the execution. Raises `NotFound`."""
        async with connection_of(self._pool) as connection:
            found = await connection.execute(repetition.FORMER, {"id": execution_id, "workspace": workspace_id})
            row = await found.fetchone()
        if row is None:
            raise absent(execution_id)
        return _former(execution_id, row)

    async def results(self, execution_id: UUID, events_max: int) -> tuple[list[EventRow], set[NodeRun]]:
        """Return up to so many events of an execution, and the runs whose results are still there."""
        async with connection_of(self._pool) as connection:
            events = await connection.execute(EVENTS, {"id": execution_id, "after": 0, "limit": events_max})
            runs = await connection.execute(repetition.STORED_RUNS, {"id": execution_id})
            return [event_from(row) for row in await events.fetchall()], {
                (node_id, run_index) for node_id, run_index in await runs.fetchall()
            }

    async def last_completed(self, workspace_id: UUID, workflow_id: UUID, node_ids: Sequence[str]) -> UUID | None:
        """Return the latest completed execution of a workflow in which one of these nodes has completed, if a recent one has."""
        parameters = {
            "workspace": workspace_id,
            "workflow": workflow_id,
            "nodes": texts(node_ids),
            "trigger_type": ONE_NODE,
            "looked_at": LOOKED_AT_MAX,
        }
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(repetition.LAST_COMPLETED, parameters)).fetchone()
        return None if row is None else row[0]

    async def accepted_before(self, workspace_id: UUID, key: IdempotencyKey) -> Accepted | None:
        """Return what was accepted under a key, if anything was: as repeated, or as a key that means another request."""
        parameters = {
            "places": ints([0]),
            "ids": uuids([None]),
            "workspaces": uuids([workspace_id]),
            "keys": texts([key.key]),
        }
        async with connection_of(self._pool) as connection:
            found = await connection.execute(statements.ACCEPTED_BEFORE, parameters)
            row = await found.fetchone()
        return None if row is None else accepted_from(row, key)

    async def accept(self, new: Repetition) -> Accepted | WorkflowStatus:
        """Make the execution durable, with all that it keeps; the workflow's state where that lets nothing begin.

        Raises `NotFound` when the former one, or its workflow, is not there any more.
        """
        async with connection_of(self._pool) as connection, connection.transaction():
            done = await connection.execute(repetition.INSERT, _parameters(new))
            row = await done.fetchone()
            if row is not None and row[2] and row[3] != len(new.kept):
                raise Bug("results that are to be kept are not there", fields={"kept": len(new.kept), "found": row[3]})
        if row is None:
            raise absent(new.former_id)
        status, fit, created, _, version = row
        if created:
            return Accepted(outcome=Outcome.CREATED, id=new.id, workflow_version=version)
        before = await self.accepted_before(new.workspace_id, new.idempotency) if new.idempotency else None
        if before is not None:
            return before
        if not fit and status is None:
            raise NotFound("there is no such workflow", fields={"execution_id": str(new.former_id)})
        if not fit:
            return WorkflowStatus(status)
        raise Bug("an execution's id is taken, or its key by nothing that is there", fields={"id": str(new.id)})


def _former(execution_id: UUID, row: tuple[Any, ...]) -> Former:
    (
        status,
        workflow_id,
        version,
        trigger_type,
        priority,
        isolation,
        retry_count,
        given,
        input_ref,
        own,
        of_version,
        known,
    ) = row
    if own is None and not known:
        raise Bug("an execution has neither a version nor a definition", fields={"id": str(execution_id)})
    return Former(
        id=execution_id,
        status=ExecutionStatus(status),
        workflow_id=workflow_id,
        workflow_version=version,
        trigger_type=trigger_type,
        priority=priority,
        isolation=Isolation(isolation),
        retry_count=retry_count,
        input=given.encode(),
        input_ref=BlobRef.from_json(input_ref),
        definition=(of_version if own is None else own).encode(),
        own_definition=own is not None,
    )


def _parameters(new: Repetition) -> dict[str, Any]:
    key, concurrency = new.idempotency, new.concurrency
    last_seq = len(new.events)
    first = last_seq << PLACE_BITS
    return {
        "id": new.id,
        "workspace": new.workspace_id,
        "former": new.former_id,
        "version": new.workflow_version,
        "definition": None if new.definition is None else new.definition.decode(),
        "input": None if new.input is None else new.input.decode(),
        "input_ref": None if new.input_ref is None else new.input_ref.as_json().decode(),
        "nodes_total": new.nodes_total,
        "nodes_completed": new.nodes_completed,
        "trigger_type": new.trigger_type,
        "triggered_by": new.triggered_by,
        "isolation": new.isolation.value,
        "priority": new.priority,
        "retry_count": new.retry_count,
        "rekeyed": new.rekeyed,
        "concurrency_key": concurrency.key if concurrency else "",
        "concurrency_limit": concurrency.limit if concurrency else 0,
        "last_seq": last_seq,
        "key": key.key if key else None,
        "fingerprint": key.fingerprint if key else None,
        "event_seqs": bigints(event.seq for event in new.events),
        "event_kinds": texts(event.kind for event in new.events),
        "event_at_ms": bigints(event.at_ms for event in new.events),
        "event_nodes": texts(event.node_id for event in new.events),
        "event_bodies": jsons(event.body for event in new.events),
        "kept_nodes": texts(run.node_id for run in new.kept),
        "kept_former": ints(run.former_index for run in new.kept),
        "kept_runs": ints(run.run_index for run in new.kept),
        "kept_written": bigints(first + place for place in range(len(new.kept))),
        "skipped_nodes": texts(row.node_id for row in new.skipped),
        "skipped_runs": ints(row.run_index for row in new.skipped),
        "skipped_written": bigints(first + len(new.kept) + place for place in range(len(new.skipped))),
        "skipped_types": texts(row.node_type for row in new.skipped),
        "skipped_names": texts(row.node_name for row in new.skipped),
    }
