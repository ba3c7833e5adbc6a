"""`settings.concurrency` over HTTP: held, refused, the older ones stopped; children and error workflows, too."""

import asyncio
from typing import Any
from uuid import UUID

from tests.conftest import run_sql
from tests.integration.api.conftest import Api
from tests.integration.api.test_control import SOON_S, node_rows, post, until
from tests.integration.api.test_semantics import node

KEYED = "{{ $json.customer }}"


def workflow(name: str, nodes: list[dict], **concurrency: Any) -> dict:
    return {"name": name, "nodes": nodes, "settings": {"concurrency": {"key": KEYED, "limit": 1, **concurrency}}}


async def stored(api: Api, document: dict) -> str:
    answer = await api.call("POST", "workflows", json=document)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def execute(api: Api, workflow_id: str, customer: str, wait: float = 0) -> Any:
    return await api.call(
        "POST", f"workflows/{workflow_id}/execute?wait={wait}", json={"input": {"customer": customer}}
    )


async def items(api: Api, path: str) -> list[dict]:
    return (await api.call("GET", path)).json()["items"]


def waiting() -> dict:
    return node("w", "logic.wait", duration={"amount": 3600, "unit": "seconds"})


def held(dsn: str, execution_id: str) -> bool:
    return bool(run_sql(dsn, "SELECT held FROM executions WHERE id = %s", UUID(execution_id))[0][0])


async def test_one_of_a_customer_at_a_time_and_the_next_goes_on_when_it_has_ended(api: Api, dsn: str):
    workflow_id = await stored(api, workflow("one each", [waiting()]))
    answers = [(await execute(api, workflow_id, customer)).json() for customer in ("ada", "ada", "bob")]
    assert [(each["concurrency_key"], each["held"]) for each in answers] == [
        ("ada", False),
        ("ada", True),
        ("bob", False),
    ]
    first, second, other = [each["id"] for each in answers]
    await until(api, first, "waiting")
    await until(api, other, "waiting")
    assert (await until(api, second, "queued"))["status"] == "queued"
    assert held(dsn, second)
    view = (await api.call("GET", f"executions/{second}")).json()
    assert (view["concurrency_key"], view["held"]) == ("ada", True)
    listed = {each["id"]: (each["concurrency_key"], each["held"]) for each in await items(api, "executions")}
    assert listed == {first: ("ada", False), second: ("ada", True), other: ("bob", False)}
    assert [each["id"] for each in await items(api, "executions?held=true")] == [second]
    assert {each["id"] for each in await items(api, "executions?held=false")} == {first, other}
    await post(api, first, "cancel")
    await until(api, second, "waiting")

    assert not held(dsn, second)
    assert not (await api.call("GET", f"executions/{second}")).json()["held"]
    assert await items(api, "executions?held=true") == []


async def test_without_a_limit_there_is_no_key(api: Api):
    answer = (await api.run(node("a", "data.set", values={"a": 1}))).json()
    stored_view = (await api.call("GET", f"executions/{answer['id']}")).json()
    for view in (answer, stored_view, *await items(api, "executions")):
        assert (view["concurrency_key"], view["held"]) == (None, False)


async def test_beyond_the_limit_it_is_refused_and_nothing_is_left(api: Api, dsn: str):
    workflow_id = await stored(api, workflow("refused", [waiting()], on_limit="reject"))
    first = (await execute(api, workflow_id, "ada")).json()["id"]
    refused = await execute(api, workflow_id, "ada")

    assert (refused.status_code, refused.json()["code"]) == (409, "concurrency_limit")
    assert (refused.json()["limit"], refused.json()["key"]) == (1, "ada")
    assert (await execute(api, workflow_id, "bob")).status_code == 202
    assert run_sql(dsn, "SELECT count(*) FROM executions") == [(2,)]
    await until(api, first, "waiting")


async def test_a_newer_one_replaces_the_running_one(api: Api):
    workflow_id = await stored(api, workflow("newest", [waiting()], on_limit="cancel_running"))
    first = (await execute(api, workflow_id, "ada")).json()["id"]
    await until(api, first, "waiting")
    second = (await execute(api, workflow_id, "ada")).json()["id"]

    await until(api, first, "cancelled")
    await until(api, second, "waiting")


async def test_a_held_one_is_cancelled_without_any_node_having_begun(api: Api):
    nodes = [node("first", "data.set", values={"a": 1}), waiting()]
    document = {**workflow("held", nodes), "connections": [{"source": "first", "target": "w"}]}
    workflow_id = await stored(api, document)
    running, second = [(await execute(api, workflow_id, "ada")).json()["id"] for _ in range(2)]
    await until(api, running, "waiting")
    await post(api, second, "cancel")
    await until(api, second, "cancelled")

    assert {row["status"] for row in (await node_rows(api, second)).values()} <= {"cancelled", "skipped"}
    assert (await api.call("DELETE", f"executions/{second}")).status_code == 204
    await until(api, running, "waiting")


