"""Every write takes an Idempotency-Key: performed once, answered the same, and nobody sees an answer who may not ask."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import psycopg
import pytest

from serve_app.app import create_app
from serve_app.config import ApiConfig, ApiLimits
from serve_app.once import BODY_BYTES_MAX, RESERVED_MS
from serve_app.services import open_services
from store.idempotent_writes import IdempotentWrites
from tests.conftest import run_sql
from tests.integration.api.conftest import Api, rows_in
from tests.integration.api.test_routes import DOCUMENT, ROUTES, made_execution, made_workflow
from tests.models import WordModels
from workflow.errors import StoreUnavailable

REPLAYED = "idempotent-replayed"
TRIGGERED = {"name": "t", "nodes": [{"id": "t", "type": "trigger.manual"}]}
WRITES = ("post", "put", "patch", "delete")
EXECUTES = (
    "execute_workflow",
    "execute_definition",
    "execute_node",
    "retry_execution",
    "replay_execution",
    "query_documents",
)
FAILING = {"id": "f", "type": "logic.stop_error", "config": {"message": "no"}}
BODIES: dict[str, Any] = {
    "create_workflow": DOCUMENT,
    "update_workflow": DOCUMENT,
    "import_workflows": [DOCUMENT, TRIGGERED],
    "validate_workflow": DOCUMENT,
    "execute_definition": {"definition": DOCUMENT},
    "create_collection": {"name": "made"},
    "search_documents": {"query": "x", "mode": "text"},
    "query_documents": {"query": "x", "mode": "text"},
    "bulk_delete_executions": {"ids": [str(uuid.uuid4())]},
}
"""What a route is asked for here; one that is not listed is asked with an empty object, and may refuse that once and for all."""


def keyed(key: str = "k", **headers: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Idempotency-Key": key, **headers}}


def least_role(method: str, path: str) -> str:
    """Return the role that the table of routes gives a path of the OpenAPI document."""
    wanted = re.sub(r"\{[^}]*\}", "*", path.split("{workspace_id}/")[1])
    for listed, route, role in ROUTES:
        if listed == method and re.sub(r"\{[^}]*\}|(?<=versions/)1|(?<=nodes/)a(?=/execute)", "*", route) == wanted:
            return role
    raise AssertionError(f"{method} {path} is not in ROUTES: say who may ask")


async def operations(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    page = (await api.client.get("/openapi.json")).json()
    return [
        (method.upper(), path, operation)
        for path, methods in page["paths"].items()
        for method, operation in methods.items()
        if method in WRITES and "{workspace_id}" in path
    ]


async def filled(api: Api, path: str) -> str:
    """Return the path with things that are there; a fresh workflow each time."""
    names = {"workspace_id": str(api.workspace_id), "version": "1", "node_id": "t"}
    if "{workflow_id}" in path:
        names["workflow_id"] = await made_workflow(api, TRIGGERED)
    if "{execution_id}" in path:
        retried = path.endswith("/retry")
        names["execution_id"] = (await api.run(FAILING)).json()["id"] if retried else await made_execution(api)
    return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], str(uuid.uuid4())), path)


async def test_every_write_of_the_openapi_document_takes_the_key(api: Api):
    found = await operations(api)
    assert len(found) >= 14
    for number, (method, path, operation) in enumerate(found):
        name = operation["operationId"]
        parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
        assert parameters["Idempotency-Key"]["in"] == "header", name
        assert {"409", "422"} <= set(operation["responses"]), name
        place, body = await filled(api, path), BODIES.get(name, {})
        asked = {**keyed(f"key-{number}"), "json": body}

        first = await api.call(method, place, **asked)
        again = await api.call(method, place, **asked)

        assert first.status_code < 500, first.text
        assert REPLAYED not in first.headers, name
        assert again.headers[REPLAYED] == "true", name
        if name in EXECUTES:
            one, other = first.json(), again.json()
            assert one.get("id", one.get("execution_id")) == other.get("id", other.get("execution_id")), name
        else:
            assert (again.status_code, again.content) == (first.status_code, first.content), name
            for header in ("location", "etag", "content-type"):
                assert again.headers.get(header) == first.headers.get(header), name

        other = await api.call(method, place, **{**asked, "json": {**DOCUMENT, "name": "other"}})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused") or name in EXECUTES, name
        nobody = await api.call(method, place, by="", **asked)
        assert (nobody.status_code, nobody.headers.get(REPLAYED)) == (401, None), name
        foreign = await api.call(method, place, by="stranger", **asked)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found"), name
        for role, allowed in (("viewer", ("viewer",)), ("member", ("viewer", "member"))):
            lower = await api.call(method, place, by=role, **asked)
            assert (lower.status_code == 403) is (least_role(method, path) not in allowed), (name, role)
            if name not in EXECUTES:  # the execution that a key belongs to is the workspace's
                assert lower.json()["code"] in ("role_too_low", "idempotency_key_reused"), (name, role)
                assert REPLAYED not in lower.headers, (name, role)


async def test_the_same_key_in_another_workspace_is_another_key(api: Api):
    mine = await api.call("POST", "workflows", json=DOCUMENT, **keyed())

    theirs = await api.call(
        "POST", f"/api/v1/workspaces/{api.elsewhere}/workflows", by="stranger", json=DOCUMENT, **keyed()
    )

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]
    assert REPLAYED not in theirs.headers


async def test_another_method_path_query_version_or_body_is_another_request(api: Api):
    workflow = await made_workflow(api)
    path = f"workflows/{workflow}"
    first = await api.call("PUT", path, json=DOCUMENT, **keyed(**{"If-Match": '"1"'}))
    assert first.json()["version"] == 2

    others = [
        await api.call("DELETE", path, json=DOCUMENT, **keyed(**{"If-Match": '"1"'})),
        await api.call("PUT", f"workflows/{await made_workflow(api)}", json=DOCUMENT, **keyed(**{"If-Match": '"1"'})),
        await api.call("PUT", f"{path}?x=1", json=DOCUMENT, **keyed(**{"If-Match": '"1"'})),
        await api.call("PUT", path, json=DOCUMENT, **keyed(**{"If-Match": '"2"'})),
        await api.call("PUT", path, json={**DOCUMENT, "name": "x"}, **keyed(**{"If-Match": '"1"'})),
    ]

    assert [(one.status_code, one.json()["code"]) for one in others] == [(422, "idempotency_key_reused")] * 5
    assert (await api.call("GET", path)).json()["version"] == 2


async def test_a_refusal_is_an_answer_like_any_other(api: Api):
    first = await api.call("POST", "workflows", content=b"no json", **keyed())
    again = await api.call("POST", "workflows", content=b"no json", **keyed())

    assert (first.status_code, first.json()["code"]) == (400, "not_json")
    assert (again.status_code, again.content) == (400, first.content)
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers[REPLAYED] == "true"


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\tb"])
async def test_a_key_is_visible_ascii_of_bounded_length(api: Api, dsn: str, key: str):
    headers = {"Idempotency-Key": key.encode()}
    for path, body in (("workflows", DOCUMENT), ("executions", {"definition": DOCUMENT})):
        response = await api.call("POST", path, json=body, headers=headers)

        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_invalid"), path
    assert rows_in(dsn, "idempotent_writes") == rows_in(dsn, "workflows") == rows_in(dsn, "executions") == 0


async def test_the_longest_key_and_every_visible_character_are_taken(api: Api):
    for key in ("x" * 255, "".join(map(chr, range(0x21, 0x7F)))):
        responses = [await api.call("POST", "workflows", json=DOCUMENT, **keyed(key)) for _ in range(2)]
        assert [one.headers.get(REPLAYED) for one in responses] == [None, "true"]


async def test_a_body_over_the_limit_leaves_no_key_behind(api: Api, dsn: str):
    response = await api.call("POST", "workflows", content=b"x" * 1_000_001, **keyed())

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert rows_in(dsn, "idempotent_writes") == 0


async def test_reading_takes_no_key(api: Api, dsn: str):
    await made_workflow(api)
    for _ in range(2):
        response = await api.call("GET", "workflows", **keyed())
        assert (response.status_code, REPLAYED in response.headers) == (200, False)
    assert rows_in(dsn, "idempotent_writes") == 0


@asynccontextmanager
async def stopped_imports(dsn: str) -> AsyncIterator[None]:
    """While inside, an import waits for its workspace's row, as if the database were slow."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SELECT FROM workspaces FOR UPDATE")
        yield
        await connection.rollback()


