"""Every route: what it answers, who may ask, and that another workspace's things are not there."""

import asyncio
import uuid
from typing import Any

import orjson
import psycopg
import pytest

from tests.integration.api.conftest import Api, rows_in

SET = {"id": "a", "type": "data.set", "config": {"values": {"x": "{{ $json.n }}"}}}
SLEEPY = {
    "id": "s",
    "type": "action.code",
    "config": {"language": "python", "mode": "all_items", "code": "while True: pass"},
}
DOCUMENT = {"name": "w", "nodes": [SET]}


def code(text: str, node_id: str = "c", language: str = "python", **config: Any) -> dict:
    return {
        "id": node_id,
        "type": "action.code",
        "config": {"language": language, "mode": "all_items", "code": text, **config},
    }


async def made_workflow(api: Api, document: dict = DOCUMENT) -> str:
    response = await api.call("POST", "workflows", json=document)
    assert response.status_code == 201, response.text
    return response.json()["id"]


async def made_execution(api: Api) -> str:
    response = await api.run(SET, given={"n": 1})
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def made_request(api: Api) -> str:
    """Have an execution ask the members of the workspace, and return the request's id."""
    await api.run({"id": "ask", "type": "hitl.request", "config": {"title": "May I?"}}, wait=0)
    async with asyncio.timeout(15):
        while not (found := (await api.call("GET", "hitl")).json()["items"]):
            await asyncio.sleep(0.01)
    return found[0]["id"]


ROUTES = [
    ("GET", "workflows", "viewer"),
    ("POST", "workflows", "member"),
    ("GET", "workflows/{workflow}", "viewer"),
    ("PUT", "workflows/{workflow}", "member"),
    ("POST", "workflows/{workflow}/execute", "member"),
    ("GET", "workflows/tags", "viewer"),
    ("POST", "workflows/validate", "viewer"),
    ("POST", "workflows/import", "member"),
    ("GET", "workflows/{workflow}/export", "viewer"),
    ("POST", "workflows/{workflow}/clone", "member"),
    ("GET", "workflows/{workflow}/versions", "viewer"),
    ("GET", "workflows/{workflow}/versions/1", "viewer"),
    ("GET", "workflows/{workflow}/versions/1/diff", "viewer"),
    ("POST", "workflows/{workflow}/versions/1/restore", "member"),
    ("POST", "workflows/{workflow}/activate", "member"),
    ("POST", "workflows/{workflow}/deactivate", "member"),
    ("POST", "workflows/{workflow}/unarchive", "member"),
    ("DELETE", "workflows/{workflow}", "member"),
    ("GET", "executions", "viewer"),
    ("POST", "executions", "member"),
    ("GET", "executions/{execution}", "viewer"),
    ("GET", "executions/{execution}/nodes", "viewer"),
    ("GET", "executions/{execution}/nodes/a/items", "viewer"),
    ("GET", "executions/{execution}/events", "viewer"),
    ("GET", "executions/{execution}/model-calls", "viewer"),
    ("GET", "usage", "viewer"),
    ("GET", "models", "viewer"),
    ("GET", "executions/stats", "viewer"),
    ("POST", "executions/{execution}/cancel", "member"),
    ("POST", "executions/{execution}/retry", "member"),
    ("POST", "executions/{execution}/replay", "member"),
    ("POST", "workflows/{workflow}/nodes/a/execute", "member"),
    ("POST", "executions/{execution}/pause", "member"),
    ("POST", "executions/{execution}/resume", "member"),
    ("GET", "hitl", "viewer"),
    ("GET", "hitl/{request}", "viewer"),
    ("POST", "hitl/{request}/respond", "viewer"),
    ("GET", "collections", "viewer"),
    ("POST", "collections", "member"),
    ("GET", "collections/{collection}", "viewer"),
    ("DELETE", "collections/{collection}", "admin"),
    ("GET", "documents", "viewer"),
    ("POST", "documents", "member"),
    ("GET", "documents/{document}", "viewer"),
    ("GET", "documents/{document}/file", "viewer"),
    ("PATCH", "documents/{document}", "member"),
    ("POST", "documents/{document}/reindex", "member"),
    ("DELETE", "documents/{document}", "member"),
    ("POST", "rag/search", "viewer"),
    ("POST", "rag/query", "member"),
    ("GET", "conversations", "viewer"),
    ("GET", "conversations/{conversation}/messages", "viewer"),
    ("DELETE", "conversations/{conversation}", "member"),
    ("POST", "executions/bulk-delete", "admin"),
    ("DELETE", "executions/{execution}", "admin"),
]


