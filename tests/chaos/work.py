"""The executions that chaos tests have in flight, and the judgement of how they ended."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic
from typing import Any
from uuid import UUID

from tests.instance import TERMINAL, Lease, RunningInstance, until

IN_FLIGHT = 50
NODES = ("start", "slow", "split", "left", "right", "join")


def node(node_id: str, node_type: str, resources: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {"id": node_id, "type": node_type, "config": config, "resources": resources or {}}


def chain(name: str, *nodes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Return a workflow of nodes one after the other, behind a trigger."""
    whole = [node("start", "trigger.manual"), *nodes]
    connections = [{"source": a["id"], "target": b["id"]} for a, b in pairwise(whole)]
    return {"name": name, "nodes": whole, "connections": connections, "settings": settings}


def sleeping(node_id: str, seconds: float, **resources: Any) -> dict[str, Any]:
    """Return a code node that takes its time and passes the first item on."""
    return node(
        node_id,
        "action.code",
        resources,
        code=f"import time\ntime.sleep({seconds})\nreturn [items[0]]",
        language="python",
    )


def branching() -> dict[str, Any]:
    """Return a workflow of six nodes: one that takes 0.25 s, a branch of which both sides are taken, a join."""
    slow = (
        "import time\ntime.sleep(0.25)\nn = items[0]['n']\nreturn [{'n': n, 'even': True}, {'n': n + 1, 'even': False}]"
    )
    left = "import time\ntime.sleep(0.15)\nreturn [{'n': item['n'] * 2} for item in items]"
    nodes = [
        node("start", "trigger.manual"),
        node("slow", "action.code", code=slow),
        node("split", "logic.if", conditions=[{"left": "{{ $json.even }}", "operator": "is_true"}]),
        node("left", "action.code", code=left),
        node("right", "data.set", values={"n": "{{ $json.n }}"}, keep_input=False),
        node("join", "logic.merge"),
    ]
    drawn = (
        ("start", "slow", "main"),
        ("slow", "split", "main"),
        ("split", "left", "true"),
        ("split", "right", "false"),
        ("left", "join", "main"),
        ("right", "join", "main"),
    )
    connections = [{"source": a, "target": b, "sourceHandle": handle} for a, b, handle in drawn]
    return {"name": "branching", "nodes": nodes, "connections": connections}


def given(number: int) -> dict[str, int]:
    return {"n": number}


def expected(number: int) -> dict[str, Any]:
    return {"join": [{"n": number * 2}, {"n": number + 1}]}


def start_many(instance: RunningInstance, count: int = IN_FLIGHT) -> dict[UUID, int]:
    """Start executions of `branching`; returns the number that each was given, when all are in flight."""
    workflow = instance.api.create_workflow(branching())
    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(lambda number: instance.api.start(workflow, given(number)), range(count)))
    begun = {identity: number for number, identity in enumerate(ids)}
    until(lambda: in_flight(instance, ids) and results(instance, ids), 30, "the first nodes have results")
    assert in_flight(instance, ids) > count * 0.8, "most executions have ended before anything was killed"
    return begun


def in_flight(instance: RunningInstance, ids: Iterable[UUID]) -> int:
    return sum(status not in TERMINAL for status in instance.states(list(ids)).values())


def results(instance: RunningInstance, ids: Iterable[UUID]) -> int:
    """Return how many slow nodes have committed results."""
    (found,) = instance.rows(
        "SELECT count(*) FROM unnest(%s::uuid[]) AS v (id) JOIN node_executions n ON n.execution_id = v.id "
        "WHERE n.node_id = 'slow' AND n.status = 'completed'",
        list(ids),
    )
    return int(found[0])


def owner_of_most(instance: RunningInstance) -> Lease:
    """Return the living lease under which most executions run."""
    leases = instance.leases()
    most = max(leases, key=lambda lease: len(instance.owned(lease.id)))
    assert instance.owned(most.id), "nobody owns anything"
    return most


def standing(instance: RunningInstance, leases: Iterable[UUID]) -> dict[UUID, tuple[int, int]]:
    """Return epoch and last event number of what runs under these leases."""
    found = instance.rows(
        "SELECT id, epoch, last_seq FROM executions WHERE status = 'running' AND owner = ANY(%s)", list(leases)
    )
    return {identity: (epoch, last_seq) for identity, epoch, last_seq in found}


def until_taken_over(instance: RunningInstance, lost: dict[UUID, tuple[int, int]], limit_s: float) -> float:
    """Return the monotonic time at which the first of the lost executions had a new event of another owner committed."""
    assert lost, "nothing was lost, so nothing can be recovered"
    begun = [(identity, epoch, last_seq) for identity, (epoch, last_seq) in lost.items()]
    until(
        lambda: instance.rows(
            "SELECT 1 FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS v (id, epoch, seq) "
            "JOIN executions e ON e.id = v.id WHERE e.epoch > v.epoch AND e.last_seq > v.seq LIMIT 1",
            *map(list, zip(*begun, strict=True)),
        ),
        limit_s,
        f"another owner goes on with one of {len(lost)} lost executions",
    )
    return monotonic()


