"""Workflows that execute workflows, held against each other when they are stored, validated, activated, restored or imported."""

from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import psycopg

from store.sub_workflows import LOOKED_AT_MAX, PostgresSubWorkflows
from tests.integration.api.conftest import Api
from workflow.document import parse_document
from workflow.sub_workflows import Callers, Target, calls_of, targets_of

CALLERS = Callers(
    nodes=("action.execute_workflow", "execute_workflow", "sub_workflow", "subworkflow"), tools=("ai.agent",)
)


def calling(*workflows: object, name: str = "w", **config: Any) -> dict[str, Any]:
    calls = [
        {"id": f"c{place}", "type": "action.execute_workflow", "config": {"workflow_id": str(workflow), **config}}
        for place, workflow in enumerate(workflows)
    ]
    return {
        "name": name,
        "nodes": [{"id": "t", "type": "trigger.manual"}, *calls],
        "connections": [{"source": "t", "target": call["id"]} for call in calls],
    }


def choosing(*workflows: object) -> dict[str, Any]:
    tools = [
        {"name": f"t{place}", "description": "a tool", "workflow_id": str(workflow)}
        for place, workflow in enumerate(workflows)
    ]
    return {
        "name": "w",
        "nodes": [
            {"id": "t", "type": "trigger.manual"},
            {"id": "a", "type": "ai.agent", "config": {"prompt": "hello", "tools": tools}},
        ],
        "connections": [{"source": "t", "target": "a"}],
    }


async def made(api: Api, *workflows: object, **more: Any) -> str:
    response = await api.call("POST", "workflows", json=calling(*workflows, **more))
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def codes(response: httpx2.Response) -> list[str]:
    body = response.json()
    return [finding["code"] for finding in body.get("findings", body.get("warnings", []))]


async def test_a_circle_is_refused_when_the_last_of_it_is_stored(api: Api):
    first = await made(api)
    second = await made(api, first)
    third = await made(api, second)

    refused = await api.call("PUT", f"workflows/{first}", json=calling(third, name="first"))

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_definition")
    (finding,) = refused.json()["findings"]
    assert (finding["code"], finding["node_id"]) == ("circular_sub_workflow", "c0")
    assert finding["message"].endswith(": this workflow → 'w' → 'w' → this workflow")
    itself = await api.call("PUT", f"workflows/{first}", json=calling(first))
    assert codes(itself) == ["circular_sub_workflow"]
    assert (await api.call("GET", f"workflows/{first}")).json()["version"] == 1


async def test_a_circle_by_way_of_the_tools_of_an_agent_is_refused_too(api: Api):
    first = await made(api)
    second = await made(api, first)
    third = await api.call("POST", "workflows", json=choosing(second))
    fourth = await made(api, third.json()["id"])

    directly = await api.call("PUT", f"workflows/{first}", json=choosing(first))
    below = await api.call("PUT", f"workflows/{first}", json=choosing(uuid4(), fourth))
    above = await api.call("PUT", f"workflows/{first}", json=calling(fourth))

    assert [(found["code"], found["field"]) for found in directly.json()["findings"]] == [
        ("circular_sub_workflow", "config.tools.0.workflow_id")
    ]
    missing, circle = below.json()["findings"]
    assert (missing["code"], missing["field"]) == ("sub_workflow_not_found", "config.tools.0.workflow_id")
    assert (circle["code"], circle["field"]) == ("circular_sub_workflow", "config.tools.1.workflow_id")
    assert circle["message"].endswith("this workflow → 'w' → 'w' → 'w' → this workflow")
    assert codes(above) == ["circular_sub_workflow"]


async def test_what_is_in_no_circle_or_disabled_is_stored(api: Api):
    first = await made(api)
    second = await made(api, first)
    document = calling(second)
    document["nodes"][1]["disabled"] = True
    response = await api.call("PUT", f"workflows/{first}", json=document)
    assert (response.status_code, codes(response)) == (200, [])
    assert codes(await api.call("PUT", f"workflows/{second}", json=calling(first, first))) == []


async def test_a_chain_that_is_too_long_is_refused_and_the_longest_is_not(api: Api):
    chain = [await made(api, name="0")]
    for depth in range(1, 4):
        chain.append(await made(api, chain[-1], name=str(depth)))
    refused = await api.call("POST", "workflows", json=calling(chain[-1]))
    (finding,) = refused.json()["findings"]
    assert (refused.status_code, finding["code"]) == (422, "sub_workflow_too_deep")
    assert finding["message"].endswith("this workflow → '3' → '2' → '1' → '0'")


async def test_a_version_that_is_named_is_the_one_that_counts(api: Api):
    first = await made(api)
    second = await made(api)
    assert (await api.call("PUT", f"workflows/{second}", json=calling(first))).status_code == 200
    assert codes(await api.call("PUT", f"workflows/{first}", json=calling(second))) == ["circular_sub_workflow"]
    assert (await api.call("PUT", f"workflows/{first}", json=calling(second, version=1))).status_code == 200
    missing = await api.call("PUT", f"workflows/{first}", json=calling(second, version=7))
    assert (missing.status_code, codes(missing)) == (200, ["sub_workflow_not_found"])


async def test_what_is_not_there_or_elsewhere_or_archived_is_a_warning(api: Api):
    foreign = (
        await api.call("POST", f"/api/v1/workspaces/{api.elsewhere}/workflows", by="stranger", json=calling())
    ).json()
    archived = await made(api)
    assert (await api.call("DELETE", f"workflows/{archived}")).status_code == 204

    response = await api.call("POST", "workflows", json=calling(uuid4(), foreign["id"], archived, "none"))

    assert response.status_code == 201
    assert codes(response) == ["sub_workflow_not_found"] * 2 + ["sub_workflow_archived", "sub_workflow_not_found"]
    theirs = await api.call(
        "POST", f"/api/v1/workspaces/{api.elsewhere}/workflows/validate", by="stranger", json=calling(archived)
    )
    assert codes(theirs) == ["sub_workflow_not_found"], (
        "of another workspace nothing is seen, not even that it is archived"
    )


