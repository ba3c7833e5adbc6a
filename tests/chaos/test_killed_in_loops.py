"""kill -9 in the middle of loops, retries and tries that act on the world outside; a server of the test is the witness.

Each effect is seen, under one key whatever happens; run indexes have no gaps; nothing has two results.
"""

from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.witness import Witness
from tests.chaos.work import node, standing, until_taken_over
from tests.instance import Lease, RunningInstance, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

ROUNDS = 50
ITEMS = [{"n": number} for number in range(ROUNDS)]


def posting(witness: Witness, path: str, query: str = "", **fields: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{witness.port}{path}?n={{{{ $json.n }}}}{query}"
    return {**node("post", "action.http", method="POST", url=url), **fields}


def drawn(name: str, nodes: list[dict[str, Any]], *hops: tuple[str, str, str]) -> dict[str, Any]:
    connections = [{"source": a, "sourceHandle": handle, "target": b} for a, handle, b in hops]
    return {"name": name, "nodes": [node("start", "trigger.manual"), *nodes], "connections": connections}


def looping(witness: Witness, path: str) -> dict[str, Any]:
    """Return a loop of one item a round: a request, then an expression that sees where the item came from."""
    return drawn(
        "looping",
        [
            node("loop", "logic.loop"),
            posting(witness, path, "&ms=30"),
            node("note", "data.set", values={"run": "{{ $runIndex }}", "was": "{{ $('start').item.json.n }}"}),
            node("end", "logic.noop"),
        ],
        ("start", "main", "loop"),
        ("loop", "loop", "post"),
        ("post", "main", "note"),
        ("note", "main", "loop"),
        ("loop", "done", "end"),
    )


LOOPED = {"end": [{"n": number, "run": number, "was": number} for number in range(ROUNDS)]}


def owner(instance: RunningInstance, identity: UUID) -> Lease:
    """Return the living lease that owns an execution."""
    found: list[Lease] = []

    def owned() -> bool:
        found[:] = [lease for lease in instance.leases() if identity in instance.owned(lease.id)]
        return bool(found)

    until(owned, 30, "somebody owns it")
    return found[0]


def kill_the_owner(instance: RunningInstance, identity: UUID) -> float:
    """Kill the execution's owner; return after how many seconds another one had gone on."""
    victim = owner(instance, identity)
    before = standing(instance, [victim.id])
    killed_s = monotonic()
    victim.process.kill()
    return until_taken_over(instance, before, 30) - killed_s


def judge(instance: RunningInstance, identity: UUID, wanted: Any, epoch: int) -> dict[str, list[str]]:
    """Hold the end, the events and the rows against what must be; return the statuses of each node's runs."""
    statuses = instance.until_terminal([identity], 60)
    shown = instance.api.execution(identity)
    assert (statuses[identity], shown["error"]) == ("completed", None)
    assert shown["output"] == wanted
    assert shown["epoch"] == epoch

    events = instance.rows(
        "SELECT seq, kind, node_id, (body->>'run_index')::int FROM stream_events WHERE execution_id = %s ORDER BY seq",
        identity,
    )
    assert [seq for seq, *_ in events] == list(range(1, shown["last_seq"] + 1)), "the numbers of events have a gap"
    completed = [(node_id, run) for _, kind, node_id, run in events if kind == "node.completed"]
    assert len(completed) == len(set(completed)), "a run has two results"

    rows = instance.rows(
        "SELECT node_id, run_index, status FROM node_executions WHERE execution_id = %s ORDER BY node_id, run_index",
        identity,
    )
    runs: dict[str, list[str]] = {}
    for node_id, run_index, status in rows:
        runs.setdefault(node_id, []).append(status)
        assert run_index == len(runs[node_id]) - 1, f"the runs of {node_id} have a gap: {rows}"
    assert {(node_id, run) for node_id, run, status in rows if status == "completed"} == set(completed)
    return runs


def assert_each_round_acted_under_its_key(witness: Witness, path: str, identity: UUID) -> None:
    assert witness.keys(path) == {number: {f"{identity}:post:{number}:0"} for number in range(ROUNDS)}


def test_the_owner_is_killed_twice_in_a_loop_with_an_effect(instance, witness, record_property):
    identity = instance.api.start(looping(witness, "/actor"), ITEMS)
    until(lambda: len(witness.of("/actor")) >= 15, 20, "the loop is in its rounds")
    first_s = kill_the_owner(instance, identity)
    second_s = kill_the_owner(instance, identity)

    runs = judge(instance, identity, LOOPED, epoch=3)

    record_property("recovery_s", [round(first_s, 2), round(second_s, 2)])
    print(f"kill -9 in a loop, twice: another owner goes on after {first_s:.2f} s and {second_s:.2f} s")
    assert_each_round_acted_under_its_key(witness, "/actor", identity)
    assert len(witness.of("/actor")) <= ROUNDS + 2, "at most one request is sent again for each death"
    assert runs == {
        "start": ["completed"],
        "loop": ["completed"] * (ROUNDS + 1),
        "post": ["completed"] * ROUNDS,
        "note": ["completed"] * ROUNDS,
        "end": ["completed"],
    }


def test_postgresql_is_killed_in_a_loop_with_an_effect(instance, witness):
    identity = instance.api.start(looping(witness, "/database"), ITEMS)
    until(lambda: len(witness.of("/database")) >= 15, 20, "the loop is in its rounds")
    instance.part("database").kill()

    instance.until_terminal([identity], 60)

    judge(instance, identity, LOOPED, epoch=instance.api.execution(identity)["epoch"])
    assert_each_round_acted_under_its_key(witness, "/database", identity)
    assert len(witness.of("/database")) <= ROUNDS + 1, "what was sent has its result once PostgreSQL is back"


def test_the_owner_is_killed_while_a_node_waits_for_its_next_attempt(instance, witness):
    retry = {
        "max_attempts": 3,
        "backoff": "fixed",
        "initial_ms": 1_600,
    }  # with its jitter of a tenth not so long that it leaves its actor meanwhile
    definition = drawn(
        "waiting",
        [posting(witness, "/waiting", "&failing=1", retry=retry), node("end", "logic.noop")],
        ("start", "main", "post"),
        ("post", "main", "end"),
    )
    identity = instance.api.start(definition, {"n": 0})
    failed = "SELECT 1 FROM stream_events WHERE execution_id = %s AND kind = 'node.failed'"
    until(lambda: instance.rows(failed, identity), 20, "the first attempt has failed")
    failed_s = monotonic()
    kill_the_owner(instance, identity)

    instance.until_terminal([identity], 60)
    judge(instance, identity, {"end": [{"n": 0}]}, epoch=instance.api.execution(identity)["epoch"])

    assert monotonic() - failed_s >= 1.1, "the delay does not end with the owner"
    assert [seen.key for seen in witness.of("/waiting")] == [f"{identity}:post:0:0"] * 2


def test_the_owner_is_killed_in_a_try_in_a_loop(instance, witness):
    """Item 1 fails for good, so its round ends behind `catch`; the owner dies while item 2 is in the body."""
    definition = drawn(
        "trying",
        [
            node("loop", "logic.loop"),
            node("try", "logic.try_catch"),
            posting(witness, "/trying", "&ms=800&failing={{ $json.n === 1 ? 9 : 0 }}"),
            node("good", "data.set", values={"how": "good"}),
            node("bad", "data.set", values={"how": "{{ $json.error.code }}"}, remove=["error"]),
            node("end", "logic.noop"),
        ],
        ("start", "main", "loop"),
        ("loop", "loop", "try"),
        ("try", "try", "post"),
        ("post", "main", "try"),
        ("try", "done", "good"),
        ("try", "catch", "bad"),
        ("good", "main", "loop"),
        ("bad", "main", "loop"),
        ("loop", "done", "end"),
    )
    identity = instance.api.start(definition, ITEMS[:4])
    until(lambda: 2 in witness.keys("/trying"), 20, "the third round is in its try")
    kill_the_owner(instance, identity)

    wanted = [{"n": 0, "how": "good"}, {"n": 1, "how": "http_503"}, {"n": 2, "how": "good"}, {"n": 3, "how": "good"}]
    runs = judge(instance, identity, {"end": wanted}, epoch=2)

    assert runs["post"] == ["completed", "failed", "completed", "completed"]
    assert runs["good"] == ["completed", "skipped", "completed", "completed"]
    assert runs["bad"] == ["skipped", "completed", "skipped", "skipped"]
    assert witness.keys("/trying") == {number: {f"{identity}:post:{number}:0"} for number in range(4)}


def test_a_recovered_execution_in_a_loop_is_cancelled(instance, witness):
    identity = instance.api.start(looping(witness, "/cancelled"), ITEMS)
    until(lambda: len(witness.of("/cancelled")) >= 5, 20, "the loop is in its rounds")
    owner(instance, identity).process.kill()
    assert instance.api.cancel(identity).status_code == 202

    assert instance.until_terminal([identity], 30) == {identity: "cancelled"}

    count = len(witness.of("/cancelled"))
    assert count < ROUNDS
    assert instance.rows(
        "SELECT count(*) FROM node_executions WHERE execution_id = %s AND status = 'running'", identity
    ) == [(0,)]
    again = instance.api.execute(looping(witness, "/after"), ITEMS[:1], wait=20)
    assert again.json()["status"] == "completed"
    assert len(witness.of("/cancelled")) == count, "nothing happens after the end"
