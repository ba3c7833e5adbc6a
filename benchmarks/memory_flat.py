"""Whether memory stays flat: the peak of an actor process over a long chain of nodes against that over a short one.

    python -m benchmarks.memory_flat [--nodes 5000] [--short 100] [--kib 100]

Every node gives a text of so many KiB that no other node shares, so a process that held all outputs would hold `nodes * kib`.
An actor process without Ray (`ExecutionProcess`) on an embedded PostgreSQL of its own; each chain runs in a fresh process.
"""

import asyncio
import json
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import orjson
import psutil
import typer
from rich.console import Console
from rich.table import Table

from actors.config import PoolConfig
from actors.ids import new_id
from actors.process import ExecutionProcess
from actors.work import Outcome, TaskCall
from store.embedded import EmbeddedServer
from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.migrate import migrate
from workflow.errors import NodeError
from workflow.models import NoModels
from workflow.ports import NewExecution

CODE = "return [{'text': items[0]['text'][1:] + 'x'}]"


class NoTasks:
    """There is no Ray here, and nothing in the chain asks for it."""

    async def run(self, call: TaskCall) -> Outcome:
        raise NodeError(f"{call.node_type} wants a task")


def chain(nodes: int) -> dict[str, Any]:
    return {
        "name": "chain",
        "nodes": [
            {"id": f"n{n}", "type": "action.code", "config": {"language": "python", "code": CODE}} for n in range(nodes)
        ],
        "connections": [{"source": f"n{n}", "target": f"n{n + 1}"} for n in range(nodes - 1)],
    }


async def execute(dsn: str, nodes: int, kib: int) -> dict[str, Any]:
    """Run one chain in this process and return its figures."""
    config = PoolConfig(dsn=dsn, cluster_id="bench", size=1)
    process = ExecutionProcess(config, NoTasks(), NoModels(), actor_id="a", name="a", host="here", pid=1)
    await process.start()
    before = psutil.Process().memory_info().rss
    pool = make_pool(StoreConfig(dsn=dsn))
    await pool.open()
    executions, workspace = PostgresExecutions(pool), new_id()
    new = NewExecution(
        id=new_id(),
        workspace_id=workspace,
        workflow_id=None,
        definition=orjson.dumps(chain(nodes)),
        input=orjson.dumps({"text": "".join(chr(97 + n % 26) for n in range(kib * 1024))}),
        nodes_total=nodes,
        trigger_type="api",
        triggered_by=None,
    )
    began = perf_counter()
    await executions.accept([new])
    process.wake()
    while not (view := await executions.get(workspace, new.id)).status.terminal:
        await asyncio.sleep(0.2)
    seconds = perf_counter() - began
    await process.close()
    await pool.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "nodes": nodes,
        "status": view.status.value,
        "seconds": round(seconds, 1),
        "before_mb": round(before / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
    }


def measured(dsn: str, nodes: int, kib: int) -> dict[str, Any]:
    """Run a chain in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory_flat", "--dsn", dsn, "--nodes", str(nodes), "--kib", str(kib)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(
    nodes: Annotated[int, typer.Option(help="Nodes of the long chain.")] = 5_000,
    short: Annotated[int, typer.Option(help="Nodes of the short one.")] = 100,
    kib: Annotated[int, typer.Option(help="KiB that every node gives.")] = 100,
    dsn: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print the peaks of both chains."""
    if dsn:
        print(json.dumps(asyncio.run(execute(dsn, nodes, kib))))
        return
    root = Path(tempfile.mkdtemp(prefix="rayloom-bench-", dir="/tmp"))
    root.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = EmbeddedServer(root / "pg", port=port, password=secrets.token_hex(16))
    try:
        server.start()
        migrate(server.dsn)
        rows = [measured(server.dsn, count, kib) for count in (short, nodes)]
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)
    table = Table("nodes", "status", "seconds", "RSS before, MB", "peak RSS, MB", header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console = Console()
    console.print(table)
    more_mb = rows[1]["peak_mb"] - rows[0]["peak_mb"]
    console.print(f"the long chain took {more_mb:.1f} MB more; all its outputs are {nodes * kib / 1000:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
