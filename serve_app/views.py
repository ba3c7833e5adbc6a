"""What is answered: the JSON of executions, nodes, events and node types.

The hot answers are written with orjson from what is at hand; item data is passed through as the bytes that were stored.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson

from actors.members import Member
from actors.surroundings import Finished
from store.deleting import Deleted
from store.listing import ExecutionSummary
from store.statistics import Statistics
from workflow.blobs import BlobRef
from workflow.concurrency import shown_key
from workflow.ports import Accepted, EventRow, ExecutionView, NewExecution, NodeRow
from workflow.spec import NodeType
from workflow.states import ExecutionStatus


def iso(at_ms: int | None) -> str | None:
    """Return a Unix time in milliseconds as ISO 8601."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


AT_THE_TOP: Mapping[str, Any] = MappingProxyType(
    {"wake_at": None, "parent_execution_id": None, "depth": 0, "retry_count": 0}
)
"""What is known of an execution that somebody has just asked for, and that does not rest."""


def summary(found: ExecutionSummary) -> dict[str, Any]:
    """Return an execution as a list shows it: without its data."""
    return {
        "id": found.id,
        "workflow_id": found.workflow_id,
        "workflow_version": found.workflow_version,
        "status": found.status.value,
        "trigger_type": found.trigger_type,
        "priority": found.priority,
        "nodes_total": found.nodes_total,
        "nodes_completed": found.nodes_completed,
        "concurrency_key": _key(found.concurrency_key),
        "held": found.held,
        "error": _error(found.error_code, found.error_message, ""),
        "timings": _timings(found.queued_ms, found.started_ms, found.completed_ms),
    }


def execution(view: ExecutionView, output: bytes | None) -> dict[str, Any]:
    """Return an execution as it is stored, with its output."""
    actor = None
    if view.actor_id:
        actor = {
            "id": view.actor_id,
            "name": view.actor_name,
            "pid": view.pid,
            "host": view.host,
            "shared": view.shared,
        }
    return {
        "id": str(view.id),
        "workspace_id": str(view.workspace_id),
        "workflow_id": _text(view.workflow_id),
        "workflow_version": view.workflow_version,
        "status": view.status.value,
        "trigger_type": view.trigger_type,
        "isolation": view.isolation.value,
        "priority": view.priority,
        "epoch": view.epoch,
        "last_seq": view.last_seq,
        "nodes_total": view.nodes_total,
        "nodes_completed": view.nodes_completed,
        "output": raw(output),
        "error": _error(view.error_code, view.error_message, view.error_node_id),
        "actor": actor,
        "timings": _timings(view.queued_ms, view.started_ms, view.completed_ms),
        "wake_at": iso(view.wake_ms),
        "parent_execution_id": _text(view.parent_execution_id),
        "depth": view.depth,
        "retry_count": view.retry_count,
        "concurrency_key": _key(view.concurrency_key),
        "held": view.held,
        "wish": None if view.wish is None else view.wish.value,
    }


def finished(
    new: NewExecution, version: int | None, member: Member, end: Finished, output: bytes | None, queued_ms: int
) -> dict[str, Any]:
    """Return an execution that this replica pushed, from the actor's answer: the same as `execution` of the stored row."""
    ending = end.ending
    return {
        "id": str(end.id),
        "workspace_id": str(new.workspace_id),
        "workflow_id": _text(new.workflow_id),
        "workflow_version": version,
        "status": ending.status.value,
        "trigger_type": new.trigger_type,
        "isolation": new.isolation.value,
        "priority": new.priority,
        "epoch": end.epoch,
        "last_seq": end.last_seq,
        "nodes_total": end.nodes_total,
        "nodes_completed": end.nodes_completed,
        "output": raw(output),
        "error": _error(ending.error_code, ending.error_message, ending.error_node_id),
        "actor": {
            "id": member.actor_id,
            "name": member.name,
            "pid": member.pid,
            "host": member.host,
            "shared": ending.shared,
        },
        "timings": _timings(queued_ms, end.started_ms, ending.at_ms),
        **AT_THE_TOP,
        "concurrency_key": None,  # with one it is never pushed
        "held": False,
        "wish": None,
    }


