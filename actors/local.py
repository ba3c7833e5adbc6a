"""The engine in one process: a store in memory, no Ray, no PostgreSQL. For trying a workflow out.

It is the same loop, machine, dispatcher and sandbox as an execution actor's. What would be a Ray task is done here as well, in
this process: code is in the sandbox's processes in any case.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from actors.config import EngineLimits
from actors.dispatch import Dispatcher
from actors.execution import ExecutionLoop
from actors.ids import new_id, now_ms
from actors.surroundings import Finished, Surroundings
from actors.work import Outcome, TaskCall, outputs_of_task, run_work
from store.memory import MemoryLeases, MemoryStore
from store.memory_blobs import MemoryBlobs
from store.memory_executions import MemoryExecutions
from workflow.errors import Bug, NodeError
from workflow.http import HttpClient
from workflow.plan import Plan
from workflow.ports import (
    EventRow,
    ExecutionView,
    Flush,
    LeaseHolder,
    NewExecution,
    NodeRow,
    Signal,
    SignalKind,
    Verdict,
)
from workflow.spec import Catalog, Placement, Sandbox

LEASE_MS = 365 * 86_400_000
"""Longer than anything runs here: nobody else could take an execution over."""
HOST = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResult:
    """An execution that is over, as the store has it."""

    execution: ExecutionView
    nodes: Sequence[NodeRow]


class LocalEngine:
    """Executes one workflow, once."""

    def __init__(
        self,
        catalog: Catalog,
        sandbox: Sandbox,
        http: HttpClient,
        output_bytes_max: int,
        committed: Callable[[EventRow], None],
    ) -> None:
        self._store = MemoryStore(now_ms)
        self._executions = MemoryExecutions(self._store)
        self._committed = committed
        limits = EngineLimits(output_bytes_max=output_bytes_max, blob_above_bytes=sys.maxsize, rest_above_ms=None)
        tasks = InlineTasks(catalog, sandbox, http)
        self._around = Surroundings(
            flush=self._flush,
            blobs=MemoryBlobs(self._store),
            dispatcher=Dispatcher(lambda _: sandbox, tasks, limits, pid=os.getpid(), host=HOST),
            may_act=_at_once,
            committed=lambda _: None,
            now_ms=now_ms,
            limits=limits,
            http=http,
        )
        self._loop: ExecutionLoop | None = None

    async def run(self, definition: bytes, plan: Plan, given: bytes) -> LocalResult:
        """Execute a definition, whose plan this is, to its end."""
        workspace_id, owner = new_id(), new_id()
        holder = LeaseHolder(
            id=owner, cluster_id=HOST, actor_id=HOST, actor_name=HOST, host=HOST, pid=os.getpid(), slots=1
        )
        MemoryLeases(self._store).register(holder, LEASE_MS)
        new = NewExecution(
            id=new_id(),
            workspace_id=workspace_id,
            workflow_id=None,
            definition=definition,
            input=given,
            nodes_total=len(plan.nodes),
            trigger_type="local",
            triggered_by=None,
            isolation=plan.isolation,
        )
        await self._executions.accept([new])
        claimed = await self._executions.claim_one(owner, new.id)
        if claimed is None:
            raise Bug("an execution that was just accepted cannot be claimed")
        self._loop = ExecutionLoop(claimed, plan, self._around)
        finished = await self._loop.run()
        if not isinstance(finished, Finished):
            raise Bug("an execution that is to stay here has left")
        return LocalResult(
            execution=await self._executions.get(workspace_id, finished.id),
            nodes=await self._executions.nodes(workspace_id, finished.id),
        )

    def cancel(self) -> None:
        """Ask for the execution to stop; it then ends as cancelled."""
        if self._loop is not None:
            signal = Signal(
                id=new_id(),
                execution_id=self._loop.claimed.id,
                kind=SignalKind.CANCEL,
                body=orjson.dumps({"by": "the command line"}),
            )
            self._loop.notify(signal)

    async def _flush(self, part: Flush) -> Verdict:
        (verdict,) = await self._executions.flush([part])
        for event in part.events:
            self._committed(event)
        return verdict


class InlineTasks:
    """What would be Ray tasks, in this process."""

    def __init__(self, catalog: Catalog, sandbox: Sandbox, http: HttpClient) -> None:
        self._catalog = catalog
        self._sandbox = sandbox
        self._http = http

    async def run(self, call: TaskCall) -> Outcome:
        """Do the work here. Raises `NodeError`."""
        node_type = self._catalog.get(call.node_type)
        if node_type is None:
            raise NodeError(f"the node type {call.node_type!r} is not installed here", "invalid_node_type")
        context = replace(call.context, sandbox=self._sandbox, http=self._http)
        outputs = outputs_of_task(call, await run_work(node_type, context, call.config, call.items))
        return Outcome(
            outputs=outputs, logs="\n".join(context.logs), placement=Placement.TASK, pid=os.getpid(), host=HOST
        )


async def _at_once() -> None:
    await asyncio.sleep(0)
