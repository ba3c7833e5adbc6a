"""What durability costs: the same load with commits that wait for the disk, and with commits that do not."""

import time

import psycopg

from benchmarks.figures import median
from benchmarks.load import Budget
from benchmarks.row import Bench, Row
from benchmarks.rows_api import CONNECTIONS, WARM_UP_S, load, until_ended
from benchmarks.workflows import set_if_set

COST_MAX = 0.15
COMMITS_PER_RESULT_MAX = 0.05
QUEUED = 6_000
REPORTED_S = 1.5
"""Backends report their commits to the statistics once a second at most."""
SUBMITTERS = 256
COUNTS = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
    (SELECT count(*) FROM node_executions)
"""


def durability_cost(bench: Bench) -> Row:
    """Executions per second at 64 connections with `synchronous_commit` on, against off; commits for each node result.

    The commits are those of the whole database (accepting, flushes, leases, claims, this program's own count), while a queue is
    worked off: that is saturation, for nobody waits there for single answers.
    """
    call = bench.api.waiting_call(bench.api.store(set_if_set()))
    load(bench, call, CONNECTIONS, Budget(seconds=WARM_UP_S))
    rounds = []
    try:
        for _ in range(bench.rounds):
            figures = {}
            for name in ("on", "off"):
                _set(bench, name)
                figures[name] = load(bench, call, CONNECTIONS, Budget(seconds=bench.seconds)).per_second
            rounds.append(figures)
    finally:
        _set(bench, "on")
    on, off = (median([each[name] for each in rounds]) for name in ("on", "off"))
    commits = _commits_per_result(bench)
    cost = 1 - on / off
    return Row(
        name="durability_cost",
        unit="executions/s",
        ours=on,
        peers={"without waiting for the disk": off},
        ratio=on / off,
        target=f">= {1 - COST_MAX:.2f} of it, <= {COMMITS_PER_RESULT_MAX} commits per node result",
        met=cost <= COST_MAX and commits <= COMMITS_PER_RESULT_MAX,
        rounds=rounds,
        note=f"{commits:.3f} commits per node result while a queue of {QUEUED} is worked off",
    )


def _commits_per_result(bench: Bench) -> float:
    workflow_id = bench.api.store(set_if_set())
    call = bench.api.submitting_call(workflow_id)
    before = _counts(bench)
    load(bench, call, SUBMITTERS, Budget(count=QUEUED))
    until_ended(bench, workflow_id, QUEUED)
    after = _counts(bench)
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def _counts(bench: Bench) -> tuple[int, int]:
    time.sleep(REPORTED_S)
    with psycopg.connect(bench.running.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(COUNTS).fetchone()
    assert row is not None
    return row[0], row[1]


def _set(bench: Bench, value: str) -> None:
    """Let every session's commits wait for the disk, or not."""
    with psycopg.connect(bench.running.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_commit = {value}")
        connection.execute("SELECT pg_reload_conf()")