async def made_document(api: Api) -> dict[str, str]:
    """Upload a document, and return its id and its collection's."""
    shown = (await api.call("POST", "documents", files={"file": ("a.txt", b"some words")})).json()
    return {"document": shown["id"], "collection": shown["collection_id"]}


async def made_conversation(api: Api) -> str:
    """Have an execution say something, and return the conversation's id."""
    config = {"operation": "add", "conversation_id": "chat", "content": "hello"}
    await api.run({"id": "say", "type": "ai.memory", "config": config})
    return "chat"


async def made_things(api: Api) -> dict[str, str]:
    """Make one of each, and return their ids."""
    return {
        "workflow": await made_workflow(api),
        "execution": await made_execution(api),
        "request": await made_request(api),
        "conversation": await made_conversation(api),
        **await made_document(api),
    }


async def test_every_route_asks_for_a_key_a_role_and_the_right_workspace(api: Api):
    names = await made_things(api)
    for method, route, least in ROUTES:
        path = route.format(**names)
        body = (
            {"json": {"definition": DOCUMENT} if "execut" in route else DOCUMENT} if method in ("POST", "PUT") else {}
        )
        if route.startswith("rag/"):
            body = {"json": {"query": "words", "mode": "text"}}
        if route.endswith(
            (
                "execute",
                "retry",
                "replay",
                "cancel",
                "clone",
                "restore",
                "activate",
                "deactivate",
                "unarchive",
                "pause",
                "resume",
            )
        ):
            body = {}

        assert (await api.call(method, path, by="", **body)).status_code == 401, route
        assert (await api.call(method, path, by="", headers={"X-API-Key": "rl_wrong"}, **body)).status_code == 401, (
            route
        )
        foreign = await api.call(method, path, by="stranger", **body)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found"), route
        viewer = await api.call(method, path, by="viewer", **body)
        assert (viewer.status_code == 403) is (least != "viewer"), route
        member = await api.call(method, path, by="member", **body)
        assert (member.status_code == 403) is (least == "admin"), route
        assert (await api.call(method, path, by="owner", **body)).status_code < 500, route


async def test_things_of_another_workspace_are_as_absent_as_things_that_never_were(api: Api):
    workflow, execution = await made_workflow(api), await made_execution(api)
    base = (await api.call("GET", "workflows", by="owner")).request.url.path
    stranger = api.keys["stranger"]
    response = await api.client.post(f"{base}", headers={"X-API-Key": stranger}, json=DOCUMENT)
    assert response.status_code == 404
    for path in (f"workflows/{workflow}", f"executions/{execution}", f"executions/{execution}/nodes"):
        never = path.rsplit("/", 1)[0] if path.endswith("nodes") else path
        absent = never.replace(workflow, str(uuid.uuid4())).replace(execution, str(uuid.uuid4()))
        response = await api.call("GET", absent)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_ids_of_another_workspace_lead_nowhere_from_ones_own(api: Api):
    names = await made_things(api)
    for method, route, _ in ROUTES:
        if "{" not in route:
            continue
        body = {"json": DOCUMENT} if method == "PUT" else {}
        path = f"/api/v1/workspaces/{api.elsewhere}/{route.format(**names)}"

        response = await api.call(method, path, by="stranger", **body)

        assert (response.status_code, response.json()["code"]) == (404, "not_found"), (method, route)
    assert (await api.call("GET", f"workflows/{names['workflow']}")).json()["status"] == "draft"
    assert (await api.call("GET", f"executions/{names['execution']}")).status_code == 200


async def test_a_workflow_is_stored_read_listed_and_gets_versions(api: Api):
    first = (await api.call("POST", "workflows", json={**DOCUMENT, "description": "d", "tags": ["t"]})).json()
    await made_workflow(api)
    page = (await api.call("GET", "workflows?limit=1")).json()
    rest = (await api.call("GET", f"workflows?limit=1&cursor={page['next_cursor']}")).json()
    assert [w["id"] for w in rest["items"]] == [first["id"]]
    assert rest["next_cursor"] is None

    second = await api.call(
        "PUT", f"workflows/{first['id']}", json={"definition": {**DOCUMENT, "name": "v2"}}, headers={"If-Match": '"1"'}
    )
    conflict = await api.call("PUT", f"workflows/{first['id']}", json=DOCUMENT, headers={"If-Match": "1"})

    assert second.status_code == 200
    assert (second.json()["version"], second.json()["name"]) == (2, "v2")
    assert second.json()["warnings"][0]["code"] == "no_trigger"
    assert conflict.status_code == 409
    read = (await api.call("GET", f"workflows/{first['id']}")).json()
    assert read["definition"]["nodes"][0]["config"] == SET["config"]


