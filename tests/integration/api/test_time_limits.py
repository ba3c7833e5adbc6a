"""Time limits of nodes that wait, inputs that sub-workflows declare, and what becomes of error workflows: over HTTP, on PostgreSQL."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from tests.conftest import run_sql
from tests.integration.api.conftest import Api
from tests.integration.api.test_control import SOON_S, calling, ended_of, node_rows, saved, wait_for
from tests.integration.api.test_semantics import node

LIMITED = {"timeout_ms": 400}
STOP = node("stop", "logic.stop_error", message="no")
SCHEMA = {"type": "object", "required": ["v"]}


async def soon(dsn: str, query: str, wanted: list[tuple[Any, ...]]) -> None:
    async with asyncio.timeout(SOON_S):
        while (found := run_sql(dsn, query)) != wanted:
            assert found is not None
            await asyncio.sleep(0.02)


async def declaring(api: Api, *nodes: dict) -> str:
    definition = {"name": "child", "nodes": list(nodes or [node("end")]), "connections": [], "input_schema": SCHEMA}
    answer = await api.call("POST", "workflows", json={"definition": definition})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def last_event(api: Api, execution_id: str) -> dict:
    stream = (await api.call("GET", f"executions/{execution_id}/events")).text
    return orjson.loads([line for line in stream.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))


@pytest.mark.parametrize(
    "waits",
    [
        node("w", "hitl.request", title="Yes?") | LIMITED,
        wait_for("w", 30) | LIMITED,
        node("w", "logic.wait", mode="webhook") | LIMITED,
    ],
)
async def test_a_node_that_waits_longer_than_its_limit_fails(api: Api, dsn: str, waits: dict):
    ended = (await api.run(waits)).json()

    assert (ended["status"], ended["error"]["code"], ended["error"]["node_id"]) == ("failed", "node_timeout", "w")
    assert run_sql(dsn, "SELECT count(*) FROM hitl_requests WHERE status = 'pending'") == [(0,)]


async def test_a_child_has_no_more_time_than_the_node_that_waits_for_it(api: Api, dsn: str):
    child = await saved(api, "child", [wait_for("w", 30)])
    ended = (
        await api.run(
            calling(child) | LIMITED | {"on_error": "error_output"},
            node("end"),
            connections=(("call", "end", "error"),),
            given=[{"n": 1}],
        )
    ).json()

    assert (ended["status"], ended["output"]["end"][0]["error"]["code"]) == ("completed", "node_timeout")
    async with asyncio.timeout(SOON_S):
        while True:
            [(status,)] = run_sql(dsn, "SELECT status FROM executions WHERE depth = 1")
            if status in ("timeout", "cancelled"):
                break
            await asyncio.sleep(0.02)


async def test_another_attempt_asks_again_and_is_answered(api: Api, dsn: str):
    retry = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 0, "max_ms": 0}
    asking = node("w", "hitl.request", title="Yes?") | {"timeout_ms": 5_000, "retry": retry}
    begun = (await api.run(asking, wait=0)).json()
    pending = "SELECT count(*)::int FROM hitl_requests WHERE status = 'pending'"
    await soon(dsn, pending, [(1,)])
    await soon(dsn, "SELECT count(*)::int FROM hitl_requests WHERE status = 'cancelled'", [(1,)])
    await soon(dsn, pending, [(1,)])
    (request,) = (await api.call("GET", "hitl?status=pending")).json()["items"]
    answer = await api.call("POST", f"hitl/{request['id']}/respond", json={"action": "approve"})
    assert answer.status_code == 200, answer.text
    await soon(dsn, "SELECT status FROM executions", [("completed",)])
    assert (await node_rows(api, begun["id"]))["w"]["attempt"] == 2


async def test_a_child_is_not_started_with_what_its_workflow_does_not_want(api: Api, dsn: str):
    child = await declaring(api)
    ended = (await api.run(calling(child, input={"z": 1}))).json()

    assert (ended["status"], ended["error"]["code"]) == ("failed", "input_schema_violated")
    assert run_sql(dsn, "SELECT count(*)::int FROM executions") == [(1,)]
    assert (await api.run(calling(child, input={"v": 1}))).json()["status"] == "completed"


async def test_only_the_items_that_do_not_fit_fail(api: Api, dsn: str):
    child = await declaring(api, wait_for("w", 0.3), node("end"))
    call = calling(child, mode="each_item") | {"on_error": "error_output"}
    hops = (("call", "good"), ("call", "bad", "error"))
    given = [{"v": 1}, {"z": 2}, {"v": 3}]
    ended = (await api.run(call, node("good"), node("bad"), connections=hops, given=given)).json()

    assert ended["status"] == "completed", ended
    assert [(item["z"], item["error"]["code"]) for item in ended["output"]["bad"]] == [(2, "input_schema_violated")]
    assert run_sql(dsn, "SELECT count(*)::int FROM executions WHERE depth = 1") == [(2,)]


async def test_what_became_of_the_error_workflow_is_in_the_last_event(api: Api, dsn: str):
    handler = await saved(api, "handler", [node("seen")])
    strict = await declaring(api)
    said = []
    for named in (handler, str(uuid4()), strict):
        ended = (await api.run(STOP, error_workflow=named)).json()
        event = await last_event(api, ended["id"])
        said.append(event["error_workflow"])
    begun = run_sql(dsn, "SELECT id::text FROM executions WHERE trigger_type = 'error'")

    assert said[0] == {"execution_id": begun[0][0]}
    assert said[1:] == [{"refused": "workflow_not_found"}, {"refused": "input_schema_violated"}]
    assert len(begun) == 1


async def test_an_error_workflow_is_no_level_below_what_has_failed(api: Api, dsn: str):
    handler = await saved(api, "handler", [node("seen")])
    deepest = await saved(api, "3", [STOP], error_workflow=handler)
    second = await saved(api, "2", [calling(deepest)])
    first = await saved(api, "1", [calling(second)])
    await api.run(calling(first))
    [(status, _, parent)] = await ended_of(dsn, "error")
    depths = "SELECT id, depth FROM executions WHERE trigger_type = 'error' OR workflow_id = %s"

    assert status == "completed"
    found = run_sql(dsn, depths, UUID(deepest))
    assert {depth for _, depth in found} == {3}
    assert parent in {identity for identity, _ in found}


async def test_an_error_workflow_that_would_not_begin_is_a_warning(api: Api):
    archived = await saved(api, "old", [node("end")])
    assert (await api.call("DELETE", f"workflows/{archived}")).status_code in (200, 204)

    def document(named: str) -> dict:
        start = [node("t", "trigger.manual"), node("end")]
        hops = [{"source": "t", "target": "end"}]
        return {"name": "w", "nodes": start, "connections": hops, "settings": {"error_workflow": named}}

    async def codes(method: str, path: str, named: str) -> list[tuple[str, str]]:
        answer = await api.call(method, path, json={"definition": document(named)})
        return [(each["code"], each["severity"]) for each in answer.json()["warnings"]]

    own = await saved(api, "own", [node("end")])
    assert await codes("POST", "workflows", str(uuid4())) == [("error_workflow_not_found", "warning")]
    assert await codes("POST", "workflows", archived) == [("error_workflow_archived", "warning")]
    assert await codes("PUT", f"workflows/{own}", own) == [("error_workflow_circular", "warning")]
    assert await codes("POST", "workflows", own) == []
