"""Two claimers and one execution: the first has claimed it, but its commit is still under way."""

import asyncio

import psycopg
import pytest

from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, holder, new_execution
from workflow.ports import LeaseEnd

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
CLAIM = "UPDATE executions SET status = 'running', owner = %s, epoch = epoch + 1 WHERE id = %s"


@pytest.mark.parametrize("by_name", [False, True], ids=["from the queue", "by name"])
@pytest.mark.parametrize("orphan", [False, True], ids=["queued", "orphan"])
async def test_what_another_has_claimed_meanwhile_is_not_taken(
    pg_store: PostgresExecutions, dsn: str, orphan: bool, by_name: bool
) -> None:
    leases = PostgresLeases(dsn)
    gone, first, second = an_id(), an_id(), an_id()
    for owner in (gone, first, second):
        leases.register(holder(owner), TTL_MS)
    new = new_execution(an_id(), owner=gone if orphan else None)
    await pg_store.accept([new])
    leases.end(gone, LeaseEnd.CRASHED)
    leases.close()

    async def claim() -> object:
        return await pg_store.claim_one(second, new.id) if by_name else await pg_store.claim(second, 4, 0)

    with psycopg.connect(dsn) as slower:
        slower.execute(CLAIM, (first, new.id))
        claiming = asyncio.create_task(claim())
        async with asyncio.timeout(20):
            while not claiming.done() and not await asyncio.to_thread(run_sql, dsn, WAITING):
                await asyncio.sleep(0.01)
        slower.commit()

    assert not await claiming
    [(owner, epoch)] = run_sql(dsn, "SELECT owner, epoch FROM executions")
    assert (owner, epoch) == (first, 2 if orphan else 1)