async def test_an_execution_pins_the_version_that_is_current(api: Api):
    workflow = await made_workflow(api)
    await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={"input": {"n": 1}})
    changed = {**DOCUMENT, "nodes": [{**SET, "config": {"values": {"version": 2}}}]}
    await api.call("PUT", f"workflows/{workflow}", json=changed)

    ran = (await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={"input": {"n": 1}})).json()

    assert ran["workflow_version"] == 2
    assert ran["output"] == {"a": [{"n": 1, "version": 2}]}


async def test_what_wait_answers_is_what_is_stored(api: Api):
    response = await api.run(SET, given={"n": 7})
    answered = response.json()

    stored = (await api.call("GET", f"executions/{answered['id']}")).json()

    assert response.status_code == 200
    for field in set(answered) - {"timings", "actor"}:
        assert answered[field] == stored[field], field
    assert answered["output"] == {"a": [{"n": 7, "x": 7}]}
    assert answered["timings"]["completed_at"] == stored["timings"]["completed_at"]
    assert answered["actor"]["pid"] == stored["actor"]["pid"] == 1


async def test_without_wait_it_is_202_and_goes_its_way(api: Api):
    response = await api.run(SET, given={"n": 1}, wait=0)

    assert response.status_code == 202
    assert response.headers["location"].endswith(response.json()["id"])
    events = await api.call("GET", f"executions/{response.json()['id']}/events")
    assert b"event: execution.completed" in events.content


async def test_waiting_in_vain_is_202_with_the_execution(api: Api):
    response = await api.run(SLEEPY, wait=0.3)

    assert response.status_code == 202
    assert response.json()["status"] == "running"
    await api.call("POST", f"executions/{response.json()['id']}/cancel")


async def test_a_lost_call_is_answered_from_the_stream(api: Api):
    api.pool.deaf = True

    response = await api.run(SET, given={"n": 1}, wait=10)

    assert response.status_code == 200
    assert response.json()["output"] == {"a": [{"n": 1, "x": 1}]}


async def test_what_was_begun_before_a_newer_version_was_found_is_dropped_and_the_newer_one_runs(api: Api, dsn: str):
    workflow = await made_workflow(api)
    await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})
    with psycopg.connect(dsn) as connection:  # as another replica would
        connection.execute(
            "INSERT INTO workflow_versions (id, workflow_id, version, name, nodes, connections, settings, input_schema) "
            "SELECT gen_random_uuid(), workflow_id, 2, name, %s, connections, settings, input_schema FROM workflow_versions",
            ('[{"id": "other", "type": "data.set", "config": {"values": {"v": 2}}}]',),
        )
        connection.execute("UPDATE workflows SET version = 2")

    ran = (await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})).json()

    assert (ran["workflow_version"], ran["output"]) == (2, {"other": [{"v": 2}]})
    assert api.pool.settled == [True, False, True]


async def test_what_was_begun_for_a_workflow_that_was_archived_leaves_nothing(api: Api, dsn: str):
    workflow = await made_workflow(api)
    await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE workflows SET status = 'archived'")

    response = await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})

    assert (response.status_code, response.json()["code"]) == (409, "workflow_state_conflict")
    assert response.json()["state"] == "archived"
    assert api.pool.settled == [True, False]
    assert rows_in(dsn, "executions") == 1
    async with asyncio.timeout(5):
        while api.pool.process.member.active:
            await asyncio.sleep(0.01)


async def test_without_a_line_executions_are_pushed_by_call(api: Api):
    api.pool.line = None

    assert (await api.run(SET, given={"n": 1})).json()["output"] == {"a": [{"n": 1, "x": 1}]}


