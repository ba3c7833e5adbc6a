"""Signals that nobody will read: left for an execution just as it ended.

The flush that ends an execution marks its signals read, all that its statement can see. One whose transaction had locked
the execution before is committed when that flush goes on, and yet too late to be seen by it.
"""

from store.engine import Pool
from store.literals import ENDED
from store.outages import connection_of

READ_AT_ONCE = 1_000

READ = f"""
WITH moot AS MATERIALIZED (
    SELECT s.id FROM signals s JOIN executions e ON e.id = s.execution_id
    WHERE s.read_at IS NULL AND e.status IN ({ENDED})
    LIMIT %(limit)s
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE signals s SET read_at = clock_timestamp() FROM moot m WHERE s.id = m.id
"""


class MootSignals:
    """The unread signals of executions that have ended."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> int:
        """Mark them read, in batches; how many there were. Raises `StoreUnavailable`."""
        total, count = 0, READ_AT_ONCE
        while count == READ_AT_ONCE:
            async with connection_of(self._pool) as connection:
                count = (await connection.execute(READ, {"limit": READ_AT_ONCE})).rowcount
            total += count
        return total
