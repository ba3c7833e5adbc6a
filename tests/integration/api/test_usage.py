"""What models cost: the calls of an execution, sums, and budgets that stop the next call."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from serve_app.usage_views import ModelCallOut
from tests.conftest import run_sql
from tests.integration.api.conftest import MODELS, Api, rows_in
from tests.integration.api.test_documents import LOOM, found, indexed
from tests.integration.api.test_routes import made_execution
from workflow.budgets import Budget, Budgets
from workflow.ledger import Price

TODAY = datetime.now(UTC).date()
PRICED = replace(MODELS, prices={"local/*": Price(prompt=Decimal(100_000), completion=Decimal(200_000))})
"""A tenth of a dollar for a word that is read, two tenths for one that is written."""


def limited(**budgets: Budget) -> Any:
    return replace(PRICED, budgets=Budgets(**budgets))


def asking(node_id: str = "ask", prompt: str = "one two three") -> dict[str, Any]:
    return {"id": node_id, "type": "ai.llm", "config": {"prompt": prompt}}


async def asked(api: Api, *nodes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Run nodes one after the other and return the execution."""
    ids = [node["id"] for node in nodes]
    answer = await api.run(*nodes, connections=tuple(pairwise(ids)), given={}, **settings)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("models", [PRICED])
async def test_the_calls_of_an_execution_are_listed_with_what_they_used(api: Api):
    execution = await asked(api, asking("a"), asking("b", "four words are here"))

    whole = (await api.call("GET", f"executions/{execution['id']}/model-calls", by="viewer")).json()
    first = (await api.call("GET", f"executions/{execution['id']}/model-calls?limit=1")).json()
    rest = (await api.call("GET", f"executions/{execution['id']}/model-calls?cursor={first['next_cursor']}")).json()

    call, other = whole["items"]
    assert call.keys() == ModelCallOut.model_fields.keys()
    assert (call["node_id"], call["run_index"], call["attempt"], call["kind"], other["node_id"]) == (
        "a",
        0,
        1,
        "chat",
        "b",
    )
    assert (call["provider"], call["model"], call["device"], call["host"]) == ("local", "words", "cpu float32", "here")
    assert (call["prompt_tokens"], call["completion_tokens"], call["estimated"], call["cost_usd"]) == (
        3,
        3,
        False,
        "0.9",
    )
    assert (call["gpu_ids"], call["batch_sizes"], call["duration_ms"] > 0) == ([], [1], True)
    assert call["at"].startswith(str(TODAY))
    assert whole["total"] == first["total"]
    assert whole["total"] == {
        "calls": 2,
        "prompt_tokens": 7,
        "completion_tokens": 7,
        "total_tokens": 14,
        "cost_usd": "2.1",
        "costs_unknown": 0,
        "estimates": 0,
    }
    assert [*first["items"], *rest["items"]] == whole["items"]
    assert (whole["next_cursor"], rest["next_cursor"]) == (None, None)


async def test_an_execution_that_asked_no_model_has_no_calls(api: Api):
    answer = await api.call("GET", f"executions/{await made_execution(api)}/model-calls")

    assert (answer.json()["items"], answer.json()["total"]["calls"], answer.json()["next_cursor"]) == ([], 0, None)


