"""How long a workspace's queue is, counted no further than anybody wants to know."""

from uuid import UUID

from store.engine import Pool
from store.outages import connection_of
from workflow.ports import Isolation

DEPTHS = """
SELECT
    (SELECT count(*) FROM (SELECT FROM executions e WHERE e.workspace_id = %(workspace)s
        AND e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held LIMIT %(limit)s) AS pooled),
    (SELECT count(*) FROM (SELECT FROM executions e WHERE e.workspace_id = %(workspace)s
        AND e.status = 'queued' AND (e.isolation = 'dedicated' OR e.held) LIMIT %(limit)s) AS apart)
"""
"""Each count walks one partial index, which holds nothing else."""

KEYED = "SELECT EXISTS (SELECT FROM idempotency_keys WHERE workspace_id = %(workspace)s AND key = %(key)s)"


class QueueDepths:
    """Looks at queues. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(self, workspace_id: UUID, limit: int) -> dict[Isolation, int]:
        """Return how many executions of a workspace are queued, of each kind at most `limit`.

        What a concurrency key holds back counts as dedicated: it keeps nothing else from being pushed.
        """
        async with connection_of(self._pool) as connection:
            found = await connection.execute(DEPTHS, {"workspace": workspace_id, "limit": limit})
            pooled, apart = (await found.fetchall())[0]
        return {Isolation.POOLED: pooled, Isolation.DEDICATED: apart}

    async def keyed(self, workspace_id: UUID, key: str) -> bool:
        """Whether an execution was accepted under this key."""
        async with connection_of(self._pool) as connection:
            found = await connection.execute(KEYED, {"workspace": workspace_id, "key": key})
            return bool((await found.fetchall())[0][0])