async def test_validating_says_the_same_and_knows_circles_of_a_workflow_that_is_named(api: Api):
    first = await made(api)
    second = await made(api, first)
    plain = await api.call("POST", "workflows/validate", json=calling(second), by="viewer")
    assert (plain.json()["valid"], codes(plain)) == (True, [])
    named = await api.call("POST", f"workflows/validate?workflow_id={first}", json=calling(second), by="viewer")
    assert (named.json()["valid"], codes(named)) == (False, ["circular_sub_workflow"])
    broken = calling(uuid4())
    broken["nodes"].append({"id": "x", "type": "no.such"})
    both = await api.call("POST", "workflows/validate", json=broken)
    assert codes(both) == ["invalid_node_type", "sub_workflow_not_found"]


async def test_a_circle_that_was_closed_at_the_same_time_is_refused_when_activating_and_restoring(api: Api, dsn: str):
    first = await made(api)
    second = await made(api, first)
    document = calling(second)
    parts = (orjson.dumps(document["nodes"]).decode(), orjson.dumps(document["connections"]).decode(), first)
    with psycopg.connect(dsn) as connection:  # as two replicas may, each of which saw no circle
        connection.execute("UPDATE workflows SET nodes = %s::json, connections = %s::json WHERE id = %s", parts)
        connection.execute(
            "UPDATE workflow_versions SET nodes = %s::json, connections = %s::json WHERE workflow_id = %s", parts
        )

    activated = await api.call("POST", f"workflows/{first}/activate")
    restored = await api.call("POST", f"workflows/{first}/versions/1/restore")
    execution = await api.call("POST", f"workflows/{first}/execute?wait=20", json={"input": {}})

    assert (activated.status_code, codes(activated)) == (422, ["circular_sub_workflow"])
    assert (restored.status_code, codes(restored)) == (422, ["circular_sub_workflow"])
    assert execution.json()["status"] == "failed"
    assert execution.json()["error"]["code"] == "child_failed", (
        "the second was started, and may not start the first again"
    )
    with psycopg.connect(dsn) as connection:
        failed = connection.execute("SELECT error_code FROM executions ORDER BY depth").fetchall()
    assert failed == [("child_failed",), ("workflow_circular",)]


async def test_an_import_is_held_against_what_is_there(api: Api):
    first = await made(api)
    second = await made(api, first)
    third = await made(api, second)
    fourth = await made(api, third)
    fine = await api.call("POST", "workflows/import", json=[calling(third), calling(uuid4())])
    assert [codes(httpx2.Response(200, json=item)) for item in fine.json()["items"]] == [[], ["sub_workflow_not_found"]]
    refused = await api.call("POST", "workflows/import", json=[calling(third), calling(fourth)])
    assert (refused.status_code, refused.json()["code"]) == (422, "import_invalid")
    (wrong,) = refused.json()["workflows"]
    assert (wrong["index"], wrong["findings"][0]["code"]) == (1, "sub_workflow_too_deep")


async def test_the_statement_and_the_reading_of_a_document_mean_the_same_calls(api: Api, pool):
    other = uuid4()
    variants: list[dict[str, Any]] = [
        {},
        {"config": {"workflow_id": str(other).upper()}},
        {"config": {"workflow_id": other.hex, "version": 3}},
        {"config": {"workflow_id": str(other), "version": 2.0}},
        {"config": {"workflow_id": str(other), "version": None}},
        {"config": {"workflow_id": str(other), "version": "{{ $json.v }}"}},
        {"config": {"workflow_id": "{{ $json.id }}"}},
        {"config": {"workflow_id": "none"}},
        {"disabled": True},
        {"pinned": {"main": []}},
        {"type": "sub_workflow"},
    ]
    document = calling(*[uuid4() for _ in variants])
    for node, variant in zip(document["nodes"][1:], variants, strict=True):
        node.update(variant)
    for place, agent in enumerate((choosing(uuid4(), "none", uuid4().hex), choosing(uuid4()), choosing())):
        document["nodes"].append({**agent["nodes"][1], "id": f"a{place}", "disabled": place == 1})
    response = await api.call("POST", "workflows", json=document)
    assert response.status_code == 201, response.text
    stored = Target(UUID(response.json()["id"]))

    below = await PostgresSubWorkflows(pool).below(api.workspace_id, [stored], CALLERS, 3)

    known = below[stored]
    assert known is not None
    assert set(known.executes) == set(targets_of(calls_of(parse_document(document), CALLERS)))
    assert len(known.executes) == 7
    assert [below[one] for one in known.executes] == [None] * 7


async def test_of_a_document_with_many_calls_a_bounded_part_is_looked_at(api: Api, pool):
    chain = [await made(api)]
    for _ in range(3):
        chain.append(await made(api, *chain * 20))
    document = calling(*[chain[place % 3] for place in range(900)], *[uuid4() for _ in range(900)])

    response = await api.call("POST", "workflows/validate", json=document)
    targets = targets_of(calls_of(parse_document(document), CALLERS))
    below = await PostgresSubWorkflows(pool).below(api.workspace_id, targets, CALLERS, 3)

    assert response.json()["valid"]
    assert len(targets) == 903
    assert len(below) == LOOKED_AT_MAX
