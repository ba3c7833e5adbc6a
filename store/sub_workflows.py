"""What workflows execute, and what those execute, as far down as may matter: one statement over the documents that are stored."""

from collections.abc import Sequence
from uuid import UUID

from store.arrays import ints, texts, uuids
from store.engine import Pool
from store.outages import connection_of
from workflow.lifecycle import WorkflowStatus
from workflow.sub_workflows import Callers, Known, Target

LOOKED_AT_MAX = 400
"""So many targets are looked at, the nearest first; what more there are is judged when it is to be executed."""

EXECUTED = r"""
SELECT DISTINCT (c.says ->> 'workflow_id')::uuid AS workflow_id, (c.says ->> 'version')::numeric::int AS version
FROM json_array_elements(v.nodes) AS n
CROSS JOIN LATERAL (
    SELECT n.value -> 'config' AS says WHERE n.value ->> 'type' = ANY(%(nodes)s)
    UNION ALL
    SELECT t.value FROM json_array_elements(
        CASE json_typeof(n.value -> 'config' -> 'tools') WHEN 'array' THEN n.value -> 'config' -> 'tools' ELSE '[]' END
    ) AS t WHERE n.value ->> 'type' = ANY(%(tools)s)
) AS c
WHERE n.value ->> 'disabled' IS DISTINCT FROM 'true' AND n.value ->> 'pinned' IS NULL
    AND c.says ->> 'workflow_id' ~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$'
    AND COALESCE(c.says ->> 'version', '1') ~ '^[1-9][0-9]{0,8}(\.0)?$'
"""
"""What the document of a version `v` executes: `workflow.sub_workflows.calls_of`, for what is stored."""

BELOW = f"""
WITH RECURSIVE below (workflow_id, version, level) AS (
    SELECT workflow_id, version, 1 FROM unnest(%(workflows)s::uuid[], %(versions)s::int[]) AS t (workflow_id, version)
    UNION
    SELECT c.workflow_id, c.version, b.level + 1
    FROM below b
    JOIN workflows w ON w.id = b.workflow_id AND w.workspace_id = %(workspace)s
    JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = COALESCE(b.version, w.version)
    CROSS JOIN LATERAL ({EXECUTED}) AS c
    WHERE b.level <= %(depth_max)s
), looked_at AS (
    SELECT DISTINCT workflow_id, version FROM (SELECT * FROM below LIMIT %(looked_at_max)s) AS nearest
)
SELECT l.workflow_id, l.version, v.name, w.status, c.workflows, c.versions
FROM looked_at l
LEFT JOIN (workflows w JOIN workflow_versions v ON v.workflow_id = w.id)
    ON w.id = l.workflow_id AND w.workspace_id = %(workspace)s AND v.version = COALESCE(l.version, w.version)
LEFT JOIN LATERAL (
    SELECT array_agg(e.workflow_id ORDER BY e.workflow_id, e.version) AS workflows,
        array_agg(e.version ORDER BY e.workflow_id, e.version) AS versions
    FROM ({EXECUTED}) AS e
) AS c ON true
"""


class PostgresSubWorkflows:
    """Looks at what workflows execute. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def below(
        self, workspace_id: UUID, targets: Sequence[Target], callers: Callers, depth_max: int
    ) -> dict[Target, Known | None]:
        """Return what is known of the targets and of all that they lead to, `depth_max` levels below them; None of what is not there."""
        parameters = {
            "workspace": workspace_id,
            "workflows": uuids(target.workflow_id for target in targets),
            "versions": ints(target.version for target in targets),
            "nodes": texts(callers.nodes),
            "tools": texts(callers.tools),
            "depth_max": depth_max,
            "looked_at_max": LOOKED_AT_MAX,
        }
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(BELOW, parameters)).fetchall()
        return {
            Target(workflow_id, version): None
            if status is None
            else Known(name, WorkflowStatus(status), tuple(map(Target, workflows or (), versions or ())))
            for workflow_id, version, name, status, workflows, versions in rows
        }
