"""What breaks under load: connections, neighbours, bad rows. Nothing is written twice, nobody waits in a circle."""

import asyncio
import random

import psycopg
import pytest

from store.arrays import uuids
from store.embedded import EmbeddedServer
from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.writer import GroupWriter
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution, node
from workflow.errors import Conflict, StoreUnavailable
from workflow.ports import Accepted, Flush, LeaseEnd, NewExecution, Outcome, SignalKind, Verdict

WAITING_FOR_LOCK = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def waiting_backend(dsn: str) -> int:
    """Return the backend that waits for a lock, once there is one."""
    found: list[tuple[object, ...]] = []
    while not found:
        found = await asyncio.to_thread(run_sql, dsn, WAITING_FOR_LOCK)
    return int(str(found[0][0]))


async def running(store: PostgresExecutions, dsn: str, count: int = 1) -> list[NewExecution]:
    leases = PostgresLeases(dsn)
    owner = an_id()
    leases.register(holder(owner), TTL_MS)
    leases.close()
    batch = [new_execution(an_id(), owner=owner) for _ in range(count)]
    await store.accept(batch)
    return batch


async def test_a_connection_that_breaks_before_the_commit(pg_store: PostgresExecutions, dsn: str) -> None:
    [new] = await running(pg_store, dsn)
    part = flush(new.id, events=2, nodes=[node("a")], ending=ending())
    with psycopg.connect(dsn) as blocker:
        blocker.execute("SELECT FROM executions WHERE id = %s FOR UPDATE", (new.id,))
        under_way = asyncio.create_task(pg_store.flush([part]))
        run_sql(dsn, "SELECT pg_terminate_backend(%s)", await waiting_backend(dsn))
        with pytest.raises(StoreUnavailable):
            await under_way
        blocker.rollback()

    assert await pg_store.flush([part]) == [Verdict.COMMITTED]
    assert await pg_store.flush([part]) == [Verdict.COMMITTED]
    assert [event.seq for event in await pg_store.events(new.workspace_id, new.id, 0, 10)] == [1, 2]


async def test_an_accept_whose_answer_was_lost_may_be_asked_again(pg_store: PostgresExecutions, dsn: str) -> None:
    [new] = await running(pg_store, dsn)
    again = await pg_store.accept([new, new])

    assert [answer.outcome for answer in again] == [Outcome.CREATED, Outcome.CREATED]
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(1,)]


async def test_no_database_is_unavailable(postgres_server: EmbeddedServer) -> None:
    nowhere = postgres_server.dsn.replace(f":{postgres_server.port}/", ":1/")
    pool = make_pool(StoreConfig(dsn=nowhere, pool_wait_ms=50))
    await pool.open()
    with pytest.raises(StoreUnavailable):
        await PostgresExecutions(pool).get(an_id(), an_id())
    with pytest.raises(StoreUnavailable):
        PostgresLeases(nowhere).renew(an_id(), TTL_MS)
    await pool.close()


async def test_leases_connect_again(dsn: str) -> None:
    leases = PostgresLeases(dsn)
    owner = an_id()
    leases.register(holder(owner), TTL_MS)
    run_sql(
        dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'rayloom-leases' AND datname = current_database()",
    )
    with pytest.raises(StoreUnavailable):
        leases.renew(owner, TTL_MS)

    assert leases.renew(owner, TTL_MS) is not None
    leases.close()


async def test_writers_with_the_same_executions_in_any_order_do_not_deadlock(
    pg_store: PostgresExecutions, dsn: str
) -> None:
    batch = await running(pg_store, dsn, count=16)
    chance = random.Random(4)

    async def write(rounds: int) -> int:
        committed = 0
        last_seqs = {new.id: 0 for new in batch}
        for _ in range(rounds):
            shuffled = chance.sample(batch, len(batch))
            parts = [flush(new.id, last_seq=last_seqs[new.id], nodes=[node("a")]) for new in shuffled]
            verdicts = await pg_store.flush(parts)
            committed += verdicts.count(Verdict.COMMITTED)
            for part in parts:
                last_seqs[part.execution_id] += 1
        return committed

    await asyncio.gather(*(write(25) for _ in range(3)))

    seqs = run_sql(
        dsn, "SELECT last_seq, (SELECT count(*) FROM stream_events v WHERE v.execution_id = e.id) FROM executions e"
    )
    assert all(last_seq == count for last_seq, count in seqs)
    assert run_sql(dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]


async def test_batches_that_share_executions_lock_them_in_one_order(pg_store: PostgresExecutions, dsn: str) -> None:
    first, second, *held = await running(pg_store, dsn, count=4)
    batches = [[second, held[0], first], [first, held[1], second]]
    with psycopg.connect(dsn) as blocker:
        for new in held:
            blocker.execute("SELECT FROM executions WHERE id = %s FOR UPDATE", (new.id,))
        writing = [asyncio.create_task(pg_store.flush([flush(new.id) for new in batch])) for batch in batches]
        async with asyncio.timeout(20):
            while len(await asyncio.to_thread(run_sql, dsn, WAITING_FOR_LOCK)) < 2:
                await asyncio.sleep(0.01)
        blocker.rollback()

    assert await asyncio.gather(*writing) == [[Verdict.COMMITTED] * 3] * 2
    assert run_sql(dsn, "SELECT last_seq FROM executions") == [(1,)] * 4


