"""Measure Rayloom and its peers in one session, print a table, write `benchmarks/results.json`.

python -m benchmarks.run [--rows execute_wait_64,chain_40_code] [--rounds 5] [--seconds 8]
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import rows_api, rows_dags, rows_durability, rows_fairness, rows_models, rows_nodes
from benchmarks.api import Api
from benchmarks.instance import running
from benchmarks.machine import header
from benchmarks.processes import CpuWatch
from benchmarks.row import Bench, Row

RESULTS = Path(__file__).with_name("results.json")
ROWS: dict[str, Callable[[Bench], Row]] = {
    "idle_memory": rows_nodes.idle_memory,
    "execute_wait_64": rows_api.execute_wait_64,
    "execute_wait_1": rows_api.execute_wait_1,
    "chain_40_code": rows_nodes.chain_40_code,
    "parallel_400_code": rows_nodes.parallel_400_code,
    "ray_tasks_8": rows_nodes.ray_tasks_8,
    "queued_10000": rows_api.queued_10000,
    "durability_cost": rows_durability.durability_cost,
    "fairness": rows_fairness.fairness,
    "fairness_long": rows_fairness.fairness_long,
    "first_token": rows_models.first_token,
    "embed_64": rows_models.embed_64,
    "embed_short": rows_models.embed_short,
    "nearest_50000": rows_models.nearest_50000,
    "pdf_500": rows_models.pdf_500,
    "dags_efficiency": rows_dags.dags_efficiency,
    "dags_overhead": rows_dags.dags_overhead,
}
OTHERS_CORES_MAX = 0.2
"""With more of the machine taken by others, a row says so: its figures are not to be trusted."""


def measure(chosen: list[str], rounds: int, seconds: float, console: Console) -> dict[str, Any]:
    """Run the rows on an instance of our own and return the results."""
    with running() as up:
        console.print(up.up_log, highlight=False)
        api = Api(up)
        data_dir = up.data_dir()
        head = {**header(up, data_dir), "rounds": rounds, "seconds_per_round": seconds}
        console.print(head)
        bench = Bench(running=up, api=api, data_dir=data_dir, rounds=rounds, seconds=seconds)
        found = []
        try:
            for name in chosen:
                row = _measured(name, bench)
                console.print(f"{row.name}: {row.ours:.1f} {row.unit} {row.peers} {row.note}", highlight=False)
                found.append(row)
        finally:
            bench.close()
            api.close()
    return {"header": head, "rows": [row.as_json() for row in found]}


def _measured(name: str, bench: Bench) -> Row:
    watch = CpuWatch(bench.running, bench.data_dir, bench.peer_pids)
    try:
        row = ROWS[name](bench)
    except Exception as error:  # noqa: BLE001 - a row that fails is a result too, and the others still count
        return Row(name=name, unit="", ours=0.0, met=False, note=f"FAILED: {type(error).__name__}: {error}"[:800])
    others = watch.others_cores()
    if others > OTHERS_CORES_MAX:
        row.note += f"; NOT QUIET: others used {others:.1f} cores meanwhile"
    return row


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    made = Table("row", "ours", "peer", "ratio", "target", "met")
    for row in rows:
        peers = ", ".join(f"{name} {value:.1f}" for name, value in row["peers"].items())
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row["met"]]
        made.add_row(row["name"], f"{row['ours']:.1f} {row['unit']}", peers, ratio, row["target"], met)
    return made


def main(
    rows: Annotated[str, typer.Option(help="Names of rows, with commas between them.")] = ",".join(ROWS),
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; their median counts.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds of load in each round.")] = 8.0,
    output: Annotated[Path, typer.Option(help="Where the results go.")] = RESULTS,
) -> None:
    """Measure Rayloom and its peers."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    chosen = [name for name in rows.split(",") if name]
    if unknown := sorted(set(chosen) - set(ROWS)):
        raise typer.BadParameter(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    console = Console()
    results = measure(chosen, rounds, seconds, console)
    output.write_text(json.dumps(results, indent=2) + "\n")
    console.print(table(results["rows"]))
    if shutil.which("n8n") is None:
        console.print("n8n is not installed: skipped (see benchmarks/README.md)", highlight=False)
    if not all(row["met"] for row in results["rows"]):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
