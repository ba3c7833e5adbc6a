"""The judges of concurrency keys and turns see a store that does not keep to them."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from store.concurrency import Standing
from store.memory import StoredExecution
from store.memory_executions import MemoryExecutions
from tests.simulation.play import play
from tests.simulation.world import Story, Violation
from workflow.ports import Concurrency, Share

KEYED = Story(seed=3, executions=120, keyed_share=0.6, kill_s=1e9, freeze_s=1e9, outage_s=1e9, flush_fault_s=1e9)
CROWDED = Story(seed=3, executions=150, per_s=40, keyed_share=0, few_share=0.2, processes=1, slots=4, kill_s=1e9)

PLACE, IN_TURNS = Standing.place, MemoryExecutions._in_turns


def one_more(standing: Standing, new: UUID, wanted: Concurrency) -> Any:
    return PLACE(standing, new, Concurrency(key=wanted.key, limit=wanted.limit + 1, on_limit=wanted.on_limit))


def the_newest(standing: Standing, new: UUID, wanted: Concurrency) -> Any:
    standing.open.reverse()
    return PLACE(standing, new, wanted)


async def let_all_go(store: MemoryExecutions, workspace_id: UUID, key: str) -> int:
    rows = [row for row in store._of_key(workspace_id, key) if row.held]
    for row in rows:
        row.held = False
    return len(rows)


async def let_nothing_go(*_arguments: object) -> int:
    return 0


def by_age(store: MemoryExecutions, shares: Sequence[Share]) -> list[StoredExecution]:
    return sorted(IN_TURNS(store, shares), key=lambda row: row.new.id)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "seen"),
    [
        (Standing, "place", one_more, "under way and"),
        (Standing, "place", the_newest, "cancel_running: Accepted"),
        (MemoryExecutions, "release_held", let_all_go, "are under way, not"),
        (MemoryExecutions, "release_held", let_nothing_go, "has had room for"),
    ],
)
def test_a_key_that_is_not_kept_is_seen(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: Callable[..., Any], seen: str
):
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(Violation, match=seen):
        play(KEYED)


def test_slots_that_are_given_by_age_are_seen(monkeypatch: pytest.MonkeyPatch):
    play(CROWDED)
    monkeypatch.setattr(MemoryExecutions, "_in_turns", by_age)
    with pytest.raises(Violation, match="was claimed while 8 waited"):
        play(CROWDED)
