"""`workflow.ports.Executions` over a `MemoryStore`: the same answers as PostgreSQL's, one row at a time."""

import json
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID, uuid4

from store.columns import last_rows, last_seq_after
from store.concurrency import Standing
from store.executions import NOBODY, WORKSPACES_PER_CLAIM, misplaced
from store.memory import MemoryStore, StoredExecution
from store.reading import absent
from workflow.errors import Bug
from workflow.events import PauseRequested, ResumeRequested
from workflow.ports import (
    Accepted,
    Claimed,
    EventRow,
    ExecutionView,
    Flush,
    History,
    Isolation,
    LeaseEnd,
    NewExecution,
    NodeRow,
    OnLimit,
    Outcome,
    Share,
    Signal,
    SignalKind,
    Verdict,
)
from workflow.states import SETTLED, ExecutionStatus

RESTING = frozenset({ExecutionStatus.WAITING, ExecutionStatus.PAUSED})
UNOWNED = RESTING | {ExecutionStatus.QUEUED}
PAUSE_WISHES = frozenset({PauseRequested.kind, ResumeRequested.kind})


class MemoryExecutions:
    """Executions in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._claimed_last = NOBODY

    async def accept(self, batch: Sequence[NewExecution]) -> list[Accepted]:
        """Accept the executions; one answer each, in order."""
        self._store.check()
        pushing = not any(_waits(row) for row in self._store.executions.values())
        # As in the database: those with a concurrency key are a transaction of their own, after the others.
        order = sorted(range(len(batch)), key=lambda place: batch[place].concurrency is not None)
        answers = {place: self._accept(batch[place], pushing=pushing) for place in order}
        return [answers[place] for place in range(len(batch))]

    async def release_held(self, workspace_id: UUID, concurrency_key: str) -> int:
        """Let executions go that the key holds, by priority and age, as many as there is room for; how many these were."""
        self._store.check()
        standing = self._of_key(workspace_id, concurrency_key)
        limits = [row.new.concurrency.limit for row in standing if row.new.concurrency]
        held = [
            row
            for row in standing
            if row.held and row.status is ExecutionStatus.QUEUED and not self._stopping(row.new.id)
        ]
        held.sort(key=lambda row: (-row.new.priority, row.new.id))
        room = limits[-1] - sum(not row.held for row in standing) if limits else 0
        let_go = held[: max(0, room)]
        for row in let_go:
            row.held = False
        return len(let_go)

    async def release_all_held(self, keys_max: int) -> int:
        """Do the same for up to `keys_max` keys that hold any; how many were let go."""
        self._store.check()
        holding = {
            (row.new.workspace_id, row.new.concurrency.key)
            for row in self._store.executions.values()
            if row.held and row.status is ExecutionStatus.QUEUED and row.new.concurrency
        }
        return sum([await self.release_held(*key) for key in sorted(holding)[:keys_max]])

    async def claim(self, owner: UUID, limit: int, orphan_grace_ms: int, shares: Sequence[Share] = ()) -> list[Claimed]:
        """Take up to `limit` pooled executions: orphans, those with unread signals, then in turns between workspaces."""
        self._store.check()
        if not self._store.accepting(owner):
            return []
        candidates = [*self._orphans(orphan_grace_ms), *self._wished_or_over(), *self._in_turns(shares)]
        chosen = {row.new.id: row for row in candidates}
        taken = [self._take(owner, row) for row in list(chosen.values())[: max(0, limit)]]
        if taken:
            self._claimed_last = taken[-1].workspace_id
        return taken

    async def mark_alone(self, execution_id: UUID, epoch: int, *, alone: bool) -> None:
        """Note that the execution is (no longer) the only one on its actor."""
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is not None and row.epoch == epoch and row.status is ExecutionStatus.RUNNING:
            row.alone = alone

    async def claim_one(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Take this execution, pooled or dedicated, if it may be claimed."""
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is None or not self._store.accepting(owner) or not self._claimable(row):
            return None
        return self._take(owner, row)

    async def read_owned(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Return an execution that is running under this owner, without raising the epoch."""
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is None or row.owner != owner or row.status is not ExecutionStatus.RUNNING:
            return None
        return self._claimed(row)

    async def claimable_dedicated(self, limit: int) -> list[UUID]:
        """Return executions that want an actor of their own and may be claimed: orphans first, then by priority."""
        self._store.check()
        rows = [
            row
            for row in self._store.executions.values()
            if row.new.isolation is Isolation.DEDICATED and self._claimable(row)
        ]
        rows.sort(key=lambda row: (row.status is ExecutionStatus.QUEUED, -row.new.priority, row.new.id))
        return [row.new.id for row in rows[:limit]]

    async def ending_at_rest(self, limit: int) -> list[UUID]:
        """Return pooled executions that nobody owns and that somebody wants to stop or that have no time left, up to `limit` of each."""
        self._store.check()
        signals = sorted(self._store.unread.values(), key=lambda signal: signal.id)
        named = dict.fromkeys(each.execution_id for each in signals if each.kind is SignalKind.CANCEL)
        rows = [self._store.executions[identity] for identity in named]
        stopped = [row.new.id for row in rows if row.status in UNOWNED and row.new.isolation is Isolation.POOLED]
        rows = [row for row in self._store.executions.values() if self._over(row)]
        over = [row.new.id for row in sorted(rows, key=lambda row: row.deadline_ms or 0)]
        return list(dict.fromkeys([*stopped[:limit], *over[:limit]]))

    async def starved(self, busy: Sequence[UUID], limit: int) -> list[UUID]:
        """Return pooled executions that may be claimed, one each of workspaces other than the busy ones, the oldest first."""
        self._store.check()
        first: dict[UUID, tuple[int, UUID]] = {}
        for row in self._store.executions.values():
            new = row.new
            open_ = _waits(row) or (new.isolation is Isolation.POOLED and self._awake(row))
            if open_ and new.workspace_id not in busy:
                mine = (-new.priority, new.id)
                first[new.workspace_id] = min(mine, first.get(new.workspace_id, mine))
        return sorted(identity for _, identity in first.values())[:limit]

    async def release(self, owner: UUID, execution_id: UUID, epoch: int) -> bool:
        """Give back an execution that the owner has not begun: it is queued again."""
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is None or (row.owner, row.epoch, row.status) != (owner, epoch, ExecutionStatus.RUNNING):
            return False
        row.status, row.owner, row.alone = ExecutionStatus.QUEUED, None, False
        return True

    async def history(self, execution_id: UUID) -> History:
        """Return what recovery needs."""
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is None:
            return History(events=[], nodes=[], signals=[])
        return History(events=list(row.events), nodes=_nodes(row), signals=self._store.signals_of(execution_id))

    async def flush(self, batch: Sequence[Flush]) -> list[Verdict]:
        """Write each part or refuse it as a whole; a repeated flush that was committed before is committed."""
        self._store.check()
        if len({part.execution_id for part in batch}) != len(batch):
            raise Bug("an execution is in one batch of flushes twice")
        self._store.check_flush(committed=False)
        verdicts = [self._flush(part) for part in batch]
        self._store.check_flush(committed=True)
        return verdicts

    async def signal(
        self, workspace_id: UUID, execution_id: UUID, signal_id: UUID, kind: SignalKind, body: bytes
    ) -> ExecutionView:
        """Leave a signal, unless one of that kind is unread already. Raises `NotFound`, or `Conflict` where it does not apply."""
        row = self._row(workspace_id, execution_id)
        unread = self._store.signals_of(execution_id)
        fits = not row.status.terminal
        if kind is SignalKind.PAUSE:
            fits = fits and row.status is not ExecutionStatus.PAUSED
        elif kind is SignalKind.RESUME:
            fits = fits and (row.status is ExecutionStatus.PAUSED or _pausing(row, unread))
        if not fits:
            raise misplaced(kind, row.status)
        for signal in unread:
            if {signal.kind, kind} == {SignalKind.PAUSE, SignalKind.RESUME}:
                self._store.hear(signal.id)
        known = signal_id in self._store.unread or signal_id in self._store.heard
        if not known and all(signal.kind is not kind for signal in unread):
            self._store.unread[signal_id] = Signal(
                id=signal_id, execution_id=execution_id, kind=kind, body=body, left_ms=self._store.moment_ms()
            )
        return self._view(row)

    def wake(self, signal_id: UUID, execution_id: UUID, node_id: str, run_index: int) -> None:
        """Leave a wake-up for a node's run, as the end of a child or an answer does."""
        row = self._store.executions.get(execution_id)
        if row is not None and not row.status.terminal:
            self._store.unread[signal_id] = Signal(
                id=signal_id,
                execution_id=execution_id,
                kind=SignalKind.WAKE,
                body=b"{}",
                node_id=node_id,
                run_index=run_index,
                left_ms=self._store.moment_ms(),
            )

    async def unread_signals(self, execution_ids: Sequence[UUID]) -> list[Signal]:
        """Return the unread signals of these executions, oldest first."""
        self._store.check()
        found = [signal for identity in set(execution_ids) for signal in self._store.signals_of(identity)]
        return sorted(found, key=lambda signal: signal.id)

    async def get(self, workspace_id: UUID, execution_id: UUID) -> ExecutionView:
        """Return an execution. Raises `NotFound`."""
        return self._view(self._row(workspace_id, execution_id))

    async def nodes(self, workspace_id: UUID, execution_id: UUID) -> list[NodeRow]:
        """Return its node executions in order of completion. Raises `NotFound`."""
        return _nodes(self._row(workspace_id, execution_id))

    async def events(self, workspace_id: UUID, execution_id: UUID, after_seq: int, limit: int) -> list[EventRow]:
        """Return up to `limit` events numbered above `after_seq`. Raises `NotFound`."""
        row = self._row(workspace_id, execution_id)
        return [event for event in row.events if event.seq > after_seq][:limit]

    def _accept(self, new: NewExecution, *, pushing: bool) -> Accepted:
        version = self._version(new)
        key = (new.workspace_id, new.idempotency.key) if new.idempotency else None
        if new.workflow_id is not None and version is None and key not in self._store.keys:
            return Accepted(outcome=Outcome.NO_WORKFLOW, id=new.id)
        if self._outdated(new) and key not in self._store.keys and new.id not in self._store.executions:
            return Accepted(outcome=Outcome.OUTDATED, id=new.id)
        fingerprint, identity = self._store.keys.get(key, (b"", new.id)) if key else (b"", new.id)
        if key in self._store.keys and new.idempotency and fingerprint != new.idempotency.fingerprint:
            return Accepted(outcome=Outcome.KEY_MISMATCH, id=identity)
        superseded: Sequence[tuple[UUID, UUID | None]] = ()
        held = False
        if identity not in self._store.executions:
            room, superseded = self._place(new)
            if not room and new.concurrency and new.concurrency.on_limit is OnLimit.REJECT:
                return Accepted(outcome=Outcome.LIMITED, id=new.id)
            pushed = new.concurrency is None and pushing and self._store.accepting(new.owner)
            held = not room
            self._insert(new, version, pushed=pushed, held=held)
        if key and new.idempotency:
            self._store.keys.setdefault(key, (new.idempotency.fingerprint, identity))
        row = self._store.executions[identity]
        return Accepted(
            outcome=Outcome.CREATED if identity == new.id else Outcome.REPLAYED,
            id=identity,
            status=row.status,
            owner=row.owner,
            workflow_version=row.workflow_version,
            superseded=superseded,
            held=held,
        )

    def _of_key(self, workspace_id: UUID, key: str) -> list[StoredExecution]:
        """Return the executions of a concurrency key that have not ended, oldest first."""
        rows = [
            row
            for row in self._store.executions.values()
            if row.new.workspace_id == workspace_id and row.new.concurrency and row.new.concurrency.key == key
        ]
        return sorted((row for row in rows if not row.status.terminal), key=lambda row: row.new.id)

    def _stopping(self, execution_id: UUID) -> bool:
        return any(signal.kind is SignalKind.CANCEL for signal in self._store.signals_of(execution_id))

    def _place(self, new: NewExecution) -> tuple[bool, Sequence[tuple[UUID, UUID | None]]]:
        """Return whether there is room for an execution, and whom to ask to stop so that there will be."""
        if new.concurrency is None:
            return True, ()
        standing = Standing()
        for row in self._of_key(new.workspace_id, new.concurrency.key):
            standing.add(row.new.id, row.owner, held=row.held, stopping=self._stopping(row.new.id))
        room, stopped = standing.place(new.id, new.concurrency)
        for identity, _ in stopped:
            self._leave(SignalKind.CANCEL, identity)
        return room, stopped

    def _leave(self, kind: SignalKind, execution_id: UUID) -> None:
        body = b'{"by": "a newer execution"}'
        left_ms = self._store.moment_ms()
        signal = Signal(id=uuid4(), execution_id=execution_id, kind=kind, body=body, left_ms=left_ms)
        self._store.unread[signal.id] = signal

    def _version(self, new: NewExecution) -> int | None:
        workflow = self._store.workflows.get(new.workflow_id) if new.workflow_id else None
        if workflow is None or workflow.archived or workflow.workspace_id != new.workspace_id:
            return None
        return new.workflow_version or max(workflow.versions)

    def _outdated(self, new: NewExecution) -> bool:
        workflow = self._store.workflows.get(new.workflow_id) if new.workflow_id else None
        return (
            new.expected_version is not None and workflow is not None and max(workflow.versions) != new.expected_version
        )

    def _insert(self, new: NewExecution, version: int | None, *, pushed: bool, held: bool) -> None:
        now_ms = self._store.now_ms()
        self._store.executions[new.id] = StoredExecution(
            new=new,
            workflow_version=version,
            status=ExecutionStatus.RUNNING if pushed else ExecutionStatus.QUEUED,
            queued_ms=now_ms,
            owner=new.owner if pushed else None,
            epoch=1 if pushed else 0,
            claimed_ms=now_ms,
            held=held,
        )

    def _claimable(self, row: StoredExecution) -> bool:
        if row.status is ExecutionStatus.RUNNING:
            lease = self._store.leases.get(row.owner) if row.owner else None
            return lease is None or lease.ended_ms is not None
        return (row.status is ExecutionStatus.QUEUED and self._released(row)) or self._awake(row)

    def _released(self, row: StoredExecution) -> bool:
        """Whether its concurrency key does not hold it, or it is to be stopped."""
        return not row.held or self._stopping(row.new.id)

    def _awake(self, row: StoredExecution) -> bool:
        """Whether what rests may go on: its time has come, or somebody has left a signal that applies."""
        if row.status not in RESTING:
            return False
        due = row.wake_ms is not None and row.wake_ms <= self._store.now_ms()
        kinds = {signal.kind for signal in self._store.signals_of(row.new.id)}
        return due or bool(kinds if row.status is ExecutionStatus.WAITING else kinds - {SignalKind.WAKE})

    def _over(self, row: StoredExecution) -> bool:
        """Whether what rests, and may share an actor, has no time left."""
        over = row.deadline_ms is not None and row.deadline_ms <= self._store.now_ms()
        return over and row.status in RESTING and row.new.isolation is Isolation.POOLED

    def _orphans(self, grace_ms: int) -> list[StoredExecution]:
        rows = [
            row
            for row in self._store.executions.values()
            if row.status is ExecutionStatus.RUNNING
            and row.new.isolation is Isolation.POOLED
            and self._store.lost(row.owner, grace_ms)
        ]
        return sorted(rows, key=lambda row: row.new.id)

    def _wished_or_over(self) -> list[StoredExecution]:
        """Return what people want to stop, to pause or to go on, and what rests and has no time left."""
        signals = self._store.unread.values()
        named = {signal.execution_id for signal in signals if signal.kind is not SignalKind.WAKE}
        rows = [self._store.executions[identity] for identity in named]
        rows = [row for row in rows if row.status in UNOWNED and row.new.isolation is Isolation.POOLED]
        rows = [row for row in rows if row.status is not ExecutionStatus.QUEUED or self._released(row)]
        rows += [r for r in self._store.executions.values() if self._over(r) and r.new.id not in named]
        return sorted(rows, key=lambda row: (-row.new.priority, row.new.id))

    def _in_turns(self, shares: Sequence[Share]) -> list[StoredExecution]:
        waiting: dict[UUID, list[tuple[int, UUID, int, StoredExecution]]] = defaultdict(list)
        spaces: set[UUID] = set()
        for row in self._store.executions.values():
            if _waits(row):
                spaces.add(row.new.workspace_id)
        later = [space for space in sorted(spaces) if space > self._claimed_last]
        earlier = [space for space in sorted(spaces) if space <= self._claimed_last]
        ring = {
            space: place
            for place, space in enumerate([*later[:WORKSPACES_PER_CLAIM], *earlier[:WORKSPACES_PER_CLAIM]], 1)
        }
        for row in self._store.executions.values():
            new = row.new
            if _waits(row) and new.workspace_id in ring:
                waiting[new.workspace_id].append((-new.priority, new.id, ring[new.workspace_id], row))
            elif new.isolation is Isolation.POOLED and self._awake(row):
                waiting[new.workspace_id].append((-new.priority, new.id, 0, row))
        known = {share.workspace_id: share for share in shares}
        usual_ms = sum(share.cost_ms for share in shares) / len(shares) if shares else 1
        ordered = []
        for space, rows in waiting.items():
            share = known.get(space) or Share(workspace_id=space, held=0, ahead_ms=0, cost_ms=usual_ms)
            for before, (priority, identity, place, row) in enumerate(sorted(rows, key=lambda entry: entry[:2])):
                used_ms = share.ahead_ms + before * share.cost_ms
                ordered.append((share.held + before, used_ms, priority, place, identity, row))
        return [entry[-1] for entry in sorted(ordered, key=lambda entry: entry[:5])]

    def _take(self, owner: UUID, row: StoredExecution) -> Claimed:
        if row.status is ExecutionStatus.RUNNING:
            lease = self._store.leases.get(row.owner) if row.owner else None
            reason = lease.reason if lease else None
            row.losses += 1
            row.crashes += row.alone and reason in {LeaseEnd.CRASHED, LeaseEnd.EXPIRED}
        row.status, row.owner, row.alone = ExecutionStatus.RUNNING, owner, False
        row.epoch += 1
        row.wake_ms = None
        row.claimed_ms = self._store.now_ms()
        return self._claimed(row)

    def _claimed(self, row: StoredExecution) -> Claimed:
        definition, name = self._definition(row)
        return Claimed(
            id=row.new.id,
            workspace_id=row.new.workspace_id,
            workflow_id=row.new.workflow_id,
            workflow_version=row.workflow_version,
            workflow_name=name,
            definition=definition,
            input=row.new.input,
            input_ref=row.new.input_ref,
            epoch=row.epoch,
            last_seq=row.last_seq,
            recovered=row.losses > 0,
            losses=row.losses,
            crashes=row.crashes,
            isolation=row.new.isolation,
            concurrency_key=row.new.concurrency.key if row.new.concurrency else "",
            deadline_ms=row.deadline_ms,
            held=row.held,
            signalled=any(signal.execution_id == row.new.id for signal in self._store.unread.values()),
        )

    def _definition(self, row: StoredExecution) -> tuple[bytes, str]:
        if row.new.workflow_id is not None and row.workflow_version is not None:
            workflow = self._store.workflows[row.new.workflow_id]
            return row.new.definition or workflow.versions[row.workflow_version], workflow.name
        definition = row.new.definition or b"{}"
        return definition, json.loads(definition).get("name") or ""

    def _flush(self, part: Flush) -> Verdict:
        row = self._store.executions.get(part.execution_id)
        if row is None or row.epoch != part.epoch:
            return Verdict.FENCED
        if row.last_seq != part.last_seq or row.status is not ExecutionStatus.RUNNING:
            return Verdict.COMMITTED if row.last_seq >= last_seq_after(part) else Verdict.FENCED
        row.last_seq = last_seq_after(part)
        row.alone, row.losses = False, 0
        row.nodes_completed = max(row.nodes_completed, part.nodes_completed)
        row.started_ms = part.started_ms if row.started_ms is None else row.started_ms
        row.events.extend(part.events)
        for place, node in last_rows(part.nodes):
            key = (node.node_id, node.run_index)
            if key not in row.nodes or row.nodes[key][1].status not in SETTLED:
                row.nodes[key] = ((row.last_seq << 20) + place, node)
        if part.rest is not None:
            row.status, row.owner, row.wake_ms = part.rest.status, None, part.rest.wake_ms
            row.deadline_ms = row.deadline_ms if part.rest.deadline_ms is None else part.rest.deadline_ms
        heard = set(part.signals_read)
        if part.ending is not None:
            row.status, row.completed_ms = part.ending.status, part.ending.at_ms
            row.output, row.output_ref = part.ending.output, part.ending.output_ref
            row.error_code, row.error_message = part.ending.error_code, part.ending.error_message
            row.error_node_id = part.ending.error_node_id
            row.shared = part.ending.shared
            heard |= {signal.id for signal in self._store.signals_of(part.execution_id)}
        for signal_id in heard:
            self._store.hear(signal_id)
        return Verdict.COMMITTED

    def _row(self, workspace_id: UUID, execution_id: UUID) -> StoredExecution:
        self._store.check()
        row = self._store.executions.get(execution_id)
        if row is None or row.new.workspace_id != workspace_id:
            raise absent(execution_id)
        return row

    def _view(self, row: StoredExecution) -> ExecutionView:
        wishes = [each for each in self._store.signals_of(row.new.id) if each.kind is not SignalKind.WAKE]
        wish = max(wishes, key=lambda each: (each.kind is SignalKind.CANCEL, each.id), default=None)
        lease = self._store.leases.get(row.owner) if row.owner else None
        holder = lease.holder if lease else None
        return ExecutionView(
            id=row.new.id,
            workspace_id=row.new.workspace_id,
            workflow_id=row.new.workflow_id,
            workflow_version=row.workflow_version,
            status=row.status,
            trigger_type=row.new.trigger_type,
            triggered_by=row.new.triggered_by,
            isolation=row.new.isolation,
            priority=row.new.priority,
            epoch=row.epoch,
            last_seq=row.last_seq,
            crashes=row.crashes,
            nodes_total=row.new.nodes_total,
            nodes_completed=row.nodes_completed,
            queued_ms=row.queued_ms,
            started_ms=row.started_ms,
            completed_ms=row.completed_ms,
            input=row.new.input,
            output=row.output,
            error_code=row.error_code,
            error_message=row.error_message,
            error_node_id=row.error_node_id,
            owner=row.owner,
            actor_id=holder.actor_id if holder else "",
            actor_name=holder.actor_name if holder else "",
            pid=holder.pid if holder else None,
            host=holder.host if holder else "",
            shared=row.shared,
            input_ref=row.new.input_ref,
            output_ref=row.output_ref,
            wish=wish.kind if wish else None,
            wake_ms=row.wake_ms,
            concurrency_key=row.new.concurrency.key if row.new.concurrency else "",
            held=row.held and row.status is ExecutionStatus.QUEUED,
        )


def _pausing(row: StoredExecution, unread: Sequence[Signal]) -> bool:
    """Whether somebody has asked for it to pause, and nobody for it to go on since."""
    wishes = [event.kind for event in row.events if event.kind in PAUSE_WISHES]
    return wishes[-1:] == [PauseRequested.kind] or any(signal.kind is SignalKind.PAUSE for signal in unread)


def _waits(row: StoredExecution) -> bool:
    return row.status is ExecutionStatus.QUEUED and row.new.isolation is Isolation.POOLED and not row.held


def _nodes(row: StoredExecution) -> list[NodeRow]:
    """Return node executions in order of completion; those without a time of completion come last, as NULLs do."""
    placed = sorted(row.nodes.values(), key=lambda entry: (_completed_or_never(entry[1]), entry[0]))
    return [node for _, node in placed]


def _completed_or_never(node: NodeRow) -> float:
    return float("inf") if node.completed_ms is None else node.completed_ms
