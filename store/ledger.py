"""Calls of models as they were made, and what a workspace used by day: written together, many at once, and held against budgets."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.arrays import doubles, ints, texts, uuids
from store.engine import Pool
from store.outages import connection_of
from store.writer import GroupWriter
from workflow.budgets import Spent, Used
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

# An execution is looked up by its index alone; a workspace has a row for each of its users and days.
SPENT = """
SELECT execution.usd, execution.tokens, workspace_day.usd, workspace_day.tokens
FROM (
    SELECT COALESCE(sum(cost_usd), 0) AS usd, COALESCE(sum(prompt_tokens + completion_tokens), 0)::bigint AS tokens
    FROM model_calls WHERE execution_id = %(execution)s
) execution, (
    SELECT COALESCE(sum(estimated_cost), 0) AS usd, COALESCE(sum(tokens_used), 0)::bigint AS tokens
    FROM usage_tracking
    WHERE workspace_id = %(workspace)s AND date = (clock_timestamp() AT TIME ZONE 'UTC')::date
) workspace_day
"""


class WrittenLedger:
    """`workflow.ledger.Ledger` over a group writer: calls that come at once share a commit."""

    def __init__(self, pool: Pool) -> None:
        self._ledger = PostgresLedger(pool)
        self._writer = GroupWriter(self._ledger.note_all, name="ledger")

    async def note(self, call: ModelCall) -> None:
        """Note a call; durable when this returns. Raises `StoreUnavailable`."""
        await self._writer.submit(call)

    async def spent(self, workspace_id: UUID, execution_id: UUID | None) -> Spent:
        """As `PostgresLedger.spent`."""
        return await self._ledger.spent(workspace_id, execution_id)

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

    async def spent(self, workspace_id: UUID, execution_id: UUID | None) -> Spent:
        """Return what an execution has used, and its workspace on this day (UTC, the database's clock)."""
        parameters = {"workspace": workspace_id, "execution": execution_id}
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(SPENT, parameters)).fetchone()
        usd, tokens, day_usd, day_tokens = row or (Decimal(0), 0, Decimal(0), 0)
        return Spent(execution=Used(usd=usd, tokens=tokens), workspace_day=Used(usd=day_usd, tokens=day_tokens))


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
