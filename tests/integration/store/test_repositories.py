"""Users, workspaces, keys, workflows and lists, on PostgreSQL: and nothing of one workspace seen from another."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from store.accounts import Accounts, Member, Role
from store.api_keys import ApiKeys, new_key
from store.bootstrap import bootstrap
from store.engine import StoreConfig, make_engine
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.listing import ExecutionFilter, Listing
from store.workflow_lists import WorkflowFilter, WorkflowLists
from store.workflow_rows import Draft
from store.workflows import Workflows
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.errors import Conflict, NotFound, StoreUnavailable, Unauthorized
from workflow.lifecycle import WorkflowAction, WorkflowStatus
from workflow.ports import Isolation, Outcome
from workflow.states import ExecutionStatus

DRAFT = Draft(
    name="Orders",
    nodes=[{"id": "n", "type": "logic.set", "config": {"z": 1, "a": 2.5}}],
    connections=[],
    settings={"timezone": "UTC"},
    viewport={"zoom": 2},
    tags=["a", "b"],
)


@dataclass(frozen=True, slots=True)
class Desk:
    """The repositories over one database, with a user and a workspace in it."""

    accounts: Accounts
    keys: ApiKeys
    workflows: Workflows
    lists: WorkflowLists
    listing: Listing
    user_id: UUID
    workspace_id: UUID


@pytest.fixture
async def desk(dsn: str) -> AsyncIterator[Desk]:
    engine = make_engine(StoreConfig(dsn=dsn))
    accounts = Accounts(engine, password_cost=4)
    user = await accounts.create_user("Ada@example.test", "correct horse")
    workspace = await accounts.create_workspace(user.id, "Ada's workspace")
    yield Desk(
        accounts, ApiKeys(engine), Workflows(engine), WorkflowLists(engine), Listing(engine), user.id, workspace.id
    )
    await engine.dispose()


async def test_users_log_in_by_address_and_password(desk: Desk) -> None:
    user = await desk.accounts.check_password("ada@EXAMPLE.test", "correct horse")

    assert (user.id, user.email, user.status) == (desk.user_id, "Ada@example.test", "active")
    assert await desk.accounts.get_user(desk.user_id) == user
    for email, password in [("ada@example.test", "wrong"), ("nobody@example.test", "correct horse")]:
        with pytest.raises(Unauthorized):
            await desk.accounts.check_password(email, password)
    with pytest.raises(Conflict):
        await desk.accounts.create_user("ADA@example.test", "x")
    with pytest.raises(NotFound):
        await desk.accounts.get_user(an_id())


async def test_members_have_roles(desk: Desk) -> None:
    other = await desk.accounts.create_user("bob@example.test", "x")
    await desk.accounts.add_member(desk.workspace_id, other.id, Role.VIEWER)
    with pytest.raises(Conflict):
        await desk.accounts.add_member(desk.workspace_id, other.id, Role.MEMBER)
    with pytest.raises(Conflict):
        await desk.accounts.add_member(desk.workspace_id, other.id, Role.OWNER)
    with pytest.raises(NotFound):
        await desk.accounts.add_member(desk.workspace_id, an_id(), Role.MEMBER)
    await desk.accounts.change_role(desk.workspace_id, other.id, Role.ADMIN)
    members = await desk.accounts.members(desk.workspace_id)
    spaces = await desk.accounts.workspaces_of(other.id)

    assert members == [
        Member(user_id=desk.user_id, email="Ada@example.test", role=Role.OWNER),
        Member(user_id=other.id, email="bob@example.test", role=Role.ADMIN),
    ]
    assert [(space.id, role) for space, role in spaces] == [(desk.workspace_id, Role.ADMIN)]
    await desk.accounts.remove_member(desk.workspace_id, other.id)
    with pytest.raises(NotFound):
        await desk.accounts.role_of(desk.workspace_id, other.id)
    with pytest.raises(Conflict):
        await desk.accounts.remove_member(desk.workspace_id, desk.user_id)
    with pytest.raises(NotFound):
        await desk.accounts.create_workspace(an_id(), "nobody's")


async def test_a_key_opens_its_workspace(desk: Desk, dsn: str) -> None:
    shown, key = await desk.keys.create(desk.workspace_id, desk.user_id, "ci", scopes=["execute"])
    principal = await desk.keys.authenticate(key)
    stored = run_sql(dsn, "SELECT key_hash::text, key_prefix, last_used_at IS NOT NULL FROM api_keys")

    assert key.startswith("rl_")
    assert (principal.user_id, principal.workspace_id, principal.key_id) == (desk.user_id, desk.workspace_id, shown.id)
    assert (principal.role, principal.scopes) == (Role.OWNER, frozenset({"execute"}))
    assert stored[0][1:] == (key[:10], True)
    assert key not in str(stored)


async def test_a_use_is_noted_at_most_once_a_minute(desk: Desk, dsn: str) -> None:
    _, key = await desk.keys.create(desk.workspace_id, desk.user_id, "ci")
    noted = []
    for age_s in (0, 30, 90):
        run_sql(dsn, "UPDATE api_keys SET last_used_at = now() - %s * interval '1 second'", age_s)
        before = run_sql(dsn, "SELECT last_used_at FROM api_keys")
        await desk.keys.authenticate(key)
        noted.append(run_sql(dsn, "SELECT last_used_at FROM api_keys") != before)

    assert noted == [False, False, True]


async def test_keys_that_are_over_open_nothing(desk: Desk, dsn: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, expired = await desk.keys.create(desk.workspace_id, desk.user_id, "old", expires_at=past)
    shown, revoked = await desk.keys.create(desk.workspace_id, desk.user_id, "lost")
    await desk.keys.revoke(desk.workspace_id, shown.id)
    await desk.keys.revoke(desk.workspace_id, shown.id)
    _, of_suspended = await desk.keys.create(desk.workspace_id, desk.user_id, "mine")

    assert (await desk.keys.authenticate(of_suspended)).user_id == desk.user_id
    run_sql(dsn, "UPDATE users SET status = 'suspended'")
    for key in (expired, revoked, of_suspended, new_key(), ""):
        with pytest.raises(Unauthorized):
            await desk.keys.authenticate(key)
    with pytest.raises(NotFound):
        await desk.keys.revoke(an_id(), shown.id)
    with pytest.raises(NotFound):
        await desk.keys.create(an_id(), desk.user_id, "foreign")
    assert [key.revoked_at is not None for key in await desk.keys.all_of(desk.workspace_id)] == [False, True, False]


async def test_a_workflow_comes_back_as_it_was_written(desk: Desk) -> None:
    made = await desk.workflows.create(desk.workspace_id, DRAFT, created_by=desk.user_id)
    read = await desk.workflows.get(desk.workspace_id, made.summary.id)

    assert read == made
    assert read.definition["nodes"] == DRAFT.nodes
    assert list(read.definition["nodes"][0]["config"]) == ["z", "a"]
    assert (read.definition["name"], read.definition["viewport"]) == ("Orders", {"zoom": 2})
    assert (read.summary.version, read.summary.tags, read.summary.slug[:7]) == (1, ("a", "b"), "orders-")


async def test_a_change_is_a_version(desk: Desk) -> None:
    made = await desk.workflows.create(desk.workspace_id, DRAFT)
    identity = made.summary.id
    changed = await desk.workflows.update(
        desk.workspace_id, identity, replace(DRAFT, name="New", nodes=[]), expected_version=1, change_message="why"
    )
    first = await desk.workflows.get_version(desk.workspace_id, identity, 1)
    both, left = await desk.workflows.versions(desk.workspace_id, identity)
    newest, more = await desk.workflows.versions(desk.workspace_id, identity, limit=1)
    oldest, _ = await desk.workflows.versions(desk.workspace_id, identity, limit=1, before=more)

    assert (changed.summary.version, changed.summary.name, changed.definition["nodes"]) == (2, "New", [])
    assert (first.definition["name"], first.definition["nodes"]) == ("Orders", DRAFT.nodes)
    assert [(version.version, version.change_message) for version in both] == [(2, "why"), (1, "")]
    assert (newest, oldest, more, left) == (both[:1], both[1:], 2, None)
    with pytest.raises(Conflict) as caught:
        await desk.workflows.update(desk.workspace_id, identity, DRAFT, expected_version=1)
    assert caught.value.fields == {"current_version": 2}


async def test_workflows_of_another_workspace_are_not_found(desk: Desk) -> None:
    identity = (await desk.workflows.create(desk.workspace_id, DRAFT)).summary.id
    for workspace, workflow in [(an_id(), identity), (desk.workspace_id, an_id())]:
        with pytest.raises(NotFound):
            await desk.workflows.get(workspace, workflow)
        with pytest.raises(NotFound):
            await desk.workflows.get_version(workspace, workflow, 1)
        with pytest.raises(NotFound):
            await desk.workflows.update(workspace, workflow, DRAFT, expected_version=1)
        with pytest.raises(NotFound):
            await desk.workflows.change_status(workspace, workflow, WorkflowAction.ARCHIVE)
        with pytest.raises(NotFound):
            await desk.workflows.versions(workspace, workflow)
        with pytest.raises(NotFound):
            await desk.workflows.status(workspace, workflow)
    assert (await desk.lists.page(an_id())).items == []
    assert await desk.lists.tags(an_id()) == []


async def test_workflows_are_listed_in_pages(desk: Desk) -> None:
    ids = [(await desk.workflows.create(desk.workspace_id, DRAFT)).summary.id for _ in range(5)]
    await desk.workflows.change_status(desk.workspace_id, ids[2], WorkflowAction.ARCHIVE)
    first = await desk.lists.page(desk.workspace_id, limit=3)
    last = await desk.lists.page(desk.workspace_id, limit=3, cursor=first.next_cursor)
    archived = await desk.lists.page(desk.workspace_id, WorkflowFilter(statuses=[WorkflowStatus.ARCHIVED]))

    seen = [summary.id for summary in (*first.items, *last.items)]
    assert sorted(seen) == sorted(set(ids) - {ids[2]})
    assert seen == sorted(seen, reverse=True)
    assert (len(first.items), last.next_cursor) == (3, None)
    assert [summary.id for summary in archived.items] == [ids[2]]


async def test_executions_are_listed_counted_and_pinned(desk: Desk, dsn: str, pg_store: PostgresExecutions) -> None:
    workflow = (await desk.workflows.create(desk.workspace_id, DRAFT)).summary.id
    leases = PostgresLeases(dsn)
    owner = an_id()
    leases.register(holder(owner), TTL_MS)
    leases.close()
    done = new_execution(desk.workspace_id, workflow_id=workflow, definition=None, owner=owner)
    active = new_execution(desk.workspace_id, owner=owner)
    queued = new_execution(desk.workspace_id)
    dedicated = new_execution(desk.workspace_id, isolation=Isolation.DEDICATED)
    answers = await pg_store.accept([done, active, queued, dedicated])
    await pg_store.flush([flush(done.id, ending=ending(), started_ms=1_700_000_000_000)])
    await desk.workflows.change_status(desk.workspace_id, workflow, WorkflowAction.ARCHIVE)
    late = new_execution(desk.workspace_id, workflow_id=workflow, definition=None)
    [refused] = await pg_store.accept([late])
    first = await desk.listing.page(desk.workspace_id, limit=3)
    second = await desk.listing.page(desk.workspace_id, limit=3, before=first.next_before)
    of_workflow = await desk.listing.page(desk.workspace_id, ExecutionFilter(workflow_id=workflow))
    running = await desk.listing.page(desk.workspace_id, ExecutionFilter(statuses=[ExecutionStatus.RUNNING]))
    load = await desk.listing.load()

    assert (answers[0].workflow_version, refused.outcome) == (1, Outcome.NO_WORKFLOW)
    assert [item.id for item in (*first.items, *second.items)] == [dedicated.id, queued.id, active.id, done.id]
    assert (of_workflow.items[0].id, of_workflow.items[0].started_ms) == (done.id, 1_700_000_000_000)
    assert [item.id for item in running.items] == [active.id]
    assert (load.queued, load.queued_dedicated, load.running) == (1, 1, 1)
    assert load.oldest_queued_ms >= 0
    assert await desk.listing.counts(desk.workspace_id) == {
        ExecutionStatus.QUEUED: 2,
        ExecutionStatus.RUNNING: 1,
        ExecutionStatus.COMPLETED: 1,
    }
    assert (await desk.listing.page(an_id())).items == []
    assert (await desk.workflows.get(desk.workspace_id, workflow)).execution_count == 1


async def test_bootstrap_may_be_repeated(dsn: str) -> None:
    key = new_key()
    first = bootstrap(dsn, email="root@example.test", password="x" * 80, workspace_name="First", api_key=key)
    again = bootstrap(dsn, email="ROOT@example.test", password="other", workspace_name="Second", api_key=key)
    engine = make_engine(StoreConfig(dsn=dsn))
    principal = await ApiKeys(engine).authenticate(key)
    user = await Accounts(engine).check_password("root@example.test", "x" * 80)
    await engine.dispose()

    assert first == again
    assert (principal.workspace_id, principal.role) == (first.workspace_id, Role.OWNER)
    assert user.id == first.user_id
    assert run_sql(dsn, "SELECT count(*) FROM workspaces") == [(1,)]


async def test_repositories_say_when_the_database_is_away(dsn: str) -> None:
    engine = make_engine(StoreConfig(dsn=dsn.rpartition("@")[0] + "@127.0.0.1:1/x"))
    with pytest.raises(StoreUnavailable):
        await Workflows(engine).get(an_id(), an_id())
    await engine.dispose()
