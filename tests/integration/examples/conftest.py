"""Runs an example's workflow in this process, on a real sandbox and a real HTTP client, with its input collected here."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.work import Outcome, TaskCall, run_work
from nodes.catalog import load_catalog
from nodes.outbound import GuardedClient, OutboundPolicy
from nodes.sandbox import LocalSandbox
from store.memory_blobs import MemoryBlobs
from tests.unit.actors.plant import WORKSPACE, Plant, claimed
from workflow.blobs import BlobRef
from workflow.ports import NodeRow
from workflow.spec import Placement

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
LIMIT_S = 60


class InlineTasks:
    """What would be a Ray task, done here."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self._sandbox = sandbox
        self.of: list[str] = []

    async def run(self, call: TaskCall) -> Outcome:
        self.of.append(call.context.node_id)
        context = replace(call.context, sandbox=self._sandbox)
        node_type = load_catalog().get(call.node_type)
        outputs = await run_work(node_type, context, call.config, call.items)
        return Outcome(
            outputs=outputs, logs="\n".join(context.logs), placement=Placement.TASK, pid=os.getpid(), host="here"
        )


@dataclass
class Ran:
    """An execution that is over."""

    status: str
    output: Any
    runs: dict[str, list[NodeRow]]
    tasks: list[str]

    @property
    def report(self) -> str:
        return str(self.output["report"])

    def statuses(self, node_id: str) -> list[str]:
        return [row.status.value for row in self.runs[node_id]]

    def items(self, node_id: str, handle: str = "main") -> list[dict[str, Any]]:
        """Return the objects that a node gave, over all of its runs."""
        outputs = [orjson.loads(row.output) for row in self.runs[node_id] if row.output]
        return [item["json"] for output in outputs for item in output.get(handle, ())]


RunExample = Callable[[str, Any], Awaitable[Ran]]


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / name / "workflow.json").read_text())
    return found


def collected(name: str) -> Any:
    """Return what the example's script collects on this machine."""
    command = [sys.executable, EXAMPLES / name / "collect.py"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout)


@pytest.fixture
async def run_example() -> AsyncIterator[RunExample]:
    plant = Plant()
    plant.now_ms = int(time.time() * 1000)
    client = GuardedClient(OutboundPolicy(allow=("127.0.0.0/8",)))

    async with LocalSandbox(size=2) as sandbox:

        async def kept(content: bytes | None, reference: BlobRef | None) -> bytes | None:
            if reference is None:
                return content
            return (await MemoryBlobs(plant.store).get(WORKSPACE, [reference.sha256]))[reference.sha256]

        async def run(name: str, given: Any) -> Ran:
            tasks = InlineTasks(sandbox)
            process = plant.process(sandbox=sandbox, tasks=tasks, http=client, catalog=load_catalog())
            data = orjson.dumps(given)
            accepted, document = await plant.accept_document(definition(name), data, process.id)
            await process.owner.run(claimed(accepted, document, data))
            row = plant.row(accepted.id)
            runs: dict[str, list[NodeRow]] = {}
            for _, each in sorted(row.nodes.values(), key=lambda pair: pair[1].run_index):
                output = await kept(each.output, each.output_ref)
                runs.setdefault(each.node_id, []).append(replace(each, output=output))
            answer = await kept(row.output, row.output_ref)
            return Ran(row.status.value, orjson.loads(answer) if answer else None, runs, tasks.of)

        yield run
        await plant.close()
    await client.close()
