"""kill -9 of each kind of process with fifty executions in flight: all complete, each node's result is there once.

G1 an acknowledged execution becomes terminal whatever process dies; G2 one durable result per node; G8 the same key gives the
same execution.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL
from time import monotonic, sleep
from uuid import UUID

import httpx2
import pytest

from tests.chaos.work import (
    assert_each_completed_once,
    branching,
    epochs,
    expected,
    given,
    owner_of_most,
    standing,
    start_many,
    until_going_on,
    until_taken_over,
)
from tests.instance import RunningInstance, busiest, until

LEASE_TTL_S = 6
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


def test_an_execution_actor_is_killed(instance, record_property):
    begun = start_many(instance)
    victim = owner_of_most(instance)
    workers = instance.children(victim.pid)
    assert workers, "an actor has sandbox workers"
    others = {lease.id: instance.owned(lease.id) for lease in instance.leases() if lease.id != victim.id}

    killed_s = monotonic()
    victim.process.kill()
    # Read at once: the rows name the dead owner until somebody claims them.
    lost = standing(instance, [victim.id])
    recovery_s = until_taken_over(instance, lost, 15) - killed_s
    record_property("recovery_s", round(recovery_s, 2))
    print(f"recovery after kill -9 of an actor with {len(lost)} executions: {recovery_s:.2f} s")

    assert_each_completed_once(instance, begun)
    found = epochs(instance, begun)
    assert {found[identity] for identity in lost} == {2}
    # On a machine that is held up a lease may run out while its actor lives; then others take over what it had, too.
    kept = [identity for lease in instance.leases() for identity in others.get(lease.id, ()) if identity not in lost]
    assert {found[identity] for identity in kept} <= {1}, "epochs rise for the dead actor's executions only"
    assert instance.rows("SELECT end_reason FROM leases WHERE id = %s", victim.id) == [("crashed",)]
    until(lambda: not any(worker.alive for worker in workers), 5, f"its sandbox workers end with it: {workers}")
    assert recovery_s < LEASE_TTL_S, "its death was seen: nobody had to wait for its lease to run out"


def test_the_sandbox_workers_of_an_actor_are_killed(instance):
    """Ray kills an exiting actor's children some 20 ms before the actor itself ends, which must not look like failing code."""
    begun = start_many(instance)
    victim = owner_of_most(instance)
    workers = [worker for worker in instance.children(victim.pid) if "monty" in worker.what]
    assert workers
    for worker in workers:
        worker.kill()
    assert_each_completed_once(instance, begun)
    assert victim.process.alive
    assert set(epochs(instance, begun).values()) == {1}


def test_the_supervisor_is_killed(instance, record_property):
    begun = start_many(instance)
    former = instance.leases()
    actors = [lease.process for lease in former]
    (supervisor,) = instance.titled("ray::SupervisorActor")

    killed_s = monotonic()
    supervisor.kill()
    # Read at once: until its children die too they go on, and whoever comes next may be quicker than their deaths.
    lost = standing(instance, [lease.id for lease in former])
    until(lambda: not any(actor.alive for actor in actors), 5, "its children die with it")
    gone_s = monotonic() - killed_s
    orphaned = standing(instance, [lease.id for lease in former])
    recovery_s = until_taken_over(instance, lost, 30) - killed_s
    record_property("children_gone_s", round(gone_s, 2))
    record_property("recovery_s", round(recovery_s, 2))
    print(f"kill -9 of the supervisor: children gone after {gone_s:.2f} s, recovery {recovery_s:.2f} s")

    assert_each_completed_once(instance, begun)
    risen = {identity: epoch - lost[identity][0] for identity, epoch in epochs(instance, lost).items()}
    assert set(risen.values()) <= {0, 1}, "one other owner at most"
    assert all(risen[identity] == 1 for identity in orphaned), (
        "what stood when the children were gone has another owner"
    )
    ends = instance.rows("SELECT DISTINCT end_reason FROM leases WHERE id = ANY(%s)", [lease.id for lease in former])
    assert ends == [("supervisor",)], "the new supervisor ends the leases of its former children at once"
    (crashes,) = instance.rows("SELECT max(crashes) FROM executions WHERE id = ANY(%s)", list(begun))
    assert crashes == (0,), "the supervisor's death counts for nobody"
    assert recovery_s <= 15


