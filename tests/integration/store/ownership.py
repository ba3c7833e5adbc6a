"""The model of who owns what, and the machine that plays owners on real PostgreSQL: claims, flushes, rests, wishes, crashes, zombies."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, event, flush, holder, new_execution, node
from workflow.errors import Conflict
from workflow.events import PauseRequested, ResumeRequested
from workflow.ports import Claimed, Flush, LeaseEnd, Rest, SignalKind, Verdict
from workflow.states import ExecutionStatus

R = TypeVar("R")
PICK = st.integers(0, 1_000)
HOUR_MS = 3_600_000
TABLES = "executions, node_executions, stream_events, signals, leases, idempotency_keys, hitl_requests, audit_entries"
RESTING = {ExecutionStatus.WAITING, ExecutionStatus.PAUSED}
WISHES = {SignalKind.PAUSE: PauseRequested.kind, SignalKind.RESUME: ResumeRequested.kind}

Left = tuple[SignalKind, str, int]
"""A signal as one is told from another: kind, node, run."""


@dataclass(frozen=True, slots=True)
class Grip:
    """What an owner believes that it holds, perhaps no longer rightly."""

    execution_id: UUID
    owner: UUID
    epoch: int


@dataclass(slots=True, kw_only=True)
class Known:
    """What is true of an execution."""

    status: ExecutionStatus
    epoch: int
    owner: UUID | None
    seq: int = 0
    wake_ms: int | None = None
    unread: set[Left] = field(default_factory=set)
    pausing: bool = False
    """Whether the last wish that an owner has written down is to pause."""
    rested: set[int] = field(default_factory=set)
    """The epochs that ended with a rest."""
    parent: tuple[UUID, str, int] | None = None
    """The node's run that waits for its end."""
    depth: int = 0


def now_ms() -> int:
    return int(time.time() * 1000)


