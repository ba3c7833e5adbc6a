"""Flushes of two owners whose parents and children cross never wait for each other in a circle.

A flush locks the rows of the executions that it writes, in the order of their ids, and all of them before it touches a signal. What the
trigger adds for a parent is a new row: it reads the parent, locks nothing of it, and has no key that another insert could hold.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from store import statements
from store.columns import flush_columns
from store.engine import Pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder
from workflow.ports import Flush, SignalKind, Verdict

INSERT = """
INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data, owner, epoch, parent_execution_id,
    parent_node_id, depth)
VALUES (%s, %s, '{}', 'running', 'api', '{}', %s, 1, %s, %s, %s)
"""
UNREAD = "SELECT execution_id, kind FROM signals WHERE read_at IS NULL ORDER BY 1, 2"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
WORKSPACE = an_id()
ROUNDS = 20

Family = tuple[UUID, UUID]
"""A parent and its child."""


@pytest.fixture
def owners(dsn: str) -> tuple[UUID, UUID]:
    leases, found = PostgresLeases(dsn), (an_id(), an_id())
    for owner in found:
        leases.register(holder(owner), TTL_MS)
    leases.close()
    return found


def crossed(dsn: str, owners: tuple[UUID, UUID], *, child_first: bool = False) -> tuple[Family, Family]:
    """Make two families: the child of each has the owner of the other one's parent; `child_first` gives children the lower ids."""
    lower, upper = [an_id(), an_id()], [an_id(), an_id()]
    parents, children = (upper, lower) if child_first else (lower, upper)
    for parent, owner in zip(parents, owners, strict=True):
        run_sql(dsn, INSERT, parent, WORKSPACE, owner, None, "", 0)
    for child, parent, owner in zip(children, parents, reversed(owners), strict=True):
        run_sql(dsn, INSERT, child, WORKSPACE, owner, parent, "call", 1)
    return (parents[0], children[0]), (parents[1], children[1])


def parent_goes_on(parent: UUID, child: UUID) -> list[Flush]:
    return [flush(parent), flush(child, ending=ending())]


def parent_ends(parent: UUID, child: UUID) -> list[Flush]:
    return [flush(parent, ending=ending()), flush(child, ending=ending())]


Batch = Callable[[UUID, UUID], list[Flush]]


@pytest.mark.parametrize("child_first", [False, True])
@pytest.mark.parametrize("batch", [parent_goes_on, parent_ends])
async def test_a_flush_that_ends_a_child_waits_for_no_flush_of_its_parent(
    dsn: str, pool: Pool, pg_store: PostgresExecutions, owners: tuple[UUID, UUID], batch: Batch, child_first: bool
) -> None:
    (parent, child), (other, others_child) = crossed(dsn, owners, child_first=child_first)
    await pg_store.signal(WORKSPACE, parent, an_id(), SignalKind.CANCEL, b"{}")
    await pg_store.signal(WORKSPACE, other, an_id(), SignalKind.CANCEL, b"{}")
    async with pool.connection() as first, first.transaction():
        await first.execute(statements.FLUSH, flush_columns(batch(parent, others_child)))
        # All locks of the first owner's flush are held: were there a circle, the second one would wait now.
        async with asyncio.timeout(10):
            assert await pg_store.flush(batch(other, child)) == [Verdict.COMMITTED] * 2

    wakes = {row[0] for row in run_sql(dsn, UNREAD) if row[1] == "wake"}
    assert wakes == {parent, other}, "neither sees that the other one has ended: what is moot is read by the sweep"


@pytest.mark.parametrize("batch", [parent_goes_on, parent_ends])
async def test_crossed_flushes_at_the_same_time_all_commit(
    dsn: str, pg_store: PostgresExecutions, owners: tuple[UUID, UUID], batch: Batch
) -> None:
    before = run_sql(dsn, DEADLOCKS)
    for number in range(ROUNDS):
        families = [crossed(dsn, owners, child_first=bool((number + each) % 2)) for each in range(3)]
        mine = [part for (parent, _), (_, child) in families for part in batch(parent, child)]
        theirs = [part for (_, child), (parent, _) in families for part in batch(parent, child)]
        verdicts = await asyncio.gather(pg_store.flush(mine), pg_store.flush(theirs[::-1]))
        assert verdicts == [[Verdict.COMMITTED] * 6] * 2
    assert run_sql(dsn, DEADLOCKS) == before
