"""What loops, retries, failed items and time limits look like to those who ask over HTTP."""

from typing import Any

from tests.integration.api.conftest import Api

FAST = {"max_attempts": 3, "backoff": "fixed", "initial_ms": 1, "max_ms": 1}


def node(node_id: str, node_type: str = "logic.noop", fields: dict[str, Any] | None = None, **config: Any) -> dict:
    return {"id": node_id, "type": node_type, "config": config, **(fields or {})}


async def run(api: Api, nodes: list[dict], hops: list[tuple[str, str, str]], given: Any, **settings: Any) -> dict:
    definition = {
        "name": "test",
        "nodes": [node("start", "trigger.manual"), *nodes],
        "connections": [{"source": a, "sourceHandle": handle, "target": b} for a, handle, b in hops],
        "settings": settings,
    }
    answer = await api.call("POST", "executions?wait=20", json={"definition": definition, "input": given})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def rows(api: Api, ended: dict) -> dict[str, list[tuple[int, str, int]]]:
    """Return run index, status and attempt of each node's runs."""
    found: dict[str, list[tuple[int, str, int]]] = {}
    for row in (await api.call("GET", f"executions/{ended['id']}/nodes")).json()["items"]:
        found.setdefault(row["node_id"], []).append((row["run_index"], row["status"], row["attempt"]))
    return {name: sorted(runs) for name, runs in found.items()}


async def kinds(api: Api, ended: dict, name: str) -> list[str]:
    """Return the kinds of the events in the stream that are about a node."""
    stream = (await api.call("GET", f"executions/{ended['id']}/events")).text
    blocks = [block for block in stream.split("\n\n") if f'"node_id":"{name}"' in block.replace(" ", "")]
    return [
        line.removeprefix("event: ") for block in blocks for line in block.splitlines() if line.startswith("event:")
    ]


async def test_a_loop_in_a_loop_has_a_row_for_each_run_and_knows_where_items_come_from(api: Api):
    value = {"n": "{{ $json.n * 10 }}", "from": "{{ $('start').item.json.n }}", "run": "{{ $runIndex }}"}
    ended = await run(
        api,
        [
            node("outer", "logic.loop", batch_size=2),
            node("inner", "logic.loop"),
            node("work", "data.set", values=value),
            node("count", "data.set", values={"beside": "{{ $items.length }}"}),
            node("end"),
        ],
        [
            ("start", "main", "outer"),
            ("outer", "loop", "inner"),
            ("inner", "loop", "work"),
            ("work", "main", "inner"),
            ("inner", "done", "count"),
            ("count", "main", "outer"),
            ("outer", "done", "end"),
        ],
        [{"n": n} for n in range(3)],
    )
    assert ended["output"] == {
        "end": [{"n": n * 10, "from": n, "run": n, "beside": 1 if n == 2 else 2} for n in range(3)]
    }
    assert await rows(api, ended) == {
        name: [(run_index, "completed", 1) for run_index in range(count)]
        for name, count in (("start", 1), ("outer", 3), ("inner", 5), ("work", 3), ("count", 2), ("end", 1))
    }


async def test_items_that_fail_join_the_others_again(api: Api):
    ended = await run(
        api,
        [
            node("set", "data.set", {"on_error": "error_output", "retry": FAST}, values={"m": "{{ $json.a.b }}"}),
            node("mend", "data.set", values={"m": "{{ $json.error.code }}"}, remove=["error"]),
            node("join"),
        ],
        [("start", "main", "set"), ("set", "main", "join"), ("set", "error", "mend"), ("mend", "main", "join")],
        [{"a": {"b": 1}}, {"n": 2}, {"a": {"b": 3}}],
    )
    assert ended["output"] == {
        "join": [{"a": {"b": 1}, "m": 1}, {"a": {"b": 3}, "m": 3}, {"n": 2, "m": "expression_failed"}]
    }
    assert (await rows(api, ended))["set"] == [(0, "completed", 1)], "what an expression says once it says again"


async def test_every_attempt_is_an_event_and_the_row_has_the_last(api: Api):
    broken = node("a", "action.code", {"retry": FAST}, code="raise ValueError('no')")
    ended = await run(api, [broken, node("b")], [("start", "main", "a"), ("a", "main", "b")], None)

    assert (ended["status"], ended["error"]["code"], ended["error"]["node_id"]) == ("failed", "code_error", "a")
    assert (await kinds(api, ended, "a")).count("node.failed") == 3
    assert await rows(api, ended) == {"start": [(0, "completed", 1)], "a": [(0, "failed", 3)]}


async def test_a_node_that_takes_too_long_fails_alone_and_may_be_caught(api: Api):
    ended = await run(
        api,
        [
            node("try", "logic.try_catch"),
            node("slow", "action.code", {"timeout_ms": 200}, code="while True: pass"),
            node("caught", "data.set", values={"code": "{{ $json.error.code }}"}, include="none"),
        ],
        [("start", "main", "try"), ("try", "try", "slow"), ("try", "catch", "caught")],
        {"n": 1},
    )
    assert ended["output"] == {"caught": [{"code": "node_timeout"}]}
    assert (await rows(api, ended))["slow"] == [(0, "failed", 1)]


async def test_the_time_limit_of_an_execution_holds_while_it_waits_for_another_attempt(api: Api):
    slowly = {"max_attempts": 3, "backoff": "fixed", "initial_ms": 60_000, "max_ms": 60_000}
    broken = node("a", "action.code", {"retry": slowly}, code="raise ValueError('no')")
    ended = await run(api, [broken], [("start", "main", "a")], None, timeout_ms=400)

    assert (ended["status"], ended["error"]["code"]) == ("timeout", "execution_timeout")
    assert await rows(api, ended) == {"start": [(0, "completed", 1)], "a": [(0, "cancelled", 2)]}
