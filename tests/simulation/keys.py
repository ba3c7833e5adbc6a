"""Concurrency keys and turns between workspaces in the simulation: what is drawn, and what must hold at every commit."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

from actors.supervisor import HELD_EVERY_S, HELD_KEYS_AT_ONCE
from store.memory import StoredExecution
from store.memory_executions import MemoryExecutions
from tests.simulation.graphs import chance
from workflow.ports import Accepted, Claimed, Concurrency, NewExecution, OnLimit, Outcome, Share, SignalKind
from workflow.states import ExecutionStatus

if TYPE_CHECKING:
    from tests.simulation.world import World

MANY, FEW = UUID(int=7), UUID(int=8)
"""The workspaces: one with most of the executions, and one with a few."""
LIMITS = (1, 2, 1, 3)
HELD_PATIENCE_S = 3 * HELD_EVERY_S
"""How long a key may hold something that there is room for, while the database is there: the supervisor looks once a second."""


def draw_concurrency(execution_id: UUID, depth: int, share: float) -> Concurrency | None:
    """Return the key of an execution that is so deep, if it is drawn to have one; each key has one limit.

    As with the keys of stored workflows, nothing waits for one that is held by a key of something above it.
    """
    if chance(execution_id, "keyed") >= share:
        return None
    number = int(chance(execution_id, "key") * len(LIMITS))
    on_limit = list(OnLimit)[int(chance(execution_id, "on limit") * len(OnLimit))]
    key = orjson.dumps([f"depth {depth}", str(number)]).decode()
    return Concurrency(key=key, limit=LIMITS[number], on_limit=on_limit)


class Keys:
    """Accepts executions, and sees to it that their keys are kept."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._of_key: dict[tuple[UUID, str], list[UUID]] = defaultdict(list)
        self.superseded: set[UUID] = set()
        """Executions that were asked to stop when another of their key came."""

    async def accept(self, new: NewExecution) -> Accepted:
        """Accept an execution and hold the answer against what its key allows. Raises `StoreUnavailable`."""
        wanted = new.concurrency
        under_way, standing = ([], []) if wanted is None else self._standing(new.workspace_id, wanted.key)
        (accepted,) = await MemoryExecutions(self._world.store).accept([new])
        if wanted is None:
            return accepted
        surplus = 0
        if len(under_way) < wanted.limit:
            expected = (Outcome.CREATED, False)
        elif wanted.on_limit is OnLimit.REJECT:
            expected = (Outcome.LIMITED, False)
        else:
            expected = (Outcome.CREATED, True)
            surplus = max(0, len(standing) - wanted.limit + 1) if wanted.on_limit is OnLimit.CANCEL_RUNNING else 0
        stopped = [identity for identity, _ in accepted.superseded]
        if (accepted.outcome, accepted.held) != expected or stopped != standing[:surplus]:
            self._world.breach(
                f"{new.id} with {len(under_way)} of {wanted.limit} under way and {wanted.on_limit.value}: {accepted}"
            )
        if accepted.outcome is Outcome.LIMITED:
            self._world.faults["refused"] += 1
            if new.id in self._world.store.executions or self._world.store.signals_of(new.id):
                self._world.breach(f"{new.id} was refused, and something of it is left")
            return accepted
        self._of_key[new.workspace_id, wanted.key].append(new.id)
        self.superseded.update(stopped)
        self._world.faults["held"] += accepted.held
        self._world.faults["superseded"] += len(stopped)
        self.check(self._world.store.executions[new.id])
        return accepted

    def check(self, row: StoredExecution) -> None:
        """See that no more than the limit are under way of the key of an execution that was written."""
        wanted = row.new.concurrency
        if wanted is None:
            return
        under_way, _ = self._standing(row.new.workspace_id, wanted.key)
        if len(under_way) > wanted.limit:
            self._world.breach(
                f"{len(under_way)} of the key {wanted.key} are under way, not {wanted.limit}: {under_way}"
            )

    def check_all_of(self, workspace_id: UUID, key: str) -> None:
        """Check a key of which something was let go."""
        for identity in self._of_key[workspace_id, key][-1:]:
            self.check(self._world.store.executions[identity])

    def check_end(self, row: StoredExecution) -> None:
        """See that one that was cancelled was asked to stop: by somebody, by its parent, or for another of its key."""
        asked = row.new.id in self._world.stopped or row.new.id in self.superseded
        if row.status is ExecutionStatus.CANCELLED and not asked:
            self._world.breach(f"{row.new.id} was cancelled, and nobody had asked for that")

    async def let_go_now_and_then(self) -> None:
        """Let go what is held, as the supervisor does, and see that nothing is held for which there is room."""
        roomy_since_s: dict[tuple[UUID, str], float] = {}
        now_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(HELD_EVERY_S)
            if not self._world.store.available:
                roomy_since_s.clear()
                continue
            self._world.faults["let go"] += await Executions(self._world).release_all_held(HELD_KEYS_AT_ONCE)
            roomy = {key for key in self._of_key if self._has_room(*key)}
            roomy_since_s = {key: roomy_since_s.get(key, now_s()) for key in roomy}
            for (_, key), since_s in roomy_since_s.items():
                if now_s() - since_s > HELD_PATIENCE_S:
                    self._world.breach(f"the key {key} holds something, and has had room for {now_s() - since_s} s")

    def _has_room(self, workspace_id: UUID, key: str) -> bool:
        """Whether something is held there for which there is room."""
        under_way, standing = self._standing(workspace_id, key)
        rows = [self._world.store.executions[identity] for identity in standing]
        # One that was claimed to be stopped keeps its mark and is held no more.
        held = [row for row in rows if row.held and row.status is ExecutionStatus.QUEUED]
        wanted = held[-1].new.concurrency if held else None
        return wanted is not None and len(under_way) < wanted.limit

    def _standing(self, workspace_id: UUID, key: str) -> tuple[list[UUID], list[UUID]]:
        """Return those of a key that are under way, and those that have not ended and are not to stop, oldest first."""
        rows = [self._world.store.executions[identity] for identity in self._of_key[workspace_id, key]]
        open_ones = sorted((row for row in rows if not row.status.terminal), key=lambda row: row.new.id)
        self._of_key[workspace_id, key] = [row.new.id for row in open_ones]
        under_way = [row.new.id for row in open_ones if not row.held]
        return under_way, [row.new.id for row in open_ones if not self._stopping(row.new.id)]

    def _stopping(self, execution_id: UUID) -> bool:
        return any(signal.kind is SignalKind.CANCEL for signal in self._world.store.signals_of(execution_id))