@pytest.mark.parametrize("models", [PRICED])
async def test_usage_is_summed_up_by_day_workflow_node_model_and_user(api: Api):
    made = (await api.call("POST", "workflows", json={"name": "Asks", "nodes": [asking()]})).json()
    await api.call("POST", f"workflows/{made['id']}/execute?wait=20", json={}, by="member")
    await asked(api, asking())
    await api.call("POST", "rag/search", json={"query": "two words"}, by="viewer")

    async def by(query: str) -> list[tuple[Any, ...]]:
        shown = (await api.call("GET", f"usage?{query}", by="viewer")).json()
        return [(each["key"], each["calls"], each["total_tokens"], each["cost_usd"]) for each in shown["items"]]

    whole = (await api.call("GET", "usage")).json()
    assert (whole["by"], whole["since"], whole["until"]) == ("day", str(TODAY - timedelta(days=29)), str(TODAY))
    assert (whole["total"]["calls"], whole["total"]["cost_usd"], whole["total"]["costs_unknown"]) == (3, "1.8", 1)
    assert await by("by=day") == [(str(TODAY), 3, 14, "1.8")]
    assert sorted(await by("by=workflow"), key=str) == [(made["id"], 1, 6, "0.9"), (None, 2, 8, "0.9")]
    assert await by(f"by=node&workflow_id={made['id']}") == [("ask", 1, 6, "0.9")]
    assert await by("by=model") == [("local/words", 2, 12, "1.8"), ("hosted/words", 1, 2, "0")]
    assert sorted(calls for _, calls, _, _ in await by("by=user")) == [1, 1, 1], "owner, member and viewer"
    names = {each["key"]: each["name"] for each in (await api.call("GET", "usage?by=workflow")).json()["items"]}
    assert names == {made["id"]: "Asks", None: None}
    assert await by(f"to={TODAY - timedelta(days=1)}") == []
    elsewhere = await api.call(
        "GET", f"/api/v1/workspaces/{api.elsewhere}/usage?by=node&workflow_id={made['id']}", by="stranger"
    )
    assert (elsewhere.json()["items"], elsewhere.json()["total"]["calls"]) == ([], 0)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("by=node", "workflow_missing"),
        ("by=colour", "invalid_parameters"),
        ("from=yesterday", "invalid_parameters"),
        ("workflow_id=7", "invalid_parameters"),
        ("from=2026-02-02&to=2026-02-01", "range_invalid"),
        ("from=2025-01-01&to=2026-01-02", "range_invalid"),
        ("from=2020-01-01", "range_invalid"),
        ("to=0001-01-01", "range_invalid"),
        ("from=0001-01-01&to=2026-01-01", "range_invalid"),
        ("to=9999-12-31", "range_invalid"),
    ],
)
async def test_ranges_and_sums_that_make_no_sense(api: Api, query: str, code: str):
    answer = await api.call("GET", f"usage?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_range_may_be_of_366_days_and_at_either_end_of_time(api: Api):
    for query in ("from=2025-01-01&to=2026-01-01", "from=2000-01-01&to=2000-01-01", "to=9999-12-30"):
        assert (await api.call("GET", f"usage?{query}")).status_code == 200, query
    assert (await api.call("GET", f"executions/{await made_execution(api)}/model-calls?cursor=x")).json()["code"] == (
        "cursor_invalid"
    )


@pytest.mark.parametrize("models", [limited(execution=Budget(tokens=6))])
async def test_an_execution_stops_before_the_call_that_its_budget_does_not_allow(api: Api, dsn: str):
    execution = await asked(api, asking("a"), {**asking("b"), "retry": {"max_attempts": 5}})

    assert (execution["status"], execution["error"]["code"], execution["error"]["node_id"]) == (
        "failed",
        "budget_exceeded",
        "b",
    )
    assert "execution_tokens of this execution is used up: 6 of 6 tokens" in execution["error"]["message"]
    assert rows_in(dsn, "model_calls") == 1
    (node,) = [
        one
        for one in (await api.call("GET", f"executions/{execution['id']}/nodes")).json()["items"]
        if one["node_id"] == "b"
    ]
    assert node["attempt"] == 1, "trying again is of no use"
    assert (await asked(api, asking()))["status"] == "completed", "another execution has a budget of its own"


@pytest.mark.parametrize("models", [limited(execution=Budget(usd=Decimal(100)))])
async def test_a_workflow_may_set_a_lower_budget_for_its_executions(api: Api):
    stopped = await asked(api, asking("a"), asking("b"), budget={"usd": 0.9})
    ample = await asked(api, asking("a"), asking("b"), budget={"usd": 0.91})

    assert (stopped["status"], stopped["error"]["code"]) == ("failed", "budget_exceeded")
    assert "0.9 of 0.9 US dollars" in stopped["error"]["message"]
    assert ample["status"] == "completed"


@pytest.mark.parametrize("models", [limited(execution=Budget(usd=Decimal("0.5")))])
async def test_a_workflow_cannot_set_a_higher_one(api: Api):
    execution = await asked(api, asking("a"), asking("b"), budget={"usd": 100})

    assert (execution["error"]["code"], execution["error"]["node_id"]) == ("budget_exceeded", "b")


@pytest.mark.parametrize(
    ("models", "budget"), [(PRICED, {"usd": 0.9}), (limited(execution=Budget(tokens=6)), None)], ids=["own", "instance"]
)
async def test_what_an_execution_starts_cannot_go_beyond_its_budget(api: Api, budget: dict[str, Any] | None):
    calling = {"id": "call", "type": "action.execute_workflow"}
    below = (await api.call("POST", "workflows", json={"name": "below", "nodes": [asking()]})).json()["id"]
    calling["config"] = {"workflow_id": below}
    nodes, joined = [asking("a"), calling], [{"source": "a", "target": "call"}]
    document = {"name": "w", "nodes": nodes, "connections": joined, "settings": {"budget": budget} if budget else {}}
    above = (await api.call("POST", "workflows", json=document)).json()["id"]

    execution = (await api.call("POST", f"workflows/{above}/execute?wait=30", json={})).json()

    assert (execution["status"], execution["error"]["node_id"]) == ("failed", "call")
    started = (await api.call("GET", f"executions?workflow_id={below}")).json()["items"]
    assert [each["error"]["code"] for each in started] == ["budget_exceeded"]
    assert "of an execution above this one is used up" in started[0]["error"]["message"]
    assert (await api.call("POST", f"workflows/{below}/execute?wait=30", json={})).json()["status"] == "completed"


@pytest.mark.parametrize("models", [limited(workspace_day=Budget(tokens=19))])
async def test_the_day_of_a_workspace_stops_executions_and_searches_alike(api: Api, dsn: str):
    await indexed(api, "looms.txt", LOOM)
    assert await found(api, "shuttle")
    await asked(api, asking())  # 12, 1 and 6 tokens

    stopped = await asked(api, asking())
    searched = await api.call("POST", "rag/search", json={"query": "shuttle"})
    answered = await api.call("POST", "rag/query", json={"query": "shuttle"})

    assert stopped["error"]["code"] == "budget_exceeded"
    for answer in (searched, answered):
        assert (answer.status_code, answer.json()["code"]) == (422, "budget_exceeded")
        assert "workspace_day_tokens" in answer.json()["detail"]
    assert (await api.call("POST", "rag/search", json={"query": "shuttle", "mode": "text"})).status_code == 200
    run_sql(dsn, "UPDATE usage_tracking SET date = date - 1")
    assert (await asked(api, asking()))["status"] == "completed", "it is another day"


async def test_a_budget_of_a_workflow_that_makes_no_sense_is_a_finding(api: Api):
    document = {"name": "w", "nodes": [asking()], "settings": {"budget": {"tokens": 0}}}
    answer = await api.call("POST", "executions", json={"definition": document})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_definition")
    assert answer.json()["findings"][0]["field"] == "settings.budget.tokens"
