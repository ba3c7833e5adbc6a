"""Calls of models as they were made, and what a workspace used by day: written together, many at once, and held against budgets."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.arrays import doubles, ints, texts, uuids
from store.engine import Pool
from store.outages import connection_of
from store.writer import GroupWriter
from workflow.budgets import Above, Budget, Spent, Used
from workflow.ledger import ModelCall

NOTE = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(workspaces)s::uuid[], %(executions)s::uuid[], %(workflows)s::uuid[], %(users)s::uuid[],
        %(nodes)s::text[], %(runs)s::int[], %(attempts)s::int[], %(kinds)s::text[], %(providers)s::text[], %(models)s::text[],
        %(devices)s::text[], %(hosts)s::text[], %(pids)s::int[], %(gpus)s::text[], %(batches)s::text[], %(prompts)s::bigint[],
        %(completions)s::bigint[], %(estimates)s::text[], %(costs)s::text[], %(durations_ms)s::float8[])
        AS t (id, workspace_id, execution_id, workflow_id, user_id, node_id, run_index, attempt, kind, provider, model, device, host,
            pid, gpu_ids, batch_sizes, prompt_tokens, completion_tokens, estimated, cost_usd, duration_ms)
), noted AS (
    INSERT INTO model_calls (id, workspace_id, execution_id, workflow_id, user_id, node_id, run_index, attempt, kind, provider, model,
        device, host, pid, gpu_ids, batch_sizes, prompt_tokens, completion_tokens, estimated, cost_usd, duration_ms)
    SELECT id, workspace_id, execution_id, workflow_id, user_id, node_id, run_index, attempt, kind, provider, model,
        device, host, pid, gpu_ids::text[], batch_sizes::int[], prompt_tokens, completion_tokens, estimated::boolean,
        cost_usd::numeric, duration_ms
    FROM given ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING workspace_id, user_id, kind, prompt_tokens + completion_tokens AS tokens, cost_usd, created_at
)
INSERT INTO usage_tracking AS u (workspace_id, user_id, date, chat_count, embed_count, tokens_used, estimated_cost)
SELECT workspace_id, user_id, (created_at AT TIME ZONE 'UTC')::date, count(*) FILTER (WHERE kind = 'chat'),
    count(*) FILTER (WHERE kind = 'embed'), sum(tokens), COALESCE(sum(cost_usd), 0)
FROM noted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (workspace_id, user_id, date) DO UPDATE SET chat_count = u.chat_count + EXCLUDED.chat_count,
    embed_count = u.embed_count + EXCLUDED.embed_count, tokens_used = u.tokens_used + EXCLUDED.tokens_used,
    estimated_cost = u.estimated_cost + EXCLUDED.estimated_cost
"""

# An error workflow is about an execution, not a part of it. A workspace has a row for each of its users and days. Laterals: whatever plan
# was made while the tables were small, each execution of a tree is looked up by its index; a join was quadratic (seen).
SPENT = """
WITH RECURSIVE above (up, id, parent, depth, trigger_type, budget) AS (
    SELECT 0, own.id, e.parent_execution_id, COALESCE(e.depth, 0), COALESCE(e.trigger_type, ''), NULL::json
    FROM (SELECT %(execution)s::uuid AS id) own
    LEFT JOIN executions e ON e.id = own.id
    UNION ALL
    SELECT a.up + 1, e.id, e.parent_execution_id, e.depth, e.trigger_type,
        COALESCE(e.definition -> 'settings', v.settings) -> 'budget'
    FROM above a JOIN executions e ON e.id = a.parent
    LEFT JOIN workflow_versions v ON v.workflow_id = e.workflow_id AND v.version = e.workflow_version
    WHERE a.depth > 0 AND a.trigger_type <> 'error'
), tree (up, id, depth) AS (
    SELECT up, id, depth FROM above WHERE up = 0 OR %(every)s OR COALESCE(budget ->> 'usd', budget ->> 'tokens') IS NOT NULL
    UNION ALL
    SELECT t.up, below.id, below.depth
    FROM tree t CROSS JOIN LATERAL (
        SELECT e.id, e.depth, e.trigger_type FROM executions e WHERE e.parent_execution_id = t.id OFFSET 0
    ) below
    WHERE below.depth = t.depth + 1 AND below.trigger_type <> 'error'
), used AS (
    SELECT t.up, COALESCE(sum(m.usd), 0) AS usd, COALESCE(sum(m.tokens), 0)::bigint AS tokens
    FROM tree t CROSS JOIN LATERAL (
        SELECT sum(cost_usd) AS usd, sum(prompt_tokens + completion_tokens) AS tokens
        FROM model_calls WHERE execution_id = t.id
    ) m
    GROUP BY t.up
), workspace_day AS (
    SELECT COALESCE(sum(estimated_cost), 0) AS usd, COALESCE(sum(tokens_used), 0)::bigint AS tokens
    FROM usage_tracking
    WHERE workspace_id = %(workspace)s AND date = (clock_timestamp() AT TIME ZONE 'UTC')::date
)
SELECT u.usd, u.tokens, a.budget ->> 'usd', (a.budget ->> 'tokens')::bigint, d.usd, d.tokens
FROM above a JOIN used u ON u.up = a.up CROSS JOIN workspace_day d ORDER BY a.up
"""


