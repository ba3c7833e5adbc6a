"""The people and the children of the simulation: requests that are answered late or never, executions that others start."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

from actors.outside import NodeRun, patiently
from store.memory_executions import MemoryExecutions
from tests.simulation.graphs import INPUT, chance, draw_document
from tests.simulation.keys import draw_concurrency
from workflow.errors import Conflict, Fenced, NodeError, StoreUnavailable
from workflow.ids import derived_id
from workflow.ports import Claimed, NewExecution, Outcome, SignalKind
from workflow.states import ExecutionStatus
from workflow.waiting import (
    Child,
    ChildState,
    Going,
    NewRequest,
    Recovery,
    Request,
    RequestStatus,
    RequestType,
    place_after,
    places_from,
)

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

DEPTH_MAX = 2
CHILD_NODES_MAX = 4


@dataclass(slots=True)
class Asked:
    """A request of the world, as a row would keep it."""

    execution_id: UUID
    run: NodeRun
    ordinal: int
    request: Request
    auto_action: str


class People:
    """All requests of a world. Whoever is asked answers after a while, if at all; the first decision stays."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.asked: dict[tuple[UUID, str, int, int], Asked] = {}
        self.decided: dict[tuple[UUID, str, int, int], str] = {}

    def open(self, claimed: Claimed, run: NodeRun, ordinal: int, new: NewRequest) -> Request:
        """Open a request under the epoch of its owner, once."""
        self.world.store.check()
        key = (claimed.id, *run, ordinal)
        if key not in self.asked:
            row = self.world.store.executions[claimed.id]
            if (row.epoch, row.status) != (claimed.epoch, ExecutionStatus.RUNNING):
                raise Fenced("another owner has this execution")
            expires_ms = new.expires_ms
            if expires_ms is None and new.timeout_ms is not None:
                expires_ms = self.world.store.now_ms() + new.timeout_ms
            request = Request(id=self.world.new_id(), status=RequestStatus.PENDING, expires_ms=expires_ms)
            self.asked[key] = Asked(claimed.id, run, ordinal, request, new.auto_action)
            if expires_ms is None or self.world.random.random() < 0.7:
                answer = self._answer(new)
                delay_s = self.world.random.expovariate(1 / 5)
                asyncio.get_running_loop().call_later(delay_s, self._respond, key, answer)
        return self.asked[key].request

    def look(self, execution_id: UUID, run: NodeRun, ordinal: int, *, expire: bool) -> Request | None:
        """Return a request as it stands."""
        self.world.store.check()
        found = self.asked.get((execution_id, *run, ordinal))
        if found is None:
            return None
        request = found.request
        over = request.expires_ms is not None and request.expires_ms <= self.world.store.now_ms()
        if expire and over and request.status is RequestStatus.PENDING:
            response = {"action": found.auto_action} if found.auto_action else None
            self._decide((execution_id, *run, ordinal), RequestStatus.TIMEOUT, response)
            self.world.faults["nobody answered"] += 1
        return found.request

    def withdraw(self, execution_id: UUID, keep: Collection[Going]) -> None:
        """Close what is pending of an execution and wanted no more."""
        self.world.store.check()
        places_from = {(going.node_id, going.run_index): going.places_from for going in keep}
        for key, found in self.asked.items():
            pending = found.request.status is RequestStatus.PENDING
            first = places_from.get(found.run)
            wanted = first is not None and (found.ordinal > 0 or found.ordinal <= -first)
            if found.execution_id == execution_id and not wanted and pending:
                self._decide(key, RequestStatus.CANCELLED, None)

    def _answer(self, new: NewRequest) -> dict[str, object]:
        if new.type is not RequestType.ERROR_RECOVERY:
            return {}
        action = self.world.random.choice(list(Recovery))
        if action is Recovery.RETRY and new.context["node_type"] == "sim.once":
            action = Recovery.SKIP  # a person may let it start again, but here that would be a breach
        return {"action": action.value, "output": [{"replaced": True}]}

    def _respond(self, key: tuple[UUID, str, int, int], answer: dict[str, object]) -> None:
        if not self.world.store.available:
            asyncio.get_running_loop().call_later(0.5, self._respond, key, answer)
            return
        execution_id, node_id, run_index, _ = key
        row = self.world.store.executions[execution_id]
        request = self.asked[key].request
        over = request.expires_ms is not None and request.expires_ms <= self.world.store.now_ms()
        if request.status is RequestStatus.PENDING and not over and not row.status.terminal:
            self._decide(key, RequestStatus.ANSWERED, answer)
            self.world.faults["answer"] += 1
            MemoryExecutions(self.world.store).wake(self.world.new_id(), execution_id, node_id, run_index)

    def _decide(self, key: tuple[UUID, str, int, int], status: RequestStatus, answer: dict[str, object] | None) -> None:
        found = self.asked[key]
        found.request = replace(found.request, status=status, response=answer, responded_ms=self.world.store.now_ms())


