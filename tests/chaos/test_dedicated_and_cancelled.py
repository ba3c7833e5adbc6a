"""Executions with an actor of their own; cancelling what is queued, what waits, and what never ends by itself."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from uuid import UUID

import pytest

from tests.chaos.work import assert_each_completed_once, chain, node, sleeping
from tests.instance import Known, RunningInstance, busiest, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

ENDLESS = {"python": "while True:\n    pass", "javascript": "for (;;) {}"}
CANCEL_LIMIT_S = 2


def dedicated(seconds: float) -> dict:
    return chain("dedicated", sleeping("a", 0.1), sleeping("b", seconds), isolation="dedicated")


def endless(language: str, **resources: float) -> dict:
    code = node("loop", "action.code", resources, code=ENDLESS[language], language=language, timeout_ms=100_000)
    return chain("endless", code)


def its_lease(instance: RunningInstance, execution_id: UUID):
    return until(
        lambda: [lease for lease in instance.dedicated_leases() if lease.dedicated_to == execution_id],
        15,
        "it has an actor",
    )[0]


def test_a_dedicated_execution_has_an_actor_of_its_own(instance):
    identity = instance.api.start(dedicated(1), {"n": 1})
    lease = its_lease(instance, identity)
    process = lease.process
    assert lease.actor_name == f"execution:{identity}"
    assert process.what == lease.actor_name

    assert_each_completed_once(instance, {identity: 1}, 30, ("start", "a", "b"))
    shown = instance.api.execution(identity)
    assert shown["isolation"] == "dedicated"
    assert (shown["actor"]["name"], shown["actor"]["pid"], shown["actor"]["shared"]) == (process.what, lease.pid, False)
    pids = instance.rows(
        "SELECT DISTINCT pid FROM node_executions WHERE execution_id = %s AND pid IS NOT NULL", identity
    )
    assert pids == [(lease.pid,)]
    until(lambda: not process.alive, 10, "its actor goes away with it")
    until(lambda: lease.id not in {living.id for living in instance.dedicated_leases()}, 5, "the lease, too")


def test_a_dedicated_execution_survives_the_death_of_its_actor(instance, record_property):
    identity = instance.api.start(dedicated(1.5), {"n": 1})
    first = its_lease(instance, identity)
    until(
        lambda: instance.rows(
            "SELECT 1 FROM node_executions WHERE execution_id = %s AND node_id = 'a' AND status = 'completed'", identity
        ),
        15,
        "node a has its result",
    )
    killed_s = monotonic()
    first.process.kill()
    second = until(
        lambda: [
            lease for lease in instance.dedicated_leases() if lease.dedicated_to == identity and lease.id != first.id
        ],
        20,
        "it has another actor",
    )[0]
    record_property("recovery_s", round(monotonic() - killed_s, 2))
    print(f"a dedicated execution has another actor after {monotonic() - killed_s:.2f} s")
    process = second.process
    assert_each_completed_once(instance, {identity: 1}, 30, ("start", "a", "b"))
    pids = dict(instance.rows("SELECT node_id, pid FROM node_executions WHERE execution_id = %s", identity))
    assert (pids["a"], pids["b"]) == (first.pid, second.pid), "what was committed was not done again"
    ended = instance.rows("SELECT end_reason FROM leases WHERE id = %s", first.id)
    assert ended == [("crashed",)], "the supervisor saw it die and did not wait for its lease to run out"
    until(lambda: not process.alive, 10, "its actor goes away with it")


def cancel(instance: RunningInstance, identity: UUID) -> float:
    """Cancel an execution and return after how many seconds it was."""
    asked_s = monotonic()
    answer = instance.api.cancel(identity)
    assert answer.status_code == 202, answer.text
    statuses = instance.until_terminal([identity], 15)
    took_s = monotonic() - asked_s
    assert statuses == {identity: "cancelled"}
    assert instance.api.cancel(identity).status_code == 409
    return took_s


def new_ones(instance: RunningInstance, before: set[Known]) -> list[Known]:
    """Return the processes that have come since, and all that run users' code."""
    return [
        k for k in instance.look() if k not in before or "monty" in k.what or "quickjs" in k.what or "ray::" in k.what
    ]


@pytest.mark.parametrize("where", ["actor", "task"])
@pytest.mark.parametrize("language", ["python", "javascript"])
def test_code_that_never_ends_is_cancelled(instance, language, where):
    before = set(instance.look())
    resources = {"cpu": 1} if where == "task" else {}
    identity = instance.api.start(endless(language, **resources), {"n": 1})
    suspects = until(
        lambda: [
            k for k in new_ones(instance, before) if ("monty" in k.what or "quickjs" in k.what) and k.busy() > 0.3
        ],
        20,
        "the code burns CPU",
    )
    if where == "task":
        (found,) = instance.rows(
            "SELECT count(*) FROM stream_events WHERE execution_id = %s AND kind = 'node.started'", identity
        )
        assert found == (1,)
    took_s = cancel(instance, identity)
    print(f"endless {language} in the {where}: cancelled after {took_s:.2f} s")

    until(
        lambda: busiest([*suspects, *new_ones(instance, before)])[0] < 0.5,
        5,
        f"something goes on burning CPU: {busiest([*suspects, *new_ones(instance, before)])}",
    )
    rows = instance.rows("SELECT node_id, status FROM node_executions WHERE execution_id = %s", identity)
    assert dict(rows) == {"start": "completed", "loop": "cancelled"}
    assert took_s <= CANCEL_LIMIT_S


def test_what_is_queued_behind_a_full_pool_is_cancelled(instance):
    workflow = instance.api.create_workflow(chain("long", sleeping("a", 20)))
    # Replicas know each other's pushes a second late, so that a burst fills actors beyond their slots.
    count = 4 * 32 * len(instance.leases()) + 20
    with ThreadPoolExecutor(16) as threads:
        long_ones = list(threads.map(lambda n: instance.api.start(workflow, {"n": n}), range(count)))

    def queued() -> list[UUID]:
        return sorted(identity for identity, status in instance.states(long_ones).items() if status == "queued")

    took_s = 0.0
    try:
        assert queued(), "the pool took everything"
        print(f"{len(queued())} of {count} executions are queued")
        took_s = cancel(instance, queued()[-1])
        print(f"a queued execution: cancelled after {took_s:.2f} s")
    finally:
        asked_s = monotonic()
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(instance.api.cancel, long_ones))
        statuses = instance.until_terminal(long_ones, 40)
        all_s = monotonic() - asked_s
    assert set(statuses.values()) == {"cancelled"}
    print(f"{len(long_ones)} executions: all cancelled after {all_s:.2f} s")
    assert took_s <= CANCEL_LIMIT_S
