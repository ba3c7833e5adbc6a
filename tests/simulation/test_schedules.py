"""Every schedule of two owners, three nodes, claims, flushes, lost leases and steals, on the store in memory."""

from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from store.memory import MemoryLeases, MemoryStore, StoredExecution, StoredLease
from store.memory_executions import MemoryExecutions
from tests.contract.making import an_id, new_execution
from tests.simulation.schedules import BEGINNING, LEASES_MAX, Act, Owners, Row, Stage, What, acts

R = TypeVar("R")
SCHEDULES_MIN = 100_000
OF_THE_OWNER_ALONE = {What.START, What.COMPLETE}


def at_once(work: Coroutine[Any, Any, R]) -> R:
    """Return what a coroutine gives that waits for nothing, as none of the store in memory does."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


@dataclass
class Explorer:
    """Goes through all that can happen, once for each state that differs; `schedules` counts the ways to the end."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(lambda: 1_700_000_000_000))
    acts: int = 0
    refused: int = 0
    seen: dict[tuple[Owners, Row], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        new = new_execution(an_id())
        executions = MemoryExecutions(self.store)
        leases = [[an_id() for _ in range(count)] for count in LEASES_MAX]
        self.stage = Stage([executions] * 2, MemoryLeases(self.store), new.id, new.workspace_id, leases)
        at_once(executions.accept([new]))
        for owner in range(len(BEGINNING)):
            self.stage.register(owner, 0)

    def schedules(self, owners: Owners, row: Row) -> int:
        """Return how many schedules begin here, having held every act of theirs against the guarantees.

        Leaves the store as it was.
        """
        known = self.seen.get((owners, row))
        if known is not None:
            return known
        found, kept = 0, self._kept()
        for act in acts(owners):
            then, after = self._perform(owners, row, act)
            if then != owners or after is not row:
                found += self.schedules(then, after)
            if act.what not in OF_THE_OWNER_ALONE:
                self._restore(kept)
        self.seen[owners, row] = found = found or 1
        return found

    def _perform(self, owners: Owners, row: Row, act: Act) -> tuple[Owners, Row]:
        then, answer = at_once(self.stage.perform(owners, act))
        after = self._row()
        self.stage.hold(row, after, owners, act, answer)
        after = row if after == row else after
        self.acts += 1
        self.refused += act.what is What.FLUSH and after == row
        return then, after

    def _row(self) -> Row:
        row = self.store.executions[self.stage.execution_id]
        events = tuple((each.seq, each.kind, each.node_id) for each in row.events)
        nodes = tuple(sorted((each.node_id, each.status, each.output) for _, each in row.nodes.values()))
        return Row(row.status, row.owner, row.epoch, row.last_seq, events, nodes)

    def _kept(self) -> tuple[StoredExecution, dict[Any, StoredLease]]:
        row = self.store.executions[self.stage.execution_id]
        leases = {identity: replace(lease) for identity, lease in self.store.leases.items()}
        return replace(row, events=list(row.events), nodes=dict(row.nodes)), leases

    def _restore(self, kept: tuple[StoredExecution, dict[Any, StoredLease]]) -> None:
        row, leases = kept
        copy = replace(row, events=list(row.events), nodes=dict(row.nodes))
        self.store.executions[self.stage.execution_id] = copy
        self.store.leases = {identity: replace(lease) for identity, lease in leases.items()}


@pytest.mark.timeout(300)
def test_every_guarantee_holds_after_every_act_of_every_schedule():
    explorer = Explorer()

    schedules = explorer.schedules(BEGINNING, explorer._row())

    print(
        f"\n{schedules} schedules, {len(explorer.seen)} states, {explorer.acts} acts, {explorer.refused} refused flushes"
    )
    assert schedules >= SCHEDULES_MIN
    assert explorer.refused > 1_000, "former owners have tried to write"