def first_results(instance: RunningInstance, stood: Mapping[UUID, int], limit_s: float) -> dict[UUID, float]:
    """Return for each execution when it had a node result beyond the event at which it stood, or its end (monotonic seconds)."""
    assert stood, "nothing was hit, so nothing can be recovered"
    found: dict[UUID, float] = {}

    def looked() -> bool:
        left = [identity for identity in stood if identity not in found]
        rows = instance.rows(
            "SELECT DISTINCT v.id FROM unnest(%s::uuid[], %s::bigint[]) AS v (id, seq) "
            "JOIN stream_events s ON s.execution_id = v.id AND s.seq > v.seq "
            "WHERE s.kind IN ('node.completed', 'execution.completed')",
            left,
            [stood[identity] for identity in left],
        )
        found.update(dict.fromkeys((identity for (identity,) in rows), monotonic()))
        return len(found) == len(stood)

    until(looked, limit_s, f"each of {len(stood)} executions that were hit has another result")
    return found


def until_going_on(instance: RunningInstance, ids: Iterable[UUID], limit_s: float) -> float:
    """Return the monotonic time at which there are more committed events of these executions than at first sight."""

    def events() -> list[tuple[Any, ...]]:
        return instance.rows(
            "SELECT sum(e.last_seq) FROM unnest(%s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id", list(ids)
        )

    before = events()
    until(lambda: events() != before, limit_s, "an execution goes on")
    return monotonic()


def assert_each_completed_once(
    instance: RunningInstance, begun: dict[UUID, int], limit_s: float = 60, nodes: Sequence[str] = NODES
) -> None:
    """Wait for the ends, then hold rows, events and outputs against what must be: every result there, and there once."""
    ids = list(begun)
    statuses = instance.until_terminal(ids, limit_s)
    ended_badly = [identity for identity, status in statuses.items() if status != "completed"]
    assert not ended_badly, instance.rows(
        "SELECT e.id, e.status, e.error_code, e.error_message, e.error_node_id, e.epoch, e.losses, e.crashes "
        "FROM unnest(%s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id",
        ended_badly[:5],
    )
    if tuple(nodes) == NODES:
        outputs = dict(_of(instance, ids, "SELECT e.id, e.output_data", "executions e ON e.id = v.id"))
        assert outputs == {identity: expected(number) for identity, number in begun.items()}

    rows = defaultdict(list)
    columns = "SELECT n.execution_id, n.node_id, n.run_index, n.status"
    for identity, *row in _of(instance, ids, columns, "node_executions n ON n.execution_id = v.id"):
        rows[identity].append(tuple(row))
    wanted = sorted((name, 0, "completed") for name in nodes)
    wrong = {identity: sorted(rows[identity]) for identity in ids if sorted(rows[identity]) != wanted}
    assert not wrong, f"{len(wrong)} have other results, such as {list(wrong.items())[:3]}"

    events = defaultdict(list)
    columns = "SELECT s.execution_id, s.seq, s.kind, s.node_id"
    for identity, *event in _of(instance, ids, columns, "stream_events s ON s.execution_id = v.id"):
        events[identity].append(tuple(event))
    last_seqs = dict(_of(instance, ids, "SELECT e.id, e.last_seq", "executions e ON e.id = v.id"))
    for identity in ids:
        found = sorted(events[identity])
        assert [seq for seq, _, _ in found] == list(range(1, last_seqs[identity] + 1)), f"a gap in {identity}: {found}"
        completed = Counter(node_id for _, kind, node_id in found if kind == "node.completed")
        assert completed == Counter(nodes), f"{identity}: {found}"
        kinds = Counter(kind for _, kind, _ in found)
        assert kinds["execution.started"] == 1
        assert kinds["execution.completed"] == 1
        assert found[-1][1] == "execution.completed"


def epochs(instance: RunningInstance, ids: Iterable[UUID]) -> dict[UUID, int]:
    return dict(_of(instance, ids, "SELECT e.id, e.epoch", "executions e ON e.id = v.id"))


def written(instance: RunningInstance, ids: Iterable[UUID]) -> list[tuple[Any, ...]]:
    """Return all that is stored of these executions, to be compared with what is stored later."""
    return sorted(
        _of(instance, ids, "SELECT 'execution', e::text", "executions e ON e.id = v.id")
        + _of(instance, ids, "SELECT 'node', n::text", "node_executions n ON n.execution_id = v.id")
        + _of(instance, ids, "SELECT 'event', s::text", "stream_events s ON s.execution_id = v.id")
    )


def _of(instance: RunningInstance, ids: Iterable[UUID], columns: str, table: str) -> list[tuple[Any, ...]]:
    return instance.rows(f"{columns} FROM unnest(%s::uuid[]) AS v (id) JOIN {table}", list(ids))
