"""Concurrency keys on PostgreSQL while everything happens at once: no deadlock, never beyond a limit, nothing left behind."""

import asyncio
import random
from contextlib import suppress
from uuid import UUID

import psycopg

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.errors import Conflict
from workflow.ports import Concurrency, LeaseEnd, OnLimit, Outcome, SignalKind, Verdict

KEYS = 4
LIMIT = 2
EACH = 120
UNDER_WAY = (
    "SELECT COALESCE(max(n), 0) FROM (SELECT count(*) AS n FROM executions "
    "WHERE concurrency_key <> '' AND NOT held AND status IN ('queued', 'running') GROUP BY concurrency_key) counts"
)


class Crowd:
    """Two owners and two replicas over one workspace with a few keys, each with a connection pool of its own."""

    def __init__(self, dsn: str, workspace: UUID, chance: random.Random) -> None:
        self.dsn = dsn
        self.workspace = workspace
        self.chance = chance
        self.accepted: set[UUID] = set()
        self.ended: set[UUID] = set()
        self.submitting = 2
        self.worst = 0

    async def submit(self, store: PostgresExecutions, policies: list[OnLimit]) -> None:
        for first in range(0, EACH, 6):
            batch = [
                new_execution(
                    self.workspace,
                    concurrency=Concurrency(
                        key=f"key {self.chance.randrange(KEYS)}", limit=LIMIT, on_limit=self.chance.choice(policies)
                    ),
                )
                for _ in range(first, first + 6)
            ]
            self.chance.shuffle(batch)
            answers = await store.accept(batch)
            self.accepted |= {each.id for each in answers if each.outcome is Outcome.CREATED}
        self.submitting -= 1

    async def work(self, store: PostgresExecutions, owner: UUID, chance: random.Random) -> None:
        """Claim, end what was claimed in flushes of several keys, and make room one key after the other."""
        while self.submitting or self.accepted - self.ended:
            claimed = await store.claim(owner, 5, 0)
            chance.shuffle(claimed)
            if claimed and chance.random() < 0.3:
                await self._cancel(store, chance)
            verdicts = await store.flush([flush(each.id, epoch=each.epoch, ending=ending()) for each in claimed])
            assert set(verdicts) <= {Verdict.COMMITTED}
            self.ended |= {each.id for each in claimed}
            if chance.random() < 0.8:  # else it died here
                await asyncio.gather(
                    *(store.release_held(self.workspace, key) for key in {each.concurrency_key for each in claimed})
                )
            if not claimed:
                await store.release_all_held(2)

    async def _cancel(self, store: PostgresExecutions, chance: random.Random) -> None:
        left = sorted(self.accepted - self.ended)
        if left:
            with suppress(Conflict):  # it may have ended meanwhile
                await store.signal(self.workspace, chance.choice(left), an_id(), SignalKind.CANCEL, b"{}")

    async def watch(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            while self.submitting or self.accepted - self.ended:
                [(most,)] = await (await connection.execute(UNDER_WAY)).fetchall()
                self.worst = max(self.worst, most)


async def test_crowds_of_flushes_and_arrivals_do_not_wait_in_a_circle_nor_exceed_a_limit(dsn: str) -> None:
    crowd = Crowd(dsn, an_id(), random.Random(7))
    leases, owners = PostgresLeases(dsn), [an_id(), an_id()]
    pools = [make_pool(StoreConfig(dsn=dsn, pool_size_max=4)) for _ in range(2)]
    for pool, owner in zip(pools, owners, strict=True):
        await pool.open(wait=True)
        leases.register(holder(owner), TTL_MS)
    stores = [PostgresExecutions(pool) for pool in pools]
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for place, store in enumerate(stores):
            tasks.create_task(crowd.submit(store, [OnLimit.QUEUE, [OnLimit.REJECT, OnLimit.CANCEL_RUNNING][place]]))
            tasks.create_task(crowd.work(store, owners[place], random.Random(place)))
        tasks.create_task(crowd.watch())
    for pool in pools:
        await pool.close()
    for owner in owners:
        leases.end(owner, LeaseEnd.RELEASED)
    leases.close()

    assert crowd.worst == LIMIT
    assert run_sql(dsn, "SELECT DISTINCT status FROM executions") == [("completed",)]
    assert len(crowd.accepted) == run_sql(dsn, "SELECT count(*)::int FROM executions")[0][0]
