"""Makes the values that store tests need, with ids of the present month (partitions exist for those)."""

import itertools
import os
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from workflow.ids import uuid7
from workflow.ports import Claimed, Ending, EventRow, Flush, Isolation, LeaseHolder, NewExecution, NodeRow
from workflow.states import ExecutionStatus, NodeStatus

COUNTER = itertools.count()
TTL_MS = 60_000
DEFINITION = (
    b'{"name": "Inline", "nodes": [{"id": "z"}, {"id": "a"}], "connections": [], "settings": {"b": 1, "a": 2.0}}'
)


def an_id() -> UUID:
    """A new id of this month, above all that were made before."""
    return uuid7(int(time.time() * 1000), bytes(3) + next(COUNTER).to_bytes(4, "big") + os.urandom(3))


def new_execution(workspace_id: UUID, **changes: Any) -> NewExecution:
    fields: dict[str, Any] = {
        "id": an_id(),
        "workspace_id": workspace_id,
        "workflow_id": None,
        "definition": None if changes.get("workflow_id") else DEFINITION,
        "input": b'{"z": 1, "a": [1.0, 1e2]}',
        "nodes_total": 3,
        "trigger_type": "manual",
        "triggered_by": None,
    }
    return NewExecution(**fields | changes)


def holder(lease_id: UUID, **changes: Any) -> LeaseHolder:
    fields: dict[str, Any] = {
        "id": lease_id,
        "cluster_id": "cluster",
        "actor_id": f"actor-{lease_id}",
        "actor_name": "actor",
        "host": "host-1",
        "pid": 4711,
        "slots": 32,
    }
    return LeaseHolder(**fields | changes)


def event(seq: int, kind: str = "node.completed", node_id: str = "a") -> EventRow:
    return EventRow(
        seq=seq, kind=kind, at_ms=1_700_000_000_123 + seq, body=b'{"run_index": 0, "b": 1}', node_id=node_id
    )


def node(node_id: str, status: NodeStatus = NodeStatus.COMPLETED, **changes: Any) -> NodeRow:
    fields: dict[str, Any] = {
        "node_id": node_id,
        "run_index": 0,
        "node_type": "logic.set",
        "node_name": node_id.upper(),
        "status": status,
        "attempt": 1,
        "started_ms": 1_700_000_000_001,
        "completed_ms": 1_700_000_000_005,
        "duration_ms": 4.25,
        "output": b'{"main": [{"json": {"z": 1, "a": 2.0}}]}',
        "placement": "actor",
        "pid": 4711,
        "host": "host-1",
    }
    return NodeRow(**fields | changes)


def flush(
    execution_id: UUID,
    epoch: int = 1,
    last_seq: int = 0,
    events: int = 1,
    nodes: Sequence[NodeRow] = (),
    **changes: Any,
) -> Flush:
    numbers = range(last_seq + 1, last_seq + events + 1)
    return Flush(
        execution_id=execution_id,
        epoch=epoch,
        last_seq=last_seq,
        events=[event(seq) for seq in numbers],
        nodes=nodes,
        **changes,
    )


def ending(status: ExecutionStatus = ExecutionStatus.COMPLETED, **changes: Any) -> Ending:
    fields: dict[str, Any] = {"status": status, "at_ms": 1_700_000_009_000, "output": b'{"done": true}'}
    return Ending(**fields | changes)


def claim(execution_id: UUID, epoch: int = 1) -> Claimed:
    """What an owner holds in its hands that claimed an execution under this epoch."""
    return Claimed(
        id=execution_id,
        workspace_id=an_id(),
        workflow_id=None,
        workflow_version=None,
        workflow_name="",
        definition=b"{}",
        input=b"null",
        epoch=epoch,
        last_seq=0,
        recovered=False,
        losses=0,
        crashes=0,
        isolation=Isolation.POOLED,
    )
