"""Rows about one execution with many nodes: chains, fan-outs, Ray tasks; and memory at rest."""

import time

from benchmarks.figures import median
from benchmarks.processes import pss_by_group
from benchmarks.row import Bench, Row
from benchmarks.workflows import FIBO, busy, chain, fan_out

CHAIN = 40
WIDTH = 400
TASKS = 8
TASK_S = 0.5
CPU = {"cpu": 1}
CHAINS_PER_ROUND = 10
FAN_OUTS_PER_ROUND = 3
IDLE_S = 10.0
IDLE_MIB_MAX = 2048.0


def chain_40_code(bench: Bench) -> Row:
    """One execution of 40 code nodes in a chain, against a DBOS workflow of 40 steps."""
    workflow_id = bench.api.store(chain(CHAIN, FIBO))
    for _ in range(3):
        bench.api.execute(workflow_id)
    mode = bench.dbos.choose_mode("chain", CHAIN, higher_is_better=False)
    rounds = []
    for _ in range(bench.rounds):
        ours = [bench.api.execute(workflow_id)[1] * 1000 for _ in range(CHAINS_PER_ROUND)]
        dbos = [bench.dbos.measure("chain", CHAIN) for _ in range(CHAINS_PER_ROUND)]
        rounds.append({"ours": median(ours), "dbos": median(dbos)})
    return _compared(
        Row(
            name="chain_40_code",
            unit="ms",
            ours=median(each["ours"] for each in rounds),
            peers={"dbos": median(each["dbos"] for each in rounds)},
            target="<= 0.35 x dbos",
            rounds=rounds,
            note=f"over HTTP, sandboxed fibo(10) in every node, median of {CHAINS_PER_ROUND} a round; dbos: native, {mode}",
        ),
        most=0.35,
    )


def parallel_400_code(bench: Bench) -> Row:
    """One execution of 400 parallel code nodes, against a DBOS workflow that gathers 400 steps."""
    workflow_id = bench.api.store(fan_out(WIDTH, FIBO))
    bench.api.execute(workflow_id)
    bench.dbos.measure("parallel", WIDTH)
    rounds = []
    for _ in range(bench.rounds):
        ours = [WIDTH / bench.api.execute(workflow_id)[1] for _ in range(FAN_OUTS_PER_ROUND)]
        dbos = [bench.dbos.measure("parallel", WIDTH) for _ in range(FAN_OUTS_PER_ROUND)]
        rounds.append({"ours": median(ours), "dbos": median(dbos)})
    return _compared(
        Row(
            name="parallel_400_code",
            unit="nodes/s",
            ours=median(each["ours"] for each in rounds),
            peers={"dbos": median(each["dbos"] for each in rounds)},
            target=">= 5 x dbos",
            rounds=rounds,
            note=f"over HTTP, sandboxed, median of {FAN_OUTS_PER_ROUND} a round; dbos: asyncio.gather of async steps, native",
        ),
        least=5,
    )


def ray_tasks_8(bench: Bench) -> Row:
    """Eight nodes of half a second of CPU each: beside each other against one after the other."""
    code = busy(_iterations(bench))
    beside = bench.api.store(fan_out(TASKS, code, CPU))
    after = bench.api.store(chain(TASKS, code, CPU))
    bench.api.execute(beside)
    rounds = [{"ours": bench.api.execute(beside)[1], "chain": bench.api.execute(after)[1]} for _ in range(bench.rounds)]
    parallel_s, chain_s = (median(each[name] for each in rounds) for name in ("ours", "chain"))
    return Row(
        name="ray_tasks_8",
        unit="s",
        ours=parallel_s,
        peers={"chain": chain_s},
        ratio=chain_s / parallel_s,
        target=">= 1.6 x faster than the chain",
        met=chain_s >= 1.6 * parallel_s,
        rounds=rounds,
        note=f"{TASKS} Ray tasks of {chain_s / TASKS:.2f} s each, warm workers",
    )


def idle_memory(bench: Bench) -> Row:
    """Memory of everything, PostgreSQL included, after ten idle seconds."""
    time.sleep(IDLE_S)
    groups = pss_by_group(bench.running, bench.data_dir)
    total = sum(groups.values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(groups.items(), key=lambda each: -each[1]))
    return Row(
        name="idle_memory",
        unit="MiB PSS",
        ours=total,
        target="<= 2.0 GiB",
        met=total <= IDLE_MIB_MAX,
        rounds=[groups],
        note=parts,
    )


def _iterations(bench: Bench) -> int:
    """Return how many rounds of the busy loop take half a second in a warm Ray task."""
    iterations = 100_000
    for _ in range(4):
        workflow_id = bench.api.store(chain(1, busy(iterations), CPU))
        bench.api.execute(workflow_id)
        execution, _ = bench.api.execute(workflow_id)
        node = bench.api.nodes(execution["id"])[0]
        if node["placement"] != "task":
            raise RuntimeError(f"a node that asks for a CPU did not run as a Ray task but in: {node['placement']}")
        taken_s = node["duration_ms"] / 1000
        if abs(taken_s - TASK_S) < 0.1:
            break
        iterations = int(iterations * min(20.0, TASK_S / taken_s))
    return iterations


def _compared(row: Row, *, least: float | None = None, most: float | None = None) -> Row:
    row.ratio = row.ours / row.peers["dbos"]
    row.met = row.ratio >= least if least is not None else most is not None and row.ratio <= most
    return row
