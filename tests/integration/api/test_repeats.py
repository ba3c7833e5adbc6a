"""Retrying and replaying over HTTP, on PostgreSQL: what is kept is not done again."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from serve_app import repeating
from tests.conftest import run_sql
from tests.integration.api.conftest import Api, rows_in
from tests.integration.api.test_control import begin, node_rows, saved, until, wait_for
from tests.integration.api.test_semantics import node

FAST = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 1, "max_ms": 1}


class Outside:
    """The world outside: counts what was done to it, and refuses some of it."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.done: Counter[str] = Counter()
        self.refused: set[str] = set()
        server.expect_request("/", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        name = request.args["name"]
        self.done[name] += 1
        return Response(
            f'{{"by": "{name}", "time": {self.done[name]}}}',
            500 if name in self.refused else 200,
            content_type="application/json",
        )

    def effect(self, name: str, fields: dict[str, Any] | None = None, **query: str) -> dict:
        """A node that does something outside, once for each item."""
        url = self.server.url_for("/")
        return node(name, "action.http", fields, method="POST", url=url, query={"name": name, **query})


@pytest.fixture
def outside(httpserver: HTTPServer) -> Iterator[Outside]:
    return Outside(httpserver)


async def repeat(api: Api, execution_id: str, what: str, expected: int = 200, by: str = "owner", **body: Any) -> dict:
    path = f"executions/{execution_id}/{what}?wait=20"
    answer = await api.call("POST", path, by=by, json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


async def failed(api: Api, outside: Outside) -> dict:
    """An execution whose last node but one failed."""
    outside.refused = {"b"}
    nodes = [
        node("start", "trigger.manual"),
        outside.effect("a"),
        outside.effect("b"),
        outside.effect("c"),
        node("end"),
    ]
    hops = (("start", "a"), ("start", "c"), ("a", "b"), ("b", "end"), ("c", "end"))
    ended = (await api.run(*nodes, connections=hops, given={"n": 1})).json()
    assert ended["status"] == "failed", ended
    outside.refused = set()
    return ended


async def test_a_retry_keeps_what_was_done_and_goes_on_where_it_failed(api: Api, outside: Outside, dsn: str):
    former = await failed(api, outside)
    done = dict(outside.done)
    ended = await repeat(api, former["id"], "retry")

    assert ended["status"] == "completed", ended
    assert ended["output"]["end"] == [{"by": "b", "time": 2}, {"by": "c", "time": 1}]
    assert outside.done == {**done, "b": done["b"] + 1}
    assert (ended["trigger_type"], ended["parent_execution_id"], ended["retry_count"]) == ("retry", former["id"], 1)
    assert (ended["nodes_completed"], ended["nodes_total"], ended["depth"]) == (5, 5, 0)
    assert ended["timings"]["started_at"] is not None
    rows, before = await node_rows(api, ended["id"]), await node_rows(api, former["id"])
    assert rows["a"] == before["a"]
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(
        ("start", "a", "b", "c", "end"), "completed"
    )
    assert rows["b"]["attempt"] == 1
    assert (await api.call("GET", f"executions/{former['id']}")).json()["status"] == "failed"
    kinds = [
        kind
        for (kind,) in run_sql(
            dsn, "SELECT kind FROM stream_events WHERE execution_id = %s ORDER BY seq", UUID(ended["id"])
        )
    ]
    assert kinds[:5] == ["execution.started", "node.completed", "node.completed", "node.completed", "execution.resumed"]
    assert kinds[-1] == "execution.completed"


async def test_what_failed_once_more_is_retried_once_more(api: Api, outside: Outside):
    former = await failed(api, outside)
    outside.refused = {"b"}
    again = await repeat(api, former["id"], "retry")
    assert (again["status"], again["retry_count"], again["error"]["node_id"]) == ("failed", 1, "b")
    outside.refused = set()
    ended = await repeat(api, again["id"], "retry")

    assert (ended["status"], ended["retry_count"], ended["parent_execution_id"]) == ("completed", 2, again["id"])
    assert outside.done == {"a": 1, "b": 3, "c": 1}


async def test_a_cancelled_wait_is_retried_with_what_came_before_it(api: Api, outside: Outside):
    nodes = [outside.effect("a"), wait_for("w", 3600), node("end")]
    execution_id = await begin(api, nodes, [("a", "w"), ("w", "end")], {"n": 1})
    await until(api, execution_id, "waiting")
    problem = await repeat(api, execution_id, "retry", 409)
    assert (problem["code"], problem["state"]) == ("execution_not_terminal", "waiting")
    await api.call("POST", f"executions/{execution_id}/cancel")
    await until(api, execution_id, "cancelled")
    answer = await api.call("POST", f"executions/{execution_id}/retry")
    assert answer.status_code == 202
    again = await until(api, answer.json()["id"], "waiting")

    assert outside.done == {"a": 1}
    assert (await node_rows(api, again["id"]))["w"]["status"] == "waiting"
    await api.call("POST", f"executions/{again['id']}/cancel")
    await until(api, again["id"], "cancelled")


async def test_only_what_has_ended_and_not_completed_is_retried(api: Api):
    ended = (await api.run(node("a"))).json()
    problem = await repeat(api, ended["id"], "retry", 409)

    assert (problem["code"], problem["state"]) == ("execution_completed", "completed")
    assert (await api.call("POST", f"executions/{uuid4()}/retry")).status_code == 404
    assert (await api.call("POST", f"executions/{ended['id']}/retry", json={"x": 1})).status_code == 422


async def test_rounds_of_a_loop_that_are_done_are_not_done_again(api: Api, outside: Outside):
    nodes = [
        node("start", "trigger.manual"),
        node("loop", "logic.loop"),
        node(
            "check",
            "action.code",
            language="python",
            mode="all_items",
            code="if items[0]['n'] == 2 and items[0]['bad']: raise ValueError('no')\nreturn items",
        ),
        outside.effect("work", n="{{ $json.n }}"),
        node("end"),
    ]
    hops = (("start", "loop"), ("loop", "check", "loop"), ("check", "work"), ("work", "loop"), ("loop", "end", "done"))
    workflow = await saved(api, "loops", nodes, hops)
    given = [{"n": n, "bad": True} for n in range(4)]
    answer = await api.call("POST", f"workflows/{workflow}/execute?wait=20", json={"input": given})
    former = answer.json()
    assert (former["status"], former["error"]["node_id"]) == ("failed", "check")
    mended = [
        {**one, "config": {"language": "python", "mode": "all_items", "code": "return items"}}
        if one["id"] == "check"
        else one
        for one in nodes
    ]
    definition = {
        "name": "loops",
        "nodes": mended,
        "connections": [dict(zip(("source", "target", "sourceHandle"), hop, strict=False)) for hop in hops],
    }
    assert (await api.call("PUT", f"workflows/{workflow}", json={"definition": definition})).status_code == 200
    again = await repeat(api, former["id"], "retry")

    assert (again["status"], again["error"]["node_id"], again["workflow_version"]) == ("failed", "check", 1)
    assert outside.done == {"work": 2}
    ended = await repeat(api, former["id"], "replay", from_node="check", version=2)
    assert (ended["status"], ended["workflow_version"], ended["trigger_type"]) == ("completed", 2, "partial_replay")
    assert outside.done == {"work": 6}, "the loop runs again as a whole"
    assert len(ended["output"]["end"]) == 4


async def test_a_replay_runs_all_again_with_the_same_input_or_another(api: Api, outside: Outside):
    former = (
        await api.run(outside.effect("a", n="{{ $json.n }}"), node("end"), connections=(("a", "end"),), given={"n": 1})
    ).json()
    same = await repeat(api, former["id"], "replay")
    other = await repeat(api, former["id"], "replay", input=[{"n": 2}, {"n": 3}])

    assert (same["status"], same["trigger_type"], same["retry_count"]) == ("completed", "replay", 0)
    assert len(other["output"]["end"]) == 2
    assert outside.done == {"a": 4}
    listed = (await api.call("GET", "executions?trigger_type=replay")).json()["items"]
    assert [one["id"] for one in listed] == [other["id"], same["id"]]
    counted = (await api.call("GET", "executions/stats?window=1h")).json()
    assert counted["total"] == 3


async def test_a_replay_from_a_node_runs_it_and_what_follows_it(api: Api, outside: Outside):
    nodes = [
        node("start", "trigger.manual"),
        outside.effect("a"),
        outside.effect("b"),
        outside.effect("c"),
        node("end"),
    ]
    hops = (("start", "a"), ("start", "c"), ("a", "b"), ("b", "end"), ("c", "end"))
    former = (await api.run(*nodes, connections=hops, given={"n": 1})).json()
    ended = await repeat(api, former["id"], "replay", from_node="b")

    assert outside.done == {"a": 1, "b": 2, "c": 1}
    assert ended["output"]["end"] == [{"by": "b", "time": 2}, {"by": "c", "time": 1}]
    problem = await repeat(api, former["id"], "replay", 422, from_node="b", input={"n": 2})
    assert (problem["code"], problem["node_ids"]) == ("input_not_used", ["start"])
    problem = await repeat(api, former["id"], "replay", 422, from_node="nobody")
    assert problem["code"] == "no_such_node"
    ended = await repeat(api, former["id"], "replay", from_node="start", input={"n": 2})
    assert outside.done == {"a": 2, "b": 3, "c": 2}


async def test_expressions_find_the_data_and_the_items_of_kept_nodes(api: Api):
    nodes = [
        node("start", "trigger.manual"),
        node("mid", "data.set", values={"m": "{{ $json.n * 10 }}"}),
        node(
            "end",
            "data.set",
            values={"of": "{{ $('start').item.json.n }}", "all": "{{ $('mid').all().length }}"},
            include="none",
        ),
    ]
    former = (await api.run(*nodes, connections=(("start", "mid"), ("mid", "end")), given=[{"n": 1}, {"n": 2}])).json()
    ended = await repeat(api, former["id"], "replay", from_node="end")

    assert ended["output"] == former["output"] == {"end": [{"of": 1, "all": 2}, {"of": 2, "all": 2}]}


async def test_another_definition_keeps_what_is_the_same_in_both(api: Api, outside: Outside):
    start, a, b = node("start", "trigger.manual"), outside.effect("a"), outside.effect("b")
    hops = (("start", "a"), ("a", "b"))
    former = (await api.run(start, a, b, connections=hops, given={"n": 1})).json()
    connections = [{"source": s, "target": t} for s, t in hops]
    changed = {
        "name": "test",
        "nodes": [start, a, {**b, "type": "logic.noop", "config": {}}],
        "connections": connections,
    }
    ended = await repeat(api, former["id"], "replay", from_node="b", definition=changed)

    assert ended["output"] == {"b": [{"by": "a", "time": 1}]}
    assert outside.done == {"a": 1, "b": 1}
    changed["nodes"][1] = {**a, "config": {**a["config"], "query": {"name": "a", "x": "1"}}}
    ended = await repeat(api, former["id"], "replay", from_node="b", definition=changed)
    assert outside.done == {"a": 2, "b": 1}, "what has changed runs again"
    changed["nodes"][1] = {**a, "type": "no.such"}
    problem = await repeat(api, former["id"], "replay", 422, definition=changed)
    assert problem["code"] == "invalid_definition"
    assert (await repeat(api, former["id"], "replay", 422, version=1))["code"] == "version_not_applicable"


async def test_a_replay_takes_only_what_makes_sense(api: Api):
    workflow = await saved(api, "w", [node("start", "trigger.manual"), node("end")], (("start", "end"),))
    ended = (await api.call("POST", f"workflows/{workflow}/execute?wait=20", json={})).json()
    for body, code in (
        ({"definition": {"name": "x", "nodes": []}}, "definition_not_applicable"),
        ({"version": 0}, "version_invalid"),
        ({"version": True}, "version_invalid"),
        ({"from_node": 1}, "from_node_invalid"),
        ({"input": 1}, "input_invalid"),
        ({"other": 1}, "unknown_field"),
    ):
        assert (await repeat(api, ended["id"], "replay", 422, **body))["code"] == code
    assert (await repeat(api, ended["id"], "replay", 404, version=9))["code"] == "not_found"
    schema = {"type": "object", "required": ["n"]}
    definition = {
        "name": "w",
        "nodes": [node("start", "trigger.manual"), node("end")],
        "connections": [{"source": "start", "target": "end"}],
        "input_schema": schema,
    }
    await api.call("PUT", f"workflows/{workflow}", json={"definition": definition})
    assert (await repeat(api, ended["id"], "replay", 422, version=2))["code"] == "input_schema_violated"
    assert (await repeat(api, ended["id"], "replay", version=2, input={"n": 1}))["output"] == {"end": [{"n": 1}]}
    await api.call("DELETE", f"workflows/{workflow}")
    problem = await repeat(api, ended["id"], "replay", 409)
    assert (problem["code"], problem["state"]) == ("workflow_state_conflict", "archived")


async def test_the_same_key_makes_one_execution(api: Api, outside: Outside):
    former = await failed(api, outside)
    path, key = f"executions/{former['id']}/retry?wait=20", {"Idempotency-Key": "k"}
    first = await api.call("POST", path, headers=key)
    second = await api.call("POST", path, headers=key)
    other = await api.call("POST", f"executions/{former['id']}/replay", headers=key, json={})

    assert first.json()["id"] == second.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert outside.done["b"] == 2


async def test_large_results_are_kept_by_name_and_outlive_the_former_execution(api: Api, dsn: str):
    given = [{"n": n, "pad": f"{n:05}" * 20} for n in range(700)]
    nodes = [
        node("start", "trigger.manual"),
        node("mid", "data.set", values={"m": 1}),
        node("end", "data.limit", count=1),
    ]
    former = (await api.run(*nodes, connections=(("start", "mid"), ("mid", "end")), given=given)).json()
    ended = await repeat(api, former["id"], "replay", from_node="end")

    assert ended["output"] == {"end": [{**given[0], "m": 1}]}
    names = "SELECT sha256 FROM blob_references WHERE execution_id = %s"
    assert set(run_sql(dsn, names, UUID(ended["id"]))) == set(run_sql(dsn, names, UUID(former["id"])))
    assert rows_in(dsn, "blob_references") == 6
    assert (await api.call("DELETE", f"executions/{former['id']}")).status_code == 204
    page = (await api.call("GET", f"executions/{ended['id']}/nodes/mid/items?limit=2")).json()
    assert page["handles"] == {"main": 700}
    again = await repeat(api, ended["id"], "replay", from_node="mid")
    assert again["status"] == "completed"
    other = await repeat(api, ended["id"], "replay", input=given[:600])
    assert other["output"] == {"end": [{**given[0], "m": 1}]}


async def test_an_execution_of_which_all_is_kept_completes_at_once(api: Api, outside: Outside, dsn: str):
    nodes = [outside.effect("a"), wait_for("w", 3600)]
    execution_id = await begin(api, nodes, [], {"n": 1}, timeout_ms=3_000)
    await until(api, execution_id, "timeout")
    definition = {"name": "test", "nodes": nodes[:1]}
    body = {"definition": {**definition, "nodes": [*nodes[:1], node("free")], "connections": []}}
    ended = await repeat(api, execution_id, "replay", from_node="free", **body)

    assert (ended["status"], outside.done) == ("completed", {"a": 1})


async def test_other_workspaces_and_viewers_repeat_nothing(api: Api, outside: Outside):
    former = await failed(api, outside)
    for what in ("retry", "replay"):
        await repeat(api, former["id"], what, 404, by="stranger")
        await repeat(api, former["id"], what, 403, by="viewer")
        path = f"/api/v1/workspaces/{api.elsewhere}/executions/{former['id']}/{what}"
        assert (await api.call("POST", path, by="stranger", json={})).status_code == 404
    assert (await repeat(api, former["id"], "retry", by="member"))["status"] == "completed"


async def test_more_results_than_one_statement_should_copy_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repeating, "RUNS_KEPT_MAX", 2)
    nodes = [node(name) for name in ("a", "b", "c", "d")]
    former = (await api.run(*nodes, connections=(("a", "b"), ("b", "c"), ("c", "d")))).json()
    problem = await repeat(api, former["id"], "replay", 422, from_node="d")

    assert (problem["code"], problem["runs_max"]) == ("too_many_results", 2)
    assert (await repeat(api, former["id"], "replay", from_node="c"))["status"] == "completed"


async def test_a_result_that_is_not_there_any_more_is_made_again(api: Api, outside: Outside, dsn: str):
    former = await failed(api, outside)
    run_sql(dsn, "DELETE FROM node_executions WHERE execution_id = %s AND node_id = 'a'", UUID(former["id"]))
    ended = await repeat(api, former["id"], "retry")

    assert (ended["status"], dict(outside.done)) == ("completed", {"a": 2, "b": 2, "c": 1})


async def test_a_replay_rests_and_is_taken_up_again_as_others_are(api: Api, outside: Outside, dsn: str):
    nodes = [outside.effect("a"), node("stop", "logic.stop_error", message="no"), wait_for("w", 3600), node("end")]
    former = (await api.run(*nodes, connections=(("a", "stop"), ("a", "w"), ("w", "end")))).json()
    assert former["status"] == "failed"
    definition = {
        "name": "test",
        "nodes": [*nodes[:1], node("stop"), *nodes[2:]],
        "connections": [
            {"source": "a", "target": "stop"},
            {"source": "a", "target": "w"},
            {"source": "w", "target": "end"},
        ],
    }
    answer = await api.call(
        "POST", f"executions/{former['id']}/replay", json={"from_node": "stop", "definition": definition}
    )
    again = await until(api, answer.json()["id"], "waiting")
    begun = again["timings"]["started_at"]
    run_sql(dsn, "UPDATE executions SET wake_at = now() WHERE id = %s", UUID(again["id"]))
    async with asyncio.timeout(15):
        while (again := await until(api, again["id"], "waiting", "running"))["epoch"] < 2 or again[
            "status"
        ] != "waiting":
            await asyncio.sleep(0.02)

    assert (outside.done, again["timings"]["started_at"]) == ({"a": 1}, begun)
    await api.call("POST", f"executions/{again['id']}/cancel")
    await until(api, again["id"], "cancelled")


async def test_an_effect_that_is_wanted_at_most_once_is_not_tried_again(api: Api, outside: Outside):
    outside.refused = {"a", "b"}
    retry = {"max_attempts": 3, "initial_ms": 1}
    both = [{**outside.effect(name), "retry": retry} for name in ("a", "b")]
    once = {**both[1], "at_most_once": True}

    for each in (both[0], once):
        ended = (await api.run(each)).json()
        assert ended["status"] == "failed", ended

    assert outside.done == {"a": 3, "b": 1}
