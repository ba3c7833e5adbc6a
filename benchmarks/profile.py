"""Where the time goes: the milliseconds of one execution at one connection, and the CPU by process group at 64.

    python -m benchmarks.profile [--seconds 6]

The milliseconds are differences between requests that go one part further each:

| request | what it adds |
|---|---|
| bare endpoint in the same Serve | proxy, Serve, FastAPI, our client |
| GET of a workflow that does not exist | our routing and authentication, one read in PostgreSQL |
| execute without `wait` | reading and checking the body, the accept commit (the call to the actor runs behind it) |
| execute with `wait` | hop to the actor and back, plan, nodes, flush commit, reply |

and what is inside the last step is read off the stored times of the execution.
"""

from time import perf_counter
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.api import Api
from benchmarks.figures import median, percentile
from benchmarks.instance import running
from benchmarks.load import Budget, Call, get
from benchmarks.processes import CpuWatch
from benchmarks.row import Bench
from benchmarks.rows_api import CONNECTIONS, WARM_UP_S, bare_call, load
from benchmarks.workflows import set_if_set

NOBODY = "00000000-0000-7000-8000-000000000000"
COMMITS = 500


def one_connection(bench: Bench, workflow_id: str) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 in ms of each request, in the order in which they go further."""
    missing = get(f"{bench.running.workspace_url}/workflows/{NOBODY}", bench.running.api_key)
    calls = {
        "bare endpoint": bare_call(bench),
        "GET, not found": Call(request=missing, statuses=(b"404",)),
        "execute, no wait": bench.api.submitting_call(workflow_id),
        "execute, wait (3 nodes)": bench.api.waiting_call(workflow_id),
        "execute, wait (1 node)": bench.api.waiting_call(bench.api.store(_one_node())),
    }
    found = {}
    for name, call in calls.items():
        load(bench, call, 1, Budget(seconds=1.0))
        taken = load(bench, call, 1, Budget(seconds=bench.seconds)).latencies_s
        found[name] = (median(taken) * 1000, percentile(taken, 0.99) * 1000)
    return found


def inside(bench: Bench, workflow_id: str) -> dict[str, float]:
    """Return medians in ms, from the database: one commit by itself, and from acceptance to start, to end."""
    with psycopg.connect(bench.running.dsn(), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS bench_commit (id bigint GENERATED ALWAYS AS IDENTITY, body text)"
        )
        taken = [_timed_ms(connection) for _ in range(COMMITS)]
        connection.execute("DROP TABLE bench_commit")
        rows = connection.execute(
            "SELECT extract(epoch FROM started_at - queued_at) * 1000, extract(epoch FROM completed_at - started_at) * 1000 "
            "FROM executions WHERE workflow_id = %s AND status = 'completed' ORDER BY id DESC LIMIT 500",
            (workflow_id,),
        ).fetchall()
    return {
        "commit of one small row": median(taken),
        "accepted to started (stored times)": median([float(row[0]) for row in rows]),
        "started to ended (stored times)": median([float(row[1]) for row in rows]),
    }


def cpu_at_64(bench: Bench, workflow_id: str) -> tuple[float, dict[str, float], float]:
    """Return executions/s, CPU milliseconds per execution by group, and cores that others used."""
    call = bench.api.waiting_call(workflow_id)
    load(bench, call, CONNECTIONS, Budget(seconds=WARM_UP_S))
    watch = CpuWatch(bench.running, bench.data_dir)
    tally = load(bench, call, CONNECTIONS, Budget(seconds=bench.seconds))
    used, seconds = watch.since()
    count = len(tally.latencies_s)
    each = {name: value * 1000 / count for name, value in used.items() if value * 1000 / count >= 0.01}
    return tally.per_second, dict(sorted(each.items(), key=lambda item: -item[1])), used["others"] / seconds


def main(seconds: Annotated[float, typer.Option(help="Seconds of load for each figure.")] = 6.0) -> None:
    """Show where the time goes."""
    console = Console()
    with running() as up:
        api = Api(up)
        bench = Bench(up, api, up.data_dir(), rounds=1, seconds=seconds)
        try:
            workflow_id = api.store(set_if_set())
            api.execute(workflow_id)
            console.print(_latencies(one_connection(bench, workflow_id)))
            console.print(inside(bench, workflow_id))
            rate, groups, others = cpu_at_64(bench, workflow_id)
            console.print(_cpu(rate, groups))
            console.print(f"others used {others:.2f} cores meanwhile", highlight=False)
        finally:
            bench.close()
            api.close()


def _one_node() -> dict[str, Any]:
    document = set_if_set()
    return {"name": "bench one node", "nodes": document["nodes"][:1], "connections": []}


def _timed_ms(connection: "psycopg.Connection[Any]") -> float:
    began_s = perf_counter()
    connection.execute("INSERT INTO bench_commit (body) VALUES ('a small row of text')")
    return (perf_counter() - began_s) * 1000


def _latencies(found: dict[str, tuple[float, float]]) -> Table:
    made = Table("one connection", "p50 ms", "p99 ms", "adds ms")
    before = 0.0
    for name, (p50, p99) in found.items():
        made.add_row(name, f"{p50:.2f}", f"{p99:.2f}", f"{p50 - before:+.2f}")
        before = p50
    return made


def _cpu(rate: float, groups: dict[str, float]) -> Table:
    made = Table(f"{CONNECTIONS} connections, {rate:.0f} executions/s", "CPU ms per execution")
    for name, value in groups.items():
        made.add_row(name, f"{value:.2f}")
    made.add_row("all but others", f"{sum(value for name, value in groups.items() if name != 'others'):.2f}")
    return made


if __name__ == "__main__":
    typer.run(main)
