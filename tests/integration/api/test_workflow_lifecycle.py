"""Workflows in and out of service, their versions, and documents that come and go."""

import asyncio
from typing import Any

import psycopg

from tests.integration.api.conftest import Api, rows_in
from workflow.secrets import HIDDEN

SET = {"id": "a", "type": "data.set", "config": {"values": {"x": "{{ $json.n }}"}}}
START = {"id": "t", "type": "trigger.manual"}
DOCUMENT = {"name": "w", "nodes": [SET]}
TRIGGERED = {"name": "w", "nodes": [START, SET], "connections": [{"source": "t", "target": "a"}]}


async def made(api: Api, document: dict[str, Any] = TRIGGERED, **about: Any) -> str:
    body = {"definition": document, **about} if about else document
    response = await api.call("POST", "workflows", json=body)
    assert response.status_code == 201, response.text
    return response.json()["id"]


async def said(api: Api, method: str, path: str, **kwargs: Any) -> tuple[int, str]:
    """Return the status of an answer, and the state of the workflow or the code of the problem."""
    response = await api.call(method, path, **kwargs)
    body = response.json() if response.content else {}
    return response.status_code, body.get("code") or body.get("status", "")


async def test_a_workflow_goes_through_its_states(api: Api):
    path = f"workflows/{await made(api)}"
    conflict = (409, "workflow_state_conflict")

    assert (await api.call("GET", path)).json()["status"] == "draft"
    assert await said(api, "POST", f"{path}/deactivate") == conflict
    assert await said(api, "POST", f"{path}/activate") == (200, "active")
    assert await said(api, "POST", f"{path}/activate") == conflict
    assert await said(api, "POST", f"{path}/deactivate") == (200, "paused")
    assert await said(api, "POST", f"{path}/execute") == conflict
    assert await said(api, "PUT", path, json=TRIGGERED) == (200, "paused")
    assert await said(api, "POST", f"{path}/activate") == (200, "active")
    assert await said(api, "DELETE", path) == (204, "")
    assert await said(api, "DELETE", path) == (204, "")
    for action in ("activate", "deactivate", "execute", "versions/1/restore"):
        refused = await api.call("POST", f"{path}/{action}")
        assert (refused.status_code, refused.json()["code"]) == conflict, action
        assert refused.json()["state"] == "archived"
    assert await said(api, "PUT", path, json=TRIGGERED) == conflict
    assert await said(api, "GET", path) == (200, "archived")
    assert await said(api, "POST", f"{path}/unarchive") == (200, "draft")
    assert (await api.call("POST", f"{path}/execute?wait=10", json={})).json()["status"] == "completed"


async def test_activating_needs_a_trigger_and_so_does_every_next_version(api: Api):
    path = f"workflows/{await made(api, DOCUMENT)}"

    assert await said(api, "POST", f"{path}/activate") == (422, "no_trigger")
    assert await said(api, "PUT", path, json=TRIGGERED) == (200, "draft")
    assert await said(api, "POST", f"{path}/activate") == (200, "active")
    assert await said(api, "PUT", path, json=DOCUMENT) == (422, "no_trigger")
    assert await said(api, "POST", f"{path}/versions/1/restore") == (422, "no_trigger")
    assert (await api.call("GET", path)).json()["version"] == 2


async def test_activating_needs_a_document_that_compiles(api: Api, dsn: str):
    path = f"workflows/{await made(api)}"
    with psycopg.connect(dsn) as connection:  # a node type that is not installed any more
        connection.execute("""UPDATE workflows SET nodes = '[{"id": "a", "type": "no.such"}]'""")

    response = await api.call("POST", f"{path}/activate")

    assert (response.status_code, response.json()["code"]) == (422, "invalid_definition")
    assert response.json()["findings"][0]["code"] == "invalid_node_type"


