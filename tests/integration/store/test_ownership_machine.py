"""Ownership as a state machine on real PostgreSQL: claims, flushes, crashes, steals and zombies in any order.

The model knows who owns what; the invariants are G3 (nothing from an older epoch is written), gapless numbers, and that
whatever is not terminal can still be claimed by somebody.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from tests.conftest import run_sql
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution, node
from workflow.ports import Claimed, Flush, LeaseEnd, Verdict

R = TypeVar("R")


class Ownership(RuleBasedStateMachine):
    """`dsn` is set by the test that runs it."""

    dsn = ""
    owners = Bundle("owners")
    grips = Bundle("grips")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        run_sql(self.dsn, "TRUNCATE executions, node_executions, stream_events, signals, leases, idempotency_keys")
        self.pool = make_pool(StoreConfig(dsn=self.dsn, pool_size_max=1))
        self.do(self.pool.open(wait=True))
        self.store = PostgresExecutions(self.pool)
        self.leases = PostgresLeases(self.dsn)
        self.workspace = an_id()
        self.epochs: dict[object, int] = {}
        self.seqs: dict[object, int] = {}
        self.ended: set[object] = set()
        self.gone: set[object] = set()

    def do(self, awaitable: Awaitable[R]) -> R:
        return self.loop.run_until_complete(awaitable)

    @rule(target=owners)
    def register(self) -> object:
        owner = an_id()
        self.leases.register(holder(owner), TTL_MS)
        return owner

    @rule(owner=owners, reason=st.sampled_from(LeaseEnd))
    def lose(self, owner: object, reason: LeaseEnd) -> None:
        assert self.leases.end(owner, reason) is (owner not in self.gone)
        self.gone.add(owner)

    @rule(owner=owners, count=st.integers(1, 3))
    def push(self, owner: object, count: int) -> None:
        batch = [new_execution(self.workspace, owner=owner) for _ in range(count)]
        for answer in self.do(self.store.accept(batch)):
            if answer.owner is not None:
                assert owner not in self.gone
            self.epochs[answer.id] = 1 if answer.owner else 0
            self.seqs[answer.id] = 0

    @rule(target=grips, owner=owners, limit=st.integers(1, 4))
    def claim(self, owner: object, limit: int) -> list[Claimed]:
        taken = self.do(self.store.claim(owner, limit, 0))
        if owner in self.gone:
            assert taken == []
        for claimed in taken:
            assert claimed.id not in self.ended
            assert claimed.epoch == self.epochs[claimed.id] + 1
            assert claimed.last_seq == self.seqs[claimed.id]
            self.epochs[claimed.id] = claimed.epoch
        return taken

    @rule(grip=grips, events=st.integers(1, 3), end=st.booleans(), twice=st.booleans())
    def write(self, grip: list[Claimed], events: int, end: bool, twice: bool) -> None:
        """Write as the claimer would, which may long have lost what it claimed; perhaps again after a lost answer."""
        parts = [self.part(claimed, events, end) for claimed in grip]
        expected = [self.expected(part) for part in parts]
        assert self.do(self.store.flush(parts)) == expected
        for part, verdict in zip(parts, expected, strict=True):
            if verdict is Verdict.COMMITTED:
                self.seqs[part.execution_id] = part.last_seq + len(part.events)
                self.ended |= {part.execution_id} if end else set()
        if twice:
            assert self.do(self.store.flush(parts)) == expected

    @rule(grip=consumes(grips))
    def forget(self, grip: list[Claimed]) -> None:
        """Drop a grip: its owner never writes again."""

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        rows = run_sql(
            self.dsn,
            "SELECT e.id, e.epoch, e.last_seq, count(v.seq), COALESCE(max(v.seq), 0), e.completed_at IS NOT NULL "
            "FROM executions e LEFT JOIN stream_events v ON v.execution_id = e.id GROUP BY e.id",
        )
        for identity, epoch, last_seq, count, top, ended in rows:
            assert (epoch, last_seq) == (self.epochs[identity], self.seqs[identity])
            assert last_seq == count == top
            assert ended is (identity in self.ended)

    def teardown(self) -> None:
        heir = an_id()
        run_sql(self.dsn, "UPDATE leases SET ended_at = now(), end_reason = 'crashed' WHERE ended_at IS NULL")
        self.leases.register(holder(heir), TTL_MS)
        left = set(self.epochs) - self.ended
        assert {claimed.id for claimed in self.do(self.store.claim(heir, 1000, 0))} == left
        self.leases.close()
        self.do(self.pool.close())
        self.loop.close()

    def part(self, claimed: Claimed, events: int, end: bool) -> Flush:
        known = self.seqs[claimed.id] if self.epochs[claimed.id] == claimed.epoch else claimed.last_seq
        return flush(
            claimed.id,
            epoch=claimed.epoch,
            last_seq=known,
            events=events,
            nodes=[node("a", run_index=known)],
            ending=ending() if end else None,
        )

    def expected(self, part: Flush) -> Verdict:
        current = self.epochs[part.execution_id] == part.epoch and part.execution_id not in self.ended
        return Verdict.COMMITTED if current else Verdict.FENCED


@pytest.mark.timeout(300)
def test_ownership_holds_whatever_happens(dsn: str) -> None:
    machine = type("OwnershipHere", (Ownership,), {"dsn": dsn})
    bounds = settings(
        max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=bounds)
