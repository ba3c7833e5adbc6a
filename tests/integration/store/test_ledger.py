"""Calls of models: noted once, read by execution, summed up by day, workspace and user."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from store.engine import Pool, StoreConfig, make_pool
from store.ledger import PostgresLedger, WrittenLedger
from tests.conftest import run_sql
from tests.contract.making import an_id
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


async def test_a_call_is_read_as_it_was_noted(pool: Pool) -> None:
    ledger, workspace, execution = PostgresLedger(pool), an_id(), an_id()
    first = a_call(workspace, execution_id=execution, node_id="n", run_index=2, attempt=3)
    second = a_call(workspace, execution_id=execution, kind=CallKind.EMBED, cost_usd=None, usage=Usage(estimated=True))
    await ledger.note_all([second, first, a_call(workspace, execution_id=an_id())])

    read = await ledger.calls(workspace, execution, after=None, limit=10)

    assert [call["id"] for call in read] == [first.id, second.id]
    assert read[0] | {"at_ms": 0} == {
        "id": first.id,
        "node_id": "n",
        "run_index": 2,
        "attempt": 3,
        "kind": "chat",
        "provider": "p",
        "model": "m",
        "device": "cuda bfloat16",
        "host": "h",
        "pid": 7,
        "gpu_ids": ["0", "1"],
        "batch_sizes": [64, 3],
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "estimated": False,
        "cost_usd": "0.0000012345",
        "duration_ms": 1.5,
        "at_ms": 0,
    }
    assert (read[1]["cost_usd"], read[1]["estimated"]) == (None, True)
    assert await ledger.calls(workspace, execution, after=first.id, limit=10) == read[1:]
    assert await ledger.calls(workspace, execution, after=None, limit=1) == read[:1]
    assert await ledger.calls(an_id(), execution, after=None, limit=10) == [], "another workspace"


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
