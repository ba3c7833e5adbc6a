"""Pausing, resuming, waiting, and executions that start others: over HTTP, on PostgreSQL."""

import asyncio
from typing import Any
from uuid import UUID

from tests.conftest import run_sql
from tests.integration.api.conftest import Api
from tests.integration.api.test_semantics import node

SOON_S = 15


async def begin(api: Api, nodes: list[dict], hops: list[tuple[str, ...]], given: Any = None, **settings: Any) -> str:
    answer = await api.run(*nodes, connections=tuple(hops), wait=0, given=given, **settings)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def until(api: Api, execution_id: str, *statuses: str) -> dict:
    async with asyncio.timeout(SOON_S):
        while True:
            found = (await api.call("GET", f"executions/{execution_id}")).json()
            if found["status"] in statuses:
                return found
            assert found["status"] not in {"completed", "failed", "cancelled", "timeout"}, found
            await asyncio.sleep(0.01)


async def node_rows(api: Api, execution_id: str) -> dict[str, dict]:
    items = (await api.call("GET", f"executions/{execution_id}/nodes")).json()["items"]
    return {row["node_id"]: row for row in items}


async def post(api: Api, execution_id: str, what: str, expected: int = 202, by: str = "owner") -> dict:
    answer = await api.call("POST", f"executions/{execution_id}/{what}", by=by)
    assert answer.status_code == expected, answer.text
    return answer.json()


def wait_for(name: str, seconds: float) -> dict:
    return node(name, "logic.wait", duration={"amount": seconds, "unit": "seconds"})


async def test_a_long_wait_leaves_the_actor_and_goes_on_when_it_is_due(api: Api, dsn: str):
    execution_id = await begin(
        api, [wait_for("w", 3600), node("end", "data.set", values={"n": "{{ $json.n + 1 }}"})], [("w", "end")], {"n": 1}
    )
    resting = await until(api, execution_id, "waiting")

    assert resting["actor"] is None
    assert resting["wake_at"] is not None
    assert (await node_rows(api, execution_id))["w"]["status"] == "waiting"
    run_sql(dsn, "UPDATE executions SET wake_at = now() WHERE id = %s", UUID(execution_id))
    # It is claimed, finds that its time has not come, and rests again: only the time in its events counts.
    again = await until(api, execution_id, "waiting")
    async with asyncio.timeout(SOON_S):
        while again["wake_at"] is None or again["epoch"] == resting["epoch"]:
            again = await until(api, execution_id, "waiting", "running")
    assert again["wake_at"] == resting["wake_at"]


async def test_a_wait_goes_on_by_itself(api: Api):
    ended = await api.run(
        wait_for("short", 0.2), wait_for("long", 2.6), connections=(("short", "long"),), given={"n": 1}
    )

    assert ended.status_code == 200
    body = ended.json()
    assert (body["status"], body["output"]) == ("completed", {"long": [{"n": 1}]})
    assert body["epoch"] == 2  # the longer wait was not held by the actor
    assert body["timings"]["duration_ms"] >= 2_800


async def test_a_time_limit_goes_on_while_an_execution_waits(api: Api):
    execution_id = await begin(api, [wait_for("w", 3600)], [], timeout_ms=2_500)

    assert (await until(api, execution_id, "waiting"))["wake_at"] is not None
    ended = await until(api, execution_id, "timeout")
    assert ended["error"]["code"] == "execution_timeout"
    assert (await node_rows(api, execution_id))["w"]["status"] == "cancelled"


async def test_pause_lets_what_is_under_way_end_and_resume_goes_on(api: Api):
    nodes = [
        node("slow", "action.code", language="python", code="import time\nreturn items"),
        wait_for("w", 0.5),
        node("end"),
    ]
    execution_id = await begin(api, nodes, [("slow", "w"), ("w", "end")], {"n": 1})
    await post(api, execution_id, "pause")
    paused = await until(api, execution_id, "paused")

    assert paused["actor"] is None
    problem = await post(api, execution_id, "pause", 409)
    assert (problem["code"], problem["state"]) == ("conflict", "paused")
    await post(api, execution_id, "resume")
    ended = await until(api, execution_id, "completed")
    assert ended["output"] == {"end": [{"n": 1}]}
    problem = await post(api, execution_id, "resume", 409)
    assert problem["state"] == "completed"


async def test_what_is_neither_paused_nor_about_to_be_cannot_be_resumed(api: Api):
    execution_id = await begin(api, [wait_for("w", 3600)], [])
    await until(api, execution_id, "waiting")

    problem = await post(api, execution_id, "resume", 409)
    assert problem["state"] == "waiting"
    await post(api, execution_id, "pause")
    await until(api, execution_id, "paused")
    await post(api, execution_id, "cancel")
    await until(api, execution_id, "cancelled")


