"""Rows that go through the API under load: rate, latency, queue."""

import time

import psycopg
import uvloop

from benchmarks.figures import median, percentile
from benchmarks.load import Budget, Call, Tally, drive, post
from benchmarks.processes import pss_by_group
from benchmarks.row import Bench, Row
from benchmarks.workflows import set_if_set

CONNECTIONS = 64
WARM_UP_S = 3.0
DBOS_IN_FLIGHT = 2_000
QUEUED = 10_000
SUBMITTERS = 512
BACKLOG_MIN = 500
GROWTH_MIB_MAX = 200.0
DRAIN_LIMIT_S = 300.0
SETTLE_S = 10.0


def load(bench: Bench, call: Call, connections: int, budget: Budget) -> Tally:
    """Drive the API. Raises `RuntimeError` when an answer was wrong: a row with errors is no row."""
    tally = uvloop.run(drive(bench.running.base_url, call, connections, budget))
    if tally.failed:
        raise RuntimeError(
            f"{tally.failed} of {tally.failed + len(tally.latencies_s)} answers wrong, such as: {tally.failures[0]}"
        )
    return tally


def bare_call(bench: Bench) -> Call:
    """Return the same request to the bare endpoint."""
    return Call(request=post(f"{bench.bare_url}/", b'{"input": {"amount": 7}}', bench.running.api_key))


def execute_wait_64(bench: Bench) -> Row:
    """Executions per second at 64 connections, against DBOS with 2,000 workflows in flight."""
    call = bench.api.waiting_call(bench.api.store(set_if_set()))
    load(bench, call, CONNECTIONS, Budget(seconds=WARM_UP_S))
    mode = bench.dbos.choose_mode("one_step", 500, higher_is_better=True)
    rounds = []
    for _ in range(bench.rounds):
        tally = load(bench, call, CONNECTIONS, Budget(seconds=bench.seconds))
        rounds.append(
            {
                "ours": tally.per_second,
                "ours_p50_ms": median(tally.latencies_s) * 1000,
                "ours_p99_ms": percentile(tally.latencies_s, 0.99) * 1000,
                "dbos": bench.dbos.measure("one_step", DBOS_IN_FLIGHT),
            }
        )
    ours, dbos = _median(rounds, "ours"), _median(rounds, "dbos")
    bench.found["execute_wait_64"] = ours
    return Row(
        name="execute_wait_64",
        unit="executions/s",
        ours=ours,
        peers={"dbos": dbos},
        ratio=ours / dbos,
        target=">= 2.5 x dbos",
        met=ours >= 2.5 * dbos,
        rounds=rounds,
        note=(
            f"set -> if -> set over HTTP with its result, p50 {_median(rounds, 'ours_p50_ms'):.0f} ms, "
            f"p99 {_median(rounds, 'ours_p99_ms'):.0f} ms; dbos {bench.dbos.version}: start_workflow of one step, "
            f"in process, without HTTP, {DBOS_IN_FLIGHT} in flight, {mode}, pool of 20"
        ),
    )


def execute_wait_1(bench: Bench) -> Row:
    """Latency at one connection, against a bare endpoint in the same Serve."""
    call = bench.api.waiting_call(bench.api.store(set_if_set()))
    seconds = min(bench.seconds, 5.0)
    rounds = []
    reference = bare_call(bench)
    for each in (call, reference):
        load(bench, each, 1, Budget(seconds=min(WARM_UP_S, seconds)))
    for _ in range(bench.rounds):
        ours = load(bench, call, 1, Budget(seconds=seconds)).latencies_s
        bare = load(bench, reference, 1, Budget(seconds=seconds)).latencies_s
        rounds.append(
            {
                "ours": median(ours) * 1000,
                "ours_p99": percentile(ours, 0.99) * 1000,
                "bare_serve": median(bare) * 1000,
                "bare_serve_p99": percentile(bare, 0.99) * 1000,
            }
        )
    p50, p99, bare_p50 = (_median(rounds, name) for name in ("ours", "ours_p99", "bare_serve"))
    return Row(
        name="execute_wait_1",
        unit="ms p50",
        ours=p50,
        peers={"bare_serve": bare_p50},
        ratio=p50 - bare_p50,
        target="p50 - bare <= 6 ms, p99 <= 3 x p50",
        met=p50 - bare_p50 <= 6 and p99 <= 3 * p50,
        rounds=rounds,
        note=f"p99 {p99:.2f} ms = {p99 / p50:.1f} x p50; bare p99 {_median(rounds, 'bare_serve_p99'):.2f} ms; "
        "ratio is the difference in ms",
    )


