"""Executing a part of a workflow over HTTP: up to a node, or one node with data given to it or kept from the last execution."""

from typing import Any

from tests.conftest import run_sql
from tests.integration.api.conftest import Api
from tests.integration.api.test_control import node_rows, saved
from tests.integration.api.test_repeats import Outside, outside
from tests.integration.api.test_semantics import node

__all__ = ["outside"]

START = node("start", "trigger.manual")
TWICE = node("twice", "data.set", values={"n": "{{ $json.n * 2 }}"})
SUM = node(
    "sum",
    "data.set",
    values={
        "n": "{{ $json.n + 1 }}",
        "first": "{{ $('start').first().json.n }}",
        "own": "{{ $('twice').item.json.n }}",
    },
    include="none",
)
HOPS = (("start", "twice"), ("twice", "sum"), ("sum", "end"))


async def made(api: Api, *nodes: dict, hops: tuple = HOPS) -> str:
    return await saved(api, "parts", list(nodes) or [START, TWICE, SUM, node("end")], hops)


async def alone(api: Api, workflow: str, node_id: str, expected: int = 200, by: str = "owner", **body: Any) -> dict:
    answer = await api.call("POST", f"workflows/{workflow}/nodes/{node_id}/execute?wait=20", by=by, json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


async def test_a_workflow_is_executed_up_to_a_node(api: Api, outside: Outside, dsn: str):
    nodes = [START, outside.effect("a"), outside.effect("b"), outside.effect("c"), node("end")]
    workflow = await made(api, *nodes, hops=(("start", "a"), ("start", "c"), ("a", "b"), ("b", "end"), ("c", "end")))
    path = f"workflows/{workflow}/execute?wait=20"
    ended = (await api.call("POST", path, json={"until_node": "b", "input": {"n": 1}})).json()

    assert ended["output"] == {"b": [{"by": "b", "time": 1}]}
    assert outside.done == {"a": 1, "b": 1}
    assert (ended["trigger_type"], ended["nodes_total"], ended["workflow_version"]) == ("partial", 3, 1)
    assert ended["workflow_id"] == workflow
    assert set(await node_rows(api, ended["id"])) == {"start", "a", "b"}
    listed = (await api.call("GET", f"executions?workflow_id={workflow}&trigger_type=partial")).json()["items"]
    assert [one["id"] for one in listed] == [ended["id"]]
    again = (await api.call("POST", f"executions/{ended['id']}/replay?wait=20", json={"from_node": "b"})).json()
    assert (again["status"], again["nodes_total"], dict(outside.done)) == ("completed", 3, {"a": 1, "b": 2})
    unknown = await api.call("POST", path, json={"until_node": "x"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "no_such_node")
    wrong = await api.call("POST", path, json={"until_node": 1})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "until_node_invalid")


async def test_a_document_is_executed_up_to_a_node(api: Api):
    definition = {
        "name": "d",
        "nodes": [START, TWICE, SUM, node("end")],
        "edges": [{"source": a, "target": b} for a, b in HOPS],
    }
    body = {"definition": definition, "input": {"n": 1}, "until_node": "twice"}
    ended = (await api.call("POST", "executions?wait=20", json=body)).json()

    assert (ended["output"], ended["trigger_type"]) == ({"twice": [{"n": 2}]}, "partial")


async def test_an_execution_up_to_a_node_in_a_loop_does_its_rounds(api: Api):
    nodes = [START, node("loop", "logic.loop"), TWICE, node("behind"), node("end")]
    hops = (
        ("start", "loop"),
        ("loop", "twice", "loop"),
        ("twice", "behind"),
        ("behind", "loop"),
        ("loop", "end", "done"),
    )
    workflow = await made(api, *nodes, hops=hops)
    body = {"until_node": "twice", "input": [{"n": 1}, {"n": 2}]}
    ended = (await api.call("POST", f"workflows/{workflow}/execute?wait=20", json=body)).json()

    assert ended["status"] == "completed", ended
    rows = (await api.call("GET", f"executions/{ended['id']}/nodes")).json()["items"]
    assert sum(row["node_id"] == "twice" for row in rows) == 2
    assert "end" not in {row["node_id"] for row in rows}


async def test_a_node_is_executed_with_items(api: Api):
    workflow = await made(api)
    ended = await alone(api, workflow, "twice", items=[{"n": 1}, {"n": 5}])

    assert ended["output"] == {"twice": [{"n": 2}, {"n": 10}]}
    assert (ended["trigger_type"], ended["workflow_id"], ended["workflow_version"]) == ("node", workflow, 1)
    assert (await alone(api, workflow, "start", items=[{"n": 1}]))["output"] == {"start": [{"n": 1}]}
    assert (await alone(api, workflow, "start"))["output"] == {"start": [{}]}


async def test_a_node_is_executed_with_data_of_its_sources_and_of_nodes_that_it_names(api: Api):
    workflow = await made(api)
    ended = await alone(api, workflow, "sum", data={"twice": [{"n": 4}, {"n": 6}], "start": {"main": [{"n": 2}]}})

    assert ended["output"] == {"sum": [{"n": 5, "first": 2, "own": 4}, {"n": 7, "first": 2, "own": 6}]}
    lacking = await alone(api, workflow, "sum", data={"twice": [{"n": 4}]})
    assert (lacking["status"], lacking["error"]["node_id"]) == ("failed", "sum")


async def test_a_node_sees_what_was_pinned_and_works_itself_though_data_are_pinned_at_it(api: Api):
    start = {**START, "pinned": {"main": [{"n": 7}]}}
    workflow = await made(api, start, {**SUM, "pinned": {"main": [{"n": 0}]}}, TWICE, node("end"))
    ended = await alone(api, workflow, "sum", data={"twice": [{"n": 4}]})

    assert ended["output"] == {"sum": [{"n": 5, "first": 7, "own": 4}]}


async def test_data_may_be_given_for_each_output_of_a_source(api: Api):
    nodes = [
        START,
        node("if", "logic.if", conditions=[{"left": "{{ $json.n }}", "operator": "greater_than", "right": 1}]),
        node("yes"),
        node("both"),
    ]
    hops = (("start", "if"), ("if", "yes", "true"), ("if", "both", "true"), ("if", "both", "false"))
    workflow = await made(api, *nodes, hops=hops)

    assert (await alone(api, workflow, "yes", data={"if": [{"n": 1}]}))["output"] == {"yes": [{"n": 1}]}
    given = {"if": {"true": [{"n": 1}], "false": [{"n": 2}]}}
    assert (await alone(api, workflow, "both", data=given))["output"] == {"both": [{"n": 1}, {"n": 2}]}
    problem = await alone(api, workflow, "yes", 422, data={"if": {"maybe": [{"n": 1}]}})
    assert problem["code"] == "invalid_definition"


async def test_a_node_is_executed_with_what_the_last_completed_execution_gave(api: Api, outside: Outside, dsn: str):
    hops = (("start", "a"), ("a", "b"), ("b", "end"))
    see = node("b", "data.set", values={"a": "{{ $json.time }}", "n": "{{ $('start').item.json.n }}"}, include="none")
    workflow = await made(api, START, outside.effect("a"), see, node("end"), hops=hops)
    nothing = await alone(api, workflow, "b", 422)
    assert (nothing["code"], nothing["node_ids"]) == ("no_data", ["a"])
    path = f"workflows/{workflow}/execute?wait=20"
    whole = (await api.call("POST", path, json={"input": [{"n": 1}, {"n": 2}]})).json()
    changed = {
        **see,
        "config": {**see["config"], "values": {"a": "{{ $json.time * 10 }}", "n": "{{ $('start').item.json.n }}"}},
    }
    definition = {
        "name": "parts",
        "nodes": [START, outside.effect("a", x="changed"), changed, node("end")],
        "connections": [{"source": s, "target": t} for s, t in hops],
    }
    await api.call("PUT", f"workflows/{workflow}", json={"definition": definition})
    ended = await alone(api, workflow, "b")

    assert ended["output"] == {"b": [{"a": 10, "n": 1}, {"a": 20, "n": 2}]}
    assert outside.done == {"a": 2}
    assert (ended["trigger_type"], ended["parent_execution_id"], ended["workflow_version"]) == ("node", whole["id"], 2)
    rows = await node_rows(api, ended["id"])
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(("start", "a", "b"), "completed")
    [(depth,)] = run_sql(dsn, "SELECT depth FROM executions WHERE id = %s::uuid", ended["id"])
    assert depth == 0


async def test_in_a_loop_a_node_needs_items(api: Api):
    nodes = [START, node("loop", "logic.loop"), TWICE, node("end")]
    hops = (("start", "loop"), ("loop", "twice", "loop"), ("twice", "loop"), ("loop", "end", "done"))
    workflow = await made(api, *nodes, hops=hops)
    await api.call("POST", f"workflows/{workflow}/execute?wait=20", json={"input": [{"n": 1}, {"n": 2}]})

    assert (await alone(api, workflow, "twice", 422))["code"] == "node_in_loop"
    assert (await alone(api, workflow, "twice", items=[{"n": 4}]))["output"] == {"twice": [{"n": 8}]}
    assert (await alone(api, workflow, "end"))["output"] == {"end": [{"n": 2}, {"n": 4}]}


async def test_what_the_last_execution_did_not_reach_has_no_data(api: Api):
    nodes = [START, TWICE, node("end")]
    workflow = await made(api, *nodes, hops=(("start", "twice"), ("twice", "end")))
    await api.call("POST", f"workflows/{workflow}/execute?wait=20", json={"input": {"n": 1}})
    definition = {
        "name": "parts",
        "nodes": [*nodes, node("new")],
        "connections": [
            {"source": s, "target": t}
            for s, t in (("start", "twice"), ("twice", "end"), ("start", "new"), ("new", "end"))
        ],
    }
    await api.call("PUT", f"workflows/{workflow}", json={"definition": definition})
    problem = await alone(api, workflow, "end", 422)

    assert (problem["code"], problem["node_ids"]) == ("no_data", ["new"])


async def test_what_cannot_be_executed_alone_is_refused(api: Api):
    workflow = await made(api)
    for name, body, code in (
        ("x", {}, "no_such_node"),
        ("x", {"items": []}, "no_such_node"),
        ("twice", {"items": {}}, "items_invalid"),
        ("twice", {"items": [1]}, "items_invalid"),
        ("twice", {"data": []}, "data_invalid"),
        ("twice", {"data": {"start": 1}}, "data_invalid"),
        ("twice", {"data": {"start": {"main": 1}}}, "data_invalid"),
        ("twice", {"data": {"end": []}}, "data_not_used"),
        ("twice", {"data": {"nobody": []}}, "no_such_node"),
        ("twice", {"other": 1}, "unknown_field"),
    ):
        assert (await alone(api, workflow, name, 422, **body))["code"] == code, (name, body)
    await alone(api, workflow, "twice", 403, by="viewer", items=[])
    await alone(api, workflow, "twice", 404, by="stranger", items=[])
    first = await api.call(
        "POST",
        f"workflows/{workflow}/nodes/twice/execute?wait=20",
        json={"items": [{"n": 1}]},
        headers={"Idempotency-Key": "k"},
    )
    second = await api.call(
        "POST",
        f"workflows/{workflow}/nodes/twice/execute?wait=20",
        json={"items": [{"n": 1}]},
        headers={"Idempotency-Key": "k"},
    )
    assert first.json()["id"] == second.json()["id"]
