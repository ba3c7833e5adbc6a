"""Processes are killed while executions wait for times, for children and for people: each goes on, and nobody waits for ever."""

from itertools import cycle
from time import monotonic
from uuid import UUID

import pytest

from tests.chaos.work import chain, node
from tests.instance import RunningInstance, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

EXECUTIONS = 40
FAULTS_S = 16.0
GIVEN = [{"n": 1}, {"n": 2}]


def waiting(node_id: str, seconds: float) -> dict:
    return node(node_id, "logic.wait", duration={"amount": seconds, "unit": "seconds"})


def asking(node_id: str, **config: object) -> dict:
    return node(node_id, "hitl.request", title="May I?", **config)


def parent(child: str) -> dict:
    """Wait, have a child for each item, wait again where the actor holds on, ask and decide by itself."""
    connected = chain(
        "waiting",
        waiting("long", 3),
        node("call", "action.execute_workflow", workflow_id=child, mode="each_item"),
        waiting("short", 0.5),
        asking("ask", timeout={"amount": 3, "unit": "seconds"}, auto_action="approve"),
        node("end", "logic.noop"),
    )
    return behind_approval(connected)


def behind_approval(drawn: dict) -> dict:
    """Let the last connection be taken when it is approved."""
    drawn["connections"][-1]["sourceHandle"] = "approved"
    return drawn


def kill_somebody(instance: RunningInstance, kind: str) -> bool:
    found = [one for one in instance.titled(kind) if one.alive]
    if found:
        found[0].kill()
    return bool(found)


def until_it_goes_on(instance: RunningInstance) -> None:
    count = "SELECT count(*) FROM stream_events"
    before = instance.rows(count)[0][0]
    until(lambda: instance.rows(count)[0][0] > before, 40, "events come again")


def test_what_waits_goes_on_whoever_is_killed(instance: RunningInstance) -> None:
    child = instance.api.create_workflow(
        chain("child", waiting("w", 2.5), node("double", "data.set", values={"n": "{{ $json.n * 2 }}"}))
    )
    ids = [instance.api.start(parent(child), GIVEN) for _ in range(EXECUTIONS)]
    kinds = cycle(
        ["ray::ExecutionActor", "ray::ExecutionActor", "database", "ray::ExecutionActor", "ray::SupervisorActor"]
    )
    began_s, kills = monotonic(), 0
    while monotonic() - began_s < FAULTS_S:
        kind = next(kinds)
        if kind == "database":
            instance.part("database").kill()
            kills += 1
        else:
            kills += kill_somebody(instance, kind)
        until_it_goes_on(instance)

    instance.until_terminal(ids, 90)

    instance.until_healthy()
    assert kills >= 4
    for identity in ids:
        ended = instance.api.execution(identity)
        assert ended["status"] == "completed", ended
        assert [item["n"] for item in ended["output"]["end"]] == [2, 4]
    children = instance.rows(
        "SELECT parent_execution_id, count(*), count(*) FILTER (WHERE status = 'completed') FROM executions "
        "WHERE parent_execution_id = ANY(%s) GROUP BY 1",
        ids,
    )
    assert sorted(children) == sorted((identity, len(GIVEN), len(GIVEN)) for identity in ids), "each child once"
    assert instance.rows("SELECT count(*) FROM hitl_requests WHERE execution_id = ANY(%s)", ids) == [(EXECUTIONS,)]


def test_pausing_and_answers_survive_everything(instance: RunningInstance) -> None:
    identity = instance.api.start(behind_approval(chain("asked", asking("ask"), node("end", "logic.noop"))), {"n": 1})
    state(instance, identity, "waiting")
    assert instance.api.control(identity, "pause").status_code == 202
    state(instance, identity, "paused")
    [(request,)] = instance.rows("SELECT id FROM hitl_requests WHERE execution_id = %s", identity)
    assert instance.api.respond(request, "approve").status_code == 200
    instance.part("database").kill()
    kill_somebody(instance, "ray::SupervisorActor")
    until(
        lambda: instance.api.control(identity, "pause").status_code == 409,
        60,
        "the API answers, and it is still paused",
    )
    until(lambda: instance.api.control(identity, "resume").status_code == 202, 30, "it is resumed")

    instance.until_terminal([identity], 60)
    instance.until_healthy()
    ended = instance.api.execution(identity)
    assert (ended["status"], ended["output"]["end"][0]["hitl"]["action"]) == ("completed", "approve")


def state(instance: RunningInstance, identity: UUID, status: str) -> None:
    until(lambda: instance.api.execution(identity)["status"] == status, 30, f"it is {status}")