async def reserved(dsn: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while rows_in(dsn, "idempotent_writes WHERE status IS NULL") < count:
            await asyncio.sleep(0.01)


async def answered(dsn: str) -> None:
    async with asyncio.timeout(10):
        while rows_in(dsn, "idempotent_writes WHERE status IS NOT NULL") == 0:
            await asyncio.sleep(0.01)


async def test_while_the_first_is_under_way_the_second_is_told_to_come_back(api: Api, dsn: str):
    async with stopped_imports(dsn):
        first = asyncio.create_task(api.call("POST", "workflows/import", json=[DOCUMENT], **keyed()))
        await reserved(dsn)
        second = await api.call("POST", "workflows/import", json=[DOCUMENT], **keyed())
        other = await api.call("POST", "workflows/import", json=[TRIGGERED], **keyed())

    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_use")
    assert int(second.headers["retry-after"]) >= 1
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    done = await first
    again = await api.call("POST", "workflows/import", json=[DOCUMENT], **keyed())
    assert (done.status_code, again.content, again.headers[REPLAYED]) == (201, done.content, "true")
    assert rows_in(dsn, "workflows") == 1


async def test_a_write_whose_client_has_gone_is_finished_and_answered_when_it_comes_back(api: Api, dsn: str):
    async with stopped_imports(dsn):
        first = asyncio.create_task(api.call("POST", "workflows/import", json=[DOCUMENT], **keyed()))
        await reserved(dsn)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    await answered(dsn)

    again = await api.call("POST", "workflows/import", json=[DOCUMENT], **keyed())

    assert (again.status_code, again.headers[REPLAYED]) == (201, "true")
    assert rows_in(dsn, "workflows") == 1


@asynccontextmanager
async def another_replica(api: Api, dsn: str, **limits: int) -> AsyncIterator[Api]:
    """A replica that was started later, over the same database."""
    config = ApiConfig(dsn=dsn, namespace="test", limits=ApiLimits(**limits))
    app = create_app(lambda: open_services(config, api.pool, WordModels()))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Api(client, api.workspace_id, api.keys, api.pool, api.elsewhere)


async def test_an_answer_outlives_its_replica(api: Api, dsn: str):
    first = await api.call("POST", "workflows", json=DOCUMENT, **keyed())

    async with another_replica(api, dsn) as later:
        again = await later.call("POST", "workflows", json=DOCUMENT, **keyed())

    assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
    assert again.headers["location"] == first.headers["location"]


async def test_after_a_day_the_key_is_free_whether_or_not_it_was_swept(api: Api, dsn: str):
    first = await api.call("POST", "workflows", json=DOCUMENT, **keyed())
    run_sql(dsn, "UPDATE idempotent_writes SET created_at = created_at - interval '24 hours'")

    other = await api.call("POST", "workflows", json=TRIGGERED, **keyed())

    assert (other.status_code, REPLAYED in other.headers) == (201, False)
    assert other.json()["id"] != first.json()["id"]


REPEATED = [
    ("POST", "workflows", DOCUMENT, 201),
    ("POST", "workflows/import", [DOCUMENT, DOCUMENT, TRIGGERED], 201),
    ("POST", "workflows/{workflow}/clone", {}, 201),
    ("PUT", "workflows/{workflow}", DOCUMENT, 200),
    ("POST", "workflows/{workflow}/versions/1/restore", {}, 200),
]


@pytest.mark.parametrize(("method", "route", "body", "status"), REPEATED)
async def test_what_was_done_by_a_replica_that_died_before_it_answered_is_not_done_twice(
    api: Api, dsn: str, monkeypatch: pytest.MonkeyPatch, method: str, route: str, body: Any, status: int
):
    place = route.format(workflow=await made_workflow(api))

    async def away(*_: Any) -> bool:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as dying:  # it commits, and neither keeps its answer nor gives the key back
        dying.setattr(IdempotentWrites, "answer", away)
        dying.setattr(IdempotentWrites, "give_back", away)
        lost = await api.call(method, place, json=body, **keyed())
    made = (rows_in(dsn, "workflows"), rows_in(dsn, "workflow_versions"))
    async with another_replica(api, dsn) as later:
        early = await later.call(method, place, json=body, **keyed())
        run_sql(dsn, "UPDATE idempotent_writes SET reserved_until = now()")  # its reservation runs out
        again = await later.call(method, place, json=body, **keyed())
        replayed = await later.call(method, place, json=body, **keyed())

    assert early.json()["code"] == "idempotency_key_in_use"
    assert (lost.status_code, again.status_code, REPLAYED in again.headers) == (status, status, False)
    known = {"id", "items", "version", "name"}
    assert {name: value for name, value in again.json().items() if name in known - {"items"}} == {
        name: value for name, value in lost.json().items() if name in known - {"items"}
    }
    assert [one["id"] for one in again.json().get("items", [])] == [one["id"] for one in lost.json().get("items", [])]
    assert (rows_in(dsn, "workflows"), rows_in(dsn, "workflow_versions")) == made
    assert (replayed.content, replayed.headers[REPLAYED]) == (again.content, "true")


async def test_a_write_that_failed_on_our_side_may_be_asked_for_again_at_once(
    api: Api, dsn: str, monkeypatch: pytest.MonkeyPatch
):
    from store.workflows import Workflows

    honest = Workflows.create

    async def doubtful(self: Workflows, *arguments: Any, **options: Any) -> Any:
        """The connection breaks between commit and answer."""
        await honest(self, *arguments, **options)
        raise StoreUnavailable("who knows")

    with monkeypatch.context() as breaking:
        breaking.setattr(Workflows, "create", doubtful)
        broken = await api.call("POST", "workflows", json=DOCUMENT, **keyed())
    other = await api.call("POST", "workflows", json=TRIGGERED, **keyed())
    again = await api.call("POST", "workflows", json=DOCUMENT, **keyed())

    assert broken.status_code == 503
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (again.status_code, REPLAYED in again.headers) == (201, False)
    assert rows_in(dsn, "workflows") == 1


def large_document() -> dict[str, Any]:
    node = {"id": "a", "type": "data.set", "config": {"values": {"x": "y" * BODY_BYTES_MAX}}}
    return {"name": "large", "nodes": [node]}


async def test_an_answer_above_the_limit_is_kept_without_its_body(api: Api, dsn: str):
    first = await api.call("POST", "workflows", json=large_document(), **keyed())
    again = await api.call("POST", "workflows", json=large_document(), **keyed())

    assert (first.status_code, again.status_code) == (201, 201)
    assert len(first.content) > BODY_BYTES_MAX
    assert again.headers["location"] == first.headers["location"]
    assert (again.json()["body_omitted"], again.json()["body_bytes"]) == (True, len(first.content))
    assert again.headers[REPLAYED] == "true"
    assert rows_in(dsn, "workflows") == 1


async def test_a_long_write_keeps_its_key(api: Api, dsn: str, monkeypatch: pytest.MonkeyPatch):
    from serve_app import once

    monkeypatch.setattr(once, "Attempt", lambda writes, honest=once.Attempt: honest(writes, renew_s=0.02))
    async with stopped_imports(dsn):
        first = asyncio.create_task(api.call("POST", "workflows/import", json=[DOCUMENT], **keyed()))
        await reserved(dsn)
        run_sql(dsn, "UPDATE idempotent_writes SET reserved_until = now() - interval '1 s'")
        left = f"idempotent_writes WHERE reserved_until > now() + {RESERVED_MS // 2} * interval '1 ms'"
        async with asyncio.timeout(10):
            while not rows_in(dsn, left):
                await asyncio.sleep(0.01)

    assert (await first).status_code == 201
    assert rows_in(dsn, "idempotent_writes WHERE status = 201") == 1


async def test_a_full_queue_is_told_leaves_nothing_behind_and_stops_neither_pushes_nor_replays(api: Api, dsn: str):
    api.pool.absent = True  # there is no actor to push to
    large = {"definition": DOCUMENT, "input": {"x": "y" * 100_000}}
    async with another_replica(api, dsn, queued_per_workspace_max=3) as replica:
        run_sql(dsn, "UPDATE leases SET draining = true")  # nor one that takes from the queue
        queued = [
            await replica.call("POST", "executions", json={"definition": DOCUMENT}, **keyed(f"e{n}")) for n in range(3)
        ]
        refused = await asyncio.gather(
            *(replica.call("POST", "executions", json=large, **keyed(f"r{n}")) for n in range(5))
        )
        same = await replica.call("POST", "executions", json={"definition": DOCUMENT}, **keyed("e0"))

    assert [one.status_code for one in queued] == [202, 202, 202]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(429, "queue_full")] * 5
    assert int(refused[0].headers["retry-after"]) >= 1
    assert (same.json()["id"], same.headers[REPLAYED]) == (queued[0].json()["id"], "true")
    assert [rows_in(dsn, table) for table in ("executions", "idempotency_keys", "blobs", "blob_references")] == [
        3,
        3,
        0,
        0,
    ]


async def test_a_full_queue_takes_no_repetition_but_tells_of_those_that_it_has(api: Api, dsn: str):
    former = (await api.run(FAILING)).json()["id"]
    api.pool.absent = True
    path = f"executions/{former}"
    async with another_replica(api, dsn, queued_per_workspace_max=1) as replica:
        run_sql(dsn, "UPDATE leases SET draining = true")
        first = await replica.call("POST", f"{path}/retry", **keyed())
        again = await replica.call("POST", f"{path}/retry", **keyed())
        refused = await replica.call("POST", f"{path}/replay", json={"input": {"x": "y" * 100_000}}, **keyed("other"))

    assert (first.status_code, again.json()["id"], again.headers[REPLAYED]) == (202, first.json()["id"], "true")
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert [rows_in(dsn, table) for table in ("executions", "idempotency_keys", "blobs")] == [2, 1, 0]


async def test_what_is_pushed_knows_no_limit(api: Api, dsn: str):
    async with another_replica(api, dsn, queued_per_workspace_max=1) as replica:
        ran = [await replica.call("POST", "executions?wait=20", json={"definition": DOCUMENT}) for _ in range(4)]

    assert [one.status_code for one in ran] == [200] * 4
