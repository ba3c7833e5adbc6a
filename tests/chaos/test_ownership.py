"""Who owns an execution when calls get lost, owners freeze, and the API dies half way.

G3 no write from an older epoch is ever accepted; the races B1, B2, B4, B14 of the design.
"""

import os
import time
from signal import SIGCONT, SIGSTOP
from time import monotonic
from uuid import UUID

import orjson
import pytest

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from tests.chaos.work import (
    assert_each_completed_once,
    branching,
    epochs,
    given,
    owner_of_most,
    standing,
    start_many,
    until_taken_over,
    written,
)
from tests.instance import RunningInstance, until
from workflow.ids import uuid7
from workflow.ports import Accepted, NewExecution, Outcome
from workflow.states import ExecutionStatus

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


async def accept(instance: RunningInstance, owner: UUID | None, number: int) -> Accepted:
    """Write the row exactly as a replica does, and do nothing more: it has died before its call to the actor."""
    new = NewExecution(
        id=uuid7(int(time.time() * 1000), os.urandom(10)),
        workspace_id=instance.workspace_id,
        workflow_id=None,
        definition=orjson.dumps(branching()),
        input=orjson.dumps(given(number)),
        nodes_total=6,
        trigger_type="api",
        triggered_by=None,
        owner=owner,
    )
    async with make_pool(StoreConfig(dsn=instance.dsn, application_name="test-replica")) as pool:
        (accepted,) = await PostgresExecutions(pool).accept([new])
    return accepted


async def test_the_api_dies_between_insert_and_call(instance, record_property):
    lease = instance.leases()[0]
    began_s = monotonic()
    accepted = await accept(instance, lease.id, 7)
    assert (accepted.outcome, accepted.status, accepted.owner) == (Outcome.CREATED, ExecutionStatus.RUNNING, lease.id)

    assert_each_completed_once(instance, {accepted.id: 7}, 15)
    record_property("seconds", round(monotonic() - began_s, 2))
    print(f"a push whose call was lost has ended after {monotonic() - began_s:.2f} s")
    assert epochs(instance, [accepted.id]) == {accepted.id: 1}, "its owner took it up; nobody had to take it over"
    assert {lease.id for lease in instance.leases()} >= {lease.id}


async def test_a_push_to_an_owner_that_is_gone_is_queued(instance):
    lease = owner_that_ends(instance)
    accepted = await accept(instance, lease, 8)
    assert (accepted.outcome, accepted.status, accepted.owner) == (Outcome.CREATED, ExecutionStatus.QUEUED, None)
    assert_each_completed_once(instance, {accepted.id: 8}, 15)


def owner_that_ends(instance: RunningInstance) -> UUID:
    """Kill an idle actor and return its lease when the supervisor has ended that."""
    lease = instance.leases()[0]
    lease.process.kill()
    until(lambda: lease.id not in {living.id for living in instance.leases()}, 5, "the lease ends with its owner")
    return lease.id


def test_an_owner_freezes_past_its_lease_and_wakes_up(instance, record_property):
    begun = start_many(instance)
    frozen = owner_of_most(instance)
    process = frozen.process

    frozen_s = monotonic()
    process.send(SIGSTOP)
    try:
        lost = standing(instance, [frozen.id])
        recovery_s = until_taken_over(instance, lost, 30) - frozen_s
        record_property("recovery_s", round(recovery_s, 2))
        print(f"executions of a frozen owner go on elsewhere after {recovery_s:.2f} s")
        assert instance.rows("SELECT end_reason FROM leases WHERE id = %s", frozen.id) == [("expired",)]
        assert_each_completed_once(instance, begun)
        before = written(instance, begun)
    finally:
        process.send(SIGCONT)

    until(lambda: any(lease.pid == frozen.pid for lease in instance.leases()), 10, "it registers anew")
    assert process.alive, "it was not replaced"
    (renewed,) = [lease for lease in instance.leases() if lease.pid == frozen.pid]
    assert renewed.id != frozen.id

    # It works again, so whatever it still had to write of before it has tried to write.
    worked = f"SELECT 1 FROM node_executions WHERE pid = {frozen.pid} AND execution_id > %s LIMIT 1"
    rounds = []

    def works_again() -> bool:
        rounds.append(start_many(instance, 12))
        assert_each_completed_once(instance, rounds[-1])
        return bool(instance.rows(worked, min(rounds[0])))

    until(works_again, 40, "the woken actor executes something")
    assert written(instance, begun) == before, "what it wrote late was accepted"
    assert {epochs(instance, begun)[identity] for identity in lost} == {2}
