"""Deleting executions while others delete, accept and ask for the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from store.deleting import BATCH, Deleting
from store.engine import Pool, StoreConfig, make_engine
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.ports import Accepted, IdempotencyKey, NewExecution, Outcome
from workflow.states import ExecutionStatus


@pytest.fixture
async def deleting(dsn: str) -> AsyncIterator[Deleting]:
    engine = make_engine(StoreConfig(dsn=dsn))
    yield Deleting(engine)
    await engine.dispose()


async def ended(dsn: str, executions: PostgresExecutions, workspace: UUID, count: int) -> list[UUID]:
    owner = an_id()
    leases = PostgresLeases(dsn)
    leases.register(holder(owner), TTL_MS)
    leases.close()
    news = [new_execution(workspace, owner=owner) for _ in range(count)]
    await executions.accept(news)
    await executions.flush([flush(new.id, ending=ending(), started_ms=1) for new in news])
    return [new.id for new in news]


async def test_two_that_delete_the_same_at_once_delete_everything_once(
    dsn: str, pg_store: PostgresExecutions, deleting: Deleting
) -> None:
    workspace = an_id()
    ids = await ended(dsn, pg_store, workspace, 2 * BATCH + 10)

    done = await asyncio.gather(
        deleting.delete(workspace, ids),
        deleting.delete(workspace, ids[::-1]),
        deleting.delete_before(workspace, datetime.now(UTC) + timedelta(days=1)),
    )

    assert sum(one.count for one in done) == len(ids)
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(0,)]


async def test_a_filter_without_a_terminal_status_deletes_nothing(
    dsn: str, pg_store: PostgresExecutions, deleting: Deleting
) -> None:
    workspace = an_id()
    await pg_store.accept([new_execution(workspace)])
    await ended(dsn, pg_store, workspace, 1)
    later = datetime.now(UTC) + timedelta(days=1)

    assert (await deleting.delete_before(workspace, later, statuses=[ExecutionStatus.QUEUED])).count == 0
    assert (await deleting.delete_before(an_id(), later)).count == 0
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(2,)]


class Overtaken(PostgresExecutions):
    """Looks up what has a key only after somebody has deleted it."""

    def __init__(self, pool: Pool, dsn: str) -> None:
        super().__init__(pool)
        self._dsn = dsn

    async def _accepted_before(
        self, batch: Sequence[NewExecution], places: Sequence[int], *rest: Any
    ) -> dict[int, Accepted]:
        run_sql(self._dsn, "DELETE FROM idempotency_keys")
        run_sql(self._dsn, "DELETE FROM executions WHERE id <> %s", batch[0].id)
        return await super()._accepted_before(batch, places, *rest)


async def test_a_key_whose_execution_is_deleted_meanwhile_makes_a_new_one(dsn: str, pool: Pool) -> None:
    workspace = an_id()
    key = IdempotencyKey(key="k", fingerprint=b"f" * 32)
    first = new_execution(workspace, idempotency=key)
    await PostgresExecutions(pool).accept([first])
    other, again = new_execution(workspace), new_execution(workspace, idempotency=key)

    answers = await Overtaken(pool, dsn).accept([other, again])

    assert [(answer.outcome, answer.id) for answer in answers] == [
        (Outcome.CREATED, other.id),
        (Outcome.CREATED, again.id),
    ]
