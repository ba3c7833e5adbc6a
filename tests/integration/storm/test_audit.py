"""The triggers of a storm see what must never be written, and flushes that were refused; what is legal they let pass."""

import time
from collections import Counter
from uuid import UUID

import pytest

from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.inbox import From, Inbox
from store.leases import PostgresLeases
from store.requests import PostgresRequests
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, claim, ending, flush, holder, new_execution, node
from tests.storm import audit
from tests.storm.evidence import Noted, Request, stories
from workflow.answers import Answer
from workflow.ports import NewExecution, Verdict
from workflow.states import NodeStatus
from workflow.waiting import NewRequest, RequestType


@pytest.fixture
async def ended(pg_store: PostgresExecutions, dsn: str) -> NewExecution:
    """An execution that went its legal way, taken over once, under the eyes of the triggers."""
    audit.install(dsn)
    leases = PostgresLeases(dsn)
    leases.register(holder(owner := an_id()), TTL_MS)
    leases.close()
    new = new_execution(an_id(), owner=owner)
    await pg_store.accept([new])
    first = flush(new.id, nodes=[node("a", NodeStatus.RUNNING, output=None)])
    last = flush(new.id, epoch=2, last_seq=1, nodes=[node("a"), node("b")], ending=ending())
    assert await pg_store.flush([first]) == [Verdict.COMMITTED]
    run_sql(dsn, "UPDATE executions SET epoch = 2 WHERE id = %s RETURNING 1", new.id)
    assert await pg_store.flush([last]) == [Verdict.COMMITTED]
    assert audit.findings(dsn) == []
    return new


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE executions SET output_data = '{}' WHERE id = %s", "a terminal execution was changed"),
        ("UPDATE executions SET epoch = 1 WHERE id = %s", "an epoch or an event number went back"),
        ("UPDATE executions SET last_seq = 0 WHERE id = %s", "an epoch or an event number went back"),
        ("UPDATE node_executions SET output_data = '{}' WHERE execution_id = %s", "a result was written twice"),
        ("UPDATE stream_events SET body = '{}' WHERE execution_id = %s", "an event was changed"),
    ],
)
def test_what_must_never_be_written_is_seen(dsn: str, ended: NewExecution, statement: str, what: str) -> None:
    run_sql(dsn, statement, ended.id)
    found = audit.findings(dsn)
    assert what in {each.what for each in found}
    assert {UUID(each.execution_id) for each in found} == {ended.id}


async def test_a_decision_and_what_is_noted_of_it_are_told_and_a_change_of_it_is_seen(
    dsn: str, pool: Pool, pg_store: PostgresExecutions
) -> None:
    audit.install(dsn)
    leases = PostgresLeases(dsn)
    leases.register(holder(owner := an_id()), TTL_MS)
    leases.close()
    new = new_execution(an_id(), owner=owner)
    await pg_store.accept([new])
    asked = NewRequest(type=RequestType.APPROVAL)
    request = await PostgresRequests(pool, an_id).open(
        claim(new.id), ("ask", 0), 0, asked, request_id=an_id(), token_hash=b"t", now_ms=1
    )
    inbox = Inbox(pool, an_id)
    answer = Answer(action="approve", comment="ann", user_id=an_id(), role="owner")
    await inbox.respond(await inbox.get(new.workspace_id, request.id), answer, From())
    (told,) = stories(dsn)

    held = {"action": "approve", "comment": "ann", "data": None}
    assert told.requests == [Request(request.id, "ask", 0, "approval", "approved", held)]
    assert told.noted == [Noted(request.id, {"action": "approve", "comment": "ann"})]
    assert audit.findings(dsn) == []
    run_sql(dsn, "UPDATE hitl_requests SET response = '{}' WHERE id = %s", request.id)
    assert [(each.what, each.execution_id) for each in audit.findings(dsn)] == [("a decision was changed", str(new.id))]


def test_a_child_is_told_with_its_parent_and_place(dsn: str) -> None:
    parent, child = an_id(), an_id()
    columns = "id, workspace_id, definition, status, trigger_type, input_data, parent_execution_id, parent_node_id, parent_place"
    insert = f"INSERT INTO executions ({columns}) VALUES (%s, %s, '{{}}', 'queued', 'api', '{{}}', %s, %s, %s)"
    run_sql(dsn, insert, parent, parent, None, "", 0)
    run_sql(dsn, insert, child, parent, parent, "call", 2)
    assert {story.id: (story.parent, story.place) for story in stories(dsn)} == {parent: (None, 0), child: (parent, 2)}


async def test_a_refused_flush_is_counted_for_its_connection(dsn: str, ended: NewExecution) -> None:
    async with make_pool(StoreConfig(dsn=dsn, application_name="woken", pool_size_max=1)) as pool:
        async with pool.connection() as connection:
            ports = frozenset({int((await (await connection.execute("SELECT inet_client_port()")).fetchall())[0][0])})
        since_s = time.time() - 60
        assert audit.refused_flushes(dsn, ports, since_s, since_s + 120) == 0
        assert await PostgresExecutions(pool).flush([flush(ended.id, last_seq=1)]) == [Verdict.FENCED]
    assert audit.refused_flushes(dsn, ports, since_s, since_s + 120) == 1
    assert audit.refused_flushes(dsn, frozenset(), since_s, since_s + 120) == 0
    assert audit.refused_flushes(dsn, ports, since_s - 60, since_s) == 0


async def test_the_evidence_is_all_that_was_written(
    pg_store: PostgresExecutions, dsn: str, ended: NewExecution
) -> None:
    queued = new_execution(an_id())
    await pg_store.accept([queued])
    found = {story.id: story for story in stories(dsn)}
    assert set(found) == {ended.id, queued.id}
    told = found[ended.id]
    assert (told.status, told.last_seq, told.epoch, told.output) == ("completed", 2, 2, {"done": True})
    assert [event.seq for event in told.events] == [1, 2]
    assert Counter((result.node_id, result.status) for result in told.results) == {
        ("a", "completed"): 1,
        ("b", "completed"): 1,
    }
    assert (found[queued.id].status, found[queued.id].events, found[queued.id].results) == ("queued", [], [])