async def test_the_last_wish_counts(api: Api):
    execution_id = await begin(api, [wait_for("w", 3600)], [])
    await until(api, execution_id, "waiting")
    for wish in ("pause", "resume", "pause"):
        await post(api, execution_id, wish)

    await until(api, execution_id, "paused")


async def test_control_needs_a_member_of_the_workspace(api: Api):
    execution_id = await begin(api, [wait_for("w", 3600)], [])
    for what in ("pause", "resume", "cancel"):
        await post(api, execution_id, what, 403, by="viewer")
        await post(api, execution_id, what, 404, by="stranger")
        assert (await api.call("POST", f"executions/{execution_id}/{what}", by="")).status_code == 401
    assert (await until(api, execution_id, "waiting", "running"))["status"] in {"waiting", "running"}


async def saved(api: Api, name: str, nodes: list[dict], hops: tuple[tuple[str, ...], ...] = (), **settings: Any) -> str:
    connections = [dict(zip(("source", "target", "sourceHandle"), hop, strict=False)) for hop in hops]
    definition = {"name": name, "nodes": nodes, "connections": connections, "settings": settings}
    answer = await api.call("POST", "workflows", json={"definition": definition})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def calling(workflow_id: str, name: str = "call", **config: Any) -> dict:
    return node(name, "action.execute_workflow", workflow_id=workflow_id, **config)


async def test_a_child_gets_the_items_and_gives_its_output(api: Api, dsn: str):
    child = await saved(api, "child", [node("double", "data.set", values={"n": "{{ $json.n * 2 }}"})])
    ended = await api.run(calling(child), node("end"), connections=(("call", "end"),), given=[{"n": 1}, {"n": 2}])

    assert ended.json()["output"] == {"end": [{"n": 2}, {"n": 4}]}, ended.text
    [(parent, depth, trigger)] = run_sql(
        dsn, "SELECT parent_execution_id, depth, trigger_type FROM executions WHERE workflow_id = %s", UUID(child)
    )
    assert (str(parent), depth, trigger) == (ended.json()["id"], 1, "sub_workflow")


async def test_every_item_gets_a_child_of_its_own(api: Api):
    child = await saved(api, "child", [node("double", "data.set", values={"n": "{{ $json.of * 2 }}"})])
    ended = await api.run(
        calling(child, mode="each_item", input={"of": "{{ $json.n }}"}), given=[{"n": n} for n in range(5)]
    )

    assert ended.json()["output"] == {"call": [{"of": n, "n": 2 * n} for n in range(5)]}, ended.text


async def test_nobody_waits_for_a_child_that_is_only_started(api: Api):
    child = await saved(api, "child", [wait_for("w", 3600)])
    ended = await api.run(calling(child, wait=False))

    [started] = ended.json()["output"]["call"]
    found = await until(api, started["execution_id"], "waiting")
    assert (found["parent_execution_id"], found["depth"]) == (ended.json()["id"], 1)


async def test_a_child_that_fails_fails_the_node(api: Api):
    child = await saved(api, "child", [node("stop", "logic.stop_error", message="no")])
    ended = (await api.run(calling(child))).json()

    assert (ended["status"], ended["error"]["code"], ended["error"]["node_id"]) == ("failed", "child_failed", "call")


def unseen(workflow_id: str) -> str:
    """Return an id as an expression, so that nobody can judge it before it is executed."""
    return f"{{{{ '{workflow_id}' }}}}"


async def test_a_workflow_cannot_execute_itself_nor_go_too_deep(api: Api):
    lowest = await saved(api, "lowest", [node("end")])
    below = lowest
    for name in ("third", "second", "first"):
        below = await saved(api, name, [calling(below)])
    answer = await api.call("POST", f"workflows/{below}/execute?wait=20", json={})
    assert answer.json()["status"] == "completed", answer.text
    above = await saved(api, "above", [calling(unseen(below))])
    answer = await api.call("POST", f"workflows/{above}/execute?wait=20", json={})
    assert answer.json()["status"] == "failed", answer.text

    document = {"name": "lowest", "nodes": [calling(unseen(below))], "connections": []}
    assert (await api.call("PUT", f"workflows/{lowest}", json={"definition": document})).status_code == 200
    answer = await api.call("POST", f"workflows/{below}/execute?wait=20", json={})
    assert answer.json()["status"] == "failed", answer.text


