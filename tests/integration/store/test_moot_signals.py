"""A signal that comes just as an execution ends stays unread by nobody."""

import asyncio

import psycopg
import pytest

from store import reading
from store.engine import Pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.moot_signals import MootSignals
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.ports import SignalKind, Verdict

WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_a_signal_that_came_as_its_execution_ended_is_marked_read_and_no_other_one(
    dsn: str, pool: Pool, pg_store: PostgresExecutions
) -> None:
    owner, leases = an_id(), PostgresLeases(dsn)
    leases.register(holder(owner), TTL_MS)
    leases.close()
    going, ended = new_execution(an_id(), owner=owner), new_execution(an_id(), owner=owner)
    await pg_store.accept([going, ended])
    await pg_store.signal(going.workspace_id, going.id, an_id(), SignalKind.CANCEL, b"{}")
    left = {"id": ended.id, "workspace": ended.workspace_id, "signal": an_id(), "kind": "cancel", "body": "{}"}
    with psycopg.connect(dsn) as leaving:
        leaving.execute(reading.SIGNAL, left)
        ends = asyncio.create_task(pg_store.flush([flush(ended.id, ending=ending())]))
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(run_sql, dsn, WAITERS))[0][0] == 0:
                await asyncio.sleep(0.01)
        leaving.commit()
    assert await ends == [Verdict.COMMITTED]
    assert len(await pg_store.unread_signals([ended.id])) == 1, "the flush could not see it"

    assert await MootSignals(pool).read() == 1
    assert await pg_store.unread_signals([ended.id]) == []
    assert len(await pg_store.unread_signals([going.id])) == 1
    assert await MootSignals(pool).read() == 0


async def test_they_are_read_in_batches(
    dsn: str, pool: Pool, pg_store: PostgresExecutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.moot_signals.READ_AT_ONCE", 2)
    new = new_execution(an_id())
    await pg_store.accept([new])
    run_sql(
        dsn,
        "INSERT INTO signals (id, workspace_id, execution_id, kind, node_id, body) "
        "SELECT gen_random_uuid(), %s, %s, 'wake', n::text, '{}' FROM generate_series(1, 5) n",
        new.workspace_id,
        new.id,
    )
    run_sql(dsn, "UPDATE executions SET status = 'cancelled', completed_at = now() WHERE id = %s", new.id)

    assert await MootSignals(pool).read() == 5