async def test_what_another_replica_archived_or_paused_is_refused_here_at_once(api: Api, dsn: str):
    workflow = await made(api)
    key = {"Idempotency-Key": "k"}
    first = await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={}, headers=key)
    for state in ("archived", "paused"):
        with psycopg.connect(dsn) as connection:  # behind the back of this replica's caches
            connection.execute("UPDATE workflows SET status = %s", (state,))

        refused = await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={})
        same = await api.call("POST", f"workflows/{workflow}/execute?wait=10", json={}, headers=key)

        assert (refused.status_code, refused.json()["state"]) == (409, state)
        assert (same.status_code, same.json()["id"]) == (200, first.json()["id"]), (
            "the same key gives the same execution"
        )
    assert rows_in(dsn, "executions") == 1


async def test_an_update_leaves_what_it_does_not_name_and_says_what_it_is_for(api: Api):
    workflow = await made(api, description="d", tags=["t", "t"])
    body = {"definition": {**TRIGGERED, "name": "v2"}, "change_message": "why"}

    changed = (await api.call("PUT", f"workflows/{workflow}", json=body)).json()
    versions = (await api.call("GET", f"workflows/{workflow}/versions")).json()

    assert (changed["description"], changed["tags"], changed["name"]) == ("d", ["t"], "v2")
    assert [(v["version"], v["change_message"], v["name"]) for v in versions["items"]] == [
        (2, "why", "v2"),
        (1, "", "w"),
    ]
    assert versions["items"][0]["created_by"] == changed["created_by"]
    assert versions["next_cursor"] is None


async def test_a_bare_document_may_be_in_another_spelling_but_holds_nothing_unknown(api: Api):
    foreign = {
        "name": "w",
        "nodes": [START, SET],
        "edges": [{"source_node_id": "t", "target_node_id": "a"}],
        "tags": ["t"],
    }
    made_of_it = await api.call("POST", "workflows", json=foreign)
    unknown = await api.call("POST", "workflows", json={**TRIGGERED, "colour": 1})
    beside = await said(api, "POST", "workflows", json={"definition": TRIGGERED, "colour": 1})

    assert made_of_it.status_code == 201
    assert made_of_it.json()["definition"]["connections"][0]["target"] == "a"
    assert made_of_it.json()["tags"] == ["t"]
    assert (unknown.status_code, unknown.json()["findings"][0]["code"]) == (422, "unknown_field")
    assert beside == (422, "unknown_field")
    assert await said(api, "POST", "workflows", json=[1]) == (400, "body_not_an_object")


async def test_versions_are_paged_shown_compared_and_restored(api: Api):
    workflow = await made(api)
    path = f"workflows/{workflow}"
    other = {**TRIGGERED, "nodes": [START, {**SET, "config": {"values": {"x": 2}}}], "viewport": {"zoom": 3}}
    await api.call("PUT", path, json=other)
    page = (await api.call("GET", f"{path}/versions?limit=1")).json()
    rest = (await api.call("GET", f"{path}/versions?limit=1&cursor={page['next_cursor']}")).json()
    first = (await api.call("GET", f"{path}/versions/1")).json()
    diff = (await api.call("GET", f"{path}/versions/1/diff")).json()
    same = (await api.call("GET", f"{path}/versions/1/diff?against=1")).json()
    tag = (await api.call("GET", path)).headers["etag"]
    stale = await said(api, "POST", f"{path}/versions/1/restore", headers={"If-Match": "1"})
    restored = await api.call(
        "POST", f"{path}/versions/1/restore", json={"change_message": "back"}, headers={"If-Match": tag}
    )

    assert [v["version"] for v in page["items"] + rest["items"]] == [2, 1]
    assert first["definition"]["nodes"][1]["config"] == SET["config"]
    assert (diff["before"], diff["after"], diff["functional"]) == (2, 1, True)
    assert diff["nodes_changed"] == [
        {
            "node_id": "a",
            "fields": [{"field": "config", "before": {"values": {"x": 2}}, "after": SET["config"]}],
        }
    ]
    assert same["functional"] is False
    assert stale == (409, "conflict")
    assert (restored.status_code, restored.json()["version"]) == (200, 3)
    assert restored.json()["definition"]["nodes"][1]["config"] == SET["config"]
    assert restored.json()["definition"]["viewport"] == {"zoom": 3}
    newest = (await api.call("GET", f"{path}/versions/3")).json()
    assert newest["change_message"] == "back"
    ran = (await api.call("POST", f"{path}/execute?wait=10", json={"input": {"n": 5}})).json()
    assert (ran["workflow_version"], ran["output"]) == (3, {"a": [{"n": 5, "x": 5}]})


