"""Accepting executions: pushed or queued, pinned, replayed."""

from dataclasses import replace
from uuid import uuid4

import orjson
import pytest

from tests.contract.conftest import Twin
from tests.contract.making import DEFINITION, TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.errors import NotFound
from workflow.ports import IdempotencyKey, Isolation, LeaseEnd, Outcome
from workflow.states import ExecutionStatus

VERSIONS = {
    1: {"name": "old", "nodes": [], "connections": [], "settings": {}},
    2: {"name": "Orders", "nodes": [{"id": "n", "z": 1, "a": 2.0}], "connections": [], "settings": {"b": 1, "a": 2}},
}


def key(text: str = "k", fingerprint: bytes = b"f" * 32) -> IdempotencyKey:
    return IdempotencyKey(key=text, fingerprint=fingerprint)


async def test_without_owner_it_is_queued_under_epoch_0(twin: Twin) -> None:
    new = new_execution(an_id(), priority=7)
    [accepted] = await twin.executions.accept([new])
    view = await twin.executions.get(new.workspace_id, new.id)

    assert (accepted.outcome, accepted.status, accepted.owner) == (Outcome.CREATED, ExecutionStatus.QUEUED, None)
    assert (view.status, view.epoch, view.owner, view.priority, view.last_seq) == (
        ExecutionStatus.QUEUED,
        0,
        None,
        7,
        0,
    )


async def test_with_a_live_owner_it_is_running_under_epoch_1(twin: Twin) -> None:
    owner = twin.owner()
    new = new_execution(an_id(), owner=owner)
    [accepted] = await twin.executions.accept([new])
    view = await twin.executions.get(new.workspace_id, new.id)

    assert (accepted.status, accepted.owner) == (ExecutionStatus.RUNNING, owner)
    assert (view.epoch, view.owner, view.actor_name, view.host, view.pid) == (1, owner, "actor", "host-1", 4711)


async def test_an_owner_that_is_unknown_expired_ended_or_draining_gets_nothing(twin: Twin) -> None:
    late, ended, draining = an_id(), twin.owner(), twin.owner()
    twin.leases.register(holder(late), 0)
    twin.leases.end(ended, LeaseEnd.RELEASED)
    twin.leases.drain(draining)
    owners = [an_id(), late, ended, draining]
    accepted = await twin.executions.accept([new_execution(an_id(), owner=owner) for owner in owners])

    assert [answer.status for answer in accepted] == [ExecutionStatus.QUEUED] * 4


async def test_a_push_does_not_overtake_a_pooled_execution_in_the_queue(twin: Twin) -> None:
    await twin.executions.accept([new_execution(an_id())])
    [accepted] = await twin.executions.accept([new_execution(an_id(), owner=twin.owner())])

    assert accepted.status is ExecutionStatus.QUEUED


async def test_a_dedicated_execution_in_the_queue_holds_up_no_push(twin: Twin) -> None:
    await twin.executions.accept([new_execution(an_id(), isolation=Isolation.DEDICATED)])
    [accepted] = await twin.executions.accept([new_execution(an_id(), owner=twin.owner())])

    assert accepted.status is ExecutionStatus.RUNNING


