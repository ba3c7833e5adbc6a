"""Two owners and one execution of three nodes, in every order in which things can happen to them.

What happens: an owner claims (from the queue, or from the other one whose lease is over), starts the next node, completes it,
flushes what it has not yet written; a lease expires without its holder knowing. An owner whose flush was refused lets go. One
whose lease is over and that claims again begins with a new lease, as a process does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import orjson

from tests.contract.making import TTL_MS, ending, event, holder, node
from workflow.ports import Executions, Flush, LeaseEnd, Leases, NodeRow, Verdict
from workflow.states import ExecutionStatus, NodeStatus

NODES = ("a", "b", "c")
LEASES_MAX = (2, 1)
"""How many leases each owner may have, one after the other: the first may come back after the second has taken over."""


class What(StrEnum):
    """What may happen."""

    CLAIM = "claim"
    START = "start"
    COMPLETE = "complete"
    FLUSH = "flush"
    EXPIRE = "expire"


class Act(NamedTuple):
    """Something that happens to one of the owners, by number."""

    what: What
    owner: int


@dataclass(frozen=True, slots=True)
class Grip:
    """What an owner believes that it holds, and how far it has come with it."""

    epoch: int
    last_seq: int
    outputs: tuple[bytes, ...]
    """The results of the nodes, in order, committed or not."""
    begun: bool = False
    """Whether the next node is under way."""
    unwritten: tuple[tuple[What, int], ...] = ()
    """Starts and completions of nodes, by number, since the last flush."""

    @property
    def ended(self) -> bool:
        """Whether all nodes have completed."""
        return len(self.outputs) == len(NODES)

    def moved_on(self, what: What) -> "Grip":
        """Return the grip after the next node was started or completed; its result tells what it was computed from."""
        number = len(self.outputs)
        unwritten = (*self.unwritten, (what, number))
        if what is What.START:
            return replace(self, begun=True, unwritten=unwritten)
        before = self.outputs[-1] if self.outputs else b"null"
        output = b'{"by":%d,"of":%b}' % (self.epoch, before)
        return replace(self, begun=False, outputs=(*self.outputs, output), unwritten=unwritten)

    def flush(self, execution_id: UUID) -> Flush:
        """Return all that is unwritten."""
        seen = [(f"node.{what.value}", NODES[number]) for what, number in self.unwritten]
        if self.ended:
            seen.append(("execution.completed", ""))
        return Flush(
            execution_id=execution_id,
            epoch=self.epoch,
            last_seq=self.last_seq,
            events=[event(seq, *said) for seq, said in enumerate(seen, self.last_seq + 1)],
            nodes=[self._row(what, number) for what, number in self.unwritten],
            ending=ending(output=self.outputs[-1]) if self.ended else None,
        )

    def _row(self, what: What, number: int) -> NodeRow:
        if what is What.COMPLETE:
            return node(NODES[number], output=self.outputs[number])
        return node(NODES[number], NodeStatus.RUNNING, completed_ms=None, duration_ms=None, output=None)


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner: its present lease, by number, whether that is over, and what it believes to hold."""

    lease: int = 0
    over: bool = False
    grip: Grip | None = None


Owners = tuple[Owner, ...]
BEGINNING: Owners = (Owner(), Owner())


