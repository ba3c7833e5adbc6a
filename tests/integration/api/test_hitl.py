"""Asking people: the inbox, answers by members and by links, failures that somebody decides about."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import run_sql
from tests.integration.api.conftest import Api
from tests.integration.api.test_control import begin, node_rows, post, until
from tests.integration.api.test_semantics import node

KEY = {"Idempotency-Key": "k"}


async def asked(api: Api, execution_id: str, by: str = "owner") -> dict:
    async with asyncio.timeout(15):
        while True:
            await until(api, execution_id, "waiting", "running")
            found = (await api.call("GET", f"hitl?execution_id={execution_id}&status=pending", by=by)).json()["items"]
            if found:
                assert len(found) == 1
                return found[0]
            await asyncio.sleep(0.01)


def failing() -> dict:
    return node("bad", "action.code", {"on_error": "ask"}, language="python", code="raise ValueError('no')")


async def respond(api: Api, request: dict, expected: int = 200, by: str = "owner", **body: Any) -> dict:
    answer = await api.call("POST", f"hitl/{request['id']}/respond", by=by, json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


def asking(**config: Any) -> dict:
    return node("ask", "hitl.request", title="Pay {{ $json.amount }}?", **config)


async def test_an_approval_routes_the_items(api: Api, dsn: str):
    execution_id = await begin(
        api, [asking(), node("yes"), node("no")], [("ask", "yes", "approved"), ("ask", "no", "rejected")], {"amount": 5}
    )
    request = await asked(api, execution_id)
    assert (request["title"], request["actions"], request["may_answer"]) == ("Pay 5?", ["approve", "reject"], True)
    decided = await respond(api, request, action="approve", comment="fine", by="member")
    assert (decided["status"], decided["response"]["comment"]) == ("approved", "fine")
    ended = await until(api, execution_id, "completed")

    [item] = ended["output"]["yes"]
    assert (item["amount"], item["hitl"]["status"], item["hitl"]["action"]) == (5, "approved", "approve")
    assert item["hitl"]["by"] == decided["responded_by"] is not None
    [(kind, response_ms)] = run_sql(dsn, "SELECT action_type, response_time_ms FROM audit_entries")
    assert kind == "approval"
    assert response_ms >= 0
    assert (await respond(api, request, 409, action="reject"))["code"] == "request_closed"


async def test_the_first_decision_wins_and_the_others_hear_of_it(api: Api):
    execution_id = await begin(api, [asking()], [], {"amount": 5})
    request = await asked(api, execution_id)
    answers = await asyncio.gather(
        *(
            api.call("POST", f"hitl/{request['id']}/respond", by=by, json={"action": action})
            for by in ("owner", "member")
            for action in ("approve", "reject")
        )
    )

    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]
    status = next(each.json()["status"] for each in answers if each.status_code == 200)
    ended = await until(api, execution_id, "completed")
    assert ended["output"]["ask"][0]["hitl"]["status"] == status


async def test_several_approvals_come_from_different_people(api: Api):
    execution_id = await begin(api, [asking(approvals=2)], [], {"amount": 5})
    request = await asked(api, execution_id)
    assert (await respond(api, request, action="approve"))["status"] == "pending"
    assert (await respond(api, request, 409, action="approve"))["code"] == "answered_already"
    assert (await respond(api, request, action="approve", by="member"))["status"] == "approved"

    ended = await until(api, execution_id, "completed")
    assert ended["output"]["ask"][0]["hitl"]["status"] == "approved"


async def test_the_link_is_no_second_person(api: Api):
    told = asking(approvals=2, message="{{ $execution.resume_url['ask'] }}")
    request = await asked(api, await begin(api, [told], [], {"amount": 5}))
    assert request["link"] is None
    path = urlsplit(request["message"]).path
    await respond(api, request, action="approve")

    for action in ("approve", "reject"):
        refused = await api.call("POST", path, by="", json={"action": action})
        assert (refused.status_code, refused.json()["code"]) == (403, "link_not_enough")
    html = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    page = await api.call("GET", path, by="", headers=html)
    assert ("<button" in page.text, "in the API" in page.text) == (False, True)
    assert (await api.call("POST", path, by="", headers=html, content="action=approve")).status_code == 403
    assert (await respond(api, request, action="approve", by="member"))["status"] == "approved"


async def test_who_may_answer(api: Api):
    execution_id = await begin(api, [asking(allowed_roles=["admin"])], [], {"amount": 5})
    request = await asked(api, execution_id)
    seen = (await api.call("GET", f"hitl/{request['id']}", by="viewer")).json()

    assert (seen["may_answer"], seen["link"]) == (False, None)
    assert (await respond(api, request, 403, action="approve", by="member"))["code"] == "role_not_asked"
    await respond(api, request, 403, action="approve", by="viewer")
    await respond(api, request, 404, action="approve", by="stranger")
    assert (await api.call("GET", f"hitl/{request['id']}", by="stranger")).status_code == 404
    assert (await api.call("GET", "hitl", by="")).status_code == 401
    await respond(api, request, action="approve")  # owners always may


async def test_it_is_escalated_after_a_while(api: Api, dsn: str):
    span = {"amount": 1, "unit": "hours"}
    execution_id = await begin(
        api, [asking(allowed_roles=["admin"], escalate_after=span, escalate_to="member")], [], {"amount": 5}
    )
    request = await asked(api, execution_id)
    await respond(api, request, 403, action="approve", by="member")
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '2 hours'")

    assert (await asked(api, execution_id, by="member"))["escalated"]
    await respond(api, request, action="approve", by="member")


async def test_it_is_escalated_where_no_roles_are_named(api: Api, dsn: str):
    span = {"amount": 1, "unit": "hours"}
    execution_id = await begin(api, [asking(escalate_after=span, escalate_to="viewer")], [], {"amount": 5})
    request = await asked(api, execution_id)
    assert (await respond(api, request, 403, action="approve", by="viewer"))["code"] == "role_not_asked"
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '2 hours'")

    shown = await asked(api, execution_id, by="viewer")
    assert (shown["escalated"], shown["may_answer"]) == (True, True)
    assert shown["allowed_roles"] == ["member", "admin", "owner", "viewer"]
    await respond(api, request, action="approve", by="viewer")


async def test_an_answer_while_it_is_paused_comes_too_late_when_the_time_is_over(api: Api, dsn: str):
    config = {"timeout": {"amount": 1, "unit": "hours"}, "auto_action": "reject"}
    execution_id = await begin(api, [asking(**config), node("no")], [("ask", "no", "rejected")], {"amount": 5})
    request = await asked(api, execution_id)
    await post(api, execution_id, "pause")
    await until(api, execution_id, "paused")
    run_sql(dsn, "UPDATE hitl_requests SET expires_at = clock_timestamp() - interval '1 ms'")

    refused = await respond(api, request, 409, action="approve")
    assert (refused["code"], refused["state"]) == ("request_closed", "timeout")
    assert (await api.call("GET", f"hitl/{request['id']}")).json()["status"] == "timeout"
    assert (await api.call("GET", "hitl?status=pending")).json()["items"] == []


async def test_what_time_decided_is_in_the_audit(api: Api, dsn: str):
    config = {"timeout": {"amount": 0.2, "unit": "seconds"}, "auto_action": "reject"}
    execution_id = await begin(api, [asking(**config), node("no")], [("ask", "no", "rejected")], {"amount": 5})
    ended = await until(api, execution_id, "completed")

    assert ended["output"]["no"][0]["hitl"]["action"] == "reject"
    entries = run_sql(dsn, "SELECT action_type, user_id, response FROM audit_entries")
    assert entries == [("approval", None, {"action": "reject", "automatic": True})]


async def test_a_reminder_shows_from_its_time_on_until_somebody_decides_and_wakes_nothing(api: Api, dsn: str):
    span = {"amount": 1, "unit": "hours"}
    execution_id = await begin(api, [asking(remind_after=span)], [], {"amount": 5})
    request = await asked(api, execution_id)
    await until(api, execution_id, "waiting")
    before = (await api.call("GET", f"executions/{execution_id}")).json()
    assert (request["reminded"], before["wake_at"]) == (False, None)
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '59 minutes'")
    assert not (await asked(api, execution_id))["reminded"]
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '1 minute'")
    assert (await asked(api, execution_id))["reminded"]
    after = (await api.call("GET", f"executions/{execution_id}")).json()
    assert (after["epoch"], after["last_seq"]) == (before["epoch"], before["last_seq"])

    await respond(api, request, action="approve")
    assert not (await api.call("GET", f"hitl/{request['id']}")).json()["reminded"]


async def test_a_clarification_takes_an_option_and_a_form(api: Api):
    form = {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1}}, "required": ["days"]}
    execution_id = await begin(
        api,
        [asking(type="clarification", options=[{"id": "later"}, {"id": "never"}], form_schema=form)],
        [],
        {"amount": 5},
    )
    request = await asked(api, execution_id)
    assert (await respond(api, request, 422, action="maybe"))["code"] == "action_invalid"
    problem = await respond(api, request, 422, action="later", data={"days": 0})
    assert (problem["code"], problem["errors"][0]["field"]) == ("data_invalid", "days")
    assert (await respond(api, request, 422, action="later", what=1))["code"] == "unknown_field"
    await respond(api, request, action="later", data={"days": 3})

    ended = await until(api, execution_id, "completed")
    told = ended["output"]["ask"][0]["hitl"]
    assert (told["status"], told["action"], told["data"]) == ("answered", "later", {"days": 3})


async def test_a_link_needs_no_login_and_works_once(api: Api):
    execution_id = await begin(api, [asking()], [], {"amount": 5})
    path = urlsplit((await asked(api, execution_id))["link"]).path
    shown = await api.call("GET", path, by="")
    assert (shown.json()["title"], shown.headers["cache-control"]) == ("Pay 5?", "no-store")
    assert "execution_id" not in shown.json()
    assert (await api.call("POST", path, by="", json={"action": "approve"})).status_code == 200
    again = await api.call("POST", path, by="", json={"action": "reject"})

    assert (again.status_code, again.json()["code"]) == (409, "request_closed")
    assert (await api.call("GET", path[:-1] + ("a" if path[-1] != "a" else "b"), by="")).status_code == 404
    assert (await until(api, execution_id, "completed"))["output"]["ask"][0]["hitl"]["by"] is None


async def test_a_link_takes_a_key_of_its_own(api: Api):
    first, second = [
        urlsplit((await asked(api, await begin(api, [asking()], [], {"amount": n})))["link"]).path for n in (1, 2)
    ]
    workspace_key = await api.call("POST", "workflows/validate", json={}, headers=KEY)
    answers = [await api.call("POST", first, by="", json={"action": "approve"}, headers=KEY) for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[0].json()["status"] == "approved"
    assert [each.headers.get("Idempotent-Replayed") for each in answers] == [None, "true"]
    other = await api.call("POST", first, by="", json={"action": "reject"}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await api.call("POST", second, by="", json={"action": "reject"}, headers=KEY)).json()[
        "status"
    ] == "rejected"
    assert (await api.call("POST", "workflows/validate", json={}, headers=KEY)).content == workspace_key.content
    described = (await api.client.get("/openapi.json")).json()["paths"]["/api/v1/respond/{token}"]["post"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in described["parameters"]]
    nowhere = await api.call("POST", first[:-3] + "abc", by="", json={"action": "approve"}, headers=KEY)
    assert nowhere.status_code == 404


async def test_a_browser_gets_a_page_and_sends_a_form(api: Api):
    form = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "ok": {"type": "boolean"}},
        "required": ["name", "age"],
    }
    title = "<script>alert(1)</script>"
    execution_id = await begin(api, [node("w", "logic.wait", mode="form", title=title, form_schema=form)], [])
    path = urlsplit((await asked(api, execution_id))["link"]).path
    html = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    page = await api.call("GET", path, by="", headers=html)
    assert "<script>" not in page.text
    assert 'name="data.age"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    refused = await api.call("POST", path, by="", headers=html, content="data.name=Ann&data.age=old")
    assert (refused.status_code, "does not fit the form" in refused.text) == (422, True)
    for fields in ("data.name=%00&data.age=1", f"data.name=Ann&data.age={'9' * 30}"):
        assert (await api.call("POST", path, by="", headers=html, content=fields)).status_code == 400
    sent = await api.call("POST", path, by="", headers=html, content="data.name=Ann&data.age=44&data.ok=on")

    assert sent.status_code == 200
    ended = await until(api, execution_id, "completed")
    assert ended["output"] == {"w": [{"name": "Ann", "age": 44, "ok": True}]}


@pytest.mark.parametrize("data", [None, "abc", [1, 2], 7, {}])
async def test_no_word_gets_past_a_form(api: Api, data: Any):
    form = {"type": "object", "properties": {"n": {"pattern": "^(a+)+$"}}, "required": ["n"]}
    execution_id = await begin(api, [node("w", "logic.wait", mode="form", form_schema=form)], [])
    path = urlsplit((await asked(api, execution_id))["link"]).path
    refused = await api.call("POST", path, by="", json={"action": "reject", "data": data})
    assert (refused.status_code, refused.json()["code"]) == (422, "action_invalid")
    assert (await api.call("POST", path, by="", json={"data": data})).json()["code"] == "data_invalid"
    slow = await api.call("POST", path, by="", json={"data": {"n": "a" * 100_000 + "!"}})
    assert (slow.status_code, slow.json()["errors"][0]["field"]) == (422, "n")
    assert (await api.call("POST", path, by="", json={"data": {"n": "aa"}})).status_code == 200
    assert (await until(api, execution_id, "completed"))["output"] == {"w": [{"n": "aa"}]}


async def test_an_earlier_node_can_send_the_link_of_a_later_one(api: Api):
    execution_id = await begin(
        api,
        [
            node("tell", "data.set", values={"url": "{{ $execution.resume_url['w'] }}"}),
            node("w", "logic.wait", mode="webhook"),
        ],
        [("tell", "w")],
    )
    await until(api, execution_id, "waiting")
    items = (await api.call("GET", f"executions/{execution_id}/nodes/tell/items")).json()["items"]
    path = urlsplit(items[0]["json"]["url"]).path
    assert (await api.call("POST", path, by="", json={"paid": [1, 2]})).status_code == 200

    ended = await until(api, execution_id, "completed")
    assert ended["output"] == {"w": [{"body": {"paid": [1, 2]}}]}


@pytest.mark.parametrize(
    ("answer", "status", "output"),
    [
        ({"action": "skip"}, "completed", {"end": [{"n": 1}]}),
        ({"action": "replace", "data": [{"n": 7}, {"n": 8}]}, "completed", {"end": [{"n": 7}, {"n": 8}]}),
        ({"action": "abort"}, "failed", None),
    ],
)
async def test_somebody_decides_about_a_failed_node(api: Api, answer: dict, status: str, output: Any):
    execution_id = await begin(api, [failing(), node("end")], [("bad", "end")], {"n": 1})
    request = await asked(api, execution_id)
    assert (request["type"], request["context"]["node_id"]) == ("error_recovery", "bad")
    assert "ValueError: no" in request["message"]
    row = (await node_rows(api, execution_id))["bad"]
    assert (row["status"], row["error"]["message"]) == ("waiting", request["message"])
    await respond(api, request, **answer)

    ended = await until(api, execution_id, status)
    assert ended["output"] == output
    if status == "failed":
        assert ended["error"]["message"] == request["message"]


@pytest.mark.parametrize(
    ("ask", "status", "output"),
    [
        ({"auto_action": "skip"}, "completed", {"end": [{"n": 1}]}),
        ({"auto_action": "abort"}, "failed", None),
        ({}, "failed", None),
    ],
)
async def test_time_decides_about_a_failed_node_when_nobody_does(
    api: Api, dsn: str, ask: dict, status: str, output: Any
):
    bad = {**failing(), "ask": {"timeout_ms": 1_000, **ask}}
    ended = await until(api, await begin(api, [bad, node("end")], [("bad", "end")], {"n": 1}), status)

    assert ended["output"] == output
    [request] = (await api.call("GET", f"hitl?execution_id={ended['id']}")).json()["items"]
    assert (request["status"], request["auto_action"]) == ("timeout", ask.get("auto_action", ""))
    assert run_sql(dsn, "SELECT action_type, user_id FROM audit_entries") == [("error_recovery", None)]


async def test_a_failed_node_that_rests_is_taken_up_when_its_time_is_over(api: Api, dsn: str):
    bad = {**failing(), "ask": {"timeout_ms": 3_600_000, "auto_action": "skip"}}
    execution_id = await begin(api, [bad, node("end")], [("bad", "end")], {"n": 1})
    request = await asked(api, execution_id)
    resting = await until(api, execution_id, "waiting")
    assert resting["wake_at"] == request["expires_at"]


async def test_who_is_asked_about_a_failed_node(api: Api, dsn: str):
    policy = {
        "allowed_roles": ["admin"],
        "escalate_after_ms": 60_000,
        "escalate_to": "viewer",
        "remind_after_ms": 60_000,
    }
    execution_id = await begin(api, [{**failing(), "ask": policy}, node("end")], [("bad", "end")], {"n": 1})
    request = await asked(api, execution_id)
    assert (request["expires_at"], request["reminded"]) == (None, False)
    assert (await respond(api, request, 403, action="skip", by="member"))["code"] == "role_not_asked"
    run_sql(dsn, "UPDATE hitl_requests SET created_at = created_at - interval '1 minute'")
    assert (await asked(api, execution_id))["reminded"]
    await respond(api, request, action="skip", by="viewer")

    await until(api, execution_id, "completed")


async def test_tried_again_it_may_fail_again_and_is_asked_about_again(api: Api):
    execution_id = await begin(api, [failing()], [], {"n": 1})
    first = await asked(api, execution_id)
    await respond(api, first, action="retry")
    async with asyncio.timeout(15):
        while (second := await asked(api, execution_id))["id"] == first["id"]:
            await asyncio.sleep(0.01)
    await respond(api, second, action="abort")

    assert (await until(api, execution_id, "failed"))["error"]["code"] == "code_error"


async def test_answers_wait_while_an_execution_is_paused(api: Api):
    execution_id = await begin(api, [asking(), node("end")], [("ask", "end", "approved")], {"amount": 5})
    request = await asked(api, execution_id)
    await post(api, execution_id, "pause")
    await until(api, execution_id, "paused")
    await respond(api, request, action="approve")
    assert (await until(api, execution_id, "paused"))["status"] == "paused"
    await post(api, execution_id, "resume")

    await until(api, execution_id, "completed")


async def test_the_requests_of_an_execution_that_has_ended_are_closed(api: Api):
    execution_id = await begin(api, [asking()], [], {"amount": 5})
    request = await asked(api, execution_id)
    await post(api, execution_id, "cancel")
    await until(api, execution_id, "cancelled")

    assert (await respond(api, request, 409, action="approve"))["state"] == "cancelled"
    assert (await api.call("GET", "hitl?status=pending")).json()["items"] == []