class Executions(MemoryExecutions):
    """The store, where what is let go is held against the limits."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.store)
        self._world = world

    async def release_held(self, workspace_id: UUID, concurrency_key: str) -> int:
        let_go = await super().release_held(workspace_id, concurrency_key)
        self._world.keys.check_all_of(workspace_id, concurrency_key)
        return let_go


class Turns:
    """Sees that slots are given in turns: none to a workspace while another has fewer of them and waits."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._passed = 0
        self.passed_max = 0
        """How many executions of the workspace with many were claimed at most in a row where the one with few waited and had no slot."""

    def waiting(self) -> dict[UUID, UUID]:
        """Return the executions that wait in the queue for nothing but their turn, with their workspaces."""
        return {
            row.new.id: row.new.workspace_id
            for row in self._world.store.executions.values()
            if row.status is ExecutionStatus.QUEUED and not row.held and not self._world.store.signals_of(row.new.id)
        }

    def watch(self, waiting: Mapping[UUID, UUID], taken: Sequence[Claimed], shares: Sequence[Share]) -> None:
        """Hold a claim against who had waited, and how many slots each workspace held there before."""
        held = Counter({share.workspace_id: share.held for share in shares})
        reached = held + Counter(claimed.workspace_id for claimed in taken)
        left = Counter(waiting.values()) - Counter(waiting[one.id] for one in taken if one.id in waiting)
        for one in taken:
            if one.id not in waiting:
                continue
            for other in left:
                if other != one.workspace_id and held[one.workspace_id] > reached[other]:
                    self._world.breach(
                        f"{one.id} of {one.workspace_id.int}, which held {held[one.workspace_id]} slots, was claimed while "
                        f"{other.int} waited with {reached[other]}"
                    )
            held[one.workspace_id] += 1
        if not any(share.held for share in shares if share.workspace_id == FEW):
            self._count(waiting, taken)

    def _count(self, waiting: Mapping[UUID, UUID], taken: Sequence[Claimed]) -> None:
        """Count what the workspace with many was given, one after the other, while the one with few waited and held nothing there."""
        turns = Counter(waiting[one.id] for one in taken if one.id in waiting)
        if turns[FEW] or FEW not in waiting.values():
            self._passed = 0
            return
        self._passed += turns[MANY]
        self.passed_max = max(self.passed_max, self._passed)
        slots = self._world.story.processes * self._world.story.slots
        if self._passed > slots:
            self._world.breach(
                f"{self._passed} of the workspace with many were claimed in a row while the other waited"
            )
