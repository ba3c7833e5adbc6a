"""Inserting an execution that keeps results of another: whole or not at all, once for a key, also beside a deletion."""

import asyncio
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from store.deleting import Deleting
from store.engine import Pool, StoreConfig, make_engine
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.repeating import Repeating, Repetition
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, event, flush, holder, new_execution, node
from workflow.blobs import BlobRef
from workflow.errors import Bug, NotFound
from workflow.ports import Accepted, IdempotencyKey, Isolation, Outcome
from workflow.rerun import KeptRun
from workflow.states import ExecutionStatus, NodeStatus

BLOB = BlobRef(b"b" * 32, 70_000, {"main": 3})
TABLES = ("executions", "node_executions", "stream_events", "blob_references", "idempotency_keys")


async def ended(pool: Pool, dsn: str, *, over: bool = True) -> tuple[UUID, UUID]:
    """An execution with two results, one of them a blob; return workspace and id."""
    leases, workspace = PostgresLeases(dsn), an_id()
    owner = an_id()
    leases.register(holder(owner), TTL_MS)
    executions = PostgresExecutions(pool)
    new = new_execution(workspace, owner=owner)
    await executions.accept([new])
    rows = [node("a", output=None, output_ref=BLOB), node("b", run_index=1), node("c", NodeStatus.FAILED, output=None)]
    part = flush(new.id, events=3, nodes=rows, ending=ending(ExecutionStatus.FAILED) if over else None, started_ms=1)
    await executions.flush([part])
    run_sql(dsn, "INSERT INTO blob_references VALUES (%s, %s, %s)", new.id, BLOB.sha256, workspace)
    leases.close()
    return workspace, new.id


def repetition(workspace: UUID, former: UUID, **changes: object) -> Repetition:
    new = Repetition(
        id=an_id(),
        workspace_id=workspace,
        former_id=former,
        workflow_version=None,
        nodes_total=3,
        trigger_type="retry",
        triggered_by=None,
        isolation=Isolation.POOLED,
        priority=5,
        retry_count=1,
        events=[event(1, "execution.started", ""), event(2), event(3, node_id="b")],
        kept=[KeptRun("a", 0, 0), KeptRun("b", 1, 0)],
        skipped=[node("s", NodeStatus.SKIPPED)],
        nodes_completed=2,
    )
    return replace(new, **changes)


def counts(dsn: str) -> dict[str, object]:
    return {table: run_sql(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


async def test_results_come_along_with_the_names_of_their_blobs(pool: Pool, dsn: str, pg_store: PostgresExecutions):
    workspace, former = await ended(pool, dsn)
    new = repetition(workspace, former)
    accepted = await Repeating(pool).accept(new)

    assert accepted == Accepted(outcome=Outcome.CREATED, id=new.id)
    history = await pg_store.history(new.id)
    assert [(row.node_id, row.run_index, row.status.value) for row in history.nodes] == [
        ("a", 0, "completed"),
        ("b", 0, "completed"),
        ("s", 0, "skipped"),
    ]
    assert (history.nodes[0].output_ref, history.nodes[1].output) == (BLOB, node("b").output)
    assert [row.seq for row in history.events] == [1, 2, 3]
    assert run_sql(dsn, "SELECT sha256 FROM blob_references WHERE execution_id = %s", new.id) == [(BLOB.sha256,)]
    view = await pg_store.get(workspace, new.id)
    assert (view.status, view.epoch, view.last_seq, view.parent_execution_id) == (ExecutionStatus.QUEUED, 0, 3, former)
    assert (view.nodes_completed, view.retry_count, view.input) == (2, 1, new_execution(workspace).input)


async def test_when_a_result_is_missing_nothing_is_inserted(pool: Pool, dsn: str):
    workspace, former = await ended(pool, dsn)
    before = counts(dsn)
    new = repetition(workspace, former, kept=[KeptRun("a", 0, 0), KeptRun("nobody", 0, 0)])
    with pytest.raises(Bug):
        await Repeating(pool).accept(replace(new, idempotency=IdempotencyKey(key="k", fingerprint=b"f")))

    assert counts(dsn) == before


async def test_what_has_not_ended_or_is_of_another_workspace_is_not_repeated(pool: Pool, dsn: str):
    _, former = await ended(pool, dsn)
    with pytest.raises(NotFound):
        await Repeating(pool).accept(repetition(an_id(), former))
    running = await ended(pool, dsn, over=False)
    with pytest.raises(NotFound):
        await Repeating(pool).accept(repetition(*running))
    with pytest.raises(NotFound):
        await Repeating(pool).former(an_id(), former)


async def test_one_key_makes_one_execution_however_many_ask_at_once(pool: Pool, dsn: str):
    workspace, former = await ended(pool, dsn)
    key = IdempotencyKey(key="k", fingerprint=b"f")
    asked = [repetition(workspace, former, idempotency=key) for _ in range(8)]
    answers = [each for each in await asyncio.gather(*map(Repeating(pool).accept, asked)) if isinstance(each, Accepted)]

    assert len(answers) == 8
    assert sorted(each.outcome for each in answers) == [Outcome.CREATED, *[Outcome.REPLAYED] * 7]
    assert len({each.id for each in answers}) == 1
    assert counts(dsn)["executions"] == 2
    other = replace(repetition(workspace, former), idempotency=IdempotencyKey(key="k", fingerprint=b"other"))
    answer = await Repeating(pool).accept(other)
    assert isinstance(answer, Accepted)
    assert answer.outcome is Outcome.KEY_MISMATCH


async def test_a_deletion_waits_for_the_copy_or_comes_before_it(pool: Pool, dsn: str):
    workspace, former = await ended(pool, dsn)
    engine = make_engine(StoreConfig(dsn=dsn))
    with psycopg.connect(dsn) as connection:  # in the middle of a copy
        connection.execute("SELECT FROM executions WHERE id = %s FOR KEY SHARE", (former,))
        deletion = asyncio.create_task(Deleting(engine).delete(workspace, [former]))
        async with asyncio.timeout(15):
            while not run_sql(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.02)
        assert not deletion.done()
    assert (await deletion).count == 1
    with pytest.raises(NotFound):
        await Repeating(pool).accept(repetition(workspace, former))
    await engine.dispose()
