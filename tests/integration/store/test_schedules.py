"""A thousand schedules of two owners, drawn from a seed, on PostgreSQL with a connection for each, beside the store in memory."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.memory import MemoryLeases, MemoryStore
from store.memory_executions import MemoryExecutions
from tests.contract.making import an_id, new_execution
from tests.simulation.schedules import BEGINNING, LEASES_MAX, Act, Owners, Stage, What, acts
from workflow.ports import Verdict
from workflow.states import ExecutionStatus

SCHEDULES = 1_000
WEIGHTS = {What.EXPIRE: 2, What.CLAIM: 4, What.START: 6, What.COMPLETE: 6, What.FLUSH: 6}


def drawn(chance: Random, owners: Owners) -> Act | None:
    """Draw what happens next; leases expire less often than work goes on."""
    possible = list(acts(owners))
    return chance.choices(possible, [WEIGHTS[act.what] for act in possible])[0] if possible else None


def stages(real: list[PostgresExecutions], leases: PostgresLeases) -> Iterator[tuple[Stage, Stage]]:
    """Make the same stage twice, of PostgreSQL and of memory, again and again."""
    while True:
        new = new_execution(an_id())
        lease_ids = [[an_id() for _ in range(count)] for count in LEASES_MAX]
        store = MemoryStore(lambda: 1_700_000_000_000)
        twin = MemoryExecutions(store)
        yield (
            Stage(real, leases, new.id, new.workspace_id, lease_ids),
            Stage([twin, twin], MemoryLeases(store), new.id, new.workspace_id, lease_ids),
        )


@pytest.mark.timeout(300)
async def test_both_stores_answer_alike_in_a_thousand_schedules(dsn: str) -> None:
    chance, seen = Random(5), Counter[str]()
    pools = [make_pool(StoreConfig(dsn=dsn, pool_size_max=1)) for _ in BEGINNING]
    for pool in pools:
        await pool.open(wait=True)
    leases = PostgresLeases(dsn)
    made = stages([PostgresExecutions(pool) for pool in pools], leases)
    for _ in range(SCHEDULES):
        real, twin = next(made)
        await play(chance, real, twin, seen)
    leases.close()
    for pool in pools:
        await pool.close()

    print(f"\n{dict(seen)}")
    assert min(seen[kind] for kind in ("stolen", "committed", "fenced", "completed")) >= SCHEDULES // 4, seen


async def play(chance: Random, real: Stage, twin: Stage, seen: Counter[str]) -> None:
    """Let one schedule happen to both; every answer is the same, and so is what is stored in the end."""
    new = new_execution(real.workspace_id, id=real.execution_id)
    for stage in (real, twin):
        await stage.executions[0].accept([new])
        for owner in range(len(BEGINNING)):
            stage.register(owner, 0)
    owners, before, said = BEGINNING, await twin.row(), []
    while act := drawn(chance, owners):
        said.append(act)
        (then, answer), (then_really, answer_really) = await twin.perform(owners, act), await real.perform(owners, act)
        assert (answer_really, then_really) == (answer, then), said
        after = await twin.row()
        twin.hold(before, after, owners, act, answer)
        if isinstance(answer, Verdict):
            seen[answer.value] += 1
        seen["stolen"] += act.what is What.CLAIM and answer is not None and before.status is ExecutionStatus.RUNNING
        owners, before = then, after
    assert await real.row() == before, said
    seen[before.status.value] += 1