async def test_short_ones_of_one_key_go_one_after_the_other(api: Api):
    workflow_id = await stored(api, workflow("short", [node("a", "data.set", values={"a": 1})], key=""))
    async with asyncio.timeout(2 * SOON_S):
        ended = await asyncio.gather(*(execute(api, workflow_id, "ada", wait=20) for _ in range(12)))

    assert {each.json()["status"] for each in ended} == {"completed"}


async def test_definitions_that_are_not_stored_are_counted_by_name(api: Api):
    async def sent(name: str) -> Any:
        definition = workflow(name, [waiting()], on_limit="reject")
        return await api.call("POST", "executions", json={"definition": definition, "input": {"customer": "ada"}})

    assert [(await sent(name)).status_code for name in ("a", "a", "b")] == [202, 409, 202]


async def parent_of_a_limited_child(api: Api, on_limit: str) -> tuple[str, str, str]:
    """Return the child's workflow, an execution of it that waits, and an execution that starts another one."""
    child = await stored(api, workflow("child", [waiting()], on_limit=on_limit))
    running = (await execute(api, child, "ada")).json()["id"]
    await until(api, running, "waiting")
    parent = {"name": "parent", "nodes": [node("c", "action.execute_workflow", workflow_id=child)]}
    answer = await api.call("POST", "executions", json={"definition": parent, "input": {"customer": "ada"}})
    return child, running, answer.json()["id"]


async def test_children_are_held_like_others(api: Api, dsn: str):
    child, running, parent_id = await parent_of_a_limited_child(api, "queue")
    await until(api, parent_id, "waiting")
    [(child_id, is_held)] = run_sql(
        dsn, "SELECT id, held FROM executions WHERE parent_execution_id = %s", UUID(parent_id)
    )
    await post(api, running, "cancel")
    await until(api, str(child_id), "waiting")

    assert is_held
    assert run_sql(dsn, "SELECT count(*) FROM executions WHERE workflow_id = %s", UUID(child)) == [(2,)]


async def test_children_are_refused_like_others(api: Api, dsn: str):
    child, _, parent_id = await parent_of_a_limited_child(api, "reject")
    async with asyncio.timeout(SOON_S):
        while (failed := (await api.call("GET", f"executions/{parent_id}")).json())["status"] != "failed":
            await asyncio.sleep(0.01)

    assert failed["error"]["code"] == "concurrency_limit"
    assert run_sql(dsn, "SELECT count(*) FROM executions WHERE workflow_id = %s", UUID(child)) == [(1,)]


async def test_a_key_that_takes_an_engine_is_a_finding(api: Api):
    refused = await api.call("POST", "workflows", json=workflow("x", [waiting()], key="{{ $json.a.toUpperCase() }}"))

    assert refused.status_code == 422
    [finding] = refused.json()["findings"]
    assert (finding["code"], finding["field"]) == ("concurrency_key_not_plain", "settings.concurrency.key")


async def test_a_retry_waits_for_its_turn_like_the_others(api: Api, dsn: str):
    workflow_id = await stored(api, workflow("one each", [waiting()]))
    former = (await execute(api, workflow_id, "ada")).json()["id"]
    await until(api, former, "waiting")
    await post(api, former, "cancel")
    await until(api, former, "cancelled")
    present = (await execute(api, workflow_id, "ada")).json()["id"]
    await until(api, present, "waiting")
    again = (await post(api, former, "retry"))["id"]
    assert (await until(api, again, "queued"))["retry_count"] == 1
    assert held(dsn, again)
    await post(api, present, "cancel")

    await until(api, again, "waiting")


async def test_a_replay_with_another_input_or_version_has_their_key_and_limit(api: Api, dsn: str):
    workflow_id = await stored(api, workflow("one each", [waiting()]))
    ids = {name: (await execute(api, workflow_id, name)).json()["id"] for name in ("ada", "bob")}
    await until(api, ids["ada"], "waiting")
    await post(api, ids["ada"], "cancel")
    await until(api, ids["ada"], "cancelled")

    same = await api.call("POST", f"executions/{ids['ada']}/replay", json={})
    other = await api.call("POST", f"executions/{ids['ada']}/replay", json={"input": {"customer": "bob"}})
    unlimited = {"name": "one each", "nodes": [waiting()]}
    assert (await api.call("PUT", f"workflows/{workflow_id}", json=unlimited)).status_code == 200
    newer = await api.call("POST", f"executions/{ids['ada']}/replay", json={"version": 2})

    assert [each.json()["concurrency_key"] for each in (same, other, newer)] == ["ada", "bob", None]
    assert not held(dsn, newer.json()["id"])
    await until(api, newer.json()["id"], "waiting")
    assert held(dsn, other.json()["id"]), "one of bob is under way"
    await post(api, ids["bob"], "cancel")
    await until(api, other.json()["id"], "waiting")