def test_a_replica_of_the_api_is_killed_while_clients_wait(instance):
    workflow = instance.api.create_workflow(branching())
    replicas = instance.titled("ray::ServeReplica:rayloom:api")
    assert len(replicas) == 2
    failures = []

    def client(number: int) -> tuple[UUID, dict]:
        """A client as one should be: it asks again with the same key until it has an answer."""
        deadline_s = monotonic() + 60
        while monotonic() < deadline_s:
            try:
                answer = instance.api.execute(workflow, given(number), wait=30, key=f"replica-{number}")
            except httpx2.HTTPError as error:
                failures.append(type(error).__name__)
            else:
                if answer.status_code == 200:
                    return UUID(answer.json()["id"]), answer.json()
                failures.append(f"{answer.status_code} {answer.text[:200]}")
            sleep(0.1)
        raise AssertionError(f"client {number} has had no answer: {failures}")

    with ThreadPoolExecutor(50) as clients:
        answers = [clients.submit(client, number) for number in range(50)]
        until(
            lambda: instance.rows("SELECT count(*) FROM idempotency_keys WHERE key LIKE 'replica-%%'") >= [(40,)],
            20,
            "the executions are accepted",
        )
        replicas[0].kill()
        ended = [answer.result() for answer in answers]

    assert failures, "the killed replica had clients waiting"
    print(f"clients were refused {len(failures)} times: {sorted({str(f) for f in failures})}")
    begun = {identity: number for number, (identity, _) in enumerate(ended)}
    keys = instance.rows("SELECT key, execution_id FROM idempotency_keys WHERE key LIKE 'replica-%%'")
    assert dict(keys) == {f"replica-{number}": identity for identity, number in begun.items()}
    assert instance.rows("SELECT count(*) FROM executions WHERE workflow_id = %s", UUID(workflow)) == [(50,)]
    for number, (_, body) in enumerate(ended):
        assert (body["status"], body["output"]) == ("completed", expected(number))
    assert_each_completed_once(instance, begun)


def test_postgresql_is_killed(instance, record_property):
    begun = start_many(instance)
    owners = instance.leases()
    server = instance.part("database")

    killed_s = monotonic()
    server.kill()
    recovery_s = until_going_on(instance, begun, 60) - killed_s
    record_property("recovery_s", round(recovery_s, 2))
    print(f"kill -9 of PostgreSQL: the next event is committed after {recovery_s:.2f} s")

    # Every connection that a replica keeps is broken now; that is the replicas' business and not their clients'.
    with ThreadPoolExecutor(16) as threads:
        looks = Counter(threads.map(lambda identity: look(instance, identity), list(begun) * 4))
    assert_each_completed_once(instance, begun, 90)
    assert instance.part("database").pid != server.pid, "the keeper has started it again"
    assert looks == {200: 200}, "the database is back, but clients are told that it is not"
    if recovery_s < 5:
        assert set(epochs(instance, begun).values()) == {1}, "owners that come back within their lease go on"
        assert {lease.pid for lease in instance.leases()} == {lease.pid for lease in owners}, "no actor was replaced"


def look(instance: RunningInstance, identity: UUID) -> int | str:
    answer = instance.api.http.get(f"{instance.api.workspace}/executions/{identity}")
    return answer.status_code if answer.status_code == 200 else f"{answer.status_code} {answer.text[-120:]}"


def test_everything_is_killed_at_once(instance, record_property):
    begun = start_many(instance)
    everything = instance.look()
    keeper, server = instance.keeper(), instance.part("database")
    lost = standing(instance, [lease.id for lease in instance.leases()])

    # The keeper and the postmaster first, so that they start nothing again.
    for process in (keeper, server, *everything):
        process.send(SIGKILL)
    until(lambda: not [left.send(SIGKILL) for left in instance.look()], 10, "everything is dead")

    took_s = instance.up()
    up_s = monotonic()
    recovery_s = until_taken_over(instance, lost, 30) - up_s
    record_property("up_s", round(took_s, 1))
    record_property("recovery_after_up_s", round(recovery_s, 2))
    print(f"after kill -9 of {len(everything)} processes: up in {took_s:.1f} s, next event {recovery_s:.2f} s later")

    assert_each_completed_once(instance, begun, 90)
    share, who = busiest(process for process in everything if process.alive)
    assert share == 0, f"a process of before goes on: {who}"
