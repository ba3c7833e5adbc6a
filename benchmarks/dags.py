"""Real scientific workflows as Rayloom workflows: each task becomes a node that lasts as long as the task did, scaled.

Read from a folder of WfFormat 1.5 files (`*.json.gz`), as WfCommons collects them; the folder is named by BENCH_DAGS.
"""

import gzip
import heapq
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE_TYPE = "example.lasting"


@dataclass(frozen=True, slots=True)
class Dag:
    """Tasks by number: how long each lasted (s), and its parents."""

    name: str
    runtimes_s: tuple[float, ...]
    parents: tuple[tuple[int, ...], ...]


def read_dags(folder: Path) -> list[Dag]:
    """Return the workflows of a folder, the smallest first."""
    return sorted((_read(path) for path in folder.glob("*.json.gz")), key=lambda dag: len(dag.runtimes_s))


def _read(path: Path) -> Dag:
    workflow = json.loads(gzip.decompress(path.read_bytes()))["workflow"]
    tasks = workflow["specification"]["tasks"]
    number = {task["id"]: index for index, task in enumerate(tasks)}
    lasted = {task["id"]: float(task["runtimeInSeconds"]) for task in workflow["execution"]["tasks"]}
    return Dag(
        name=path.name.removesuffix(".json.gz"),
        runtimes_s=tuple(lasted[task["id"]] for task in tasks),
        parents=tuple(tuple(number[parent] for parent in task["parents"]) for task in tasks),
    )


def greedy_makespan_s(dag: Dag, runtimes_s: tuple[float, ...], slots: int) -> float:
    """Return how long the tasks take on so many slots without any overhead, when whatever is ready begins in turn."""
    waiting = [len(parents) for parents in dag.parents]
    children: list[list[int]] = [[] for _ in dag.parents]
    for task, parents in enumerate(dag.parents):
        for parent in parents:
            children[parent].append(task)
    ready = [task for task, count in enumerate(waiting) if not count]
    running: list[tuple[float, int]] = []
    now_s, place = 0.0, 0
    while place < len(ready) or running:
        while place < len(ready) and len(running) < slots:
            heapq.heappush(running, (now_s + runtimes_s[ready[place]], ready[place]))
            place += 1
        now_s, done = heapq.heappop(running)
        for child in children[done]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return now_s


def document(dag: Dag, runtimes_s: tuple[float, ...], slots: int) -> dict[str, Any]:
    """Return the workflow that does the tasks on so many slots."""
    return {
        "name": dag.name,
        "nodes": [
            {"id": f"t{task}", "type": NODE_TYPE, "config": {"duration_ms": round(runtime_s * 1000, 3)}}
            for task, runtime_s in enumerate(runtimes_s)
        ],
        "connections": [
            {"source": f"t{parent}", "target": f"t{task}"}
            for task, parents in enumerate(dag.parents)
            for parent in parents
        ],
        "settings": {"max_parallel_nodes": slots},
    }


def scaled(dag: Dag, makespan_s: float, slots: int) -> tuple[float, ...]:
    """Return the runtimes scaled so that the greedy makespan is this long."""
    factor = makespan_s / greedy_makespan_s(dag, dag.runtimes_s, slots)
    return tuple(runtime_s * factor for runtime_s in dag.runtimes_s)
