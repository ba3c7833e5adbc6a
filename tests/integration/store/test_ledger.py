"""Calls of models: noted once, summed up by day, workspace and user, and known to whoever asks for the next one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from psycopg import ClientCursor

from store.engine import PLAN_SETTINGS, Pool, StoreConfig, make_pool
from store.ledger import SPENT, PostgresLedger, WrittenLedger
from tests.conftest import run_sql
from tests.contract.making import an_id
from workflow.budgets import Spent, Used
from workflow.ledger import CallKind, ModelCall
from workflow.models import Ran, Usage

RAN = Ran(model="m", device="cuda bfloat16", host="h", pid=7, gpu_ids=("0", "1"), batch_sizes=(64, 3))
USAGE = "SELECT user_id, chat_count, embed_count, tokens_used, estimated_cost FROM usage_tracking WHERE workspace_id = %s ORDER BY user_id"


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    made = make_pool(StoreConfig(dsn=dsn))
    await made.open(wait=True)
    yield made
    await made.close()


def a_call(workspace: UUID, **fields: object) -> ModelCall:
    made = ModelCall(
        id=an_id(),
        workspace_id=workspace,
        kind=CallKind.CHAT,
        ran=RAN,
        usage=Usage(prompt=10, completion=5),
        duration_ms=1.5,
        provider="p",
        cost_usd=Decimal("0.0000012345"),
    )
    return replace(made, **fields)


async def test_what_an_execution_and_the_day_of_its_workspace_used_is_known_at_once(dsn: str, pool: Pool) -> None:
    ledger, workspace, execution, user = PostgresLedger(pool), an_id(), an_id(), an_id()
    await ledger.note_all(
        [
            a_call(workspace, execution_id=execution, user_id=user, cost_usd=Decimal("0.25")),
            a_call(workspace, execution_id=execution, user_id=user, cost_usd=None, usage=Usage(prompt=100)),
            a_call(workspace, execution_id=an_id(), cost_usd=Decimal(1)),
            a_call(workspace, user_id=user, cost_usd=Decimal(2)),
            a_call(an_id(), execution_id=an_id(), user_id=user),
        ]
    )

    assert await ledger.spent(workspace, execution) == Spent(
        execution=Used(usd=Decimal("0.25"), tokens=115), workspace_day=Used(usd=Decimal("3.25"), tokens=145)
    )
    assert await ledger.spent(workspace, None) == Spent(workspace_day=Used(usd=Decimal("3.25"), tokens=145))
    assert await ledger.spent(an_id(), an_id()) == Spent()

    run_sql(dsn, "UPDATE usage_tracking SET date = date - 1")
    assert (await ledger.spent(workspace, execution)).workspace_day == Used(), "yesterday is over"


def test_what_was_used_is_read_from_indexes(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True, cursor_factory=ClientCursor) as connection:
        connection.execute(PLAN_SETTINGS)
        plan = connection.execute(f"EXPLAIN {SPENT}", {"workspace": an_id(), "execution": an_id()}).fetchall()

    text = "\n".join(line for (line,) in plan)
    assert "Seq Scan" not in text
    assert "model_calls_execution" in text
    assert "usage_tracking_workspace_id_user_id_date_key" in text


async def test_usage_is_summed_up_by_day_workspace_and_user_and_nothing_twice(dsn: str, pool: Pool) -> None:
    ledger, workspace, user = PostgresLedger(pool), an_id(), an_id()
    calls = [a_call(workspace, user_id=user), a_call(workspace, user_id=user, kind=CallKind.EMBED), a_call(workspace)]
    await ledger.note_all(calls)
    await ledger.note_all([calls[0], a_call(workspace, user_id=user), a_call(an_id(), user_id=user)])

    assert run_sql(dsn, USAGE, workspace) == [
        (user, 2, 1, 45, Decimal("0.0000037035")),
        (None, 1, 0, 15, Decimal("0.0000012345")),
    ]


async def test_many_at_once_are_all_counted(dsn: str, pool: Pool) -> None:
    workspace, ledger = an_id(), WrittenLedger(pool)

    await asyncio.gather(*(ledger.note(a_call(workspace)) for _ in range(200)))
    await ledger.close()

    assert run_sql(dsn, USAGE, workspace)[0][1:4] == (200, 0, 3_000)