class Ownership(RuleBasedStateMachine):
    """`dsn`, `workspace`, `workflow` and `tried` are set by the test that runs it."""

    dsn: ClassVar[str]
    workspace: ClassVar[UUID]
    workflow: ClassVar[UUID]
    tried: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        run_sql(self.dsn, f"TRUNCATE {TABLES}")
        self.pool = make_pool(StoreConfig(dsn=self.dsn, pool_size_max=1))
        self.do(self.pool.open(wait=True))
        self.store = PostgresExecutions(self.pool)
        self.leases = PostgresLeases(self.dsn)
        self.watch = psycopg.connect(self.dsn, autocommit=True)
        self.live: list[UUID] = []
        self.grips: list[Grip] = []
        self.known: dict[UUID, Known] = {}

    def do(self, awaitable: Awaitable[R]) -> R:
        return self.loop.run_until_complete(awaitable)

    @initialize()
    def begin(self) -> None:
        self.register()
        self.accept(count=3, push=True)

    def register(self) -> UUID:
        owner = an_id()
        self.leases.register(holder(owner), TTL_MS)
        self.live.append(owner)
        return owner

    def pick(self, pick: int) -> UUID:
        return list(self.known)[pick % len(self.known)]

    def claimable(self, execution_id: UUID) -> bool:
        known = self.known[execution_id]
        if known.status in RESTING:
            due = known.wake_ms is not None and known.wake_ms <= now_ms()
            heard = {kind for kind, _, _ in known.unread}
            return due or bool(heard if known.status is ExecutionStatus.WAITING else heard - {SignalKind.WAKE})
        if known.status is ExecutionStatus.RUNNING:
            return known.owner not in self.live
        return known.status is ExecutionStatus.QUEUED

    def tier(self, execution_id: UUID) -> int:
        """Where it stands in a claim: lost ones, then what people wish for, then all the others."""
        known = self.known[execution_id]
        if known.status is ExecutionStatus.RUNNING:
            return 0
        return 2 - any(kind is not SignalKind.WAKE for kind, _, _ in known.unread)

    def rightful(self, grip: Grip) -> bool:
        known = self.known[grip.execution_id]
        return grip.epoch == known.epoch and known.status is ExecutionStatus.RUNNING

    def taken(self, claimed: Claimed, owner: UUID) -> None:
        known = self.known[claimed.id]
        assert (claimed.epoch, claimed.last_seq) == (known.epoch + 1, known.seq)
        kind = "stolen" if known.status is ExecutionStatus.RUNNING else f"claimed {known.status.value}"
        self.tried[kind] += 1
        known.status, known.owner, known.epoch, known.wake_ms = (
            ExecutionStatus.RUNNING,
            owner,
            claimed.epoch,
            None,
        )
        self.grips.append(Grip(claimed.id, owner, claimed.epoch))

    @rule(count=st.integers(1, 3), push=st.booleans())
    def accept(self, count: int, push: bool) -> None:
        owner = self.live[-1] if push else None
        batch = [new_execution(self.workspace, owner=owner) for _ in range(count)]
        for answer in self.do(self.store.accept(batch)):
            self.known[answer.id] = Known(status=answer.status, epoch=1 if answer.owner else 0, owner=answer.owner)
            if answer.owner is not None:
                self.grips.append(Grip(answer.id, answer.owner, 1))

    @rule(pick=PICK, limit=st.integers(1, 6))
    def claim(self, pick: int, limit: int) -> None:
        """All that may be claimed is, up to the limit, and nothing else."""
        owner = self.live[pick % len(self.live)]
        possible = {execution_id for execution_id in self.known if self.claimable(execution_id)}
        claimed = self.do(self.store.claim(owner, limit, 0))

        assert {each.id for each in claimed} <= possible
        assert len(claimed) == min(limit, len(possible))
        tiers = [self.tier(each.id) for each in claimed]
        assert tiers == sorted(map(self.tier, possible))[:limit]
        for each in claimed:
            self.taken(each, owner)

    @rule(pick=PICK, which=PICK)
    def claim_by_name(self, pick: int, which: int) -> None:
        owner, execution_id = self.live[pick % len(self.live)], self.pick(which)
        expected = self.claimable(execution_id)
        claimed = self.do(self.store.claim_one(owner, execution_id))

        assert (claimed is not None) is expected
        if claimed is not None:
            self.taken(claimed, owner)

    @rule(pick=PICK, reason=st.sampled_from(LeaseEnd), limit=st.integers(1, 4))
    def crash_and_take_over(self, pick: int, reason: LeaseEnd, limit: int) -> None:
        """End a lease and let others claim; then the former owner, who knows nothing of it, writes."""
        gone = self.live.pop(pick % len(self.live))
        assert self.leases.end(gone, reason)
        assert self.do(self.store.claim(gone, 10, 0)) == []
        self.register()
        self.claim(len(self.live) - 1, limit)
        for grip in [grip for grip in self.grips if grip.owner == gone][-2:]:
            self.go_on_as_a_zombie(grip)

    def go_on_as_a_zombie(self, grip: Grip) -> None:
        self.write_with(grip, events=1, end=False, twice=False)

    @precondition(lambda self: self.grips)
    @rule(
        picks=st.lists(PICK, min_size=1, max_size=3), events=st.integers(1, 3), end=st.booleans(), twice=st.booleans()
    )
    def write(self, picks: list[int], events: int, end: bool, twice: bool) -> None:
        for pick in picks:
            grip = self.grips[pick % len(self.grips)]
            self.write_with(grip, events=events, end=end, twice=twice)
            if self.known[grip.execution_id].status.terminal:
                self.wish_for(grip.execution_id, SignalKind.CANCEL)

    @precondition(lambda self: self.grips)
    @rule(pick=PICK, paused=st.booleans(), wake_ms=st.sampled_from([None, HOUR_MS, -HOUR_MS]), twice=st.booleans())
    def rest(self, pick: int, paused: bool, wake_ms: int | None, twice: bool) -> None:
        """Whoever believes to own an execution lets it go, until a time or for ever."""
        status = ExecutionStatus.PAUSED if paused else ExecutionStatus.WAITING
        until_ms = None if wake_ms is None else now_ms() + wake_ms
        grip = self.grips[pick % len(self.grips)]
        self.write_with(grip, end=False, twice=twice, rest=Rest(status=status, wake_ms=until_ms))
        self.write_with(grip, end=False, twice=False)
        if self.known[grip.execution_id].status is ExecutionStatus.PAUSED:
            self.wish_for(grip.execution_id, SignalKind.PAUSE)

    @precondition(lambda self: self.grips)
    @rule(pick=PICK, wake_ms=st.sampled_from([None, HOUR_MS]))
    def rest_after_reading(self, pick: int, wake_ms: int | None) -> None:
        """An owner takes up all that was left for it, and lets go."""
        grip = self.grips[pick % len(self.grips)]
        self.read_with(grip)
        status = ExecutionStatus.PAUSED if self.known[grip.execution_id].pausing else ExecutionStatus.WAITING
        until_ms = None if wake_ms is None else now_ms() + wake_ms
        self.write_with(grip, end=False, twice=False, rest=Rest(status=status, wake_ms=until_ms))

    @precondition(lambda self: self.grips)
    @rule(pick=PICK)
    def read(self, pick: int) -> None:
        self.read_with(self.grips[pick % len(self.grips)])

    def read_with(self, grip: Grip) -> None:
        """Write down the signals that are unread, whether that is allowed or not."""
        known = self.known[grip.execution_id]
        signals = self.do(self.store.unread_signals([grip.execution_id]))
        kinds = [WISHES[signal.kind] for signal in signals if signal.kind in WISHES] or ["node.completed"]
        part = flush(grip.execution_id, epoch=grip.epoch, last_seq=known.seq, signals_read=[s.id for s in signals])
        events = [event(known.seq + number, kind) for number, kind in enumerate(kinds, 1)]
        part = Flush(**{**{name: getattr(part, name) for name in part.__slots__}, "events": events})
        if self.flushed([part])[0] is Verdict.COMMITTED:
            known.unread.clear()
            if kinds[-1] in WISHES.values():
                known.pausing = kinds[-1] == PauseRequested.kind

    def write_with(self, grip: Grip, *, end: bool, twice: bool, events: int = 1, rest: Rest | None = None) -> None:
        """Write at the very number that is next, with whatever epoch the writer believes in; perhaps once more."""
        part = self.part_of(grip, events=events, end=end, rest=rest)
        verdicts = self.flushed([part])
        if twice:
            assert self.do(self.store.flush([part])) == verdicts

    def part_of(self, grip: Grip, *, events: int = 1, end: bool = False, rest: Rest | None = None) -> Flush:
        seq = self.known[grip.execution_id].seq
        return flush(
            grip.execution_id,
            epoch=grip.epoch,
            last_seq=seq,
            events=events,
            nodes=[node("a", run_index=seq)],
            ending=ending() if end else None,
            rest=rest,
        )

    def flushed(self, parts: Sequence[Flush]) -> list[Verdict]:
        """Flush parts of executions that differ, and hold the verdicts against the model."""
        expected = []
        for part in parts:
            known = self.known[part.execution_id]
            stale = part.epoch != known.epoch
            refused = stale or known.status is not ExecutionStatus.RUNNING
            expected.append(Verdict.FENCED if refused else Verdict.COMMITTED)
            kind = "zombie" if stale else "written" if not refused else "late"
            self.tried[f"rested {kind}" if refused and part.epoch in known.rested else kind] += 1
        assert self.do(self.store.flush(parts)) == expected
        committed = [p for p, verdict in zip(parts, expected, strict=True) if verdict is Verdict.COMMITTED]
        for part in committed:
            self.written(part)
        for part in committed:  # all that this statement has changed is changed when the trigger looks
            if part.ending is not None:
                self.ended(part.execution_id)
        return expected

    def written(self, part: Flush) -> None:
        known = self.known[part.execution_id]
        known.seq += len(part.events)
        if part.rest is not None:
            known.status, known.owner, known.wake_ms = part.rest.status, None, part.rest.wake_ms
            known.rested.add(part.epoch)
        if part.ending is not None:
            known.status = part.ending.status
            known.unread.clear()

    def ended(self, execution_id: UUID) -> None:
        parent = self.known[execution_id].parent
        if parent is not None and not self.known[parent[0]].status.terminal:
            self.known[parent[0]].unread.add((SignalKind.WAKE, *parent[1:]))
            self.tried[f"child of a {self.known[parent[0]].status.value} one"] += 1

    @rule(pick=PICK, kinds=st.lists(st.sampled_from(["pause", "resume", "cancel"]), min_size=1, max_size=3))
    def wish(self, pick: int, kinds: list[str]) -> None:
        """The last wish counts, and what makes no sense is refused."""
        for kind in kinds:
            self.wish_for(self.pick(pick), SignalKind(kind))

    def wish_for(self, execution_id: UUID, kind: SignalKind) -> None:
        known = self.known[execution_id]
        pausing = known.pausing or (SignalKind.PAUSE, "", 0) in known.unread
        fits = not known.status.terminal
        if kind is SignalKind.PAUSE:
            fits = fits and known.status is not ExecutionStatus.PAUSED
        elif kind is SignalKind.RESUME:
            fits = fits and (known.status is ExecutionStatus.PAUSED or pausing)
        self.tried[f"{kind.value} {'left' if fits else 'refused'}"] += 1
        signalling = self.store.signal(self.workspace, execution_id, an_id(), kind, b"{}")
        if not fits:
            with pytest.raises(Conflict) as refused:
                self.do(signalling)
            assert refused.value.fields == {"state": known.status.value}
            return
        assert self.do(signalling).status is known.status
        if kind in WISHES:
            known.unread -= {(SignalKind.PAUSE, "", 0), (SignalKind.RESUME, "", 0)}
        known.unread.add((kind, "", 0))

    @rule(pick=PICK)
    def time_comes(self, pick: int) -> None:
        """What waits for a time, or is paused until one, is due."""
        timed = [i for i, known in self.known.items() if known.status in RESTING and known.wake_ms is not None]
        if timed:
            execution_id = timed[pick % len(timed)]
            self.known[execution_id].wake_ms = now_ms() - 1
            run_sql(
                self.dsn,
                "UPDATE executions SET wake_at = clock_timestamp() - interval '1 second' WHERE id = %s",
                execution_id,
            )

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        rows = self.watch.execute(
            "SELECT e.id, e.status, e.owner, e.epoch, e.last_seq, count(v.seq), COALESCE(max(v.seq), 0), "
            "e.completed_at IS NOT NULL, e.wake_at IS NOT NULL "
            "FROM executions e LEFT JOIN stream_events v ON v.execution_id = e.id GROUP BY e.id",
        ).fetchall()
        assert {row[0] for row in rows} == set(self.known)
        for identity, status, owner, epoch, last_seq, count, top, ended, wakes in rows:
            known = self.known[identity]
            assert (ExecutionStatus(status), epoch, last_seq) == (known.status, known.epoch, known.seq)
            assert last_seq == count == top
            assert ended is known.status.terminal
            assert wakes is (known.status in RESTING)
            if not known.status.terminal:
                assert owner == known.owner

    @invariant()
    def no_signal_is_lost_or_comes_from_nowhere(self) -> None:
        unread: dict[UUID, set[Left]] = {identity: set() for identity in self.known}
        for identity, kind, node_id, run_index in self.watch.execute(
            "SELECT execution_id, kind, node_id, run_index FROM signals WHERE read_at IS NULL"
        ):
            unread[identity].add((SignalKind(kind), node_id, run_index))
        assert unread == {identity: known.unread for identity, known in self.known.items()}

    def teardown(self) -> None:
        """Whatever has not ended is claimed now, or rests with no reason to be, and is claimed when it has one."""
        run_sql(self.dsn, "UPDATE leases SET ended_at = now(), end_reason = 'crashed' WHERE ended_at IS NULL")
        self.live.clear()
        heir = self.register()
        possible = {execution_id for execution_id in self.known if self.claimable(execution_id)}
        claimed = {each.id for each in self.do(self.store.claim(heir, 1000, 0))}
        left = {i for i, known in self.known.items() if not known.status.terminal} - possible
        run_sql(self.dsn, "UPDATE executions SET wake_at = clock_timestamp() WHERE wake_at IS NOT NULL")
        later = {each.id for each in self.do(self.store.claim(heir, 1000, 0))}
        self.leases.close()
        self.watch.close()
        self.do(self.pool.close())
        self.loop.close()
        assert claimed == possible
        assert later == left
        assert all(self.known[execution_id].status in RESTING for execution_id in left)
