"""Results of effects that cost something, by their keys: durable before anybody uses them, whoever owns the execution."""

from uuid import UUID

from store.engine import Pool
from store.outages import connection_of

RECALL = """
SELECT result::text FROM effect_results WHERE execution_id = %(execution)s AND key = %(key)s AND workspace_id = %(workspace)s
"""
KEEP = """
WITH kept AS (
    INSERT INTO effect_results (execution_id, key, workspace_id, result)
    VALUES (%(execution)s, %(key)s, %(workspace)s, %(result)s::json)
    ON CONFLICT DO NOTHING
    RETURNING result::text
)
SELECT result FROM kept
UNION ALL
SELECT result::text FROM effect_results
WHERE execution_id = %(execution)s AND key = %(key)s AND workspace_id = %(workspace)s AND NOT EXISTS (SELECT FROM kept)
"""


class PostgresEffects:
    """`workflow.effects.Effects` in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def recall(self, workspace_id: UUID, execution_id: UUID, key: str) -> bytes | None:
        """Return the result (JSON) that is kept under a key of an execution. Raises `StoreUnavailable`."""
        parameters = {"workspace": workspace_id, "execution": execution_id, "key": key}
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(RECALL, parameters)).fetchone()
        return None if row is None else str(row[0]).encode()

    async def keep(self, workspace_id: UUID, execution_id: UUID, key: str, result: bytes) -> bytes:
        """Keep a result (JSON) and return what is kept: the first. Raises `StoreUnavailable`."""
        parameters = {"workspace": workspace_id, "execution": execution_id, "key": key, "result": result.decode()}
        async with connection_of(self._pool) as connection:
            row = await (await connection.execute(KEEP, parameters)).fetchone()
        if row is None:  # another one was inserted at this moment, and was not to be seen by this statement
            return await self.recall(workspace_id, execution_id, key) or result
        return str(row[0]).encode()
