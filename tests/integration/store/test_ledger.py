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
from workflow.budgets import Above, Budget, Spent, Used
from workflow.ids import derived_id
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


EXECUTION = """INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data, parent_execution_id,
    parent_node_id, depth) VALUES (%s, %s, %s::json, 'queued', %s, '{}', %s, %s, %s)"""


def an_execution(
    dsn: str,
    workspace: UUID,
    above: UUID | None,
    name: str,
    depth: int,
    trigger: str = "sub_workflow",
    budget: str = "null",
) -> UUID:
    """Make an execution below another one, or one that nobody started."""
    identity = an_id() if above is None else derived_id(above, name)
    definition = f'{{"settings": {{"budget": {budget}}}}}'
    run_sql(dsn, EXECUTION, identity, workspace, definition, trigger, above, "n" if above else "", depth)
    return identity


async def test_what_executions_below_use_counts_for_those_above_them(dsn: str, pool: Pool) -> None:
    ledger, workspace = PostgresLedger(pool), an_id()
    root = an_execution(dsn, workspace, None, "", 0, "manual", '{"usd": 0.1, "tokens": 900}')
    agent = an_execution(dsn, workspace, root, "agent", 1, budget='{"tokens": 500}')
    other = an_execution(dsn, workspace, root, "other", 1)
    tool = an_execution(dsn, workspace, agent, "tool", 2)
    about = an_execution(dsn, workspace, root, "error", 1, "error")
    again = an_execution(dsn, workspace, None, "", 0, "retry")
    run_sql(dsn, "UPDATE executions SET parent_execution_id = %s WHERE id = %s", root, again)
    tokens = {root: 1, agent: 10, other: 100, tool: 1_000, about: 10_000, again: 100_000}
    await ledger.note_all(
        [
            a_call(workspace, execution_id=each, usage=Usage(prompt=count), cost_usd=Decimal(count) / 1_000)
            for each, count in tokens.items()
        ]
    )

    def used(count: int) -> Used:
        return Used(usd=Decimal(count) / 1_000, tokens=count)

    whole = Above(used=used(1_111), budget=Budget(usd=Decimal("0.1"), tokens=900))
    wanted = {
        root: (1_111, ()),
        agent: (1_010, (whole,)),
        other: (100, (whole,)),
        tool: (1_000, (Above(used=used(1_010), budget=Budget(tokens=500)), whole)),
        about: (10_000, ()),
        again: (100_000, ()),
    }
    for execution, (count, above) in wanted.items():
        found = await ledger.spent(workspace, execution, every=True)
        assert (found.execution, found.above) == (used(count), above)
        assert found.workspace_day.tokens == sum(tokens.values())
    run_sql(dsn, "UPDATE executions SET definition = '{}' WHERE id = %s", root)
    assert (await ledger.spent(workspace, tool)).above == (Above(used=used(1_010), budget=Budget(tokens=500)),)


def test_what_was_used_is_read_from_indexes(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True, cursor_factory=ClientCursor) as connection:
        connection.execute(PLAN_SETTINGS)
        plan = connection.execute(
            f"EXPLAIN {SPENT}", {"workspace": an_id(), "execution": an_id(), "every": True}
        ).fetchall()

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
