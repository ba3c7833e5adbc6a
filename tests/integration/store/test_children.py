"""How a child's end reaches its parent: a wake-up in the transaction that ends it, whatever else is unread or being read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from store import statements
from store.arrays import ints, texts
from store.children import CANCEL
from store.columns import flush_columns
from store.engine import Pool
from tests.conftest import run_sql
from tests.contract.making import an_id, ending, flush

Connection = psycopg.AsyncConnection[Any]

INSERT = """
INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data, owner, parent_execution_id,
    parent_node_id, depth)
VALUES (%s, %s, '{}', 'running', 'api', '{}', %s, %s, %s, %s)
"""
END = "UPDATE executions SET status = %s, completed_at = now() WHERE id = %s"


@pytest.fixture
def family(dsn: str) -> tuple[UUID, UUID, UUID]:
    """A parent and two children that it waits for."""
    workspace, parent, first, second = (an_id() for _ in range(4))
    run_sql(dsn, INSERT, parent, workspace, an_id(), None, "", 0)
    for child in (first, second):
        run_sql(dsn, INSERT, child, workspace, an_id(), parent, "call", 1)
    return parent, first, second


def unread(dsn: str) -> list[tuple]:
    return run_sql(dsn, "SELECT execution_id, kind, node_id, run_index FROM signals WHERE read_at IS NULL")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timeout"])
def test_every_end_wakes_the_parent(dsn: str, family: tuple[UUID, UUID, UUID], status: str) -> None:
    parent, first, _ = family
    run_sql(dsn, END, status, first)

    assert unread(dsn) == [(parent, "wake", "call", 0)]


def test_a_wake_up_is_not_left_out_because_another_one_is_just_being_read(
    dsn: str, family: tuple[UUID, UUID, UUID]
) -> None:
    parent, first, second = family
    run_sql(dsn, END, "completed", first)
    with psycopg.connect(dsn) as ending:
        ending.execute(END, ("completed", second))
        # The owner reads the first one, and looks at its children, before the second one's end is committed.
        run_sql(dsn, "UPDATE signals SET read_at = now() WHERE read_at IS NULL")
        seen = run_sql(
            dsn, "SELECT count(*) FROM executions WHERE parent_execution_id = %s AND status = 'running'", parent
        )
        assert seen == [(1,)]

    assert unread(dsn) == [(parent, "wake", "call", 0)]


def test_a_parent_that_has_ended_is_left_alone(dsn: str, family: tuple[UUID, UUID, UUID]) -> None:
    parent, first, _ = family
    run_sql(dsn, END, "cancelled", parent)
    run_sql(dsn, END, "cancelled", first)

    assert unread(dsn) == []


def test_what_is_only_started_wakes_nobody(dsn: str, family: tuple[UUID, UUID, UUID]) -> None:
    parent, *_ = family
    loose = an_id()
    run_sql(dsn, INSERT, loose, an_id(), an_id(), parent, "", 1)
    run_sql(dsn, END, "completed", loose)

    assert unread(dsn) == []


@asynccontextmanager
async def two_transactions(pool: Pool) -> AsyncIterator[tuple[Connection, Connection]]:
    """Lend two connections whose transactions end with the block; the second one waits for no lock of the first."""
    async with pool.connection() as one, pool.connection() as other, one.transaction(), other.transaction():
        await other.execute("SET LOCAL lock_timeout = '2s'")
        yield one, other


async def test_flushes_that_end_each_others_children_and_parents_do_not_wait_for_one_another(
    dsn: str, pool: Pool
) -> None:
    """Each ends a parent, and a child of the parent that the other one ends: neither needs what the other has locked."""
    workspace, first, second, of_first, of_second = (an_id() for _ in range(5))
    for parent in (first, second):
        run_sql(dsn, INSERT, parent, workspace, an_id(), None, "", 0)
    for child, parent in ((of_first, first), (of_second, second)):
        run_sql(dsn, INSERT, child, workspace, an_id(), parent, "call", 1)
    run_sql(dsn, "UPDATE executions SET epoch = 1")

    async with two_transactions(pool) as connections:
        for connection, batch in zip(connections, ([first, of_second], [second, of_first]), strict=True):
            columns = flush_columns([flush(each, ending=ending()) for each in batch])
            written = await (await connection.execute(statements.FLUSH, columns)).fetchall()
            assert sorted(written) == sorted((each,) for each in batch)

    assert run_sql(dsn, "SELECT DISTINCT status FROM executions") == [("completed",)]
    assert sorted(unread(dsn)) == sorted([(first, "wake", "call", 0), (second, "wake", "call", 0)])


async def test_a_parent_that_cancels_its_children_does_not_wait_for_who_ends_them(
    dsn: str, pool: Pool, family: tuple[UUID, UUID, UUID]
) -> None:
    parent, first, second = family
    wishes = {"execution": parent, "body": "{}", "nodes": texts([]), "runs": ints([]), "places": ints([])}
    async with two_transactions(pool) as (children, parents):
        await children.execute(END, ("completed", first))
        await parents.execute(END, ("cancelled", parent))
        assert (await parents.execute(CANCEL, wishes)).rowcount == 2
        await children.execute(END, ("completed", second))

    assert run_sql(dsn, "SELECT DISTINCT status FROM executions WHERE id <> %s", parent) == [("completed",)]