class Row(NamedTuple):
    """The execution as it is stored."""

    status: ExecutionStatus
    owner: UUID | None
    epoch: int
    last_seq: int
    events: tuple[tuple[int, str, str], ...]
    """Number, kind, node."""
    nodes: tuple[tuple[str, NodeStatus, bytes | None], ...]
    """Name, status, output; by name."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The stores as the two owners reach them, and one execution."""

    executions: Sequence[Executions]
    leases: Leases
    execution_id: UUID
    workspace_id: UUID
    lease_ids: Sequence[Sequence[UUID]]
    """By owner and number."""

    def register(self, owner: int, lease: int) -> None:
        self.leases.register(holder(self.lease_ids[owner][lease]), TTL_MS)

    async def perform(self, owners: Owners, act: Act) -> tuple[Owners, int | Verdict | None]:
        """Let it happen; return the owners then, and the epoch that a claim gave or the verdict on a flush."""
        owner = owners[act.owner]
        answer: int | Verdict | None = None
        match act.what:
            case What.EXPIRE:
                self.leases.end(self.lease_ids[act.owner][owner.lease], LeaseEnd.EXPIRED)
                owner = replace(owner, over=True)
            case What.CLAIM:
                if owner.over:
                    owner = Owner(lease=owner.lease + 1)
                    self.register(act.owner, owner.lease)
                owner = replace(owner, grip=await self._claim(act.owner, owner.lease))
                answer = owner.grip.epoch if owner.grip is not None else None
            case What.FLUSH:
                assert owner.grip is not None
                part = owner.grip.flush(self.execution_id)
                (answer,) = await self.executions[act.owner].flush([part])
                let_go = answer is Verdict.FENCED or owner.grip.ended
                written = replace(owner.grip, last_seq=part.last_seq + len(part.events), unwritten=())
                owner = replace(owner, grip=None if let_go else written)
            case What.START | What.COMPLETE:
                assert owner.grip is not None
                owner = replace(owner, grip=owner.grip.moved_on(act.what))
        return (*owners[: act.owner], owner, *owners[act.owner + 1 :]), answer

    async def _claim(self, owner: int, lease: int) -> Grip | None:
        """Claim; go on where the history ends. What was under way begins again."""
        store = self.executions[owner]
        claimed = await store.claim_one(self.lease_ids[owner][lease], self.execution_id)
        if claimed is None:
            return None
        rows = {row.node_id: row for row in (await store.history(self.execution_id)).nodes}
        done = [rows[name].output for name in NODES if name in rows and rows[name].status is NodeStatus.COMPLETED]
        return Grip(claimed.epoch, claimed.last_seq, tuple(output for output in done if output is not None))

    async def row(self) -> Row:
        """Return what is stored."""
        store = self.executions[0]
        view = await store.get(self.workspace_id, self.execution_id)
        events = await store.events(self.workspace_id, self.execution_id, 0, 1_000)
        nodes = await store.nodes(self.workspace_id, self.execution_id)
        return Row(
            view.status,
            view.owner,
            view.epoch,
            view.last_seq,
            tuple((each.seq, each.kind, each.node_id) for each in events),
            tuple(sorted((each.node_id, each.status, each.output) for each in nodes)),
        )

    def hold(self, before: Row, after: Row, owners: Owners, act: Act, answer: int | Verdict | None) -> None:
        """Hold what an act has changed against the guarantees; `owners` are those before it. Raises `AssertionError`."""
        if after != before:
            hold_row(after)
        owner = owners[act.owner]
        match act.what:
            case What.CLAIM:
                live = {self.lease_ids[number][each.lease] for number, each in enumerate(owners) if not each.over}
                lost = before.status is ExecutionStatus.RUNNING and before.owner not in live
                if before.status is ExecutionStatus.QUEUED or lost:
                    assert answer == before.epoch + 1, "what is nobody's can be claimed"
                    assert after == before._replace(status=ExecutionStatus.RUNNING, owner=after.owner, epoch=answer)
                else:
                    assert answer is None, "the living and what has ended are left alone"
                    assert after == before
            case What.FLUSH:
                assert owner.grip is not None
                if owner.grip.epoch == before.epoch and before.status is ExecutionStatus.RUNNING:
                    assert answer is Verdict.COMMITTED, "the owner of the present epoch can write"
                    assert after.events[: before.last_seq] == before.events
                    assert {each for each in before.nodes if each[1] is NodeStatus.COMPLETED} <= set(after.nodes), "G2"
                else:
                    assert answer is Verdict.FENCED, "G3"
                    assert after == before, "G3"
            case _:
                assert after == before


def acts(owners: Owners) -> Iterator[Act]:
    """Return what can happen next. Nothing but a claim that is refused can happen for ever."""
    for number, owner in enumerate(owners):
        grip = owner.grip
        if not owner.over:
            yield Act(What.EXPIRE, number)
        if owner.lease + 1 < LEASES_MAX[number] if owner.over else grip is None:
            yield Act(What.CLAIM, number)
        if grip is not None and grip.unwritten:
            yield Act(What.FLUSH, number)
        if grip is not None and not grip.ended:
            yield Act(What.COMPLETE if grip.begun else What.START, number)


def hold_row(row: Row) -> None:
    """Numbers have no gaps (1); a node completes once (2), from the committed result of the one before it (4)."""
    assert [seq for seq, _, _ in row.events] == list(range(1, row.last_seq + 1)), "gap"
    completed = [name for _, kind, name in row.events if kind == "node.complete"]
    outputs = {name: output for name, status, output in row.nodes if status is NodeStatus.COMPLETED}
    assert completed == list(NODES[: len(completed)]), "G2"
    assert sorted(outputs) == sorted(completed), "G2"
    before = None
    for name in completed:
        result = orjson.loads(outputs[name] or b"null")
        assert result["of"] == before, "G4"
        before = result
    over = row.events[-1:] and row.events[-1][1] == "execution.completed"
    assert bool(over) is row.status.terminal, "G7"
    assert row.status.terminal is (len(completed) == len(NODES))
