"""The whole engine in one process under virtual time, with faults from one seed: processes that die, freeze and wake again, a
database that goes away before or after it has committed, calls and wake-ups that are lost or come twice, users who cancel, two
workspaces that share the slots, concurrency keys that hold, refuse and stop."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic
from typing import Any
from uuid import UUID

import orjson

from actors.config import EngineLimits
from actors.dispatch import Dispatcher
from actors.lease import LeaseReport
from actors.owner import Owner, OwnerConfig
from actors.surroundings import Surroundings
from actors.work import Outcome, TaskCall, WorkerLost, run_work
from store.memory import MemoryLeases, MemoryStore
from store.memory_blobs import MemoryBlobs
from store.memory_executions import MemoryExecutions
from store.writer import Backoff, GroupWriter
from tests.graphs import node_type
from tests.simulation import keys
from tests.simulation.graphs import INPUT, chance, draw_document, drawn_catalog
from tests.simulation.keys import FEW, MANY, Keys, Turns, draw_concurrency
from tests.simulation.outside import People, WorldOutside, leave, tell_parent
from workflow.blobs import BlobRef
from workflow.errors import NODE_TIMEOUT, NodeError, StoreUnavailable
from workflow.ids import uuid7
from workflow.ports import (
    Claimed,
    Flush,
    Isolation,
    LeaseEnd,
    LeaseHolder,
    NewExecution,
    NodeRow,
    Renewal,
    Share,
    SignalKind,
    Verdict,
)
from workflow.spec import Catalog, Config, Effect, Items, NodeContext, NodeFunction, NodeType, Outputs, Placement
from workflow.states import SETTLED, NodeStatus
from workflow.waiting import Child, NewRequest, RequestStatus, RequestType, Suspend, Wake

TTL_MS, RENEW_S, REAP_S = 6_000, 2.0, 0.5
BEGINNING_MS = 1_700_000_000_000


class Violation(AssertionError):
    """A guarantee was broken."""


@dataclass(frozen=True, slots=True)
class Story:
    """What happens: how much work there is, and how often which fault."""

    seed: int
    executions: int = 400
    per_s: float = 12.0
    """Executions that come in each second, on average."""
    nodes_max: int = 12
    processes: int = 3
    slots: int = 8
    kill_s: float = 1.0
    """One kill in so many seconds, on average; the other faults alike."""
    freeze_s: float = 5.0
    outage_s: float = 8.0
    flush_fault_s: float = 0.5
    cancel_share: float = 0.08
    pause_share: float = 0.15
    lost_message_share: float = 0.2
    keyed_share: float = 0.2
    few_share: float = 0.08
    """How many of the executions are of the workspace that has few."""


@dataclass(slots=True)
class World:
    """What is outside of the engine and sees everything: the store, the effects, the breaches."""

    story: Story
    random: Random
    store: MemoryStore
    effects: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    documents: dict[UUID, bytes] = field(default_factory=dict)
    results: dict[tuple[UUID, str, int], tuple[NodeStatus, bytes | BlobRef | None]] = field(default_factory=dict)
    ended: dict[UUID, tuple[str, bytes | BlobRef | None]] = field(default_factory=dict)
    ids: int = 0
    parents: dict[UUID, tuple[UUID, tuple[str, int]]] = field(default_factory=dict)
    """Executions that others wait for: by whom, and by which run of which node."""
    places: dict[UUID, int] = field(default_factory=dict)
    """By what number the run that waits for an execution knows it."""
    depths: dict[UUID, int] = field(default_factory=dict)
    stopped: set[UUID] = field(default_factory=set)
    """Executions that somebody, or the one that waits for them, asked to stop."""
    people: People = field(init=False)
    keys: Keys = field(init=False)
    turns: Turns = field(init=False)
    breaches: list[str] = field(default_factory=list)
    buried: list["Process"] = field(default_factory=list)
    """Processes that were killed: what they had begun stays as it was, for ever."""

    def __post_init__(self) -> None:
        self.people = People(self)
        self.keys = Keys(self)
        self.turns = Turns(self)

    def new_id(self) -> UUID:
        self.ids += 1
        return uuid7(self.store.now_ms(), self.random.randbytes(10))

    def breach(self, what: str) -> None:
        """Note a broken guarantee; the story fails with the first, whoever catches this error."""
        self.breaches.append(f"seed {self.story.seed}: {what}")
        raise Violation(self.breaches[0])

    def catalog(self, process: "Process") -> Catalog:
        async def work(context: NodeContext, _config: Config, items: Items) -> Outputs:
            await asyncio.sleep(self.random.expovariate(2.0))
            if self.random.random() < 0.1:
                raise NodeError("not this time", "flaky", {"retryable": True})
            return await pure(context, _config, items)

        async def effect(context: NodeContext, _config: Config, items: Items) -> Outputs:
            self.on_effect(process, context, once=False)
            await asyncio.sleep(self.random.expovariate(4.0))
            return await pure(context, _config, items)

        async def once(context: NodeContext, _config: Config, items: Items) -> Outputs:
            self.on_effect(process, context, once=True)
            await asyncio.sleep(self.random.expovariate(4.0))
            return await pure(context, _config, items)

        plain = drawn_catalog()
        found = plain.get("sim.pure")
        assert found is not None
        pure = found.run
        return drawn_catalog(
            sim_work=_waiting("sim.work", work),
            sim_effect=_waiting("sim.effect", effect, Effect.EFFECT),
            sim_once=_waiting("sim.once", once, Effect.AT_MOST_ONCE),
            sim_task=_task("sim.task", pure),
            **self._suspending(process, pure),
        )

    def _suspending(self, process: "Process", pure: NodeFunction) -> dict[str, NodeType]:
        async def wait(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
            if context.woken is None:
                return Suspend(context.now_ms + int(self.random.expovariate(1 / 4_000)))
            self.faults["timer"] += context.woken is Wake.TIME
            return await pure(context, config, items)

        async def ask(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
            if context.woken is None:
                self.on_effect(process, context, once=False)
            new = NewRequest(type=RequestType.APPROVAL, timeout_ms=self.random.choice((None, 6_000)))
            request = await context.requests.look(expire=context.woken is Wake.TIME)
            request = request or await context.requests.open(new)
            if request.status is RequestStatus.PENDING:
                return Suspend(request.expires_ms)
            return await pure(context, config, items)

        async def call(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
            if context.woken is None:
                self.on_effect(process, context, once=False)
                count = 1 + int(chance(context.effect_key) * 2)
                await context.children.start(
                    [Child(workflow_id=MANY, input=b"{}", place=place) for place in range(count)]
                )
            states = await context.children.states()
            if any(not state.status.terminal for state in states):
                return Suspend()
            return await pure(context, config, items)

        return {
            "sim_wait": _suspending("sim.wait", wait),
            "sim_ask": _suspending("sim.ask", ask),
            "sim_call": _suspending("sim.call", call),
        }

    def on_effect(self, process: "Process", context: NodeContext, *, once: bool) -> None:
        """Something is visible outside: all that it was computed from must be committed, and nobody else may be its owner."""
        if process.dead:
            self.breach(f"a dead process had the effect {context.effect_key}")
        key = context.effect_key
        self.effects[key] += 1
        if not process.valid:
            self.breach(f"{key} was begun without a valid lease")
        row = self.store.executions[context.execution_id]
        if once:
            if self.effects[key] > 1:
                self.breach(f"{key} may start once and started again")
            if not any(e.kind == "node.started" and e.node_id == context.node_id for e in row.events):
                self.breach(f"{key} may start once and its start is not committed")
        for branch in context.branches:
            if branch.items:
                runs = [
                    node
                    for (node_id, _), (_, node) in row.nodes.items()
                    if node_id == branch.source_id and _has_output(node) and node.status in SETTLED
                ]
                if not runs:
                    self.breach(f"{key} depends on {branch.source_id}, which is not committed")

    def watch(self, parts: Sequence[Flush], verdicts: Sequence[Verdict]) -> None:
        """Hold every committed flush against the guarantees."""
        for part, verdict in zip(parts, verdicts, strict=True):
            if verdict is not Verdict.COMMITTED:
                self.faults["fenced"] += 1
                continue
            row = self.store.executions[part.execution_id]
            self.keys.check(row)
            if part.epoch != row.epoch and row.last_seq != part.last_seq + len(part.events):
                self.breach(f"{part.execution_id}: epoch {part.epoch} wrote under epoch {row.epoch}")
            for node in part.nodes:
                self._watch_node(part.execution_id, node)
                self.faults["lapse"] += node.error_code == NODE_TIMEOUT
            references = [node.output_ref for node in part.nodes]
            for reference in [*references, part.ending.output_ref if part.ending else None]:
                if reference is not None and (row.new.workspace_id, reference.sha256) not in self.store.blobs:
                    self.breach(f"{part.execution_id} names a blob that is not there")
            end = (row.status.value, row.output or row.output_ref) if row.status.terminal else None
            if end is not None and self.ended.setdefault(part.execution_id, end) != end:
                self.breach(f"{part.execution_id} ended as {self.ended[part.execution_id][0]} and then as {end[0]}")

    def _watch_node(self, execution_id: UUID, node: NodeRow) -> None:
        if node.status not in (NodeStatus.COMPLETED, NodeStatus.FAILED):
            return
        key = execution_id, node.node_id, node.run_index
        value = node.status, node.output or node.output_ref
        if self.results.setdefault(key, value) != value:
            self.breach(f"two results for run {node.run_index} of {node.node_id} in {execution_id}")


def _has_output(node: NodeRow) -> bool:
    return node.output is not None or node.output_ref is not None


class Executions(keys.Executions):
    """The store as one process reaches it: answers take time, and what is committed is watched."""

    async def flush(self, batch: Sequence[Flush]) -> list[Verdict]:
        await asyncio.sleep(self._world.random.uniform(0.001, 0.02))
        self._world.store.check()
        self._world.store.check_flush(committed=False)
        verdicts = [await self._flush_one(part) for part in batch]
        self._world.watch(batch, verdicts)
        self._world.store.check_flush(committed=True)
        return verdicts

    async def _flush_one(self, part: Flush) -> Verdict:
        row = self._world.store.executions[part.execution_id]
        before = row.status
        (verdict,) = await MemoryExecutions.flush(_NoFaults(self._world.store), [part])
        self._world.faults["rested"] += verdict is Verdict.COMMITTED and part.rest is not None
        if row.status.terminal and not before.terminal:
            tell_parent(self._world, part.execution_id)
        return verdict

    async def claim(self, owner: UUID, limit: int, orphan_grace_ms: int, shares: Sequence[Share] = ()) -> list[Claimed]:
        await asyncio.sleep(self._world.random.uniform(0.001, 0.01))
        waiting = self._world.turns.waiting()
        taken = await super().claim(owner, limit, orphan_grace_ms, shares)
        self._world.turns.watch(waiting, taken, shares)
        return taken

    async def release_held(self, workspace_id: UUID, concurrency_key: str) -> int:
        await asyncio.sleep(self._world.random.uniform(0.001, 0.02))
        let_go = await super().release_held(workspace_id, concurrency_key)
        self._world.faults["room was made"] += let_go
        return let_go


class _NoFaults(MemoryExecutions):
    """The store behind the faulty line."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(_Quiet(store))  # type: ignore[arg-type]


