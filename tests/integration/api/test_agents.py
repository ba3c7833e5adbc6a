"""Agents and streams through the API: calls are executions, approvals are requests, tokens come while they are written."""

import asyncio
from itertools import pairwise
from typing import Any

import orjson

from tests.integration.api.conftest import Api
from tests.models import BREAKS_ONCE, SLOW

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
DOUBLE = {
    "name": "double",
    "description": "Doubles a number.",
    "parameters": NUMBER,
    "node": {"type": "data.set", "config": {"include": "none", "values": {"doubled": "{{ $json.n * 2 }}"}}},
}


def document(node_type: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "w",
        "nodes": [{"id": "t", "type": "trigger.manual"}, {"id": "ai", "type": node_type, "config": config}],
        "connections": [{"source": "t", "target": "ai"}],
    }


async def executed(api: Api, definition: dict[str, Any], wait: int = 20) -> dict[str, Any]:
    response = await api.call("POST", f"executions?wait={wait}", json={"definition": definition, "input": {}})
    assert response.status_code in (200, 202), response.text
    return dict(response.json())


async def test_an_agent_calls_tools_as_executions_below_its_own(api: Api):
    stored = await api.call("POST", "workflows", json=document("data.set", {"values": {"stored": "{{ $json.n + 1 }}"}}))
    tools = [
        DOUBLE,
        {"name": "stored", "description": "A workflow.", "parameters": NUMBER, "workflow_id": stored.json()["id"]},
        {"name": "broken", "description": "Fails.", "node": {"type": "logic.stop_error", "config": {"message": "no"}}},
    ]
    prompt = 'call double {"n": 4}\ncall stored {"n": 1}\ncall broken {}\ncall double {"n": "x"}'

    done = await executed(api, document("ai.agent", {"prompt": prompt, "tools": tools}))

    assert done["status"] == "completed", done
    (answer,) = done["output"]["ai"]
    steps = answer["steps"]
    assert [(step["tool"], step["status"]) for step in steps] == [
        ("double", "completed"),
        ("stored", "completed"),
        ("broken", "failed"),
        ("double", "refused"),
    ]
    assert orjson.loads(steps[0]["result"]) == {"doubled": 8}
    assert orjson.loads(steps[1]["result"])["stored"] == 2
    assert answer["turns"] == 2
    child = (await api.call("GET", f"executions/{steps[0]['execution_id']}")).json()
    assert (child["status"], child["parent_execution_id"], child["workflow_id"]) == ("completed", done["id"], None)


async def test_a_call_waits_for_whoever_must_approve_it(api: Api):
    config = {"prompt": 'call double {"n": 4}', "tools": [{**DOUBLE, "approval": True}]}
    begun = await executed(api, document("ai.agent", config), wait=0)

    async def asked() -> dict[str, Any]:
        while True:
            found = (await api.call("GET", f"hitl?execution_id={begun['id']}&status=pending")).json()["items"]
            if found:
                return dict(found[0])
            await asyncio.sleep(0.02)

    request = await asyncio.wait_for(asked(), 20)
    assert request["context"] == {"tool": "double", "arguments": {"n": 4}}
    answered = await api.call("POST", f"hitl/{request['id']}/respond", json={"action": "reject", "comment": "too dear"})
    assert answered.status_code == 200, answered.text

    async def ended() -> dict[str, Any]:
        while True:
            found = (await api.call("GET", f"executions/{begun['id']}")).json()
            if found["status"] in ("completed", "failed"):
                return dict(found)
            await asyncio.sleep(0.02)

    done = await asyncio.wait_for(ended(), 20)
    (step,) = done["output"]["ai"][0]["steps"]
    assert (step["status"], "too dear" in step["result"]) == ("not_approved", True)


async def test_tools_are_compiled_with_the_workflow_that_holds_them(api: Api):
    config = {"prompt": "p", "tools": [{**DOUBLE, "node": {"type": "no.such"}}]}
    refused = await api.call("POST", "workflows", json=document("ai.agent", config))
    assert refused.status_code == 422
    (finding,) = refused.json()["findings"]
    assert (finding["code"], finding["field"]) == ("invalid_node_type", "config.tools.0.node")