async def test_validating_tells_everything_and_stores_nothing(api: Api, dsn: str):
    cases: list[tuple[Any, bool, str]] = [
        (TRIGGERED, True, ""),
        ({"definition": DOCUMENT}, True, "no_trigger"),
        ({"name": "w", "nodes": [{"id": "a", "type": "no.such"}]}, False, "invalid_node_type"),
        ({"name": "w", "colour": 1}, False, "unknown_field"),
        ({"name": 7}, False, "malformed_document"),
        ([1], False, "malformed_document"),
        ({"definition": None}, False, "malformed_document"),
        ({}, False, "malformed_document"),
    ]
    for body, valid, code in cases:
        response = await api.call("POST", "workflows/validate", by="viewer", json=body)
        found = response.json()
        assert (response.status_code, found["valid"]) == (200, valid), body
        assert [finding["code"] for finding in found["findings"]][:1] == ([code] if code else []), body
    broken = await api.call("POST", "workflows/validate", content=b"{")
    assert (broken.status_code, broken.json()["code"]) == (400, "not_json")
    assert rows_in(dsn, "workflows") == 0


async def test_a_large_document_is_compiled_beside_the_loop(api: Api):
    nodes = [{"id": f"n{i}", "type": "data.set", "config": {"values": {"x": i}}} for i in range(1_500)]
    joined = [{"source": f"n{i}", "target": f"n{i + 1}"} for i in range(1_499)]
    document = {"name": "large", "nodes": nodes, "connections": joined}
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    found = (await api.call("POST", "workflows/validate", json=document)).json()
    ticking.cancel()

    assert found["valid"]
    assert ticks > 3


async def test_more_large_documents_than_can_wait_are_refused_for_now(api: Api):
    large = {"name": "large", "nodes": [{"id": f"n{i}", "type": "data.set"} for i in range(12_000)]}

    answers = await asyncio.gather(*(api.call("POST", "workflows/validate", json=large) for _ in range(10)))
    later = await api.call("POST", "workflows/validate", json=large)

    refused = [response for response in answers if response.status_code == 429]
    assert 0 < len(refused) < 10
    assert (refused[0].json()["code"], refused[0].headers["retry-after"]) == ("overloaded", "2")
    assert later.json()["findings"][0]["code"] == "too_many_nodes"


async def test_a_clone_is_a_draft_of_its_own_with_a_free_name(api: Api):
    workflow = await made(api, description="d", tags=["t"])
    await api.call("POST", f"workflows/{workflow}/activate")

    first = await api.call("POST", f"workflows/{workflow}/clone")
    second = (await api.call("POST", f"workflows/{workflow}/clone", json={})).json()
    named = (await api.call("POST", f"workflows/{workflow}/clone", json={"name": "n"})).json()
    wrong = await said(api, "POST", f"workflows/{workflow}/clone", json={"name": ""})

    copy = first.json()
    assert first.status_code == 201
    assert first.headers["location"].endswith(copy["id"])
    assert [copy["name"], second["name"], named["name"]] == ["w (2)", "w (3)", "n"]
    assert (copy["status"], copy["version"], copy["description"], copy["tags"]) == ("draft", 1, "d", ["t"])
    assert wrong == (422, "name_invalid")
    assert (await api.call("POST", f"workflows/{copy['id']}/execute?wait=10", json={})).json()["status"] == "completed"


async def test_clones_that_are_made_at_once_have_names_of_their_own(api: Api):
    workflow = await made(api)

    copies = await asyncio.gather(*(api.call("POST", f"workflows/{workflow}/clone") for _ in range(5)))

    assert {copy.json()["name"] for copy in copies} == {f"w ({number})" for number in range(2, 7)}