class _Quiet:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return (lambda **_: None) if name == "check_flush" else getattr(self._store, name)


class Process:
    """An execution actor: an owner, its lease, its renewals. `kill` is kill -9; `freeze` is SIGSTOP for its lease's thread."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False
        self.frozen = False
        self.renewed_s = asyncio.get_running_loop().time()
        self.executions = Executions(world)
        self.leases = MemoryLeases(world.store)
        self.holder = self._new_holder()
        limits = EngineLimits(
            linger_ms=5, crashes_max=50, task_losses_max=3, blob_above_bytes=200, released_above_bytes=0
        )
        self.writer: GroupWriter[Flush, Verdict] = GroupWriter(
            self._flush,
            name="simulated",
            retry_while=lambda: not self.dead,
            backoff=Backoff(),
            chance=world.random.random,
        )
        around = Surroundings(
            flush=self.writer.submit,
            blobs=_Blobs(self),
            dispatcher=Dispatcher(lambda _: _NoSandbox(), self, limits, pid=1, host="here"),
            may_act=self._may_act,
            committed=lambda _: None,
            now_ms=world.store.now_ms,
            limits=limits,
            outside=WorldOutside(self),
        )
        config = OwnerConfig(slots=world.story.slots, poll_ms=500, orphan_grace_ms=1_500)
        self.catalog = world.catalog(self)
        now_s = asyncio.get_running_loop().time
        self.owner = Owner(config, self.executions, self.catalog, around, lambda: self, now_s)  # type: ignore[arg-type, return-value]
        self.renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._register()
        self.owner.start()
        self.renewing = asyncio.create_task(self._renew_for_ever())

    @property
    def id(self) -> UUID:
        return self.holder.id

    @property
    def valid(self) -> bool:
        """Whether its lease is surely live, by its own clock."""
        return asyncio.get_running_loop().time() < self.renewed_s + TTL_MS / 1000

    def tick(self) -> None:
        pass

    def drain(self) -> None:
        self.leases.drain(self.id)

    async def run(self, call: TaskCall) -> Outcome:
        """Do the work of a task in a worker that dies now and then."""
        await asyncio.sleep(self.world.random.expovariate(3.0))
        if self.world.random.random() < 0.15:
            self.world.faults["worker lost"] += 1
            raise WorkerLost("the worker died")
        found = self.catalog.get(call.node_type)
        assert found is not None
        outputs = await run_work(found, replace(call.context), call.config, call.items)
        return Outcome(outputs=outputs, logs="", placement=Placement.TASK, pid=2, host="there")

    async def kill(self, *, noticed: bool) -> None:
        """End at once; the lease ends at once where somebody notices, else by itself."""
        self.dead = True
        self.world.buried.append(self)
        if self.renewing is not None:
            self.renewing.cancel()
        await self.owner.close()
        if noticed and self.world.store.available:
            self.leases.end(self.id, LeaseEnd.CRASHED)

    def _new_holder(self) -> LeaseHolder:
        name = f"actor-{self.world.ids}"
        return LeaseHolder(
            id=self.world.new_id(),
            cluster_id="simulated",
            actor_id=name,
            actor_name=name,
            host="here",
            pid=1,
            slots=self.world.story.slots,
        )

    async def _register(self) -> None:
        while True:
            asked_s = asyncio.get_running_loop().time()
            try:
                self.leases.register(self.holder, TTL_MS)
            except StoreUnavailable:
                await asyncio.sleep(0.2)
            else:
                self.renewed_s = asked_s
                return

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            while self.frozen:
                await asyncio.sleep(0.1)
            asked_s, asked_at = asyncio.get_running_loop().time(), monotonic()
            try:
                renewal = self.leases.renew(self.id, TTL_MS)
            except StoreUnavailable:
                continue
            report = LeaseReport(self.id, asked_at, renewal or Renewal(owned=()), lost=renewal is None)
            if renewal is None:
                self.holder = self._new_holder()
                await self._register()
            else:
                self.renewed_s = asked_s
            self.owner.on_lease_report(report)

    async def _may_act(self) -> None:
        while not self.valid:
            await asyncio.sleep(0.05)

    async def _flush(self, parts: Sequence[Flush]) -> list[Verdict]:
        if not self.dead:
            try:
                return await self.executions.flush(parts)
            except StoreUnavailable:
                if not self.dead:
                    raise
        return await asyncio.Future()  # the dead wait for ever


class _Blobs(MemoryBlobs):
    """The blob store as one process reaches it: answers take time, and what is put is lost now and then."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.world.store)
        self._process = process

    async def put(self, workspace_id: UUID, execution_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        world = self._process.world
        await asyncio.sleep(world.random.uniform(0.001, 0.02))
        if self._process.dead:
            await asyncio.Future()  # the dead wait for ever
        if world.random.random() < 0.05:
            world.faults["failed put"] += 1
            raise StoreUnavailable("the put broke")
        await super().put(workspace_id, execution_id, contents)

    async def get(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        await asyncio.sleep(self._process.world.random.uniform(0.001, 0.02))
        self._process.world.faults["fetched blobs"] += len(names)
        return await super().get(workspace_id, names)


class _NoSandbox:
    async def python(self, *_arguments: object, **_options: object) -> object:
        raise NodeError("no sandbox here")

    javascript = python


def _waiting(name: str, run: object, effect: Effect = Effect.PURE) -> NodeType:
    plain = node_type(name, effect=effect, run=run)  # type: ignore[arg-type]
    return NodeType(replace(plain.spec, yields=True), plain.run)


def _suspending(name: str, run: object) -> NodeType:
    plain = node_type(name, effect=Effect.EFFECT, run=run)  # type: ignore[arg-type]
    return NodeType(replace(plain.spec, suspends=True, timeout_ms=3_600_000), plain.run)


def _task(name: str, run: object) -> NodeType:
    plain = node_type(name, run=run)  # type: ignore[arg-type]
    return NodeType(replace(plain.spec, placement=Placement.TASK, may_move=True), plain.run)


async def submit(world: World, process: Process | None) -> None:
    """Accept an execution as a replica would: pushed to a process, or queued; the call to the process may be lost, or doubled."""
    random = world.random
    definition = orjson.dumps(draw_document(random, world.story.nodes_max))
    identity = world.new_id()
    new = NewExecution(
        id=identity,
        workspace_id=FEW if random.random() < world.story.few_share else MANY,
        workflow_id=None,
        definition=definition,
        input=orjson.dumps(INPUT),
        nodes_total=1,
        trigger_type="api",
        triggered_by=None,
        priority=random.randint(1, 10),
        owner=process.id if process is not None else None,
        concurrency=draw_concurrency(identity, 0, world.story.keyed_share),
    )
    while True:
        try:
            accepted = await world.keys.accept(new)
        except StoreUnavailable:
            await asyncio.sleep(0.3)
        else:
            break
    if new.id not in world.store.executions:  # its key has refused it
        return
    world.documents[new.id] = definition
    if process is not None and accepted.owner == process.id:
        calls = 0 if random.random() < world.story.lost_message_share else random.choice((1, 1, 1, 2))
        world.faults["lost push"] += calls == 0
        world.faults["doubled push"] += calls == 2
        for _ in range(calls):
            asyncio.get_running_loop().call_later(random.expovariate(20), _push, process, _claimed(new, definition))
    if chance(new.id, "cancel") < world.story.cancel_share:
        asyncio.get_running_loop().call_later(random.expovariate(1), _cancel, world, new.id)
    if chance(new.id, "pause") < world.story.pause_share:
        asyncio.get_running_loop().call_later(random.expovariate(1), _pause, world, new.id)


def _push(process: Process, claimed: Claimed) -> None:
    if not process.dead:
        process.owner.take(claimed)


def _cancel(world: World, execution_id: UUID) -> None:
    _begin(leave(world, execution_id, SignalKind.CANCEL))


def _pause(world: World, execution_id: UUID) -> None:
    async def for_a_while() -> None:
        if await leave(world, execution_id, SignalKind.PAUSE):
            await asyncio.sleep(world.random.expovariate(1 / 4))
            await leave(world, execution_id, SignalKind.RESUME)

    _begin(for_a_while())


def _begin(work: Coroutine[Any, Any, object]) -> None:
    _background.add(task := asyncio.get_running_loop().create_task(work))
    task.add_done_callback(_background.discard)


_background: set["asyncio.Task[object]"] = set()


def _claimed(new: NewExecution, definition: bytes) -> Claimed:
    return Claimed(
        id=new.id,
        workspace_id=new.workspace_id,
        workflow_id=None,
        workflow_version=None,
        workflow_name="simulated",
        definition=definition,
        input=orjson.dumps(INPUT),
        epoch=1,
        last_seq=0,
        recovered=False,
        losses=0,
        crashes=0,
        isolation=Isolation.POOLED,
    )


def new_world(story: Story) -> World:
    """Return an empty world; its clock is that of the running loop."""
    loop = asyncio.get_running_loop()
    store = MemoryStore(lambda: BEGINNING_MS + int(loop.time() * 1000))
    return World(story, Random(story.seed), store)