async def test_events_are_numbered_resume_and_end(api: Api):
    execution = await made_execution(api)

    whole = (await api.call("GET", f"executions/{execution}/events")).text
    rest = (await api.call("GET", f"executions/{execution}/events", headers={"Last-Event-ID": "2"})).text
    over = await api.call("GET", f"executions/{execution}/events", headers={"Last-Event-ID": "3"})

    assert [line for line in whole.splitlines() if line.startswith("id:")] == ["id: 1", "id: 2", "id: 3"]
    assert [line for line in rest.splitlines() if line.startswith("id:")] == ["id: 3"]
    assert over.status_code == 204
    data = [orjson.loads(line[6:]) for line in whole.splitlines() if line.startswith("data: ")]
    assert data[1]["kind"] == "node.completed"
    assert data[1]["node_id"] == "a"


async def test_a_stream_of_a_running_execution_follows_it_to_its_end(api: Api):
    running = (await api.run(SLEEPY, wait=0)).json()["id"]
    following = asyncio.create_task(api.call("GET", f"executions/{running}/events"))
    cancelled = await api.call("POST", f"executions/{running}/cancel")

    text = (await asyncio.wait_for(following, 10)).text

    assert cancelled.status_code == 202
    assert "event: execution.cancel_requested" in text
    assert "event: execution.cancelled" in text


async def test_cancelling_what_has_ended_is_a_conflict(api: Api):
    response = await api.call("POST", f"executions/{await made_execution(api)}/cancel")

    assert (response.status_code, response.json()["code"]) == (409, "conflict")


async def test_nodes_show_outputs_logs_and_errors(api: Api):
    failing = code("print('hello')\nraise ValueError('no')", "f")
    execution = (await api.run(SET, failing, connections=(("a", "f"),), given={"n": 1})).json()

    nodes = {n["node_id"]: n for n in (await api.call("GET", f"executions/{execution['id']}/nodes")).json()["items"]}

    assert execution["status"] == "failed"
    assert execution["error"]["node_id"] == "f"
    assert nodes["a"]["output"] == {"main": [{"json": {"n": 1, "x": 1}, "paired_item": 0}]}
    assert nodes["f"]["logs"] == "hello"
    assert "ValueError: no" in nodes["f"]["error"]["message"]
    assert nodes["f"]["error"]["code"] == "code_error"


async def test_a_node_that_asks_for_resources_runs_as_a_task(api: Api):
    node = {**code("return [{'done': True}]"), "resources": {"cpu": 1}}
    execution = (await api.run(node)).json()

    (shown,) = (await api.call("GET", f"executions/{execution['id']}/nodes")).json()["items"]

    assert execution["status"] == "completed"
    assert shown["placement"] == "task"


async def test_an_idempotency_key_gives_the_same_execution_and_refuses_another_request(api: Api):
    workflow = await made_workflow(api)
    path, key = f"workflows/{workflow}/execute?wait=10", {"Idempotency-Key": "k"}
    first = await api.call("POST", path, json={"input": {"n": 1}}, headers=key)

    again, other = await asyncio.gather(
        api.call("POST", path, json={"input": {"n": 1}}, headers=key),
        api.call("POST", path, json={"input": {"n": 2}}, headers=key),
    )

    assert again.json()["id"] == first.json()["id"]
    assert again.json()["output"] == first.json()["output"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_executions_are_listed_by_page_status_and_workflow(api: Api):
    workflow = await made_workflow(api)
    mine = (await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})).json()["id"]
    other = await made_execution(api)
    failed = (await api.run(code("return 7"))).json()["id"]

    async def listed(query: str) -> list[str]:
        return [e["id"] for e in (await api.call("GET", f"executions?{query}")).json()["items"]]

    assert await listed("limit=10") == [failed, other, mine]
    assert await listed("status=failed") == [failed]
    assert await listed(f"workflow_id={workflow}") == [mine]
    cursor = (await api.call("GET", "executions?limit=2")).json()["next_cursor"]
    assert await listed(f"cursor={cursor}") == [mine]


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "$ref"),
        ({"properties": {"n": {"$ref": "file:///etc/passwd"}}}, "properties.n.$ref"),
        ({"$ref": "#/definitions/nope"}, "$ref"),
        ({"properties": {"n": {"pattern": "(?=a)"}}}, "properties.n.pattern"),
    ],
)
async def test_an_input_schema_that_cannot_be_used_is_found(api: Api, schema: dict[str, Any], field: str):
    found = await api.call("POST", "workflows/validate", json={**DOCUMENT, "input_schema": schema})
    told = [(each["code"], each["field"]) for each in found.json()["findings"]]
    assert told == [("invalid_input_schema", f"input_schema.{field}")]


