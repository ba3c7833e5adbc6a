"""Executions that other executions start: made under the parent's epoch, their ends told by a trigger of the table."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from store.arrays import ints, jsons, texts, uuids
from store.concurrency import Arrival, lock_keys, place_arrivals
from store.engine import Pool
from store.literals import ENDED
from store.outages import connection_of
from workflow.blobs import BlobRef
from workflow.errors import Fenced
from workflow.ports import Claimed, Concurrency
from workflow.states import ExecutionStatus
from workflow.waiting import ChildState, Going, NodeRun

START = """
WITH RECURSIVE own AS MATERIALIZED (
    SELECT id, workspace_id, workflow_id, parent_execution_id, depth, priority, triggered_by, epoch, status
    FROM executions WHERE id = %(execution)s FOR SHARE
), above (id, workflow_id, parent_execution_id, depth) AS (
    SELECT id, workflow_id, parent_execution_id, depth FROM own
    UNION ALL
    SELECT e.id, e.workflow_id, e.parent_execution_id, e.depth
    FROM above a JOIN executions e ON e.id = a.parent_execution_id AND a.depth > 0
), given AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(places)s::int[], %(workflows)s::uuid[], %(versions)s::int[],
        %(definitions)s::json[], %(inputs)s::json[], %(input_refs)s::json[], %(awaited)s::int[])
        AS t (id, place, workflow_id, version, definition, input, input_ref, awaited)
), resolved AS MATERIALIZED (
    SELECT g.*, v.version AS pinned, json_array_length(COALESCE(g.definition -> 'nodes', v.nodes)) AS nodes_total,
        v.version IS NOT NULL OR g.definition IS NOT NULL AS found,
        COALESCE(v.settings ->> 'isolation', 'pooled') AS isolation,
        COALESCE(g.workflow_id IN (SELECT workflow_id FROM above WHERE workflow_id IS NOT NULL), false) AS circular
    FROM given g CROSS JOIN own o
    LEFT JOIN workflows w ON w.id = g.workflow_id AND w.workspace_id = o.workspace_id AND w.status IN ('draft', 'active')
    LEFT JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = COALESCE(g.version, w.version)
), created AS (
    INSERT INTO executions (id, workspace_id, workflow_id, workflow_version, definition, input_data, input_ref, nodes_total,
        trigger_type, triggered_by, isolation, priority, status, epoch, queued_at, parent_execution_id, parent_node_id,
        parent_run_index, parent_place, depth, deadline_at)
    SELECT r.id, o.workspace_id, r.workflow_id, r.pinned, r.definition, r.input, r.input_ref, r.nodes_total, %(trigger)s,
        o.triggered_by, r.isolation, o.priority, 'queued', 0, clock_timestamp(), o.id,
        CASE WHEN r.awaited = 1 THEN %(node)s ELSE '' END, %(run)s, r.place, o.depth + %(levels)s,
        CASE WHEN r.awaited = 1 THEN to_timestamp(%(deadline_ms)s / 1000.0) END
    FROM resolved r CROSS JOIN own o
    WHERE o.epoch = %(epoch)s AND o.status = 'running' AND r.found AND NOT r.circular
        AND o.depth + %(levels)s <= %(depth_max)s
    ORDER BY r.id
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT r.place, r.found, r.circular, o.depth, o.epoch = %(epoch)s AND o.status = 'running', c.id IS NOT NULL
FROM resolved r CROSS JOIN own o LEFT JOIN created c ON c.id = r.id ORDER BY r.place
"""

DECLARED = """
SELECT g.place, v.version, v.name, v.settings -> 'concurrency', v.input_schema
FROM unnest(%(places)s::int[], %(workflows)s::uuid[], %(versions)s::int[]) AS g (place, workflow_id, version)
JOIN workflows w ON w.id = g.workflow_id AND w.workspace_id = %(workspace)s
JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = COALESCE(g.version, w.version)
"""

STATES = """
SELECT id, parent_place, status, CASE WHEN status = 'completed' THEN output_data::text END, output_ref::text,
    error_code, error_message
FROM executions WHERE parent_execution_id = %(execution)s AND parent_node_id = %(node)s AND parent_run_index = %(run)s
    AND parent_place >= %(places_from)s
ORDER BY parent_place
"""

CANCEL = f"""
INSERT INTO signals (id, workspace_id, execution_id, kind, body)
SELECT gen_random_uuid(), c.workspace_id, c.id, 'cancel', %(body)s::json
FROM executions c
WHERE c.parent_execution_id = %(execution)s AND c.parent_node_id <> ''
    AND c.status NOT IN ({ENDED})
    AND NOT EXISTS (SELECT FROM unnest(%(nodes)s::text[], %(runs)s::int[], %(places)s::int[]) AS kept (node_id, run_index, places_from)
        WHERE kept.node_id = c.parent_node_id AND kept.run_index = c.parent_run_index AND kept.places_from <= c.parent_place)
ORDER BY c.id
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChild:
    """A child to insert. Where its input is too large for the row, `input_ref` names it and `input` is null."""

    id: UUID
    place: int
    workflow_id: UUID | None
    version: int | None
    input: bytes
    input_ref: BlobRef | None
    awaited: bool
    definition: bytes | None = None
    """Set where `workflow_id` is None."""
    concurrency: Concurrency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a version of a workflow says of the executions of it: the settings of concurrency and the schema of the input as JSON."""

    version: int
    name: str
    concurrency: Mapping[str, Any] | None
    input_schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a child was not started."""

    place: int
    circular: bool
    depth: int | None
    """Set where the parent is as deep as executions may be."""
    limited: bool = False
    """Whether as many of its concurrency key are under way as may be."""


class PostgresChildren:
    """The children of executions, for their owners."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(
        self,
        claimed: Claimed,
        run: NodeRun,
        children: Sequence[NewChild],
        *,
        trigger: str,
        deadline_ms: int | None,
        depth_max: int,
        levels: int = 1,
    ) -> list[Refusal]:
        """Insert the children that are not there yet; those that must not be started are named. Raises `Fenced`.

        They are `levels` deeper than the execution that starts them, and none may be deeper than `depth_max`.
        """
        parameters = {
            "execution": claimed.id,
            "epoch": claimed.epoch,
            "node": run[0],
            "run": run[1],
            "trigger": trigger,
            "deadline_ms": deadline_ms,
            "depth_max": depth_max,
            "levels": levels,
            "ids": uuids(child.id for child in children),
            "places": ints(child.place for child in children),
            "workflows": uuids(child.workflow_id for child in children),
            "versions": ints(child.version for child in children),
            "definitions": jsons(child.definition for child in children),
            "inputs": jsons(child.input for child in children),
            "input_refs": jsons(child.input_ref.as_json() if child.input_ref else None for child in children),
            "awaited": ints(child.awaited for child in children),
        }
        rows, limited = await self._insert(claimed.workspace_id, children, parameters)
        if not rows or not rows[0][4]:
            raise Fenced("another owner has this execution", fields={"execution_id": str(claimed.id)})
        return [
            Refusal(
                place=place,
                circular=circular,
                depth=depth if depth + levels > depth_max else None,
                limited=place in limited,
            )
            for place, found, circular, depth, *_ in rows
            if not found or circular or depth + levels > depth_max or place in limited
        ]

    async def _insert(
        self, workspace_id: UUID, children: Sequence[NewChild], parameters: Mapping[str, Any]
    ) -> tuple[list[tuple[Any, ...]], set[int]]:
        """Return the rows of `START`, and the places of children that their concurrency keys refuse."""
        keys = [(workspace_id, child.concurrency.key) for child in children if child.concurrency]
        if not keys:
            async with connection_of(self._pool) as connection:
                return await (await connection.execute(START, parameters)).fetchall(), set()
        async with connection_of(self._pool) as connection, connection.transaction():
            await lock_keys(connection, keys)
            rows = await (await connection.execute(START, parameters)).fetchall()
            created = {row[0] for row in rows if row[5]}
            arrivals = [
                Arrival(id=child.id, workspace_id=workspace_id, concurrency=child.concurrency)
                for child in children
                if child.place in created and child.concurrency is not None
            ]
            placing = await place_arrivals(connection, arrivals)
        return rows, {child.place for child in children if child.id in placing.refused}

    async def declared(
        self, workspace_id: UUID, workflows: Sequence[tuple[UUID, int | None]]
    ) -> dict[tuple[UUID, int | None], Declared]:
        """Return what those of these workflows say that there are, in their versions or, without one, the current one."""
        named = list(dict.fromkeys(workflows))
        parameters = {
            "workspace": workspace_id,
            "places": ints(range(len(named))),
            "workflows": uuids(workflow for workflow, _ in named),
            "versions": ints(version for _, version in named),
        }
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(DECLARED, parameters)).fetchall()
        return {
            named[place]: Declared(version=version, name=name, concurrency=concurrency, input_schema=schema)
            for place, version, name, concurrency, schema in rows
        }

    async def states(
        self, execution_id: UUID, run: NodeRun, places_from: int = 0
    ) -> list[tuple[ChildState, BlobRef | None]]:
        """Return the children of a run that it waits for, by place, with the reference to an output that is kept apart.

        Those below `places_from` are left out; places count from there.
        """
        async with connection_of(self._pool) as connection:
            key = {"execution": execution_id, "node": run[0], "run": run[1], "places_from": places_from}
            rows = await (await connection.execute(STATES, key)).fetchall()
        return [_state(row, places_from) for row in rows]

    async def cancel(self, execution_id: UUID, keep: Collection[Going]) -> int:
        """Leave a wish to stop with every child that is waited for and has not ended, apart from those that these runs still want."""
        kept = sorted(keep)
        parameters = {
            "execution": execution_id,
            "body": f'{{"by": "its parent {execution_id}"}}',
            "nodes": texts(going.node_id for going in kept),
            "runs": ints(going.run_index for going in kept),
            "places": ints(going.places_from for going in kept),
        }
        async with connection_of(self._pool) as connection:
            return (await connection.execute(CANCEL, parameters)).rowcount


def _state(row: tuple[Any, ...], places_from: int) -> tuple[ChildState, BlobRef | None]:
    identity, place, status, output, output_ref, error_code, error_message = row
    state = ChildState(
        id=identity,
        place=place - places_from,
        status=ExecutionStatus(status),
        output=None if output is None else output.encode(),
        error_code=error_code,
        error_message=error_message,
    )
    return state, BlobRef.from_json(output_ref)
