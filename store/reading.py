"""The statements that read executions, their events, results and signals, and the values made of their rows."""

from typing import Any
from uuid import UUID

from store.literals import ENDED
from workflow.blobs import BlobRef
from workflow.errors import NotFound
from workflow.ports import (
    Accepted,
    Claimed,
    EventRow,
    ExecutionView,
    IdempotencyKey,
    Isolation,
    NodeRow,
    Outcome,
    Signal,
    SignalKind,
)
from workflow.states import ExecutionStatus, NodeStatus

VIEW_COLUMNS = """
SELECT e.id, e.workspace_id, e.workflow_id, e.workflow_version, e.status, e.trigger_type, e.triggered_by, e.isolation,
    e.priority, e.epoch, e.last_seq, e.crashes, e.nodes_total, e.nodes_completed,
    (extract(epoch FROM e.queued_at) * 1000)::bigint, (extract(epoch FROM e.started_at) * 1000)::bigint,
    (extract(epoch FROM e.completed_at) * 1000)::bigint, e.input_data::text, e.output_data::text, e.error_code,
    e.error_message, e.error_node_id, e.owner, l.actor_id, l.actor_name, l.pid, l.host, e.shared,
    e.input_ref::text, e.output_ref::text,
    CASE WHEN isfinite(e.wake_at) THEN (extract(epoch FROM e.wake_at) * 1000)::bigint END, e.parent_execution_id,
    e.parent_node_id, e.depth, e.retry_count, e.concurrency_key, e.held AND e.status = 'queued',
    (SELECT s.kind FROM signals s WHERE s.execution_id = e.id AND s.read_at IS NULL AND s.kind <> 'wake'
        ORDER BY s.kind = 'cancel' DESC, s.id DESC LIMIT 1)
FROM executions e LEFT JOIN leases l ON l.id = e.owner
"""

GET = f"{VIEW_COLUMNS} WHERE e.id = %(id)s AND e.workspace_id = %(workspace)s"

EXISTS = "SELECT FROM executions WHERE id = %(id)s AND workspace_id = %(workspace)s"

EVENTS = """
SELECT seq, kind, (extract(epoch FROM at) * 1000)::bigint, body::text, node_id FROM stream_events
WHERE execution_id = %(id)s AND seq > %(after)s ORDER BY seq LIMIT %(limit)s
"""

NODES = """
SELECT node_id, run_index, node_type, node_name, status, attempt, (extract(epoch FROM started_at) * 1000)::bigint,
    (extract(epoch FROM completed_at) * 1000)::bigint, duration_ms, output_data::text, error_code, error_message, logs,
    placement, pid, host, output_ref::text, gpu_ids
FROM node_executions WHERE execution_id = %(id)s ORDER BY completed_at NULLS LAST, written
"""

SIGNAL_COLUMNS = """
SELECT s.id, s.execution_id, s.kind, s.body::text, s.node_id, s.run_index, (extract(epoch FROM s.created_at) * 1000)::float8
"""

UNREAD_SIGNALS = f"""
{SIGNAL_COLUMNS}
FROM unnest(%(ids)s::uuid[]) AS v (id) JOIN signals s ON s.execution_id = v.id WHERE s.read_at IS NULL ORDER BY s.id
"""

SIGNAL = f"""
WITH target AS MATERIALIZED (
    SELECT id, workspace_id, status FROM executions WHERE id = %(id)s AND workspace_id = %(workspace)s FOR SHARE
), wished AS MATERIALIZED (
    SELECT t.*, (SELECT e.kind FROM stream_events e WHERE e.execution_id = t.id
            AND e.kind IN ('execution.pause_requested', 'execution.resume_requested') ORDER BY e.seq DESC LIMIT 1)
        IS NOT DISTINCT FROM 'execution.pause_requested'
        OR EXISTS (SELECT FROM signals s WHERE s.execution_id = t.id AND s.read_at IS NULL AND s.kind = 'pause')
        AS pausing
    FROM target t
), judged AS MATERIALIZED (
    SELECT *, status NOT IN ({ENDED}) AND CASE %(kind)s
        WHEN 'pause' THEN status <> 'paused' WHEN 'resume' THEN status = 'paused' OR pausing ELSE true END AS fits
    FROM wished
), taken_back AS (
    UPDATE signals s SET read_at = clock_timestamp() FROM judged j
    WHERE j.fits AND s.execution_id = j.id AND s.read_at IS NULL
        AND s.kind = CASE %(kind)s WHEN 'pause' THEN 'resume' WHEN 'resume' THEN 'pause' END
), left_behind AS (
    INSERT INTO signals (id, workspace_id, execution_id, kind, body)
    SELECT %(signal)s, workspace_id, id, %(kind)s, %(body)s::json FROM judged WHERE fits
    ON CONFLICT DO NOTHING
)
SELECT status, fits FROM judged
"""
"""Leave a signal, where it fits. The share lock waits for a flush under way, so none is left with an execution just ending.

A wish to pause takes back an unread one to resume, and the other way round.
"""


