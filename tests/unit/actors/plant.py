"""A whole engine in one process for tests: a store in memory, owners that can be killed, nodes that tests open and watch."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson

from actors.config import EngineLimits
from actors.dispatch import Dispatcher, TaskRunner
from actors.ids import new_id
from actors.lease import LeaseReport
from actors.outside import Nobody, Outside
from actors.owner import Owner, OwnerConfig
from actors.surroundings import Finished, Surroundings
from actors.work import Outcome, TaskCall
from store.memory import MemoryLeases, MemoryStore
from store.memory_blobs import MemoryBlobs
from store.memory_executions import MemoryExecutions
from store.writer import GroupWriter
from tests.graphs import document, drawing_catalog
from workflow.blobs import reference_to
from workflow.errors import NodeError
from workflow.http import HttpClient, NoHttp
from workflow.ports import Accepted, Claimed, Flush, Isolation, LeaseEnd, LeaseHolder, NewExecution, SignalKind, Verdict
from workflow.spec import (
    Catalog,
    CodeLimits,
    CodeResult,
    Config,
    Effect,
    Items,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Placement,
    Sandbox,
)
from workflow.waiting import Suspend

WORKSPACE = new_id()
TTL_MS = 6_000


class NoSandbox:
    async def python(self, body: str, arguments: object, limits: CodeLimits, *, each: str = "") -> CodeResult:
        raise NodeError("no sandbox here")

    javascript = python


class NoTasks:
    async def run(self, call: TaskCall) -> Outcome:
        raise NodeError("no tasks here")


@dataclass
class World:
    """What is outside of the engine and survives its crashes: a journal of effects, gates that tests open."""

    journal: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failures: dict[str, int] = field(default_factory=dict)
    """How often a `draw.flaky` node, or one with an effect, is still to fail, or an item of a `draw.by_item` node (`a:0`)."""
    answered: set[str] = field(default_factory=set)
    """The `draw.asking` nodes that will find an answer; the others wait for a signal."""
    final: set[str] = field(default_factory=set)
    """The items (`a:0`) whose failure is known to be final."""

    def gate(self, node_id: str) -> asyncio.Event:
        return self.gates.setdefault(node_id, asyncio.Event())

    async def until(self, truth: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not truth():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.01)
                except TimeoutError:
                    continue

    async def by_item(self, context: NodeContext, _config: Config, items: Items) -> Outputs:
        """Do the items one by one; those in `failures` fail."""
        done: Items = []
        for index, item in enumerate(items):
            place = f"{context.node_id}:{index}"
            with context.item(index):
                self.journal.append(place)
                if self.failures.get(place, 0) > 0:
                    self.failures[place] -= 1
                    raise NodeError("it broke", "boom", {"retryable": place not in self.final})
                done.append({**item, "paired_item": index})
        return {"main": done}

    def catalog(self) -> Catalog:
        async def gated(context: NodeContext, _config: Config, items: Items) -> Outputs:
            self.running.add(context.node_id)
            self.changed.set()
            try:
                await self.gate(context.node_id).wait()
            finally:
                self.running.discard(context.node_id)
            if self.failures.get(context.node_id, 0) > 0:
                self.failures[context.node_id] -= 1
                raise NodeError("it broke", "boom")
            return {"main": items}

        async def asking(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
            found = context.node_id in self.answered
            self.journal.append(f"look {context.node_id}")
            await gated(context, config, items)
            return {"main": items} if found else Suspend()

        async def flaky(context: NodeContext, _config: Config, items: Items) -> Outputs:
            if self.failures.get(context.node_id, 0) > 0:
                self.failures[context.node_id] -= 1
                raise NodeError("it broke", "boom")
            return {"main": items}

        async def effect(context: NodeContext, _config: Config, items: Items) -> Outputs:
            self.journal.append(context.effect_key)
            self.changed.set()
            if context.node_id.endswith("gated"):
                await self.gate(context.node_id).wait()
            return await flaky(context, _config, items)

        async def breaking(_context: NodeContext, _config: Config, _items: Items) -> Outputs:
            raise NodeError("it broke", "boom")

        async def strange(_context: NodeContext, config: Config, _items: Items) -> Outputs:
            return {
                "main": [
                    {"json": {"value": {"nan": float("nan"), "nul": "a\x00b", "big": "x" * 5_000_000}[config["what"]]}}
                ]
            }

        async def large(context: NodeContext, config: Config, items: Items) -> Outputs:
            return {"main": [{"json": {"of": context.node_id, "text": "x" * int(config["what"]), "got": len(items)}}]}

        types = {t.spec.type: t for t in drawing_catalog()}
        for name, function, what in (
            ("draw.gate", gated, Effect.PURE),
            ("draw.effect", effect, Effect.EFFECT),
            ("draw.once", effect, Effect.AT_MOST_ONCE),
            ("draw.break", breaking, Effect.PURE),
            ("draw.broken_loop", breaking, Effect.PURE),
            ("draw.flaky", flaky, Effect.PURE),
            ("draw.by_item", self.by_item, Effect.PURE),
            ("draw.asking", asking, Effect.EFFECT),
            ("draw.strange", strange, Effect.PURE),
            ("draw.large", large, Effect.PURE),
        ):
            spec = NodeSpec(
                type=name,
                title=name,
                category="test",
                description="",
                config_schema={},
                effect=what,
                body="loop" if name == "draw.broken_loop" else "",
                outputs=("loop", "done") if name == "draw.broken_loop" else ("main",),
                yields=what is Effect.PURE,
                suspends=name == "draw.asking",
            )
            types[name] = NodeType(spec, function)
        return Catalog(types)


class Process:
    """One owner with its lease, as an execution actor would have them; `kill` is kill -9."""

    def __init__(
        self,
        plant: "Plant",
        slots: int = 32,
        *,
        sandbox: Sandbox | None = None,
        tasks: TaskRunner | None = None,
        http: HttpClient | None = None,
        catalog: Catalog | None = None,
        outside: Outside | None = None,
    ) -> None:
        self.plant = plant
        self.executions = MemoryExecutions(plant.store)
        self.leases = MemoryLeases(plant.store)
        self.holder = LeaseHolder(
            id=new_id(), cluster_id="test", actor_id="actor", actor_name="actor", host="here", pid=1, slots=slots
        )
        self.leases.register(self.holder, TTL_MS)
        self.flushes: list[Flush] = []
        self.may_flush = asyncio.Event()
        self.may_flush.set()
        self.valid = True
        self.dead = False
        limits = EngineLimits(linger_ms=1, output_bytes_max=4_194_304 if catalog else 1_000_000, crashes_max=3)
        self.writer: GroupWriter[Flush, Verdict] = GroupWriter(
            self._flush, name="test", retry_while=lambda: not self.dead
        )
        around = Surroundings(
            flush=self.writer.submit,
            blobs=MemoryBlobs(plant.store),
            dispatcher=Dispatcher(lambda _: sandbox or NoSandbox(), tasks or NoTasks(), limits, pid=1, host="here"),
            may_act=self._may_act,
            committed=lambda _: plant.world.changed.set(),
            now_ms=lambda: plant.now_ms,
            limits=limits,
            http=http or NoHttp(),
            outside=outside or Nobody(),
        )
        config = OwnerConfig(slots=slots, poll_ms=20, orphan_grace_ms=0)
        self.owner = Owner(config, self.executions, catalog or plant.world.catalog(), around, lambda: self)

    @property
    def id(self) -> UUID:
        return self.holder.id

    def tick(self) -> None:
        pass

    def drain(self) -> None:
        self.leases.drain(self.id)

    async def _may_act(self) -> None:
        while not self.valid:
            await asyncio.sleep(0)

    async def _flush(self, parts: list[Flush]) -> list[Verdict]:
        await self.may_flush.wait()
        if self.dead:
            await asyncio.Event().wait()
        self.flushes.extend(parts)
        return await self.executions.flush(parts)

    def renew(self) -> None:
        """One turn of the lease's thread."""
        renewal = self.leases.renew(self.id, TTL_MS)
        asked_at = asyncio.get_running_loop().time() + 1e9
        lost = renewal is None
        from workflow.ports import Renewal

        self.owner.on_lease_report(LeaseReport(self.id, asked_at, renewal or Renewal(owned=()), lost=lost))

    async def kill(self, reason: LeaseEnd = LeaseEnd.CRASHED) -> None:
        self.dead = True
        await self.owner.close()
        self.leases.end(self.id, reason)