class WorldOutside:
    """The outside as one process reaches it: everything takes time, and may find the database away."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.world = process.world

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0, lapses: int = 0) -> "_RequestsOfRun":
        return _RequestsOfRun(self, claimed, run, ordinal or -places_from(lapses), lapses)

    def children(self, claimed: Claimed, run: NodeRun, lapses: int = 0) -> "_ChildrenOfRun":
        return _ChildrenOfRun(self, claimed, run, lapses)

    def link(self, _claimed: Claimed, _run: NodeRun, _lapses: int = 0) -> str:
        return ""

    async def forsake(self, claimed: Claimed, keep: Collection[Going]) -> None:
        async def once() -> None:
            await self.reach()
            self.world.people.withdraw(claimed.id, keep)
            first = {(going.node_id, going.run_index): going.places_from for going in keep}
            for child, (parent, run) in self.world.parents.items():
                if parent == claimed.id and (run not in first or self.world.places[child] < first[run]):
                    await _cancel(self.world, child)

        await patiently(once)

    async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> UUID:
        raise NodeError("there is none here")

    async def reach(self) -> None:
        """Reach the database; the dead never do."""
        await asyncio.sleep(self.world.random.uniform(0.001, 0.02))
        if self.process.dead:
            await asyncio.Future()
        self.world.store.check()


async def _cancel(world: "World", execution_id: UUID) -> None:
    try:
        row = world.store.executions[execution_id]
        await MemoryExecutions(world.store).signal(
            row.new.workspace_id, execution_id, world.new_id(), SignalKind.CANCEL, b'{"by":"its parent"}'
        )
        world.stopped.add(execution_id)
    except Conflict:
        return


@dataclass(frozen=True, slots=True)
class _RequestsOfRun:
    around: WorldOutside
    claimed: Claimed
    run: NodeRun
    ordinal: int
    lapses: int

    def at(self, place: int) -> "_RequestsOfRun":
        return replace(self, ordinal=-place_after(self.lapses, 1 + place))

    async def open(self, new: NewRequest) -> Request:
        async def once() -> Request:
            await self.around.reach()
            return self.around.world.people.open(self.claimed, self.run, self.ordinal, new)

        return await patiently(once)

    async def look(self, *, expire: bool = False) -> Request | None:
        async def once() -> Request | None:
            await self.around.reach()
            return self.around.world.people.look(self.claimed.id, self.run, self.ordinal, expire=expire)

        return await patiently(once)


@dataclass(frozen=True, slots=True)
class _ChildrenOfRun:
    around: WorldOutside
    claimed: Claimed
    run: NodeRun
    lapses: int

    async def misfits(self, _children: Sequence[Child]) -> dict[int, NodeError]:
        return {}

    async def start(self, children: Sequence[Child]) -> list[UUID]:
        async def once() -> list[UUID]:
            await self.around.reach()
            return [await self._start(child) for child in children]

        return await patiently(once)

    async def _start(self, child: Child) -> UUID:
        world = self.around.world
        place = place_after(self.lapses, child.place)
        identity = derived_id(self.claimed.id, *self.run, place)
        row = world.store.executions[self.claimed.id]
        if (row.epoch, row.status) != (self.claimed.epoch, ExecutionStatus.RUNNING):
            raise Fenced("another owner has this execution")
        if identity in world.store.executions:
            return identity
        depth = world.depths.get(self.claimed.id, 0) + 1
        if depth > DEPTH_MAX:
            raise NodeError("too deep", "depth_exceeded", {"retryable": False})
        random = Random(int(chance(identity) * 2**48))
        definition = orjson.dumps(draw_document(random, CHILD_NODES_MAX))
        new = NewExecution(
            id=identity,
            workspace_id=row.new.workspace_id,
            workflow_id=None,
            definition=definition,
            input=orjson.dumps(INPUT),
            nodes_total=1,
            trigger_type="sub_workflow",
            triggered_by=None,
            priority=row.new.priority,
            concurrency=draw_concurrency(identity, depth, world.story.keyed_share),
        )
        if (await world.keys.accept(new)).outcome is Outcome.LIMITED:
            raise NodeError("too many of its key are under way", "concurrency_limit", {"retryable": True})
        world.documents[identity], world.depths[identity] = definition, depth
        world.parents[identity], world.places[identity] = (self.claimed.id, self.run), place
        world.store.executions[identity].deadline_ms = self.claimed.deadline_ms
        world.faults["child"] += 1
        return identity

    async def states(self) -> list[ChildState]:
        async def once() -> list[ChildState]:
            await self.around.reach()
            world = self.around.world
            first = places_from(self.lapses)
            mine = [child for child, parent in world.parents.items() if parent == (self.claimed.id, self.run)]
            found = [child for child in mine if world.places[child] >= first]
            return [ChildState(id=i, place=n, status=world.store.executions[i].status) for n, i in enumerate(found)]

        return await patiently(once)


def tell_parent(world: "World", execution_id: UUID) -> None:
    """Leave a wake-up for whoever waits for an execution that has just ended, as the table's trigger does."""
    if execution_id in world.parents:
        parent, (node_id, run_index) = world.parents[execution_id]
        MemoryExecutions(world.store).wake(world.new_id(), parent, node_id, run_index)


async def leave(world: "World", execution_id: UUID, kind: SignalKind) -> bool:
    """Leave a wish with an execution; whether it fitted."""
    while True:
        try:
            workspace_id = world.store.executions[execution_id].new.workspace_id
            await MemoryExecutions(world.store).signal(
                workspace_id, execution_id, world.new_id(), kind, b'{"by":"somebody"}'
            )
            if kind is SignalKind.CANCEL:
                world.stopped.add(execution_id)
        except Conflict:
            return False
        except StoreUnavailable:
            await asyncio.sleep(0.5)
        else:
            world.faults[kind.value] += 1
            return True