async def test_a_claim_does_not_wait_for_a_row_that_somebody_holds(pg_store: PostgresExecutions, dsn: str) -> None:
    leases = PostgresLeases(dsn)
    owner = an_id()
    leases.register(holder(owner), TTL_MS)
    leases.close()
    workspace = an_id()
    held, free = new_execution(workspace), new_execution(workspace)
    await pg_store.accept([held, free])
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM executions WHERE id = %s FOR UPDATE", (held.id,))
        claimed = await asyncio.wait_for(pg_store.claim(owner, 1, 0), 5)
        refused = await asyncio.wait_for(pg_store.claim_one(owner, held.id), 5)
        other.rollback()

    assert [each.id for each in claimed] == [free.id]
    assert refused is None


async def test_a_bad_row_fails_alone(pg_store: PostgresExecutions, dsn: str) -> None:
    batch = await running(pg_store, dsn, count=6)
    writer: GroupWriter[Flush, Verdict] = GroupWriter(pg_store.flush, name="flush", retry_while=lambda: True)
    deep = b"[" * 100_000 + b"]" * 100_000
    outputs = [b'{"ok": 1}', b"{nonsense", b'{"nul": "\x00"}', b'"\xff"', deep, b'{"ok": 2}']
    parts = [flush(new.id, nodes=[node("a", output=output)]) for new, output in zip(batch, outputs, strict=True)]
    answers = await asyncio.gather(*(writer.submit(part) for part in parts), return_exceptions=True)
    await writer.close()

    assert (answers[0], answers[5]) == (Verdict.COMMITTED, Verdict.COMMITTED)
    assert all(isinstance(answer, psycopg.Error) for answer in answers[1:5])
    assert run_sql(dsn, "SELECT count(*) FROM stream_events") == [(2,)]


async def test_a_bad_request_fails_alone(pg_store: PostgresExecutions, dsn: str) -> None:
    writer: GroupWriter[NewExecution, Accepted] = GroupWriter(pg_store.accept, name="accept")
    batch = [new_execution(an_id()), new_execution(an_id(), priority=1 << 40), new_execution(an_id(), input=b"NaN")]
    answers = await asyncio.gather(*(writer.submit(new) for new in batch), return_exceptions=True)
    await writer.close()

    assert isinstance(answers[0], Accepted)
    assert all(isinstance(answer, Exception) for answer in answers[1:])


async def test_a_signal_waits_for_an_ending_under_way(pool: Pool, pg_store: PostgresExecutions, dsn: str) -> None:
    [new] = await running(pg_store, dsn)
    with psycopg.connect(dsn) as ender:
        ender.execute("UPDATE executions SET status = 'completed' WHERE id = %s", (new.id,))
        signalling = asyncio.create_task(pg_store.signal(new.workspace_id, new.id, an_id(), SignalKind.CANCEL, b"{}"))
        await waiting_backend(dsn)
        ender.commit()
    with pytest.raises(Conflict):
        await signalling

    async with pool.connection() as connection:
        left = await connection.execute("SELECT FROM signals WHERE execution_id = ANY(%s)", (uuids([new.id]),))
        assert left.rowcount == 0


async def test_a_push_that_commits_after_its_lease_ended_is_found(pg_store: PostgresExecutions, dsn: str) -> None:
    [new] = await running(pg_store, dsn)
    leases = PostgresLeases(dsn)
    heir = an_id()
    leases.register(holder(heir), TTL_MS)
    [(owner,)] = run_sql(dsn, "SELECT owner FROM executions")
    leases.end(owner, LeaseEnd.CRASHED)
    run_sql(dsn, "UPDATE leases SET ended_at = ended_at - interval '2 days' WHERE id = %s", owner)
    leases.reap(TTL_MS)
    named = run_sql(dsn, "SELECT count(*) FROM leases WHERE id = %s", owner)
    run_sql(dsn, "DELETE FROM leases WHERE id = %s", owner)
    [claimed] = await pg_store.claim(heir, 1, 0)
    run_sql(dsn, "UPDATE leases SET ended_at = now() - interval '2 days', end_reason = 'released' WHERE id = %s", heir)
    [(late,)] = run_sql(dsn, "SELECT owner FROM executions")

    assert named == [(1,)], "a lease that a running execution names is kept"
    assert (claimed.id, claimed.recovered, claimed.crashes, late) == (new.id, True, 0, heir)
    leases.close()


async def test_old_leases_that_nothing_names_are_forgotten(dsn: str) -> None:
    leases = PostgresLeases(dsn)
    old, recent = an_id(), an_id()
    for lease in (old, recent):
        leases.register(holder(lease), TTL_MS)
        leases.end(lease, LeaseEnd.RELEASED)
    run_sql(dsn, "UPDATE leases SET ended_at = ended_at - interval '2 days' WHERE id = %s", old)
    leases.reap(TTL_MS)
    leases.close()

    assert run_sql(dsn, "SELECT id FROM leases") == [(recent,)]