class Plant:
    """The store, the world, and processes over them."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.store = MemoryStore(lambda: self.now_ms)
        self.world = World()
        self.processes: list[Process] = []

    def process(self, slots: int = 32, **parts: Any) -> Process:
        """Make a process; `parts` are a real `sandbox`, `tasks`, `http` and `catalog` in place of those of drawings."""
        process = Process(self, slots, **parts)
        self.processes.append(process)
        return process

    async def close(self) -> None:
        for process in self.processes:
            process.dead = True
            process.may_flush.set()
            await process.owner.close()

    async def accept(
        self,
        drawing: str,
        owner: UUID | None = None,
        nodes: dict[str, dict[str, Any]] | None = None,
        settings: dict[str, Any] | None = None,
        *,
        large_input: bool = False,
        workspace_id: UUID = WORKSPACE,
        **types: str,
    ) -> tuple[Accepted, bytes]:
        """Accept a drawn graph; `types` replaces the type of a node: `b="draw.gate"`, or `b="draw.strange:nan"`."""
        drawn = document(drawing, nodes=nodes, **settings or {}).model_dump(mode="json")
        for node in drawn["nodes"]:
            if node["config"]:
                continue
            kind, _, what = types.get(node["id"], node["type"]).partition(":")
            node["type"], node["config"] = kind, {"what": what}
        return await self.accept_document(drawn, b'{"n": 1}', owner, large_input=large_input, workspace_id=workspace_id)

    async def accept_document(
        self,
        drawn: dict[str, Any],
        given: bytes,
        owner: UUID | None = None,
        *,
        large_input: bool = False,
        workspace_id: UUID = WORKSPACE,
    ) -> tuple[Accepted, bytes]:
        """Accept a document that is as it is stored."""
        definition = orjson.dumps(drawn)
        new = new_execution(
            definition, nodes_total=len(drawn["nodes"]), owner=owner, input=given, workspace_id=workspace_id
        )
        if large_input:
            content = orjson.dumps({"text": "x" * 100_000})
            reference = reference_to(content)
            await MemoryBlobs(self.store).put(WORKSPACE, new.id, {reference.sha256: content})
            new = replace(new, input=b"null", input_ref=reference)
        (accepted,) = await MemoryExecutions(self.store).accept([new])
        return accepted, definition

    async def push(self, process: Process, drawing: str, **options: Any) -> "asyncio.Task[Finished | None]":
        accepted, definition = await self.accept(drawing, owner=process.id, **options)
        return asyncio.create_task(process.owner.run(claimed(accepted, definition)))

    async def cancel(self, execution_id: UUID) -> None:
        await self.wish(execution_id, SignalKind.CANCEL)

    async def wish(self, execution_id: UUID, kind: SignalKind) -> None:
        await MemoryExecutions(self.store).signal(WORKSPACE, execution_id, new_id(), kind, b'{"by":"me"}')

    def row(self, execution_id: UUID):
        return self.store.executions[execution_id]


def new_execution(definition: bytes = b'{"name":"w","nodes":[]}', **changes: Any) -> NewExecution:
    """Make an execution to accept; without more, of a workflow that has no nodes."""
    fields: dict[str, Any] = {
        "id": new_id(),
        "workspace_id": WORKSPACE,
        "workflow_id": None,
        "definition": definition,
        "input": b'{"n": 1}',
        "nodes_total": 0,
        "trigger_type": "api",
        "triggered_by": None,
    }
    return NewExecution(**fields | changes)


def claimed(accepted: Accepted, definition: bytes, given: bytes = b'{"n":1}') -> Claimed:
    return Claimed(
        id=accepted.id,
        workspace_id=WORKSPACE,
        workflow_id=None,
        workflow_version=None,
        workflow_name="drawn",
        definition=definition,
        input=given,
        epoch=1,
        last_seq=0,
        recovered=False,
        losses=0,
        crashes=0,
        isolation=Isolation.POOLED,
    )


__all__ = ["Placement", "Plant", "Process", "World", "claimed", "new_execution"]