def queued_10000(bench: Bench) -> Row:
    """How fast a long queue is worked off, what memory that leaves behind, and that nothing is lost.

    The rate is that of the backlog after the last 202; a backlog too small to be one falls back to the rate of it all.
    """
    call = bench.api.submitting_call(workflow_id := bench.api.store(set_if_set()))
    load(bench, call, CONNECTIONS, Budget(count=CONNECTIONS))
    until_ended(bench, workflow_id, CONNECTIONS)
    before = pss_by_group(bench.running, bench.data_dir)
    tally = load(bench, call, SUBMITTERS, Budget(count=QUEUED))
    backlog = QUEUED + CONNECTIONS - _count(bench, workflow_id, terminal=True)
    asked_s = time.perf_counter()
    last_s = until_ended(bench, workflow_id, QUEUED + CONNECTIONS)
    overall = QUEUED / (last_s - tally.began_s)
    rate = backlog / (last_s - asked_s) if backlog >= BACKLOG_MIN else overall
    completed = _count(bench, workflow_id, terminal=False) - CONNECTIONS
    time.sleep(SETTLE_S)
    growth = _growth(before, pss_by_group(bench.running, bench.data_dir))
    row_1 = bench.found.get("execute_wait_64")
    return Row(
        name="queued_10000",
        unit="executions/s",
        ours=rate,
        peers={"execute_wait_64": row_1} if row_1 else {},
        ratio=rate / row_1 if row_1 else None,
        target=">= execute_wait_64, growth <= 200 MiB, none lost",
        met=sum(growth.values()) <= GROWTH_MIB_MAX and completed == QUEUED and (row_1 is None or rate >= row_1),
        rounds=[
            {
                "accepted_per_s": tally.per_second,
                "overall_per_s": overall,
                "backlog": backlog,
                "growth_mib": sum(growth.values()),
                "completed": completed,
            }
        ],
        note=(
            f"{completed} of {QUEUED} completed; accepted at {tally.per_second:.0f}/s on {SUBMITTERS} connections, "
            f"{backlog} open at the last 202, overall {overall:.0f}/s; PSS grew by {sum(growth.values()):.0f} MiB "
            f"({', '.join(f'{name} {size:+.0f}' for name, size in list(growth.items())[:4])})"
        ),
    )


def _growth(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    found = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {*before, *after}}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def until_ended(bench: Bench, workflow_id: str, count: int) -> float:
    """Wait until so many executions of a workflow have ended; when that was (`perf_counter`). Raises `RuntimeError`."""
    deadline_s = time.perf_counter() + DRAIN_LIMIT_S
    while _count(bench, workflow_id, terminal=True) < count:
        if time.perf_counter() > deadline_s:
            raise RuntimeError(f"only {_count(bench, workflow_id, terminal=True)} of {count} executions have ended")
        time.sleep(0.1)
    return time.perf_counter()


def _count(bench: Bench, workflow_id: str, *, terminal: bool) -> int:
    statuses = ["completed", "failed", "cancelled", "timeout"] if terminal else ["completed"]
    with psycopg.connect(bench.running.dsn()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM executions WHERE workflow_id = %s AND status = ANY(%s)", (workflow_id, statuses)
        ).fetchone()
    return int(row[0]) if row else 0


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return median(each[name] for each in rounds)