async def test_an_input_must_satisfy_the_input_schema(api: Api):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    workflow = await made_workflow(api, {**DOCUMENT, "input_schema": schema})

    refused = await api.call("POST", f"workflows/{workflow}/execute", json={"input": {"n": "x"}})
    accepted = await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={"input": {"n": 1}})

    assert (refused.status_code, refused.json()["code"]) == (422, "input_schema_violated")
    assert refused.json()["errors"][0]["field"] == "n"
    assert accepted.status_code == 200


async def test_the_catalogue_health_metrics_and_openapi(api: Api):
    types = {t["type"] for t in (await api.call("GET", "/api/v1/node-types")).json()["items"]}
    ready = await api.client.get("/health/ready")
    await made_execution(api)
    metrics = (await api.client.get("/metrics")).text
    operations = [
        o["operationId"] for p in (await api.client.get("/openapi.json")).json()["paths"].values() for o in p.values()
    ]

    assert types >= {"trigger.manual", "data.set", "logic.if", "logic.merge", "action.code", "action.respond"}
    assert ready.json()["checks"] == {"database": True, "pool": True}
    assert 'rayloom_api_executions_accepted_total{way="pushed"} 1.0' in metrics
    assert len(operations) == len(set(operations))
    assert "execute_workflow" in operations


async def test_ready_says_what_is_missing(api: Api):
    api.pool.absent = True
    for _ in range(100):
        ready = await api.client.get("/health/ready")
        if ready.status_code == 503:
            break
        await asyncio.sleep(0.05)

    assert ready.status_code == 503
    assert ready.json()["checks"] == {"database": True, "pool": False}


BAD_BODIES = [
    (b"hello", 400, "not_json"),
    (b"[1]", 400, "body_not_an_object"),
    (b'{"definition":{},"input":{"a":NaN}}', 400, "nan_not_allowed"),
    (b'{"definition":{"name":"a\\u0000b"}}', 400, "nul_not_allowed"),
    (b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "too_deep"),
    (b'{"definition":{},"input":{"a":' + b"9" * 400 + b"}}", 400, "number_out_of_range"),
    (b'{"definition":{},"colour":1}', 422, "unknown_field"),
    (b"{}", 422, "definition_missing"),
    (b'{"definition":[]}', 422, "invalid_definition"),
    (b'{"definition":{"name":"w","nodes":[{"id":"a","type":"no.such"}]}}', 422, "invalid_definition"),
    (b'{"definition":{"name":"w","nodes":[{"id":"a","type":"data.set"}]},"input":7}', 422, "input_invalid"),
    (b'{"definition":{"name":"w","nodes":[{"id":"a","type":"data.set"}]},"priority":11}', 422, "priority_invalid"),
    (b'{"definition":{"name":"w","nodes":[{"id":"a","type":"data.set"}]},"priority":true}', 422, "priority_invalid"),
    (b'{"definition":"' + b"x" * 1_100_000 + b'"}', 413, "body_too_large"),
    (b'{"definition":{"name":"w","nodes":[]},"input":{"x":"' + b"x" * 200_000 + b'"}}', 413, "input_too_large"),
]


async def test_bad_input_is_a_clear_problem_and_nothing_is_written(api: Api, dsn: str):
    for body, status, problem in BAD_BODIES:
        response = await api.call("POST", "executions", content=body)

        assert (response.status_code, response.json()["code"]) == (status, problem), body[:80]
        assert response.headers["content-type"] == "application/problem+json"
    assert rows_in(dsn, "executions") == 0


BAD_PARAMETERS = [
    ("POST", "executions?wait=soon", 422, "wait_invalid"),
    ("POST", "executions?wait=-1", 422, "wait_invalid"),
    ("GET", "executions?cursor=xyz", 422, "cursor_invalid"),
    ("GET", "executions?limit=0", 422, "invalid_parameters"),
    ("GET", "executions?status=happy", 422, "invalid_parameters"),
    ("GET", "executions/xyz", 422, "invalid_parameters"),
    ("GET", "/api/v1/nothing/here", 404, "no_such_route"),
    ("DELETE", "executions", 405, "method_not_allowed"),
]


async def test_bad_parameters_are_clear_problems(api: Api):
    for method, path, status, problem in BAD_PARAMETERS:
        response = await api.call(method, path, **({"json": {"definition": DOCUMENT}} if method == "POST" else {}))

        assert (response.status_code, response.json()["code"]) == (status, problem), path
