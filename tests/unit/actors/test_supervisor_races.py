"""The supervisor when an actor dies: which of its calls breaks first is chance, so every order must do."""

import asyncio

from tests.unit.actors.plant import new_execution
from tests.unit.actors.test_supervisor import FakeActor, Stage
from workflow.ports import Isolation, LeaseEnd


class Dead(Exception):
    pass


class BreaksDrainFirst(FakeActor):
    """An actor whose death breaks the drain call before the held one (seen: a dedicated execution waited 8 s, one TTL)."""

    async def hold(self) -> None:
        await self.dead.wait()
        await asyncio.sleep(0.05)

    async def drain(self) -> None:
        self.draining = True
        await self.dead.wait()
        raise Dead

    async def close(self) -> None:
        if self.dead.is_set():
            raise Dead
        await super().close()


async def test_a_dedicated_actor_is_buried_also_when_its_drain_breaks_first(monkeypatch):
    monkeypatch.setattr("tests.unit.actors.test_supervisor.FakeActor", BreaksDrainFirst)
    stage = Stage()
    try:
        await stage.supervisor.start()
        await stage.supervisor.full()
        new = new_execution(isolation=Isolation.DEDICATED)
        await stage.executions.accept([new])
        stage.supervisor.wake_dedicated()
        await stage.until(lambda: len(stage.actors) == 3 and stage.actors[2].draining)
        own = stage.actors[2]

        own.dead.set()
        await stage.until(lambda: new.id not in stage.supervisor._dedicated or len(stage.actors) == 4)
        assert stage.store.leases[own.lease_id].reason is LeaseEnd.CRASHED, "else it waits for its lease to run out"
    finally:
        await stage.supervisor.close()
