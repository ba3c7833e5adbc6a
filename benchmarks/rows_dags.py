"""Rows about real workflow graphs: how near to the possible an execution comes, and what a task costs beside its work."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.dags import Dag, document, greedy_makespan_s, read_dags, scaled
from benchmarks.row import Bench, Row

SLOTS = 8
MAKESPAN_S = 10.0
EFFICIENCY_MIN = 0.9
SHRUNK = 1_000
OVERHEAD_MS_MAX = 1.0
FOLDER = "BENCH_DAGS"


def dags_efficiency(bench: Bench) -> Row:
    """Every workflow scaled to ten seconds on eight slots: the greedy schedule without overhead against what was measured."""
    if not _dags():
        return _not_measured("dags_efficiency", "of greedy")
    found = {dag.name: _measure(bench, dag, scaled(dag, MAKESPAN_S, SLOTS)) for dag in _dags()}
    shares = {name: greedy_s / taken_s for name, (greedy_s, taken_s) in found.items()}
    worst = min(shares, key=lambda name: shares[name])
    return Row(
        name="dags_efficiency",
        unit="of greedy",
        ours=min(shares.values()),
        ratio=min(shares.values()),
        target=f">= {EFFICIENCY_MIN}",
        met=min(shares.values()) >= EFFICIENCY_MIN,
        rounds=[shares],
        note=f"{len(shares)} workflows, every task once and after its parents; the worst is {worst}",
    )


def dags_overhead(bench: Bench) -> Row:
    """Every workflow with its tasks a thousand times shorter: the time beyond the greedy schedule, per task."""
    if not _dags():
        return _not_measured("dags_overhead", "ms/task")
    found = {}
    for dag in _dags():
        greedy_s, taken_s = _measure(bench, dag, tuple(runtime_s / SHRUNK for runtime_s in dag.runtimes_s))
        found[dag.name] = (taken_s - greedy_s) * 1000 / len(dag.runtimes_s)
    # An execution as such costs some milliseconds, which five tasks do not outweigh: the graphs of a hundred tasks and more count.
    counted = {dag.name: found[dag.name] for dag in _dags() if len(dag.runtimes_s) >= 100}
    worst = max(counted, key=lambda name: counted[name])
    return Row(
        name="dags_overhead",
        unit="ms/task",
        ours=counted[worst],
        ratio=counted[worst],
        target=f"<= {OVERHEAD_MS_MAX}",
        met=counted[worst] <= OVERHEAD_MS_MAX,
        rounds=[found],
        note=f"runtimes / {SHRUNK}, workflows of 100 tasks and more; the worst is {worst}",
    )


def _dags() -> list[Dag]:
    folder = os.environ.get(FOLDER, "")
    return read_dags(Path(folder)) if folder else []


def _not_measured(name: str, unit: str) -> Row:
    return Row(
        name=name, unit=unit, ours=0.0, note=f"not measured: {FOLDER} names no folder of WfFormat files (*.json.gz)"
    )


def _measure(bench: Bench, dag: Dag, runtimes_s: tuple[float, ...]) -> tuple[float, float]:
    """Return the greedy makespan and the measured one (s). Raises `RuntimeError` where a task ran twice, or before a parent."""
    workflow_id = bench.api.store(document(dag, runtimes_s, SLOTS))
    execution, _ = bench.api.execute(workflow_id)
    _check(dag, bench.api.nodes(execution["id"]))
    timings = execution["timings"]
    taken_s = (_moment(timings["completed_at"]) - _moment(timings["started_at"])).total_seconds()
    return greedy_makespan_s(dag, runtimes_s, SLOTS), taken_s


def _check(dag: Dag, rows: list[dict[str, Any]]) -> None:
    by_task = {row["node_id"]: row for row in rows}
    if len(rows) != len(dag.parents) or len(by_task) != len(rows):
        raise RuntimeError(f"{dag.name}: {len(rows)} results for {len(dag.parents)} tasks")
    for task, parents in enumerate(dag.parents):
        row = by_task[f"t{task}"]
        if row["status"] != "completed" or row["attempt"] != 1:
            raise RuntimeError(f"{dag.name}: task {task} is {row['status']} after attempt {row['attempt']}")
        for parent in parents:
            if by_task[f"t{parent}"]["completed_at"] > row["started_at"]:
                raise RuntimeError(f"{dag.name}: task {task} began before its parent {parent} had ended")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