class WrittenLedger:
    """`workflow.ledger.Ledger` over a group writer: calls that come at once share a commit."""

    def __init__(self, pool: Pool) -> None:
        self._ledger = PostgresLedger(pool)
        self._writer = GroupWriter(self._ledger.note_all, name="ledger")

    async def note(self, call: ModelCall) -> None:
        """Note a call; durable when this returns. Raises `StoreUnavailable`."""
        await self._writer.submit(call)

    async def spent(self, workspace_id: UUID, execution_id: UUID | None, *, every: bool = False) -> Spent:
        """As `PostgresLedger.spent`."""
        return await self._ledger.spent(workspace_id, execution_id, every=every)

    async def close(self) -> None:
        """Write what was submitted, then end."""
        await self._writer.close()


class PostgresLedger:
    """The calls of models, in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note_all(self, batch: Sequence[ModelCall]) -> list[None]:
        """Note calls, one answer each; a call that is there already counts no second time."""
        async with connection_of(self._pool) as connection:
            await connection.execute(NOTE, _columns(batch))
        return [None] * len(batch)

    async def spent(self, workspace_id: UUID, execution_id: UUID | None, *, every: bool = False) -> Spent:
        """Return what an execution and those around it have used, and its workspace on this day (UTC, the database's clock).

        Of those above it only those whose workflows have a budget, or with `every` all.
        """
        parameters = {"workspace": workspace_id, "execution": execution_id, "every": every}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(SPENT, parameters)).fetchall()
        own, *others = [Used(usd=usd, tokens=tokens) for usd, tokens, *_ in rows]
        budgets = [Budget(usd=None if usd is None else Decimal(usd), tokens=tokens) for _, _, usd, tokens, *_ in rows]
        above = tuple(Above(used=used, budget=budget) for used, budget in zip(others, budgets[1:], strict=True))
        *_, day_usd, day_tokens = rows[0]
        return Spent(execution=own, above=above, workspace_day=Used(usd=day_usd, tokens=day_tokens))


def _columns(batch: Sequence[ModelCall]) -> dict[str, Any]:
    return {
        "ids": uuids(call.id for call in batch),
        "workspaces": uuids(call.workspace_id for call in batch),
        "executions": uuids(call.execution_id for call in batch),
        "workflows": uuids(call.workflow_id for call in batch),
        "users": uuids(call.user_id for call in batch),
        "nodes": texts(call.node_id for call in batch),
        "runs": ints(call.run_index for call in batch),
        "attempts": ints(call.attempt for call in batch),
        "kinds": texts(call.kind.value for call in batch),
        "providers": texts(call.provider for call in batch),
        "models": texts(call.ran.model for call in batch),
        "devices": texts(call.ran.device for call in batch),
        "hosts": texts(call.ran.host for call in batch),
        "pids": ints(call.ran.pid for call in batch),
        "gpus": texts("{" + ",".join(call.ran.gpu_ids) + "}" for call in batch),
        "batches": texts("{" + ",".join(map(str, call.ran.batch_sizes)) + "}" for call in batch),
        "prompts": ints(call.usage.prompt for call in batch),
        "completions": ints(call.usage.completion for call in batch),
        "estimates": texts(str(call.usage.estimated).lower() for call in batch),
        "costs": texts(None if call.cost_usd is None else str(call.cost_usd) for call in batch),
        "durations_ms": doubles(call.duration_ms for call in batch),
    }
