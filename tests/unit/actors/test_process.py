"""What an execution process puts between its engine and the world."""

import asyncio

import pytest

from actors.config import PoolConfig
from actors.lease import LeaseKeeper, LeaseTimes
from actors.process import ExecutionProcess
from store.memory import MemoryLeases, MemoryStore
from tests.unit.actors.plant import NoTasks
from workflow.models import NoModels


async def test_a_process_lets_nothing_visible_start_while_its_lease_may_be_over(monkeypatch: pytest.MonkeyPatch):
    asked, valid = [], asyncio.Event()

    def look(_keeper: LeaseKeeper) -> bool:
        asked.append(valid.is_set())
        return valid.is_set()

    monkeypatch.setattr(LeaseKeeper, "valid", property(look))
    config = PoolConfig(dsn="postgresql://nowhere", cluster_id="c", size=1)
    process = ExecutionProcess(config, NoTasks(), NoModels(), actor_id="a", name="n", host="h", pid=1)
    leases = MemoryLeases(MemoryStore(lambda: 0))
    process._lease = LeaseKeeper(
        leases, process._holder, LeaseTimes(6_000, 2_000), new_id=lambda: process._holder.id, report=lambda _: None
    )
    acting = asyncio.ensure_future(process._may_act())
    async with asyncio.timeout(5):
        while len(asked) < 3 and not acting.done():
            await asyncio.sleep(0)

        assert not acting.done()
        valid.set()
        await acting
    assert asked[-1]