def parsed(text: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return the events of a stream: kind, number and data."""
    events = []
    for block in filter(None, text.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append((fields["event"], fields.get("id"), orjson.loads(fields["data"])))
    return events


async def test_tokens_come_between_the_numbered_events_and_the_event_carries_the_text(api: Api):
    prompt = " ".join(["word0", *[SLOW] * 50, "end"])
    begun = await executed(api, document("ai.llm", {"prompt": prompt}), wait=0)
    stream = await api.call("GET", f"executions/{begun['id']}/events")
    events = parsed(stream.text)

    kinds = [kind for kind, _, _ in events]
    assert kinds[-1] == "execution.completed"
    assert [number for kind, number, _ in events if kind in ("token", "rollback")] == [None] * kinds.count("token")
    pieces = [data for kind, _, data in events if kind == "token"]
    assert len(pieces) > 5
    assert (pieces[0]["offset"], pieces[0]["text"].split(" ")[0]) == (0, "word0"), "who comes late is told all of it"
    assert all(piece["node_id"] == "ai" and piece["attempt"] == 1 for piece in pieces)
    for one, other in pairwise(pieces):
        assert other["offset"] == one["offset"] + len(one["text"])
    (ended,) = [data for kind, _, data in events if kind == "node.completed" and data["node_id"] == "ai"]
    assert ended["text"].startswith(f"word0 {SLOW}")
    assert "".join(piece["text"] for piece in pieces).strip() == prompt


async def test_an_answer_from_documents_as_a_stream(api: Api):
    made = await api.call("POST", "collections", json={"name": "streamed"})
    assert made.status_code == 201, made.text
    asked = {"query": "anything at all?", "collection": "streamed", "stream": True}

    response = await api.call("POST", "rag/query", json=asked)

    assert response.headers["content-type"].startswith("text/event-stream")
    events = parsed(response.text)
    assert [kind for kind, _, _ in events][-2:] == ["answer", "execution.completed"]
    told = events[-2][2]
    assert (told["sources"], bool(told["execution_id"]), bool(told["content"])) == ([], True, True)


async def test_a_streamed_answer_that_fails_tells_the_problem(api: Api):
    response = await api.call("POST", "rag/query", json={"query": "what?", "collection": "no-such", "stream": True})
    events = parsed(response.text)
    assert [kind for kind, _, _ in events][-2:] == ["problem", "execution.failed"]
    assert (events[-2][2]["code"], events[-2][2]["status"]) == ("collection_not_found", 404)


async def test_an_execution_can_be_asked_for_as_a_stream(api: Api):
    prompt = " ".join(["word0", *[SLOW] * 20, "end"])
    body = {"definition": document("ai.llm", {"prompt": prompt}), "input": {}}

    response = await api.call("POST", "executions?stream=true", json=body)

    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    identity = response.headers["location"].rsplit("/", 1)[1]
    assert (await api.call("GET", f"executions/{identity}")).json()["status"] == "completed"
    kinds = [kind for kind, _, _ in parsed(response.text)]
    assert (kinds[0], kinds[-1], "token" in kinds) == ("execution.started", "execution.completed", True)
    refused = await api.call("POST", "executions?stream=perhaps", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "stream_invalid")


async def test_what_a_failed_attempt_has_written_is_taken_back(api: Api):
    prompt = " ".join(["word0", *[SLOW] * 20, BREAKS_ONCE, "end"])
    definition = document("ai.llm", {"prompt": prompt})
    definition["nodes"][1]["retry"] = {"max_attempts": 2, "initial_ms": 10}

    response = await api.call("POST", "executions?stream=true", json={"definition": definition, "input": {}})

    events = parsed(response.text)
    kinds = [kind for kind, _, _ in events]
    assert "rollback" in kinds, events[-3:]
    at = kinds.index("rollback")
    assert (kinds[-1], kinds.count("rollback")) == ("execution.completed", 1)
    assert {data["attempt"] for kind, _, data in events[:at] if kind == "token"} == {1}
    assert events[at][2] == {"node_id": "ai", "run_index": 0, "attempt": 2, "item_index": 0}
    text = "".join(data["text"] for kind, _, data in events[at:] if kind == "token")
    assert text.strip() == prompt