async def test_what_was_exported_comes_in_again(api: Api):
    secret = {**SET, "config": {"values": {"password": "hunter2", "x": 1}}}
    workflow = await made(api, {**TRIGGERED, "nodes": [START, secret]}, description="d", tags=["t"])

    exported = await api.call("GET", f"workflows/{workflow}/export")
    imported = await api.call("POST", "workflows/import", json=[exported.json(), exported.json(), DOCUMENT])

    file = exported.json()
    assert exported.headers["content-disposition"].startswith('attachment; filename="w-')
    assert "hunter2" not in exported.text
    assert workflow not in exported.text
    assert str(api.workspace_id) not in exported.text
    assert file["removed"] == ["nodes.a.config.values.password"]
    assert (file["format"], file["format_version"]) == ("rayloom.workflow", 1)
    assert imported.status_code == 201
    items = imported.json()["items"]
    assert [item["name"] for item in items] == ["w (2)", "w (3)", "w (4)"]
    assert (items[0]["description"], items[0]["tags"], items[0]["status"]) == ("d", ["t"], "draft")
    assert items[2]["warnings"][0]["code"] == "no_trigger"


BAD_IMPORTS: list[tuple[Any, int, str]] = [
    ([], 422, "import_count"),
    ([DOCUMENT] * 101, 422, "import_count"),
    ([DOCUMENT, 7], 400, "body_not_an_object"),
    ([DOCUMENT, {"name": "w", "nodes": [{"id": "a", "type": "no.such"}]}], 422, "import_invalid"),
    ([DOCUMENT, {"definition": DOCUMENT, "colour": 1}], 422, "unknown_field"),
    ([DOCUMENT, {"definition": DOCUMENT, "format_version": 2}], 422, "import_format"),
    ([DOCUMENT, {"definition": DOCUMENT, "tags": "t"}], 422, "invalid_fields"),
    ([DOCUMENT, {**DOCUMENT, "colour": 1}], 422, "import_invalid"),
    ([DOCUMENT, {"definition": DOCUMENT, "description": 7}], 422, "invalid_fields"),
    ([DOCUMENT, {"definition": DOCUMENT, "name": 7}], 422, "invalid_fields"),
    ({"name": "w", "nodes": [{"id": f"n{i}"} for i in range(20_001)]}, 413, "import_too_large"),
]


async def test_an_import_that_is_not_all_right_leaves_nothing(api: Api, dsn: str):
    for body, status, code in BAD_IMPORTS:
        assert await said(api, "POST", "workflows/import", json=body) == (status, code), str(body)[:200]
    wrong = (await api.call("POST", "workflows/import", json=BAD_IMPORTS[3][0])).json()["workflows"]
    assert [(one["index"], one["findings"][0]["code"]) for one in wrong] == [(1, "invalid_node_type")]
    assert rows_in(dsn, "workflows") == 0


async def listed(api: Api, query: str) -> list[str]:
    """Return the names of all pages."""
    names: list[str] = []
    cursor = ""
    while True:
        page = (await api.call("GET", f"workflows?{query}{cursor}")).json()
        names += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            return names
        cursor = f"&cursor={page['next_cursor']}"