def encoded(text: str | None) -> bytes | None:
    """Return the bytes of a JSON text, or None."""
    return None if text is None else text.encode()


def absent(execution_id: UUID) -> NotFound:
    """Return the error of an execution that is not there, or not in this workspace."""
    return NotFound("there is no such execution", fields={"execution_id": str(execution_id)})


def accepted_from(row: tuple[Any, ...], key: IdempotencyKey | None, own_id: UUID | None = None) -> Accepted | None:
    """Return what a row of `ACCEPTED_BEFORE` answers to whoever came with this key and id; None where nothing was accepted."""
    _, identity, fingerprint, status, owner, version = row
    if status is None:
        return None
    if key is not None and fingerprint is not None and bytes(fingerprint) != key.fingerprint:
        return Accepted(outcome=Outcome.KEY_MISMATCH, id=identity)
    outcome = Outcome.CREATED if identity == own_id else Outcome.REPLAYED
    return Accepted(outcome=outcome, id=identity, status=ExecutionStatus(status), owner=owner, workflow_version=version)


def claimed_from(row: tuple[Any, ...]) -> Claimed:
    """Return the claim that a row of `CLAIMED_COLUMNS` describes."""
    identity, workspace, workflow, version, name, definition, data, epoch, last_seq, losses, crashes, isolation = row[
        :12
    ]
    ref, depth, deadline_ms, priority, triggered_by, parent, trigger_type, concurrency_key, held, signalled = row[12:]
    return Claimed(
        id=identity,
        workspace_id=workspace,
        workflow_id=workflow,
        workflow_version=version,
        workflow_name=name,
        definition=definition.encode(),
        input=data.encode(),
        epoch=epoch,
        last_seq=last_seq,
        recovered=losses > 0,
        losses=losses,
        crashes=crashes,
        isolation=Isolation(isolation),
        input_ref=BlobRef.from_json(ref),
        depth=depth,
        deadline_ms=deadline_ms,
        priority=priority,
        triggered_by=triggered_by,
        parent=parent,
        trigger_type=trigger_type,
        concurrency_key=concurrency_key,
        held=held,
        signalled=signalled,
    )


def view_from(row: tuple[Any, ...]) -> ExecutionView:
    """Return the view that a row of `VIEW_COLUMNS` describes."""
    isolation = Isolation(row[7])
    return ExecutionView(
        id=row[0],
        workspace_id=row[1],
        workflow_id=row[2],
        workflow_version=row[3],
        status=ExecutionStatus(row[4]),
        trigger_type=row[5],
        triggered_by=row[6],
        isolation=isolation,
        priority=row[8],
        epoch=row[9],
        last_seq=row[10],
        crashes=row[11],
        nodes_total=row[12],
        nodes_completed=row[13],
        queued_ms=row[14],
        started_ms=row[15],
        completed_ms=row[16],
        input=row[17].encode(),
        output=encoded(row[18]),
        error_code=row[19],
        error_message=row[20],
        error_node_id=row[21],
        owner=row[22],
        actor_id=row[23] or "",
        actor_name=row[24] or "",
        pid=row[25],
        host=row[26] or "",
        shared=row[27],
        input_ref=BlobRef.from_json(row[28]),
        output_ref=BlobRef.from_json(row[29]),
        wake_ms=row[30],
        parent_execution_id=row[31],
        parent_node_id=row[32],
        depth=row[33],
        retry_count=row[34],
        concurrency_key=row[35],
        held=row[36],
        wish=None if row[37] is None else SignalKind(row[37]),
    )


def event_from(row: tuple[Any, ...]) -> EventRow:
    """Return the event that a row of `EVENTS` describes."""
    return EventRow(seq=row[0], kind=row[1], at_ms=row[2], body=row[3].encode(), node_id=row[4])


def node_from(row: tuple[Any, ...]) -> NodeRow:
    """Return the node execution that a row of `NODES` describes."""
    return NodeRow(
        node_id=row[0],
        run_index=row[1],
        node_type=row[2],
        node_name=row[3],
        status=NodeStatus(row[4]),
        attempt=row[5],
        started_ms=row[6],
        completed_ms=row[7],
        duration_ms=row[8],
        output=encoded(row[9]),
        error_code=row[10],
        error_message=row[11],
        logs=row[12],
        placement=row[13],
        pid=row[14],
        host=row[15],
        output_ref=BlobRef.from_json(row[16]),
        gpu_ids=row[17],
    )


def signal_from(row: tuple[Any, ...]) -> Signal:
    """Return the signal that a row of `SIGNAL_COLUMNS` describes."""
    identity, execution_id, kind, body, node_id, run_index, left_ms = row
    return Signal(
        id=identity,
        execution_id=execution_id,
        kind=SignalKind(kind),
        body=body.encode(),
        node_id=node_id,
        run_index=run_index,
        left_ms=left_ms,
    )
