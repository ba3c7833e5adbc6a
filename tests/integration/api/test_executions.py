"""Lists of executions, their numbers, their items, and their end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.integration.api.conftest import Api, rows_in
from tests.integration.api.test_workflow_lifecycle import made
from workflow.ids import uuid7

SET = {"id": "a", "type": "data.set", "config": {"values": {"x": "{{ $json.n }}"}}}
SLEEPY = {
    "id": "s",
    "type": "action.code",
    "config": {"language": "python", "mode": "all_items", "code": "while True: pass"},
}
BROKEN = {**SLEEPY, "config": {**SLEEPY["config"], "code": "raise ValueError('no')"}}
TABLES = ("executions", "node_executions", "stream_events", "signals", "idempotency_keys")


def stored(dsn: str, api: Api, status: str, at: datetime, **columns: Any) -> UUID:
    """Put an execution into the table as it was at a time."""
    identity = uuid7(int(at.timestamp() * 1000), uuid4().bytes[:10])
    row = {
        "id": identity,
        "workspace_id": api.workspace_id,
        "definition": "{}",
        "status": status,
        "trigger_type": "api",
        "isolation": "dedicated",  # nobody here claims such a one
        "input_data": "{}",
        "queued_at": at,
        **columns,
    }
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
    with psycopg.connect(dsn) as connection:
        connection.execute(f"INSERT INTO executions ({names}) VALUES ({places})", list(row.values()))
    return identity


async def listed(api: Api, query: str) -> list[str]:
    response = await api.call("GET", f"executions?{query}")
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def test_executions_are_filtered_by_all_that_a_list_shows(api: Api, dsn: str):
    now = datetime.now(UTC)
    workflow = uuid4()
    old = str(stored(dsn, api, "completed", now - timedelta(hours=5), trigger_type="schedule", workflow_id=workflow))
    new = str(stored(dsn, api, "failed", now - timedelta(hours=1)))
    late = str(stored(dsn, api, "cancelled", now))
    middle = (now - timedelta(hours=3)).isoformat().replace("+00:00", "Z")

    assert await listed(api, "") == [late, new, old]
    assert await listed(api, "status=failed&status=cancelled") == [late, new]
    assert await listed(api, "trigger_type=schedule&trigger_type=webhook") == [old]
    assert await listed(api, f"workflow_id={workflow}") == [old]
    assert await listed(api, f"created_after={middle}") == [late, new]
    assert await listed(api, f"created_before={middle}") == [old]
    assert await listed(api, "created_before=0001-01-01T00:00:00Z") == []
    assert await listed(api, "created_after=9999-12-31T23:59:59Z") == []


async def test_statistics_count_by_state_and_bucket(api: Api, dsn: str):
    now = datetime.now(UTC)
    workflow = uuid4()
    for minutes, status, took_ms in (
        (10, "completed", 100),
        (20, "completed", 300),
        (90, "failed", 200),
        (5, "queued", None),
    ):
        at = now - timedelta(minutes=minutes)
        times = {} if took_ms is None else {"started_at": at, "completed_at": at + timedelta(milliseconds=took_ms)}
        stored(dsn, api, status, at, workflow_id=workflow, **times)
    stored(dsn, api, "cancelled", now - timedelta(minutes=10))

    day = (await api.call("GET", f"executions/stats?window=24h&workflow_id={workflow}")).json()
    hour = (await api.call("GET", "executions/stats?window=1h")).json()
    nothing = (await api.call("GET", f"executions/stats?window=30d&workflow_id={uuid4()}")).json()

    assert (day["total"], day["counts"]) == (4, {"completed": 2, "failed": 1, "queued": 1})
    assert round(day["success_rate"], 3) == 0.667
    assert day["durations"] == {"average_ms": 200.0, "p50_ms": 200.0, "p95_ms": 290.0}
    assert (len(day["buckets"]), day["bucket_s"]) == (24, 3600)
    assert sum(bucket["total"] for bucket in day["buckets"]) == 4
    assert day["buckets"][-1]["counts"] == {"completed": 2, "queued": 1}
    assert (hour["total"], len(hour["buckets"]), hour["success_rate"]) == (4, 60, 1.0)
    assert (nothing["total"], nothing["success_rate"], nothing["durations"]["p95_ms"]) == (0, None, None)
    assert len(nothing["buckets"]) == 30


async def test_a_terminal_execution_is_deleted_with_all_that_is_its(api: Api, dsn: str):
    workflow = await made(api)
    key = {"Idempotency-Key": "k"}
    path = f"workflows/{workflow}/execute?wait=10"
    ended = (await api.call("POST", path, json={}, headers=key)).json()["id"]
    running = (await api.run(SLEEPY, wait=0)).json()["id"]

    early = await api.call("DELETE", f"executions/{running}")
    await api.call("POST", f"executions/{running}/cancel")
    async with asyncio.timeout(10):
        while (await api.call("GET", f"executions/{running}")).json()["status"] != "cancelled":
            await asyncio.sleep(0.02)
    foreign = await api.call("DELETE", f"executions/{ended}", by="stranger")
    gone = [await api.call("DELETE", f"executions/{identity}") for identity in (ended, running, ended)]

    assert (early.status_code, early.json()["code"]) == (409, "execution_not_terminal")
    assert foreign.status_code == 404
    assert [response.status_code for response in gone] == [204, 204, 404]
    assert [rows_in(dsn, table) for table in TABLES] == [0, 0, 0, 0, 0]
    shown = (await api.call("GET", f"workflows/{workflow}")).json()
    assert shown["execution_count"] == 1
    assert shown["last_executed_at"] is not None
    assert (await api.call("POST", path, json={}, headers=key)).json()["id"] != ended, "its key is free again"


async def test_many_are_deleted_by_id_and_the_others_are_named(api: Api, dsn: str):
    now = datetime.now(UTC)
    ended = [stored(dsn, api, "completed", now - timedelta(seconds=s)) for s in range(300)]
    queued = stored(dsn, api, "queued", now)
    never = uuid4()

    ids = [str(identity) for identity in (*ended, queued, never, ended[0])]
    response = await api.call("POST", "executions/bulk-delete", json={"ids": ids})

    assert response.json() == {
        "deleted": 300,
        "not_deleted": [{"id": str(queued), "reason": "not_terminal"}, {"id": str(never), "reason": "not_found"}],
        "more": False,
    }
    assert rows_in(dsn, "executions") == 1


async def test_many_are_deleted_by_filter(api: Api, dsn: str):
    now = datetime.now(UTC)
    for status in ("completed", "failed", "queued", "cancelled"):
        stored(dsn, api, status, now - timedelta(days=2))
        stored(dsn, api, status, now)
    before = (now - timedelta(days=1)).isoformat()

    async def deleted(**wanted: Any) -> int:
        response = await api.call("POST", "executions/bulk-delete", json={"filter": {"before": before, **wanted}})
        assert response.status_code == 200, response.text
        return response.json()["deleted"]

    assert await deleted(workflow_id=str(uuid4())) == 0
    assert await deleted(status=["failed"]) == 1
    assert await deleted() == 2
    assert rows_in(dsn, "executions") == 5


async def test_nothing_of_another_workspace_is_deleted(api: Api, dsn: str):
    now = datetime.now(UTC)
    foreign = stored(dsn, api, "completed", now - timedelta(days=2), workspace_id=uuid4())

    by_id = (await api.call("POST", "executions/bulk-delete", json={"ids": [str(foreign)]})).json()
    by_filter = (await api.call("POST", "executions/bulk-delete", json={"filter": {"before": now.isoformat()}})).json()

    assert by_id["not_deleted"] == [{"id": str(foreign), "reason": "not_found"}]
    assert by_filter["deleted"] == 0
    assert rows_in(dsn, "executions") == 1


BAD_DELETIONS: list[Any] = [
    {},
    {"ids": []},
    {"ids": ["x"]},
    {"ids": [str(UUID(int=n)) for n in range(1_001)]},
    {"filter": {}},
    {"filter": {"before": "2026-01-01T00:00:00"}},
    {"filter": {"before": "2026-01-01T00:00:00Z", "status": ["running"]}},
    {"filter": {"before": "2026-01-01T00:00:00Z", "status": []}},
    {"filter": {"before": "2026-01-01T00:00:00Z", "colour": 1}},
    {"ids": [str(UUID(int=1))], "filter": {"before": "2026-01-01T00:00:00Z"}},
]


async def test_a_bad_deletion_is_a_clear_problem(api: Api):
    for body in BAD_DELETIONS:
        response = await api.call("POST", "executions/bulk-delete", json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_fields"), str(body)[:100]
    assert (await api.call("POST", "executions/bulk-delete", json={"colour": 1})).json()["code"] == "unknown_field"


async def test_items_are_paged_by_handle(api: Api):
    node = {
        "id": "s p",
        "type": "logic.if",
        "config": {"conditions": [{"left": "{{ $json.n }}", "operator": "greater_than", "right": 2}]},
    }
    given = [{"n": n} for n in range(8)]
    execution = (await api.run(node, given=given)).json()["id"]
    path = f"executions/{execution}/nodes/s%20p/items"

    first = (await api.call("GET", f"{path}?handle=true&limit=3")).json()
    rest = (await api.call("GET", f"{path}?handle=true&limit=3&cursor={first['next_cursor']}")).json()
    default = (await api.call("GET", path)).json()
    beyond = (await api.call("GET", f"{path}?handle=true&cursor=99")).json()
    wrong = await api.call("GET", f"{path}?handle=main")
    no_run = await api.call("GET", f"{path}?run_index=1")
    no_node = await api.call("GET", f"executions/{execution}/nodes/b/items")

    assert [item["json"]["n"] for item in first["items"] + rest["items"]] == [3, 4, 5, 6, 7]
    assert (first["handles"], first["run_index"], first["status"]) == ({"true": 5, "false": 3}, 0, "completed")
    assert rest["next_cursor"] is None
    assert default["handle"] in {"true", "false"}
    assert (beyond["items"], beyond["next_cursor"]) == ([], None)
    assert (wrong.status_code, wrong.json()["handles"]) == (404, ["false", "true"])
    assert (no_run.status_code, no_node.status_code) == (404, 404)


async def test_the_last_run_of_a_node_is_shown_unless_another_is_asked_for(api: Api, dsn: str):
    execution = (await api.run(SET, given={"n": 1})).json()["id"]
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO node_executions (execution_id, node_id, run_index, written, node_type, node_name, status, attempt, "
            "output_data) SELECT execution_id, node_id, 1, written, node_type, node_name, status, attempt, "
            """'{"main": [{"json": {"second": 1.0}}]}' FROM node_executions"""
        )
    path = f"executions/{execution}/nodes/a/items"

    last = await api.call("GET", path)
    first = (await api.call("GET", f"{path}?run_index=0")).json()

    assert (last.json()["run_index"], last.json()["items"]) == (1, [{"json": {"second": 1.0}}])
    assert "1.0" in last.text
    assert (first["run_index"], first["items"][0]["json"]) == (0, {"n": 1, "x": 1})


async def test_an_execution_that_takes_too_long_ends_as_timeout(api: Api):
    began = asyncio.get_running_loop().time()
    ended = (await api.run(SET, SLEEPY, connections=(("a", "s"),), given={"n": 1}, timeout_ms=300)).json()
    identity = ended["id"]
    stored_one = (await api.call("GET", f"executions/{identity}")).json()
    nodes = (await api.call("GET", f"executions/{identity}/nodes")).json()["items"]
    stream = (await api.call("GET", f"executions/{identity}/events")).text
    over = await api.call("GET", f"executions/{identity}/events?after={ended['last_seq']}")
    late = await api.call("POST", f"executions/{identity}/cancel")
    counted = (await api.call("GET", "executions/stats")).json()
    found = await listed(api, "status=timeout")
    deleted = await api.call("POST", "executions/bulk-delete", json={"ids": [identity]})

    assert asyncio.get_running_loop().time() - began < 10
    assert (ended["status"], ended["output"]) == ("timeout", None)
    assert ended["error"] == {
        "code": "execution_timeout",
        "message": "the execution took longer than its 300 ms",
        "node_id": None,
    }
    assert {**stored_one, "timings": 0} == {**ended, "timings": 0}
    assert {node["node_id"]: node["status"] for node in nodes} == {"a": "completed", "s": "cancelled"}
    assert [line for line in stream.splitlines() if line.startswith("event:")][-1] == "event: execution.timeout"
    assert over.status_code == 204
    assert (late.status_code, late.json()["status"], late.json()["state"]) == (409, 409, "timeout")
    assert (counted["counts"], counted["success_rate"]) == ({"timeout": 1}, 0.0)
    assert found == [identity]
    assert deleted.json()["deleted"] == 1


LOOP = {"id": "l", "type": "logic.loop", "config": {}}
DOUBTFUL = {
    "id": "d",
    "type": "action.code",
    "on_error": "error_output",
    "config": {
        "language": "python",
        "mode": "all_items",
        "code": "if items[0]['n'] == 2:\n    raise ValueError('not 2')\nreturn items",
    },
}


async def test_every_run_of_a_node_is_shown_with_its_own_items(api: Api):
    ended = (
        await api.run(
            SET,
            LOOP,
            DOUBTFUL,
            connections=(("a", "l"), ("l", "d", "loop"), ("d", "l")),
            given=[{"n": n} for n in (1, 2, 3)],
        )
    ).json()
    assert ended["status"] == "completed", ended
    path = f"executions/{ended['id']}/nodes"
    rows = [row for row in (await api.call("GET", path)).json()["items"] if row["node_id"] == "d"]
    pages = [(await api.call("GET", f"{path}/d/items?run_index={run}")).json() for run in range(3)]
    absent = await api.call("GET", f"{path}/d/items?run_index=3")

    assert [(row["run_index"], row["status"]) for row in rows] == [(0, "completed"), (1, "failed"), (2, "completed")]
    assert rows[1]["error"]["code"] == "code_error"
    assert rows[1]["output"]["error"][0]["json"]["error"]["node_id"] == "d"
    assert [(page["run_index"], page["status"], page["handle"]) for page in pages] == [
        (0, "completed", "main"),
        (1, "failed", "error"),
        (2, "completed", "main"),
    ]
    assert [page["items"][0]["json"]["n"] for page in pages] == [1, 2, 3]
    assert absent.status_code == 404


async def test_a_node_without_a_result_has_no_items(api: Api):
    execution = (await api.run(BROKEN)).json()["id"]

    shown = (await api.call("GET", f"executions/{execution}/nodes/s/items")).json()

    assert (shown["status"], shown["items"], shown["handles"], shown["next_cursor"]) == ("failed", [], {}, None)


BAD_ASKS = [
    ("executions?status=happy", "invalid_parameters"),
    ("executions?created_after=yesterday", "invalid_parameters"),
    ("executions?created_after=2026-01-01T00:00:00", "invalid_parameters"),
    ("executions?trigger_type=%00", "nul_not_allowed"),
    ("executions/stats?window=2h", "invalid_parameters"),
    ("executions/stats?workflow_id=x", "invalid_parameters"),
    ("executions/{id}/nodes/a/items?run_index=-1", "invalid_parameters"),
    ("executions/{id}/nodes/a/items?cursor=x", "cursor_invalid"),
    ("executions/{id}/nodes/a/items?cursor=99999999999", "cursor_invalid"),
    ("executions/{id}/nodes/%00/items", "nul_not_allowed"),
]


async def test_bad_parameters_of_executions_are_clear_problems(api: Api):
    execution = (await api.run(SET, given={"n": 1})).json()["id"]
    for path, code in BAD_ASKS:
        response = await api.call("GET", path.format(id=execution))
        assert (response.status_code, response.json()["code"]) == (422, code), path


async def test_an_execution_has_the_priority_that_was_asked_for(api: Api):
    definition = {"name": "w", "nodes": [SET]}
    urgent = await api.call("POST", "executions", json={"definition": definition, "priority": 9})
    plain = await api.call("POST", "executions", json={"definition": definition})

    assert [
        (await api.call("GET", f"executions/{each.json()['id']}")).json()["priority"] for each in (urgent, plain)
    ] == [
        9,
        5,
    ]