async def test_the_current_version_of_the_workflow_is_pinned(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    workflow = twin.add_workflow(workspace, VERSIONS, False)
    new = new_execution(workspace, workflow_id=workflow, definition=None)
    [accepted] = await twin.executions.accept([new])
    [claimed] = await twin.executions.claim(owner, 1, 0)

    assert (accepted.workflow_version, claimed.workflow_version, claimed.workflow_name) == (2, 2, "Orders")
    assert orjson.loads(claimed.definition) == VERSIONS[2]
    assert list(orjson.loads(claimed.definition)["nodes"][0]) == ["id", "z", "a"]


async def test_an_inline_definition_and_the_input_come_back_as_they_were(twin: Twin) -> None:
    new = new_execution(an_id())
    await twin.executions.accept([new])
    [claimed] = await twin.executions.claim(twin.owner(), 1, 0)

    assert (claimed.definition, claimed.input) == (DEFINITION, new.input)
    assert (claimed.workflow_name, claimed.workflow_id, claimed.workflow_version) == ("Inline", None, None)


async def test_absent_archived_and_foreign_workflows_are_not_found(twin: Twin) -> None:
    workspace = an_id()
    foreign = twin.add_workflow(an_id(), VERSIONS, False)
    archived = twin.add_workflow(workspace, VERSIONS, True)
    batch = [
        new_execution(workspace, workflow_id=identity, definition=None, idempotency=key(str(number)))
        for number, identity in enumerate([uuid4(), foreign, archived])
    ]
    answers = await twin.executions.accept([*batch, new_execution(workspace)])
    again = await twin.executions.accept([new_execution(workspace, idempotency=key("0"))])

    assert [answer.outcome for answer in answers] == [Outcome.NO_WORKFLOW] * 3 + [Outcome.CREATED]
    assert again[0].outcome is Outcome.CREATED, "a refused request must not use up its key"


async def test_another_version_than_the_expected_one_is_told_and_leaves_nothing(twin: Twin) -> None:
    workspace = an_id()
    workflow = twin.add_workflow(workspace, VERSIONS, False)
    current = max(VERSIONS)
    as_expected, outdated, keyed, _ = news = [
        new_execution(
            workspace,
            workflow_id=workflow,
            definition=None,
            expected_version=expected,
            idempotency=key(text) if text else None,
        )
        for expected, text in ((current, ""), (current - 1, ""), (current - 1, "k"), (None, ""))
    ]

    answers = await twin.executions.accept(news)

    assert [answer.outcome for answer in answers] == [
        Outcome.CREATED,
        Outcome.OUTDATED,
        Outcome.OUTDATED,
        Outcome.CREATED,
    ]
    assert {answer.workflow_version for answer in answers} == {current, None}
    for refused in (outdated, keyed):
        with pytest.raises(NotFound):
            await twin.executions.get(workspace, refused.id)
    (again,) = await twin.executions.accept([replace(keyed, expected_version=current)])
    assert again.outcome is Outcome.CREATED, "it has not used up its key"
    # Asked again after a lost answer, when yet another version has become current: it is there.
    found = await twin.executions.accept([replace(new, expected_version=current + 1) for new in (as_expected, keyed)])
    assert [(answer.outcome in {Outcome.CREATED, Outcome.REPLAYED}, answer.id) for answer in found] == [
        (True, as_expected.id),
        (True, keyed.id),
    ]


async def test_the_same_key_replays_the_first_execution(twin: Twin) -> None:
    workspace = an_id()
    first = new_execution(workspace, idempotency=key())
    await twin.executions.accept([first])
    [again] = await twin.executions.accept([new_execution(workspace, idempotency=key(), owner=twin.owner())])

    assert (again.outcome, again.id, again.status) == (Outcome.REPLAYED, first.id, ExecutionStatus.QUEUED)


async def test_a_key_is_replayed_whatever_became_of_the_workflow(twin: Twin) -> None:
    workspace = an_id()
    workflow = twin.add_workflow(workspace, VERSIONS, False)
    news = [
        new_execution(workspace, workflow_id=workflow, definition=None, idempotency=key(text))
        for text in ("k", "k", "l")
    ]
    await twin.executions.accept(news[:1])
    twin.archive_workflow(workflow)
    again, other = await twin.executions.accept(news[1:])

    assert (again.outcome, again.id) == (Outcome.REPLAYED, news[0].id)
    assert other.outcome is Outcome.NO_WORKFLOW


async def test_the_same_key_with_another_fingerprint_is_a_mismatch(twin: Twin) -> None:
    workspace = an_id()
    first = new_execution(workspace, idempotency=key())
    await twin.executions.accept([first])
    [again] = await twin.executions.accept([new_execution(workspace, idempotency=key(fingerprint=b"g" * 32))])

    assert (again.outcome, again.id) == (Outcome.KEY_MISMATCH, first.id)


async def test_keys_of_workspaces_are_apart(twin: Twin) -> None:
    answers = await twin.executions.accept([new_execution(an_id(), idempotency=key()) for _ in range(2)])

    assert [answer.outcome for answer in answers] == [Outcome.CREATED, Outcome.CREATED]


async def test_one_key_several_times_in_a_batch(twin: Twin) -> None:
    workspace = an_id()
    fingerprints = [b"f" * 32, b"f" * 32, b"g" * 32]
    batch = [new_execution(workspace, idempotency=key(fingerprint=fingerprint)) for fingerprint in fingerprints]
    answers = await twin.executions.accept(batch)

    assert [answer.outcome for answer in answers] == [Outcome.CREATED, Outcome.REPLAYED, Outcome.KEY_MISMATCH]
    assert {answer.id for answer in answers} == {batch[0].id}


async def test_asking_again_with_the_same_id_tells_what_is_stored(twin: Twin) -> None:
    owner = twin.owner()
    new = new_execution(an_id(), owner=owner, idempotency=key())
    first = await twin.executions.accept([new])
    await twin.executions.flush([flush(new.id, ending=ending())])
    again = await twin.executions.accept([new])

    assert first[0].status is ExecutionStatus.RUNNING
    assert (again[0].outcome, again[0].status, again[0].owner) == (Outcome.CREATED, ExecutionStatus.COMPLETED, owner)


async def test_answers_come_in_the_order_of_the_batch(twin: Twin) -> None:
    batch = [new_execution(an_id()) for _ in range(5)][::-1]
    answers = await twin.executions.accept(batch)

    assert [answer.id for answer in answers] == [new.id for new in batch]
    assert await twin.executions.accept([]) == []


async def test_a_lease_that_lives_on_keeps_accepting(twin: Twin) -> None:
    owner = twin.owner()
    renewal = twin.leases.renew(owner, TTL_MS)
    [accepted] = await twin.executions.accept([new_execution(an_id(), owner=owner)])

    assert renewal is not None
    assert accepted.owner == owner
