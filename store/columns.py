"""Batches turned into columns: what the hot statements take, one array for each of their parameters."""

import math
from collections.abc import Iterable, Sequence
from uuid import UUID

from store.arrays import Array, JsonArray, bigints, blobs, doubles, ints, jsons, smallints, texts, uuids
from workflow.blobs import BlobRef
from workflow.errors import Bug
from workflow.ports import Flush, NewExecution, NodeRow, Rest
from workflow.states import NodeStatus

PLACE_BITS = 20
"""A node row's `written` is its flush's last event number with these many bits below it for the place in the flush."""


def accept_columns(batch: Sequence[NewExecution]) -> dict[str, Array]:
    """Return the parameters of `ACCEPT`."""
    keys = [new.idempotency for new in batch]
    return {
        "ids": uuids(new.id for new in batch),
        "workspaces": uuids(new.workspace_id for new in batch),
        "workflows": uuids(new.workflow_id for new in batch),
        "definitions": jsons(new.definition for new in batch),
        "inputs": jsons(new.input for new in batch),
        "nodes_total": ints(new.nodes_total for new in batch),
        "trigger_types": texts(new.trigger_type for new in batch),
        "triggered_by": uuids(new.triggered_by for new in batch),
        "isolations": texts(new.isolation.value for new in batch),
        "priorities": smallints(new.priority for new in batch),
        "owners": uuids(new.owner for new in batch),
        "keys": texts(key.key if key else None for key in keys),
        "fingerprints": blobs(key.fingerprint if key else None for key in keys),
        "input_refs": _references(new.input_ref for new in batch),
        "versions": ints(new.workflow_version for new in batch),
        "expected": ints(new.expected_version for new in batch),
    }


def flush_columns(batch: Sequence[Flush]) -> dict[str, Array]:
    """Return the parameters of `FLUSH`, rows sorted by key. Raises `Bug` when an execution is in the batch twice."""
    ordered = sorted(batch, key=lambda part: part.execution_id)
    if len({part.execution_id for part in ordered}) != len(ordered):
        raise Bug("an execution is in one batch of flushes twice")
    return {**_part_columns(ordered), **_event_columns(ordered), **_node_columns(ordered), **_signal_columns(ordered)}


def last_seq_after(part: Flush) -> int:
    """Return the number of the last event once this flush is written."""
    return part.last_seq + len(part.events)


def last_rows(nodes: Sequence[NodeRow]) -> list[tuple[int, NodeRow]]:
    """Return the rows with their places, of each node run only the one that stays: the first final one, or the last."""
    kept: dict[tuple[str, int], tuple[int, NodeRow]] = {}
    for place, row in enumerate(nodes):
        known = kept.get((row.node_id, row.run_index))
        if known is None or known[1].status in {NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.WAITING}:
            kept[row.node_id, row.run_index] = (place, row)
    return list(kept.values())


def _references(values: Iterable[BlobRef | None]) -> JsonArray:
    return jsons(None if value is None else value.as_json() for value in values)


def _part_columns(parts: Sequence[Flush]) -> dict[str, Array]:
    endings = [part.ending for part in parts]
    stands = [part.ending or part.rest for part in parts]
    return {
        "ids": uuids(part.execution_id for part in parts),
        "epochs": bigints(part.epoch for part in parts),
        "last_seqs": bigints(part.last_seq for part in parts),
        "new_seqs": bigints(last_seq_after(part) for part in parts),
        "statuses": texts(stand.status.value if stand else None for stand in stands),
        "outputs": jsons(ending.output if ending else None for ending in endings),
        "output_refs": _references(ending.output_ref if ending else None for ending in endings),
        "error_codes": texts(ending.error_code if ending else None for ending in endings),
        "error_messages": texts(ending.error_message if ending else None for ending in endings),
        "error_nodes": texts(ending.error_node_id if ending else None for ending in endings),
        "shared": texts(str(ending.shared).lower() if ending else None for ending in endings),
        "completed_ms": bigints(ending.at_ms if ending else None for ending in endings),
        "started_ms": bigints(part.started_ms for part in parts),
        "nodes_completed": ints(part.nodes_completed for part in parts),
        "wake_ms": doubles(_wake_ms(part.rest) for part in parts),
    }


def _wake_ms(rest: Rest | None) -> float | None:
    """Return when a resting execution wakes: never is infinity, as None means that it does not rest."""
    if rest is None:
        return None
    return math.inf if rest.wake_ms is None else float(rest.wake_ms)


def _event_columns(parts: Sequence[Flush]) -> dict[str, Array]:
    events = [(part.execution_id, event) for part in parts for event in part.events]
    return {
        "event_ids": uuids(identity for identity, _ in events),
        "event_seqs": bigints(event.seq for _, event in events),
        "event_kinds": texts(event.kind for _, event in events),
        "event_at_ms": bigints(event.at_ms for _, event in events),
        "event_nodes": texts(event.node_id for _, event in events),
        "event_bodies": jsons(event.body for _, event in events),
    }


def _node_columns(parts: Sequence[Flush]) -> dict[str, Array]:
    rows: list[tuple[UUID, int, NodeRow]] = [
        (part.execution_id, (last_seq_after(part) << PLACE_BITS) + place, row)
        for part in parts
        for place, row in last_rows(part.nodes)
    ]
    return {
        "node_ids": uuids(identity for identity, _, _ in rows),
        "node_written": bigints(written for _, written, _ in rows),
        "node_node_ids": texts(row.node_id for _, _, row in rows),
        "node_runs": ints(row.run_index for _, _, row in rows),
        "node_types": texts(row.node_type for _, _, row in rows),
        "node_names": texts(row.node_name for _, _, row in rows),
        "node_statuses": texts(row.status.value for _, _, row in rows),
        "node_attempts": ints(row.attempt for _, _, row in rows),
        "node_outputs": jsons(row.output for _, _, row in rows),
        "node_refs": _references(row.output_ref for _, _, row in rows),
        "node_codes": texts(row.error_code for _, _, row in rows),
        "node_messages": texts(row.error_message for _, _, row in rows),
        "node_starts_ms": bigints(row.started_ms for _, _, row in rows),
        "node_ends_ms": bigints(row.completed_ms for _, _, row in rows),
        "node_durations": doubles(row.duration_ms for _, _, row in rows),
        "node_logs": texts(row.logs for _, _, row in rows),
        "node_places": texts(row.placement for _, _, row in rows),
        "node_pids": ints(row.pid for _, _, row in rows),
        "node_hosts": texts(row.host for _, _, row in rows),
        "node_gpus": texts(row.gpu_ids for _, _, row in rows),
    }


def _signal_columns(parts: Sequence[Flush]) -> dict[str, Array]:
    heard = sorted((signal, part.execution_id) for part in parts for signal in part.signals_read)
    return {
        "signal_ids": uuids(signal for signal, _ in heard),
        "signal_of": uuids(identity for _, identity in heard),
    }
