"""Ownership as a state machine on real PostgreSQL: claims, flushes, crashes, steals and zombies in any order.

The model knows who owns what; the invariants are G3 (nothing from an older epoch is written), gapless numbers, and that
whatever is not terminal can still be claimed. The test also counts what was tried: without zombies it proves nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, TypeVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution, node
from workflow.ports import LeaseEnd, Verdict

R = TypeVar("R")
PICK = st.integers(0, 1_000)


@dataclass(frozen=True, slots=True)
class Grip:
    """What an owner believes that it holds, perhaps no longer rightly."""

    execution_id: UUID
    owner: UUID
    epoch: int


class Ownership(RuleBasedStateMachine):
    """`dsn` and `tried` are set by the test that runs it."""

    dsn: ClassVar[str]
    tried: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        run_sql(self.dsn, "TRUNCATE executions, node_executions, stream_events, signals, leases, idempotency_keys")
        self.pool = make_pool(StoreConfig(dsn=self.dsn, pool_size_max=1))
        self.do(self.pool.open(wait=True))
        self.store = PostgresExecutions(self.pool)
        self.leases = PostgresLeases(self.dsn)
        self.watch = psycopg.connect(self.dsn, autocommit=True)
        self.live: list[UUID] = []
        self.grips: list[Grip] = []
        self.epochs: dict[UUID, int] = {}
        self.seqs: dict[UUID, int] = {}
        self.ended: set[UUID] = set()

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

    @rule(count=st.integers(1, 3), push=st.booleans())
    def accept(self, count: int, push: bool) -> None:
        owner = self.live[-1] if push else None
        batch = [new_execution(self.live[0], owner=owner) for _ in range(count)]
        for answer in self.do(self.store.accept(batch)):
            self.epochs[answer.id] = 1 if answer.owner else 0
            self.seqs[answer.id] = 0
            if answer.owner is not None:
                self.grips.append(Grip(answer.id, answer.owner, 1))

    @rule(pick=PICK, limit=st.integers(1, 4))
    def claim(self, pick: int, limit: int) -> None:
        owner = self.live[pick % len(self.live)]
        for claimed in self.do(self.store.claim(owner, limit, 0)):
            assert claimed.id not in self.ended
            assert (claimed.epoch, claimed.last_seq) == (self.epochs[claimed.id] + 1, self.seqs[claimed.id])
            self.tried["stolen" if claimed.recovered else "claimed"] += 1
            self.epochs[claimed.id] = claimed.epoch
            self.grips.append(Grip(claimed.id, owner, claimed.epoch))

    @rule(pick=PICK, reason=st.sampled_from(LeaseEnd), limit=st.integers(1, 4))
    def crash_and_take_over(self, pick: int, reason: LeaseEnd, limit: int) -> None:
        """End a lease and let others claim; then the former owner, who knows nothing of it, writes."""
        gone = self.live.pop(pick % len(self.live))
        assert self.leases.end(gone, reason)
        assert self.do(self.store.claim(gone, 10, 0)) == []
        self.register()
        self.claim(len(self.live) - 1, limit)
        for grip in [grip for grip in self.grips if grip.owner == gone][:2]:
            self.write_with(grip, events=1, end=False, twice=False)

    @precondition(lambda self: self.grips)
    @rule(
        picks=st.lists(PICK, min_size=1, max_size=3), events=st.integers(1, 3), end=st.booleans(), twice=st.booleans()
    )
    def write(self, picks: list[int], events: int, end: bool, twice: bool) -> None:
        for pick in picks:
            self.write_with(self.grips[pick % len(self.grips)], events=events, end=end, twice=twice)

    def write_with(self, grip: Grip, *, events: int, end: bool, twice: bool) -> None:
        """Write at the very number that is next, with whatever epoch the writer believes in; perhaps once more."""
        seq = self.seqs[grip.execution_id]
        part = flush(
            grip.execution_id,
            epoch=grip.epoch,
            last_seq=seq,
            events=events,
            nodes=[node("a", run_index=seq)],
            ending=ending() if end else None,
        )
        stale = grip.epoch != self.epochs[grip.execution_id]
        over = grip.execution_id in self.ended
        expected = Verdict.FENCED if stale or over else Verdict.COMMITTED
        self.tried["zombie" if stale else "late" if over else "written"] += 1

        assert self.do(self.store.flush([part])) == [expected]
        if expected is Verdict.COMMITTED:
            self.seqs[grip.execution_id] += events
            self.ended |= {grip.execution_id} if end else set()
        if twice:
            assert self.do(self.store.flush([part])) == [expected]

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        rows = self.watch.execute(
            "SELECT e.id, e.epoch, e.last_seq, count(v.seq), COALESCE(max(v.seq), 0), e.completed_at IS NOT NULL "
            "FROM executions e LEFT JOIN stream_events v ON v.execution_id = e.id GROUP BY e.id",
        )
        for identity, epoch, last_seq, count, top, ended in rows:
            assert (epoch, last_seq) == (self.epochs[identity], self.seqs[identity])
            assert last_seq == count == top
            assert ended is (identity in self.ended)

    def teardown(self) -> None:
        run_sql(self.dsn, "UPDATE leases SET ended_at = now(), end_reason = 'crashed' WHERE ended_at IS NULL")
        heir = self.register()
        claimed = self.do(self.store.claim(heir, 1000, 0))
        self.leases.close()
        self.watch.close()
        self.do(self.pool.close())
        self.loop.close()
        assert {each.id for each in claimed} == set(self.epochs) - self.ended


@pytest.mark.timeout(300)
def test_ownership_holds_whatever_happens(dsn: str) -> None:
    tried: Counter[str] = Counter()
    machine = type("OwnershipHere", (Ownership,), {"dsn": dsn, "tried": tried})
    bounds = settings(
        max_examples=20,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    run_state_machine_as_test(machine, settings=bounds)

    assert min(tried[kind] for kind in ("claimed", "stolen", "written", "zombie", "late")) >= 5, tried
