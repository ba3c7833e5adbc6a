"""Connections cut after a commit and before its answer: a thousand times, nothing is lost and nothing is written twice."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.writer import Backoff, GroupWriter
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution, node
from tests.cutting import CuttingProxy, Row
from workflow.ports import Accepted, Flush, IdempotencyKey, NewExecution, Outcome, Verdict

AMBIGUOUS_MIN = 1_000
FLUSHES = 4
CHAINS = 6


def chosen(text: bytes) -> str:
    """Name the two statements that write what was acknowledged."""
    if b"INSERT INTO idempotency_keys" in text:
        return "accept"
    return "flush" if b"INSERT INTO stream_events" in text else ""


def wrote(statement: str, row: Row) -> bool:
    """Whether a row of an answer tells of a write: of an execution that was created, of a part that was not refused."""
    return row[2] == b"t" if statement == "accept" else True


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[CuttingProxy]:
    place = urlsplit(dsn)
    chance = random.Random(20261122)
    made = CuttingProxy(place.hostname or "", place.port or 0, chosen, wrote, lambda: chance.random() < 0.8)
    async with made.serving():
        yield made


def through(proxy: CuttingProxy, dsn: str) -> str:
    place = urlsplit(dsn)
    netloc = place.netloc.rpartition(":")[0] + f":{proxy.port}"
    return place._replace(netloc=netloc, query="sslmode=disable&gssencmode=disable").geturl()


class Chains:
    """Executions that are accepted and written to their end through a cutting proxy, several side by side."""

    def __init__(self, store: PostgresExecutions, owner: UUID, workspace: UUID) -> None:
        calm = Backoff(initial_ms=1, max_ms=20)
        self.accepts: GroupWriter[NewExecution, Accepted] = GroupWriter(
            store.accept, name="accept", retry_while=lambda: True, backoff=calm
        )
        self.flushes: GroupWriter[Flush, Verdict] = GroupWriter(
            store.flush, name="flush", retry_while=lambda: True, backoff=calm
        )
        self.owner = owner
        self.workspace = workspace
        self.keys: dict[str, UUID] = {}
        self.answers: Counter[str] = Counter()
        self._numbers = itertools.count()

    async def one(self) -> None:
        """Accept an execution under a key, ask again under that key, and write its events in several flushes."""
        key = IdempotencyKey(key=f"key-{next(self._numbers)}", fingerprint=bytes(32))
        new = new_execution(self.workspace, owner=self.owner, idempotency=key)
        again = new_execution(self.workspace, owner=self.owner, idempotency=key)
        accepted = await self.accepts.submit(new)
        assert (accepted.outcome, accepted.id) == (Outcome.CREATED, new.id)
        replayed = await self.accepts.submit(again)
        assert (replayed.outcome, replayed.id) == (Outcome.REPLAYED, new.id)
        self.keys[key.key] = new.id
        for number in range(FLUSHES):
            last = number == FLUSHES - 1
            part = flush(
                new.id,
                last_seq=2 * number,
                events=2,
                nodes=[node(f"n{number}", output=b'{"number": %d}' % number)],
                ending=ending() if last else None,
            )
            self.answers[await self.flushes.submit(part)] += 1


async def test_what_was_committed_unheard_is_neither_lost_nor_written_twice(
    dsn: str, proxy: CuttingProxy, record_property: Callable[[str, object], None]
) -> None:
    owner, workspace = an_id(), an_id()
    leases = PostgresLeases(dsn)
    leases.register(holder(owner), TTL_MS * 10)
    leases.close()
    async with make_pool(StoreConfig(dsn=through(proxy, dsn), application_name="cut", pool_size_max=3)) as pool:
        chains = Chains(PostgresExecutions(pool), owner, workspace)
        while proxy.cuts.total() < AMBIGUOUS_MIN:
            async with asyncio.TaskGroup() as group:
                for _ in range(CHAINS):
                    group.create_task(chains.one())
        await chains.accepts.close()
        await chains.flushes.close()

    record_property("ambiguous_commits", dict(proxy.cuts))
    print(f"ambiguous commits: {dict(proxy.cuts)}, of {len(chains.keys)} executions")
    assert min(proxy.cuts["accept"], proxy.cuts["flush"]) > AMBIGUOUS_MIN / 10, "both statements were cut"
    assert chains.answers == {Verdict.COMMITTED: FLUSHES * len(chains.keys)}, (
        "an owner took its own commit for another's"
    )
    assert dict(run_sql(dsn, "SELECT key, execution_id FROM idempotency_keys")) == chains.keys
    written = run_sql(
        dsn,
        "SELECT e.id, e.status, e.last_seq, e.epoch, (SELECT array_agg(seq ORDER BY seq) FROM stream_events s "
        "WHERE s.execution_id = e.id), (SELECT array_agg(node_id || output_data::text ORDER BY node_id) "
        "FROM node_executions n WHERE n.execution_id = e.id) FROM executions e",
    )
    wanted = ("completed", 2 * FLUSHES, 1, list(range(1, 2 * FLUSHES + 1)))
    results = [f'n{number}{{"number": {number}}}' for number in range(FLUSHES)]
    assert sorted(written) == sorted((identity, *wanted, results) for identity in chains.keys.values())
