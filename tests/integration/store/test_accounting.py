"""What is read of calls of models: those of an execution by page, and sums by day, workflow, node, model and user."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.accounting import CALLS, GROUPS_MAX, TOTAL, Accountant, By, Usage, UsageSum, sums_by
from store.engine import Pool, StoreConfig, make_engine
from store.ledger import PostgresLedger
from tests.conftest import run_sql
from tests.contract.making import an_id
from tests.integration.store.test_ledger import a_call
from workflow.errors import NotFound
from workflow.ledger import CallKind
from workflow.models import Ran
from workflow.models import Usage as Tokens

TODAY = datetime.now(UTC).date()


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[AsyncEngine]:
    made = make_engine(StoreConfig(dsn=dsn))
    yield made
    await made.dispose()


@pytest.fixture
def accountant(engine: AsyncEngine) -> Accountant:
    return Accountant(engine)


def made_execution(dsn: str, workspace: UUID) -> UUID:
    execution = an_id()
    run_sql(
        dsn,
        "INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data) "
        "VALUES (%s, %s, '{}', 'queued', 'api', 'null')",
        execution,
        workspace,
    )
    return execution


async def test_a_call_is_read_as_it_was_noted(dsn: str, pool: Pool, accountant: Accountant) -> None:
    ledger, workspace = PostgresLedger(pool), an_id()
    execution = made_execution(dsn, workspace)
    first = a_call(workspace, execution_id=execution, node_id="n", run_index=2, attempt=3)
    second = a_call(workspace, execution_id=execution, kind=CallKind.EMBED, cost_usd=None, usage=Tokens(estimated=True))
    await ledger.note_all([second, first, a_call(workspace, execution_id=an_id())])

    page, total = await accountant.calls(workspace, execution, after=None, limit=10)
    one, all_of_one = await accountant.calls(workspace, execution, after=None, limit=1)
    rest, _ = await accountant.calls(workspace, execution, after=one.next_before, limit=1)

    call, other = page.items
    assert (call.id, call.node_id, call.run_index, call.attempt, call.kind) == (first.id, "n", 2, 3, "chat")
    assert (call.provider, call.model, call.device, call.host) == ("p", "m", "cuda bfloat16", "h")
    assert (list(call.gpu_ids), list(call.batch_sizes), call.duration_ms) == (["0", "1"], [64, 3], 1.5)
    assert (call.prompt_tokens, call.completion_tokens, call.estimated) == (10, 5, False)
    assert (call.cost_usd, call.created_at.date()) == ("0.0000012345", TODAY)
    assert (other.id, other.kind, other.cost_usd, other.estimated) == (second.id, "embed", None, True)
    assert (page.next_before, one.next_before, rest.next_before) == (None, first.id, None)
    assert [*one.items, *rest.items] == list(page.items)
    assert (
        total
        == all_of_one
        == UsageSum(
            calls=2, prompt_tokens=10, completion_tokens=5, cost_usd="0.0000012345", costs_unknown=1, estimates=1
        )
    )


async def test_an_execution_without_calls_has_none_and_a_foreign_one_is_not_there(
    dsn: str, pool: Pool, accountant: Accountant
) -> None:
    workspace = an_id()
    execution = made_execution(dsn, workspace)

    page, total = await accountant.calls(workspace, execution, after=None, limit=10)

    assert (list(page.items), total.calls, total.cost_usd) == ([], 0, "0")
    for place, identity in ((an_id(), execution), (workspace, an_id())):
        with pytest.raises(NotFound):
            await accountant.calls(place, identity, after=None, limit=10)


def shown(found: Usage) -> list[tuple[str | None, int, int, str, int, int]]:
    return [
        (
            group.key,
            group.sum.calls,
            group.sum.prompt_tokens + group.sum.completion_tokens,
            group.sum.cost_usd,
            group.sum.costs_unknown,
            group.sum.estimates,
        )
        for group in found.groups
    ]


async def test_calls_are_summed_up_by_whatever_they_have_in_common(
    dsn: str, pool: Pool, accountant: Accountant
) -> None:
    workspace, workflow, other, user = (an_id() for _ in range(4))
    common = {"workflow_id": workflow, "user_id": user, "cost_usd": Decimal("0.5")}
    small = Ran(model="s", device="cpu", host="h", pid=1)
    await PostgresLedger(pool).note_all(
        [
            a_call(workspace, node_id="a", **common),
            a_call(workspace, node_id="a", **common),
            a_call(workspace, node_id="b", **{**common, "cost_usd": None}, ran=small),
            a_call(
                workspace, node_id="a", workflow_id=other, cost_usd=Decimal(2), usage=Tokens(prompt=1, estimated=True)
            ),
            a_call(workspace, cost_usd=Decimal(0), user_id=user),
            a_call(an_id(), node_id="a", **common),
        ]
    )

    async def by(what: By, workflow_id: UUID | None = None) -> Usage:
        return await accountant.usage(workspace, TODAY, TODAY, what, workflow_id)

    whole = UsageSum(calls=5, prompt_tokens=41, completion_tokens=20, cost_usd="3", costs_unknown=1, estimates=1)
    assert {(await by(what)).total for what in By} == {whole}
    assert shown(await by(By.DAY)) == [(str(TODAY), 5, 61, "3", 1, 1)]
    assert shown(await by(By.WORKFLOW)) == [
        (str(other), 1, 1, "2", 0, 1),
        (str(workflow), 3, 45, "1", 1, 0),
        (None, 1, 15, "0", 0, 0),
    ]
    assert shown(await by(By.NODE, workflow)) == [("a", 2, 30, "1", 0, 0), ("b", 1, 15, "0", 1, 0)]
    assert shown(await by(By.MODEL)) == [("p/m", 4, 46, "3", 0, 1), ("p/s", 1, 15, "0", 1, 0)]
    assert shown(await by(By.USER)) == [(None, 1, 1, "2", 0, 1), (str(user), 4, 60, "1", 1, 0)]
    assert (await by(By.DAY, workflow)).total.calls == 3
    assert (await by(By.DAY, an_id())).groups == []
    assert (await accountant.usage(an_id(), TODAY, TODAY, By.DAY)).total.calls == 0, "another workspace"


async def test_days_are_those_of_utc_and_both_ends_count(dsn: str, pool: Pool, accountant: Accountant) -> None:
    workspace = an_id()
    moments = [
        "2026-03-01T00:00:00Z",
        "2026-03-01T23:59:59.999999Z",
        "2026-03-02T00:00:00+01:00",
        "2026-03-03T12:00:00Z",
    ]
    for moment in moments:
        call = a_call(workspace)
        await PostgresLedger(pool).note_all([call])
        run_sql(dsn, "UPDATE model_calls SET created_at = %s WHERE id = %s", moment, call.id)

    async def days(first: int, last: int) -> list[tuple[str | None, int]]:
        found = await accountant.usage(workspace, date(2026, 3, first), date(2026, 3, last), By.DAY)
        assert found.total.calls == sum(group.sum.calls for group in found.groups)
        return [(group.key, group.sum.calls) for group in found.groups]

    assert await days(1, 3) == [("2026-03-01", 3), ("2026-03-03", 1)]
    assert await days(1, 1) == [("2026-03-01", 3)]
    assert await days(2, 2) == []


async def test_a_workflow_is_named_but_not_one_of_another_workspace(
    dsn: str, pool: Pool, accountant: Accountant
) -> None:
    user, mine, theirs = an_id(), an_id(), an_id()
    run_sql(dsn, "INSERT INTO users (id, email, password_hash) VALUES (%s, 'a@example.org', '')", user)
    for workspace in (mine, theirs):
        run_sql(
            dsn,
            "INSERT INTO workspaces (id, owner_id, name, slug) VALUES (%s, %s, 'w', %s)",
            workspace,
            user,
            str(workspace),
        )
    workflow = an_id()
    run_sql(
        dsn,
        "INSERT INTO workflows (id, workspace_id, name, slug, version, nodes, connections) VALUES (%s, %s, 'Mine', 's', 1, '[]', '[]')",
        workflow,
        mine,
    )
    await PostgresLedger(pool).note_all([a_call(mine, workflow_id=workflow), a_call(theirs, workflow_id=workflow)])

    names = [
        (await accountant.usage(workspace, TODAY, TODAY, By.WORKFLOW)).groups[0].name for workspace in (mine, theirs)
    ]

    assert names == ["Mine", None]


async def test_more_groups_than_are_shown_are_in_the_total(dsn: str, pool: Pool, accountant: Accountant) -> None:
    workspace = an_id()
    calls = [a_call(workspace, workflow_id=an_id()) for _ in range(GROUPS_MAX + 1)]
    await PostgresLedger(pool).note_all(calls[:-1])
    exact = await accountant.usage(workspace, TODAY, TODAY, By.WORKFLOW)
    await PostgresLedger(pool).note_all(calls[-1:])
    over = await accountant.usage(workspace, TODAY, TODAY, By.WORKFLOW)

    assert (len(exact.groups), exact.more, exact.total.calls) == (GROUPS_MAX, False, GROUPS_MAX)
    assert (len(over.groups), over.more, over.total.calls) == (GROUPS_MAX, True, GROUPS_MAX + 1)


async def test_sums_and_lists_are_read_from_indexes(dsn: str, engine: AsyncEngine) -> None:
    """With as many rows as make a planner choose: a hundred workspaces, of a hundred executions each."""
    run_sql(
        dsn,
        "INSERT INTO model_calls (id, workspace_id, execution_id, kind, model, device, host, pid, duration_ms, created_at) "
        "SELECT gen_random_uuid(), md5((i / 100)::text)::uuid, md5('e' || i)::uuid, 'chat', 'm', '', '', 1, 1, "
        "now() - (i % 100) * interval '1 day' FROM generate_series(1, 10000) i",
    )
    run_sql(dsn, "ANALYZE model_calls")
    asked = {
        "workspace": an_id(),
        "execution": an_id(),
        "workflow": None,
        "after": None,
        "since": datetime.now(UTC) - timedelta(days=30),
        "until": datetime.now(UTC),
        "size": 50,
    }

    async def plan(statement: str) -> str:
        async with engine.connect() as connection:
            named = {name: value for name, value in asked.items() if f":{name}" in statement}
            return "\n".join((await connection.execute(text(f"EXPLAIN {statement}"), named)).scalars())

    for by in By:
        assert "Index Cond: ((workspace_id" in await plan(sums_by(by)), by
        assert "model_calls_workspace" in await plan(sums_by(by)), by
    assert "model_calls_execution" in await plan(CALLS)
    assert "model_calls_execution" in await plan(TOTAL)
