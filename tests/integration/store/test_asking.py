"""Requests and children as the database keeps them: under whose epoch, in which order, and whom they wake."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from store.children import Declared, NewChild, PostgresChildren
from store.engine import Pool
from store.executions import PostgresExecutions
from store.inbox import Asked, From, Inbox
from store.leases import PostgresLeases
from store.requests import PostgresRequests
from tests.conftest import run_sql
from tests.contract.conftest import workflow_in_postgres
from tests.contract.making import TTL_MS, an_id, claim, ending, flush, holder, new_execution
from tests.integration.store.ownership import HOUR_MS, now_ms
from workflow.answers import EDITORS, Answer
from workflow.errors import Conflict, Fenced, Forbidden
from workflow.ports import LeaseEnd, Rest
from workflow.states import ExecutionStatus
from workflow.waiting import PLACES_MAX, Going, NewRequest, RequestStatus, RequestType

WORKSPACE = an_id()
WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
NOW_MS = now_ms()
RUN = ("n", 0)


@pytest.fixture
def owner(dsn: str) -> UUID:
    lease_id = an_id()
    leases = PostgresLeases(dsn)
    leases.register(holder(lease_id), TTL_MS)
    leases.close()
    return lease_id


@pytest.fixture
async def running(pg_store: PostgresExecutions, owner: UUID) -> UUID:
    new = new_execution(WORKSPACE, owner=owner)
    await pg_store.accept([new])
    return new.id


@pytest.fixture
def inbox(pool: Pool) -> Inbox:
    return Inbox(pool, an_id)


@pytest.fixture
def requests(pool: Pool) -> PostgresRequests:
    return PostgresRequests(pool, an_id)


@pytest.fixture
def children(pool: Pool) -> PostgresChildren:
    return PostgresChildren(pool)


async def opened(
    requests: PostgresRequests, execution_id: UUID, run: tuple[str, int] = RUN, ordinal: int = 0, **changes: Any
) -> UUID:
    new, identity = NewRequest(type=RequestType.APPROVAL, **changes), an_id()
    epoch, hashed = 1, identity.bytes
    request = await requests.open(
        claim(execution_id, epoch), run, ordinal, new, request_id=identity, token_hash=hashed, now_ms=NOW_MS
    )
    return request.id


def an_answer(action: str = "approve") -> Answer:
    return Answer(action=action, user_id=an_id(), role="owner")


async def when_waiting(dsn: str, count: int) -> None:
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(run_sql, dsn, WAITERS))[0][0] != count:
            await asyncio.sleep(0.01)


def unread(dsn: str, execution_id: UUID) -> list[tuple[object, ...]]:
    return run_sql(
        dsn,
        "SELECT kind, node_id, run_index FROM signals WHERE read_at IS NULL AND execution_id = %s ORDER BY 1, 2, 3",
        execution_id,
    )


async def test_only_the_present_owner_asks(
    dsn: str, pg_store: PostgresExecutions, requests: PostgresRequests, running: UUID, owner: UUID
) -> None:
    leases, heir = PostgresLeases(dsn), an_id()
    leases.register(holder(heir), TTL_MS)
    leases.end(owner, LeaseEnd.EXPIRED)
    leases.close()
    assert await pg_store.claim_one(heir, running) is not None

    with pytest.raises(Fenced):
        await opened(requests, running)
    assert run_sql(dsn, "SELECT count(*) FROM hitl_requests") == [(0,)]


async def test_an_owner_that_has_let_go_asks_nothing_more(
    pg_store: PostgresExecutions, requests: PostgresRequests, running: UUID
) -> None:
    await pg_store.flush([flush(running, rest=Rest(status=ExecutionStatus.WAITING, wake_ms=None))])

    with pytest.raises(Fenced):
        await opened(requests, running)


async def test_answers_at_the_same_time_all_count(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    asked = await inbox.get(WORKSPACE, await opened(requests, running, approvals_required=2))
    with psycopg.connect(dsn) as slower:
        slower.execute("SELECT FROM hitl_requests FOR UPDATE")
        answering = [asyncio.create_task(inbox.respond(asked, an_answer(), From())) for _ in range(2)]
        await when_waiting(dsn, 2)
        slower.rollback()
    answered: list[Asked] = await asyncio.gather(*answering)

    assert sorted(len(each.open.answers) for each in answered) == [1, 2]
    assert {each.open.status for each in answered} == {RequestStatus.PENDING, RequestStatus.APPROVED}
    assert unread(dsn, running) == [("wake", *RUN)]


async def test_no_answer_is_taken_for_what_is_just_ending(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    asked = await inbox.get(WORKSPACE, await opened(requests, running))
    with psycopg.connect(dsn) as ending_it:
        ending_it.execute("UPDATE executions SET status = 'completed', completed_at = now() WHERE id = %s", (running,))
        answering = asyncio.create_task(inbox.respond(asked, an_answer(), From()))
        await when_waiting(dsn, 1)
        ending_it.commit()

    with pytest.raises(Conflict):
        await answering
    assert run_sql(dsn, "SELECT status FROM hitl_requests") == [("pending",)]


async def test_what_is_answered_does_not_time_out(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    asked = await inbox.get(WORKSPACE, await opened(requests, running, timeout_ms=HOUR_MS, auto_action="reject"))
    await inbox.respond(asked, an_answer(), From())
    found = await requests.look(running, RUN, 0, expire=True, now_ms=NOW_MS + 2 * HOUR_MS)

    assert found is not None
    assert found.status is RequestStatus.APPROVED
    assert (found.response or {})["action"] == "approve"
    assert unread(dsn, running) == [("wake", *RUN)]


async def test_what_is_pending_times_out_when_its_time_is_over_and_not_before(
    requests: PostgresRequests, running: UUID
) -> None:
    await opened(requests, running, timeout_ms=HOUR_MS)
    early = await requests.look(running, RUN, 0, expire=True, now_ms=NOW_MS + HOUR_MS - 1)
    unasked = await requests.look(running, RUN, 0, expire=False, now_ms=NOW_MS + 2 * HOUR_MS)
    late = await requests.look(running, RUN, 0, expire=True, now_ms=NOW_MS + HOUR_MS)

    found = [each.status for each in (early, unasked, late) if each is not None]
    assert found == [RequestStatus.PENDING, RequestStatus.PENDING, RequestStatus.TIMEOUT]


def end_time(dsn: str, in_ms: int) -> None:
    run_sql(dsn, "UPDATE hitl_requests SET expires_at = clock_timestamp() + %s * interval '1 ms'", in_ms)


async def test_no_answer_counts_when_the_time_is_over_although_no_owner_has_come_to_it(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    identity = await opened(requests, running, timeout_ms=HOUR_MS, auto_action="reject", remind_after_ms=1)
    shown = await inbox.get(WORKSPACE, identity)
    end_time(dsn, -1)
    with pytest.raises(Conflict) as refused:
        await inbox.respond(shown, an_answer(), From())

    assert (refused.value.code, refused.value.fields) == ("request_closed", {"state": "timeout"})
    assert run_sql(dsn, "SELECT status, answers::text FROM hitl_requests") == [("pending", "[]")]
    assert run_sql(dsn, "SELECT count(*) FROM audit_entries") == [(0,)]
    assert unread(dsn, running) == []
    over = await inbox.get(WORKSPACE, identity)
    assert (over.open.status, over.reminded) == (RequestStatus.TIMEOUT, False)


async def test_an_answer_whose_decision_comes_after_the_time_is_refused(
    dsn: str, pool: Pool, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    def late() -> UUID:  # between judging and deciding
        clock = "SELECT count(*) FROM hitl_requests WHERE expires_at > clock_timestamp()"
        while run_sql(dsn, clock) != [(0,)]:
            pass
        return an_id()

    asked = await inbox.get(WORKSPACE, await opened(requests, running, timeout_ms=HOUR_MS))
    end_time(dsn, 500)
    with pytest.raises(Conflict) as refused:
        await Inbox(pool, late).respond(asked, an_answer(), From())

    assert (refused.value.code, refused.value.fields) == ("request_closed", {"state": "timeout"})
    assert run_sql(dsn, "SELECT count(*) FROM audit_entries") == [(0,)]


async def test_requests_are_listed_as_they_stand(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    over = await opened(requests, running, ("over", 0), timeout_ms=HOUR_MS)
    end_time(dsn, -1)
    left = await opened(requests, running, ("left", 0), timeout_ms=HOUR_MS)

    async def listed(*statuses: RequestStatus) -> list[UUID]:
        return [each.id for each in (await inbox.page(WORKSPACE, statuses=statuses)).items]

    assert await listed() == [left, over]
    assert await listed(RequestStatus.PENDING) == [left]
    assert await listed(RequestStatus.TIMEOUT) == [over]
    assert await listed(RequestStatus.PENDING, RequestStatus.TIMEOUT) == [left, over]
    run_sql(dsn, "UPDATE executions SET status = 'completed', completed_at = now() WHERE id = %s", running)
    assert await listed(RequestStatus.PENDING, RequestStatus.TIMEOUT) == []
    assert await listed(RequestStatus.CANCELLED) == [left, over]


@pytest.mark.parametrize("action", ["reject", ""])
async def test_what_time_decides_is_noted_once(
    dsn: str, requests: PostgresRequests, running: UUID, action: str
) -> None:
    identity = await opened(requests, running, timeout_ms=HOUR_MS, auto_action=action, title="Pay?")
    for late_ms in (0, HOUR_MS, 2 * HOUR_MS):
        await requests.look(running, RUN, 0, expire=True, now_ms=NOW_MS + late_ms)

    [(kind, node, user, details, response, ms)] = run_sql(
        dsn, "SELECT action_type, node_id, user_id, request_details, response, response_time_ms FROM audit_entries"
    )
    assert (kind, node, user) == ("approval", RUN[0], None)
    assert details == {"request_id": str(identity), "title": "Pay?"}
    assert response == {"action": action, "automatic": True}
    assert isinstance(ms, int)
    assert ms >= 0


async def test_what_was_closed_before_is_not_escalated_later(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    escalating = {"escalate_after_ms": HOUR_MS, "escalate_to": "viewer"}
    runs = [(name, 0) for name in ("answered", "over", "left")]
    ids = [await opened(requests, running, run, timeout_ms=HOUR_MS, **escalating) for run in runs]
    await inbox.respond(await inbox.get(WORKSPACE, ids[0]), an_answer(), From())
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '2 hours'")
    run_sql(dsn, "UPDATE hitl_requests SET responded_at = created_at + interval '59 minutes' WHERE id = %s", ids[0])
    run_sql(dsn, "UPDATE hitl_requests SET expires_at = created_at + interval '59 minutes' WHERE id = %s", ids[1])

    assert [(await inbox.get(WORKSPACE, each)).escalated for each in ids] == [False, False, True]


async def test_the_role_that_it_is_escalated_to_comes_beside_the_editors_where_no_roles_are_named(
    dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID
) -> None:
    identity = await opened(requests, running, escalate_after_ms=HOUR_MS, escalate_to="viewer")
    viewer = Answer(action="approve", user_id=an_id(), role="viewer")
    asked = await inbox.get(WORKSPACE, identity)
    with pytest.raises(Forbidden):
        await inbox.respond(asked, viewer, From())
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '1 hour'")

    assert (await inbox.get(WORKSPACE, identity)).open.roles == [*EDITORS, "viewer"]
    assert (await inbox.respond(asked, viewer, From())).open.status is RequestStatus.APPROVED


async def test_what_is_kept_is_not_withdrawn(dsn: str, requests: PostgresRequests, inbox: Inbox, running: UUID) -> None:
    runs = [("kept", 0), ("kept", 1), ("other", 0), ("answered", 0)]
    ids = {run: await opened(requests, running, run) for run in runs}
    await inbox.respond(await inbox.get(WORKSPACE, ids["answered", 0]), an_answer("reject"), From())

    assert await requests.withdraw(running, [Going("kept", 0)]) == 2
    found = run_sql(dsn, "SELECT node_id, run_index, status FROM hitl_requests ORDER BY 1, 2")
    assert found == [
        ("answered", 0, "rejected"),
        ("kept", 0, "pending"),
        ("kept", 1, "cancelled"),
        ("other", 0, "cancelled"),
    ]


def a_child(dsn: str, workflow: UUID | None = None, place: int = 0, *, awaited: bool = True) -> NewChild:
    versions: dict[int, dict[str, object]] = {1: {"name": "child", "nodes": [], "connections": [], "settings": {}}}
    return NewChild(
        id=an_id(),
        place=place,
        workflow_id=workflow or workflow_in_postgres(dsn, WORKSPACE, versions, archived=False),
        version=None,
        input=b"null",
        input_ref=None,
        awaited=awaited,
    )


async def started(children: PostgresChildren, parent: UUID, *new: NewChild, **changes: Any) -> list[int]:
    """Start children; the places of those that were refused."""
    options: dict[str, Any] = {"trigger": "sub_workflow", "deadline_ms": None, "depth_max": 3, **changes}
    return [refused.place for refused in await children.start(claim(parent), RUN, new, **options)]


async def test_the_end_of_a_child_wakes_its_parent_and_nothing_before_it_does(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    child, alone = a_child(dsn), a_child(dsn, place=1, awaited=False)
    assert await started(children, running, child, alone) == []
    resting = Rest(status=ExecutionStatus.WAITING, wake_ms=None)
    for each in (child, alone):
        await pg_store.claim_one(owner, each.id)
        await pg_store.flush([flush(each.id, rest=resting)])
        run_sql(dsn, "UPDATE executions SET wake_at = now() WHERE id = %s", each.id)
        await pg_store.claim_one(owner, each.id)
    assert unread(dsn, running) == []
    await pg_store.flush([flush(alone.id, epoch=2, last_seq=1, ending=ending())])
    assert unread(dsn, running) == []
    await pg_store.flush([flush(child.id, epoch=2, last_seq=1, ending=ending(ExecutionStatus.FAILED))])
    assert unread(dsn, running) == [("wake", *RUN)]


async def test_a_child_that_ends_while_its_parent_is_letting_go_wakes_it(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    child = a_child(dsn)
    await started(children, running, child)
    await pg_store.claim_one(owner, child.id)
    with psycopg.connect(dsn) as letting_go:
        letting_go.execute(
            "UPDATE executions SET status = 'waiting', owner = NULL, wake_at = 'infinity' WHERE id = %s", (running,)
        )
        async with asyncio.timeout(20):  # it waits for nobody: a parent that cancels its children may wait for them
            await pg_store.flush([flush(child.id, ending=ending())])
        letting_go.commit()

    assert unread(dsn, running) == [("wake", *RUN)]
    assert await pg_store.claim_one(owner, running) is not None


async def test_a_child_has_no_more_time_than_its_parent_unless_nobody_waits_for_it(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    awaited, alone = a_child(dsn), a_child(dsn, place=1, awaited=False)
    await started(children, running, awaited, alone, deadline_ms=NOW_MS)
    claims = [await pg_store.claim_one(owner, each.id) for each in (awaited, alone)]

    assert [each.deadline_ms for each in claims if each is not None] == [NOW_MS, None]
    assert [each.parent for each in claims if each is not None] == [running, None]


async def test_a_workflow_that_is_under_way_above_is_not_started_below_itself(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    child = a_child(dsn)
    await started(children, running, child)
    await pg_store.claim_one(owner, child.id)
    between = a_child(dsn)
    assert await started(children, child.id, between) == []
    await pg_store.claim_one(owner, between.id)
    again, other = a_child(dsn, child.workflow_id), a_child(dsn, place=1)

    assert await started(children, between.id, again, other) == [0]
    assert run_sql(dsn, "SELECT count(*) FROM executions WHERE depth = 3") == [(1,)]


async def test_nothing_is_started_below_the_deepest(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    child = a_child(dsn)
    assert await started(children, running, child, depth_max=1) == []
    await pg_store.claim_one(owner, child.id)

    assert await started(children, child.id, a_child(dsn), depth_max=1) == [0]
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(2,)]


async def test_what_is_no_level_may_be_started_by_the_deepest(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID, owner: UUID
) -> None:
    child = a_child(dsn)
    assert await started(children, running, child, depth_max=1) == []
    await pg_store.claim_one(owner, child.id)

    assert await started(children, child.id, a_child(dsn, awaited=False), depth_max=1, levels=0) == []
    assert run_sql(dsn, "SELECT depth FROM executions ORDER BY id") == [(0,), (1,), (1,)]


async def test_after_a_lapse_the_children_of_before_are_neither_wanted_nor_seen(
    dsn: str, children: PostgresChildren, running: UUID
) -> None:
    before, after = a_child(dsn, place=3), a_child(dsn, place=PLACES_MAX + 3)
    await started(children, running, before, after)

    assert [state.place for state, _ in await children.states(running, RUN)] == [3, PLACES_MAX + 3]
    assert [state.place for state, _ in await children.states(running, RUN, PLACES_MAX)] == [3]
    assert await children.cancel(running, [Going(*RUN, PLACES_MAX)]) == 1
    assert run_sql(dsn, "SELECT execution_id FROM signals WHERE kind = 'cancel'") == [(before.id,)]


async def test_after_a_lapse_what_was_asked_before_is_withdrawn_but_not_what_is_asked_about_the_failure(
    dsn: str, requests: PostgresRequests, running: UUID
) -> None:
    for ordinal in (0, -5, 1, -PLACES_MAX, -PLACES_MAX - 5):
        await opened(requests, running, ordinal=ordinal)

    assert await requests.withdraw(running, [Going(*RUN, PLACES_MAX)]) == 2
    left = "SELECT ordinal FROM hitl_requests WHERE status = 'pending' ORDER BY ordinal DESC"
    assert run_sql(dsn, left) == [(1,), (-PLACES_MAX,), (-PLACES_MAX - 5,)]


async def test_what_a_workflow_declares_of_its_executions(dsn: str, children: PostgresChildren) -> None:
    settings = {"concurrency": {"key": "k", "limit": 1}}
    first = {"name": "child", "nodes": [], "connections": [], "settings": settings}
    versions = {1: first, 2: {**first, "settings": {}}}
    workflow = workflow_in_postgres(dsn, WORKSPACE, versions, archived=False)
    run_sql(dsn, """UPDATE workflow_versions SET input_schema = '{"required": ["v"]}' WHERE version = 2""")

    found = await children.declared(WORKSPACE, [(workflow, 1), (workflow, None), (an_id(), None)])

    assert found == {
        (workflow, 1): Declared(version=1, name="child", concurrency=settings["concurrency"], input_schema={}),
        (workflow, None): Declared(version=2, name="child", concurrency=None, input_schema={"required": ["v"]}),
    }
    assert await children.declared(an_id(), [(workflow, None)]) == {}


async def test_only_the_present_owner_starts_children(
    dsn: str, pg_store: PostgresExecutions, children: PostgresChildren, running: UUID
) -> None:
    await pg_store.flush([flush(running, rest=Rest(status=ExecutionStatus.WAITING, wake_ms=None))])

    with pytest.raises(Fenced):
        await started(children, running, a_child(dsn))
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(1,)]


async def test_a_child_is_started_once(dsn: str, children: PostgresChildren, running: UUID) -> None:
    child = a_child(dsn)
    for _ in range(2):
        assert await started(children, running, child) == []

    assert len(await children.states(running, RUN)) == 1