async def test_workflows_are_filtered_sorted_and_paged(api: Api):
    for name, tags in (("beta", ["x"]), ("Alpha", ["x", "y"]), ("gamma 100%", []), ("delta", ["y"])):
        await made(api, {**TRIGGERED, "name": name}, tags=tags, description=f"about {name.upper()}")
    ids = {item["name"]: item["id"] for item in (await api.call("GET", "workflows")).json()["items"]}
    await api.call("POST", f"workflows/{ids['beta']}/activate")
    await api.call("DELETE", f"workflows/{ids['delta']}")

    assert await listed(api, "limit=1") == ["gamma 100%", "Alpha", "beta"]
    assert await listed(api, "limit=1&sort=name") == ["Alpha", "beta", "gamma 100%"]
    assert await listed(api, "limit=1&sort=updated_at") == ["beta", "gamma 100%", "Alpha"]
    assert await listed(api, "status=archived") == ["delta"]
    assert await listed(api, "status=archived&status=active") == ["delta", "beta"]
    assert await listed(api, "tag=x") == ["Alpha", "beta"]
    assert await listed(api, "tag=x&tag=y") == ["Alpha"]
    assert await listed(api, "q=ALPH") == ["Alpha"]
    assert await listed(api, "q=about+b") == ["beta"]
    assert await listed(api, "q=%25") == ["gamma 100%"]
    assert await listed(api, "q=_") == []
    tags = (await api.call("GET", "workflows/tags")).json()["items"]
    assert tags == [{"tag": "x", "count": 2}, {"tag": "y", "count": 1}]
    cursor = (await api.call("GET", "workflows?limit=1&sort=name")).json()["next_cursor"]
    assert await said(api, "GET", f"workflows?cursor={cursor}") == (422, "cursor_invalid")


BAD_ASKS = [
    ("GET", "workflows?status=happy", "invalid_parameters"),
    ("GET", "workflows?sort=colour", "invalid_parameters"),
    ("GET", "workflows?q=%00", "nul_not_allowed"),
    ("GET", "workflows?tag=%00", "nul_not_allowed"),
    ("GET", "workflows?cursor=x", "cursor_invalid"),
    ("GET", "workflows/{id}/versions?cursor=x", "cursor_invalid"),
    ("GET", "workflows/{id}/versions?cursor=99999999999999999999999", "cursor_invalid"),
    ("GET", "workflows/{id}/versions/0", "invalid_parameters"),
    ("GET", "workflows/{id}/versions/99999999999", "invalid_parameters"),
    ("GET", "workflows/{id}/versions/1/diff?against=x", "invalid_parameters"),
    ("POST", "workflows/{id}/versions/1/restore", "change_message_invalid"),
]


async def test_bad_parameters_of_workflows_are_clear_problems(api: Api):
    workflow = await made(api)
    for method, path, code in BAD_ASKS:
        body = {"json": {"change_message": 7}} if method == "POST" else {}
        assert await said(api, method, path.format(id=workflow), **body) == (422, code), path
    assert await said(api, "GET", f"workflows/{workflow}/versions/7") == (404, "not_found")
    assert await said(api, "GET", f"workflows/{workflow}/versions/1/diff?against=7") == (404, "not_found")
    assert await said(api, "PUT", f"workflows/{workflow}", json={**TRIGGERED, "tags": ["x" * 101]}) == (
        422,
        "invalid_fields",
    )


async def test_viewers_are_shown_no_secrets_and_what_they_are_shown_is_not_stored(api: Api):
    def asking(key: str) -> dict[str, Any]:
        return {"name": "keyed", "nodes": [{"id": "a", "type": "ai.llm", "config": {"prompt": "p", "api_key": key}}]}

    path = f"workflows/{await made(api, asking('key-of-old'))}"
    await api.call("PUT", path, json=asking("key-of-now"))
    shown = [path, f"{path}/versions/1", f"{path}/versions/2/diff?against=1", f"{path}/export"]

    for by, keys in (("viewer", 0), ("member", 3)):
        texts = [(await api.call("GET", each, by=by)).text for each in shown]
        assert sum("key-of-" in text for text in texts) == keys, by
    diff = (await api.call("GET", shown[2], by="viewer")).json()
    assert [change["field"] for change in diff["nodes_changed"][0]["fields"]] == ["config"]

    masked = (await api.call("GET", path, by="viewer")).json()["definition"]
    assert masked["nodes"][0]["config"]["api_key"] == HIDDEN
    refused = (await api.call("PUT", path, json=masked)).json()
    assert [(each["code"], each["field"]) for each in refused["findings"]][:1] == [("hidden_secret", "config.api_key")]
    assert await said(api, "POST", "executions", json={"definition": masked}) == (422, "invalid_definition")
    kept = (await api.call("GET", path)).json()
    assert (kept["version"], kept["definition"]["nodes"][0]["config"]["api_key"]) == (2, "key-of-now")