async def test_cancelling_reaches_children(api: Api, dsn: str):
    child = await saved(api, "child", [wait_for("w", 3600)])
    execution_id = await begin(api, [calling(child, mode="each_item")], [], [{"n": 1}, {"n": 2}])
    await until(api, execution_id, "waiting")
    await post(api, execution_id, "cancel")
    await until(api, execution_id, "cancelled")

    async with asyncio.timeout(SOON_S):
        while {s for (s,) in run_sql(dsn, "SELECT status FROM executions WHERE depth = 1")} != {"cancelled"}:
            await asyncio.sleep(0.02)


async def test_a_child_has_no_more_time_than_its_parent(api: Api, dsn: str):
    child = await saved(api, "child", [wait_for("w", 3600)])
    execution_id = await begin(api, [calling(child)], [], timeout_ms=1_500)
    await until(api, execution_id, "timeout")

    async with asyncio.timeout(SOON_S):
        while not {s for (s,) in run_sql(dsn, "SELECT status FROM executions WHERE depth = 1")} <= {
            "timeout",
            "cancelled",
        }:
            await asyncio.sleep(0.02)


async def test_a_request_that_nobody_answers_times_out_or_decides_itself(api: Api, dsn: str):
    span = {"amount": 1, "unit": "seconds"}
    asking = [
        node("a", "hitl.request", title="May I?", timeout=span),
        node("b", "hitl.request", title="May I?", timeout=span, auto_action="approve"),
        node("w", "logic.wait", mode="webhook", timeout=span),
    ]
    ends = [node("late"), node("yes"), node("gone")]
    hops = (("a", "late", "timeout"), ("b", "yes", "approved"), ("w", "gone", "timeout"))
    ended = (await api.run(*asking, *ends, connections=hops, given={"n": 1})).json()

    assert ended["status"] == "completed", ended
    assert ended["output"]["gone"] == [{"n": 1}]
    assert ended["output"]["late"][0]["hitl"]["status"] == "timeout"
    assert ended["output"]["yes"][0]["hitl"]["action"] == "approve"
    assert {s for (s,) in run_sql(dsn, "SELECT status FROM hitl_requests")} == {"timeout"}


async def test_what_is_asked_is_withdrawn_when_the_execution_is_cancelled(api: Api, dsn: str):
    execution_id = await begin(api, [node("a", "hitl.request", title="May I?")], [])
    await until(api, execution_id, "waiting")
    await post(api, execution_id, "cancel")
    await until(api, execution_id, "cancelled")

    assert run_sql(dsn, "SELECT status FROM hitl_requests") == [("cancelled",)]


async def ended_of(dsn: str, trigger: str) -> list[tuple]:
    async with asyncio.timeout(SOON_S):
        while True:
            found = run_sql(
                dsn, "SELECT status, output_data, parent_execution_id FROM executions WHERE trigger_type = %s", trigger
            )
            if found and all(row[0] not in {"queued", "running"} for row in found):
                return found
            await asyncio.sleep(0.02)


async def test_a_failure_begins_the_error_workflow_once(api: Api, dsn: str):
    handler = await saved(api, "handler", [node("seen")])
    failing = [node("stop", "logic.stop_error", message="no")]
    ended = (await api.run(*failing, error_workflow=handler)).json()
    [(status, output, parent)] = await ended_of(dsn, "error")

    assert (ended["status"], status, str(parent)) == ("failed", "completed", ended["id"])
    [given] = output["seen"]
    assert given["execution"]["error"] == {"code": "stopped", "message": "no", "node_id": "stop"}
    assert given["workflow"]["name"] == "test"


async def test_an_error_workflow_that_fails_begins_no_other(api: Api, dsn: str):
    last = await saved(api, "last", [node("end")])
    handler = await saved(api, "handler", [node("stop", "logic.stop_error", message="no")], error_workflow=last)
    await api.run(node("stop", "logic.stop_error", message="no"), error_workflow=handler)
    [(status, _, _)] = await ended_of(dsn, "error")

    assert status == "failed"
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(2,)]


async def test_only_the_ends_that_are_named_begin_it(api: Api, dsn: str):
    handler = await saved(api, "handler", [node("end")])
    ended = await api.run(
        node("stop", "logic.stop_error", message="no"), error_workflow=handler, error_trigger="on_timeout"
    )
    assert ended.json()["status"] == "failed"
    ended = await api.run(wait_for("w", 3600), error_workflow=handler, error_trigger="on_timeout", timeout_ms=300)
    assert ended.json()["status"] == "timeout"
    [(status, _, _)] = await ended_of(dsn, "error")
    assert status == "completed"