def accepted(new: NewExecution, given: Accepted, member: Member | None, queued_ms: int) -> dict[str, Any]:
    """Return an execution that was accepted just now: the same as `execution` of the stored row."""
    pushed = given.status is ExecutionStatus.RUNNING and member is not None
    actor = (
        {"id": member.actor_id, "name": member.name, "pid": member.pid, "host": member.host, "shared": None}
        if member
        else None
    )
    return {
        "id": str(given.id),
        "workspace_id": str(new.workspace_id),
        "workflow_id": _text(new.workflow_id),
        "workflow_version": given.workflow_version,
        "status": given.status.value,
        "trigger_type": new.trigger_type,
        "isolation": new.isolation.value,
        "priority": new.priority,
        "epoch": 1 if pushed else 0,
        "last_seq": 0,
        "nodes_total": new.nodes_total,
        "nodes_completed": 0,
        "output": None,
        "error": None,
        "actor": actor if pushed else None,
        "timings": _timings(queued_ms, None, None),
        **AT_THE_TOP,
        "concurrency_key": _key(new.concurrency.key if new.concurrency else ""),
        "held": given.held,
        "wish": None,
    }


def statistics(window: str, found: Statistics) -> dict[str, Any]:
    """Return what became of the executions of a window."""
    durations = found.durations
    return {
        "window": window,
        "since": found.since,
        "until": found.until,
        "bucket_s": round(found.bucket.total_seconds()),
        "total": found.total,
        "counts": _counts(found.counts),
        "success_rate": found.success_rate,
        "durations": {
            "average_ms": durations.average_ms,
            "p50_ms": durations.p50_ms,
            "p95_ms": durations.p95_ms,
        },
        "buckets": [
            {"start": bucket.start, "total": sum(bucket.counts.values()), "counts": _counts(bucket.counts)}
            for bucket in found.buckets
        ],
    }


def deleted(found: Deleted) -> dict[str, Any]:
    """Return what was deleted, and what of the named was not."""
    left = [("not_terminal", identity) for identity in found.not_terminal]
    left += [("not_found", identity) for identity in found.not_found]
    not_deleted = [{"id": identity, "reason": reason} for reason, identity in left]
    return {"deleted": found.count, "not_deleted": not_deleted, "more": found.more}


def node(row: NodeRow) -> dict[str, Any]:
    """Return a node execution."""
    return {
        "node_id": row.node_id,
        "node_name": row.node_name,
        "node_type": row.node_type,
        "run_index": row.run_index,
        "status": row.status.value,
        "attempt": row.attempt,
        "started_at": iso(row.started_ms),
        "completed_at": iso(row.completed_ms),
        "duration_ms": row.duration_ms,
        "output": raw(row.output),
        "output_blob": _blob(row.output_ref),
        "error": _error(row.error_code, row.error_message, ""),
        "logs": row.logs,
        "placement": row.placement,
        "pid": row.pid,
        "host": row.host,
        "gpu_ids": row.gpu_ids.split(",") if row.gpu_ids else [],
    }


def event(row: EventRow) -> bytes:
    """Return an event as the data of a stream message."""
    head = {"seq": row.seq, "kind": row.kind, "at": iso(row.at_ms)}
    return orjson.dumps({**head, **orjson.loads(row.body)})


def node_type(found: NodeType) -> dict[str, Any]:
    """Return a node type."""
    spec = found.spec
    return {
        "type": spec.type,
        "version": spec.version,
        "title": spec.title,
        "category": spec.category,
        "description": spec.description,
        "config_schema": spec.config_schema,
        "inputs": list(spec.inputs),
        "outputs": list(spec.outputs),
        "trigger": spec.trigger,
        "effect": spec.effect.value,
        "placement": spec.placement.value,
        "timeout_ms": spec.timeout_ms,
        "aliases": list(spec.aliases),
        "examples": [
            {
                "title": one.title,
                "config": one.config,
                "items": list(one.items),
                "outputs": one.outputs and {handle: list(items) for handle, items in one.outputs.items()},
            }
            for one in spec.examples
        ],
    }


def raw(data: bytes | None) -> orjson.Fragment | None:
    """Return stored JSON to be passed through without parsing."""
    return None if data is None else orjson.Fragment(data)


def _blob(reference: BlobRef | None) -> orjson.Fragment | None:
    return None if reference is None else orjson.Fragment(reference.as_json())


def _counts(counts: Mapping[ExecutionStatus, int]) -> dict[str, int]:
    return {status.value: count for status, count in sorted(counts.items())}


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _key(key: str) -> str | None:
    return shown_key(key) if key else None


def _error(code: str, message: str, node_id: str) -> dict[str, Any] | None:
    return {"code": code, "message": message, "node_id": node_id or None} if code else None


def _timings(queued_ms: int, started_ms: int | None, completed_ms: int | None) -> dict[str, Any]:
    done = started_ms is not None and completed_ms is not None
    return {
        "queued_at": iso(queued_ms),
        "started_at": iso(started_ms),
        "completed_at": iso(completed_ms),
        "duration_ms": max(0, completed_ms - started_ms) if done else None,  # type: ignore[operator]
    }
