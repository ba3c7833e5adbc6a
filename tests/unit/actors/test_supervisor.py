"""The supervisor with actors that tests kill: replacing, recycling, burying, dedicated ones, lost hosts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from actors.ids import new_id
from actors.members import Member
from actors.supervisor import Supervisor, SupervisorConfig
from store.memory import MemoryLeases, MemoryStore
from store.memory_executions import MemoryExecutions
from tests.unit.actors.plant import new_execution
from workflow.ports import Concurrency, Isolation, LeaseEnd, LeaseHolder
from workflow.states import ExecutionStatus


class FakeActor:
    def __init__(self, stage: "Stage", name: str, host: str, dedicated_to: UUID | None) -> None:
        self.stage, self.name, self.host, self.dedicated_to = stage, name, host, dedicated_to
        self.lease_id = new_id()
        self.dead = asyncio.Event()
        self.idle = asyncio.Event()
        self.taken = 0
        self.woken = 0
        self.draining = False
        self.closed = False
        self.deaf = False

    async def start(self) -> Member:
        if self.stage.refuse:
            raise RuntimeError("no room")
        await self.answers()
        self.begin_lease()
        if self.dedicated_to is not None:
            await self.stage.executions.claim_one(self.lease_id, self.dedicated_to)
        return self.member()

    def begin_lease(self) -> None:
        self.lease_id = new_id()
        holder = LeaseHolder(
            id=self.lease_id, cluster_id="c", actor_id="a", actor_name=self.name, host=self.host, pid=1, slots=4
        )
        self.stage.leases.register(holder, 6_000)

    def member(self) -> Member:
        return Member(
            name=self.name, lease_id=self.lease_id, actor_id="a", pid=1, host=self.host, slots=4, taken=self.taken
        )

    async def hold(self) -> None:
        await self.dead.wait()

    async def answers(self) -> None:
        while self.deaf or self.host in self.stage.silent:
            await asyncio.sleep(0.005)

    async def status(self) -> Member:
        await self.answers()
        return replace(self.member(), draining=self.draining)

    def wake(self) -> None:
        self.woken += 1

    async def drain(self) -> None:
        self.draining = True
        await self.idle.wait()

    async def close(self) -> None:
        self.closed = True
        self.stage.leases.end(self.lease_id, LeaseEnd.RELEASED)

    def kill(self) -> None:
        self.dead.set()


class Stage:
    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.store = MemoryStore(lambda: self.now_ms)
        self.leases = MemoryLeases(self.store)
        self.executions = MemoryExecutions(self.store)
        self.actors: list[FakeActor] = []
        self.alive = ["host-1"]
        self.silent: set[str] = set()
        self.refuse = False
        self.maintained = 0
        config = SupervisorConfig(cluster_id="c", size=2, executions_max=10, lease_ttl_ms=6_000, poll_ms=10)
        self.supervisor = Supervisor(
            config,
            self,
            self.leases,
            self.executions,
            new_name=lambda: f"actor-{len(self.actors)}",
            maintain=self._maintain,
        )

    async def _maintain(self) -> None:
        self.maintained += 1

    def hosts(self) -> list[str]:
        return self.alive

    def create(self, name: str, host: str, dedicated_to: UUID | None) -> FakeActor:
        actor = FakeActor(self, name, host, dedicated_to)
        self.actors.append(actor)
        return actor

    async def until(self, truth: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not truth():
                await asyncio.sleep(0.005)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.supervisor.close()


async def test_it_ends_the_leases_of_former_actors_and_fills_the_pool(stage: Stage):
    former = LeaseHolder(id=new_id(), cluster_id="c", actor_id="a", actor_name="old", host="h", pid=1, slots=4)
    stranger = replace(former, id=new_id(), cluster_id="other")
    stage.leases.register(former, 6_000)
    stage.leases.register(stranger, 6_000)

    await stage.supervisor.start()
    await stage.supervisor.full()

    assert stage.store.leases[former.id].reason is LeaseEnd.SUPERVISOR
    assert stage.store.leases[stranger.id].reason is None
    assert len(stage.supervisor.members) == 2
    await stage.until(lambda: stage.maintained == 1)


async def test_a_dead_actor_is_buried_at_once_others_are_woken_and_it_is_replaced(stage: Stage):
    await stage.supervisor.start()
    await stage.supervisor.full()
    dead, other = stage.actors

    dead.dead.set()
    await stage.until(lambda: len(stage.actors) == 3 and len(stage.supervisor.members) == 2)

    assert stage.store.leases[dead.lease_id].reason is LeaseEnd.CRASHED
    assert other.woken >= 1
    assert dead.name not in {m.name for m in stage.supervisor.members}


async def test_an_actor_that_does_not_start_is_tried_again(stage: Stage):
    stage.refuse = True
    await stage.supervisor.start()
    await stage.until(lambda: len(stage.actors) >= 3)

    stage.refuse = False

    await stage.supervisor.full()
    assert len(stage.supervisor.members) == 2


async def test_an_actor_that_has_done_its_share_is_replaced_before_it_goes(stage: Stage):
    await stage.supervisor.start()
    await stage.supervisor.full()
    tired = stage.actors[0]
    tired.taken = 10

    await stage.until(lambda: tired.draining)
    assert len([m for m in stage.supervisor.members if not m.draining]) == 2
    assert not tired.dead.is_set(), "it still has executions"
    tired.idle.set()
    await stage.until(tired.dead.is_set)

    assert tired.closed
    assert stage.store.leases[tired.lease_id].reason is LeaseEnd.RELEASED
    assert len(stage.supervisor.members) == 2


async def test_an_expired_lease_is_reaped_and_the_others_are_woken(stage: Stage):
    await stage.supervisor.start()
    await stage.supervisor.full()
    frozen, other = stage.actors
    stage.store.leases[other.lease_id].expires_ms += 60_000

    stage.now_ms += 6_500

    await stage.until(lambda: stage.store.leases[frozen.lease_id].reason is LeaseEnd.EXPIRED)
    await stage.until(lambda: other.woken > 0)


async def test_a_dedicated_execution_gets_an_actor_of_its_own_that_goes_when_it_has_ended(stage: Stage):
    await stage.supervisor.start()
    await stage.supervisor.full()
    new = new_execution(isolation=Isolation.DEDICATED)
    await stage.executions.accept([new])
    stage.supervisor.wake_dedicated()

    await stage.until(lambda: len(stage.actors) == 3)
    own = stage.actors[2]
    await stage.until(lambda: own.draining)
    assert own.name == f"execution:{new.id}"
    assert stage.store.executions[new.id].owner == own.lease_id
    own.idle.set()
    await stage.until(own.dead.is_set)

    assert own.closed
    assert len(stage.supervisor.members) == 2, "it was never a member of the pool"


async def test_a_host_that_comes_gets_actors_and_one_that_goes_is_forgotten(stage: Stage):
    await stage.supervisor.start()
    await stage.supervisor.full()
    stage.alive = ["host-1", "host-2"]
    await stage.until(lambda: len(stage.supervisor.members) == 4)

    stage.alive = ["host-1"]
    for actor in stage.actors:
        if actor.host == "host-2":
            actor.dead.set()

    await stage.until(lambda: {m.host for m in stage.supervisor.members} == {"host-1"})


async def two_hosts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor.STATUS_EVERY_S", 0.02)
    stage.alive = ["host-1", "host-2"]
    await stage.supervisor.start()
    await stage.until(lambda: len(stage.supervisor.members) == 4)


async def dedicated(stage: Stage) -> UUID:
    new = new_execution(isolation=Isolation.DEDICATED)
    await stage.executions.accept([new])
    stage.supervisor.wake_dedicated()
    return new.id


async def test_a_host_that_does_not_answer_is_given_nothing_new_until_it_does(stage: Stage, monkeypatch):
    await two_hosts(stage, monkeypatch)

    def taking() -> set[str]:
        return {m.host for m in stage.supervisor.members if not m.draining}

    stage.silent = {"host-1"}
    await stage.until(lambda: taking() == {"host-2"})
    assert len(stage.supervisor.members) == 4

    stage.silent = {"host-1", "host-2"}
    await stage.until(lambda: taking() == {"host-1", "host-2"})
    stage.silent = {"host-1"}
    await stage.until(lambda: taking() == {"host-2"})
    stage.silent = set()
    await stage.until(lambda: taking() == {"host-1", "host-2"})


async def test_an_actor_that_does_not_answer_is_given_nothing_new(stage: Stage, monkeypatch):
    monkeypatch.setattr("actors.supervisor.STATUS_EVERY_S", 0.02)
    await stage.supervisor.start()
    await stage.supervisor.full()
    quiet, other = stage.actors

    quiet.deaf = True
    await stage.until(lambda: [m.name for m in stage.supervisor.members if not m.draining] == [other.name])
    quiet.deaf = False
    await stage.until(lambda: not any(member.draining for member in stage.supervisor.members))


@pytest.mark.parametrize("deaf", [True, False], ids=["does not answer", "answers, with its former lease"])
async def test_an_actor_that_hangs_is_ended_and_replaced_and_one_that_begins_a_lease_is_not(
    stage: Stage, monkeypatch, deaf: bool
):
    monkeypatch.setattr("actors.supervisor.STUCK_S", 0.05)
    monkeypatch.setattr("actors.supervisor.STATUS_EVERY_S", 0.02)
    await stage.supervisor.start()
    await stage.supervisor.full()
    hanging, alive = stage.actors
    hanging.deaf = deaf
    stage.now_ms += 7_000
    await stage.until(lambda: all(lease.reason is LeaseEnd.EXPIRED for lease in stage.store.leases.values()))
    alive.begin_lease()

    await stage.until(hanging.dead.is_set)
    await stage.until(lambda: len(stage.actors) == 3 and len(stage.supervisor.members) == 2)
    assert {member.name for member in stage.supervisor.members} == {alive.name, stage.actors[2].name}
    assert not alive.dead.is_set()


async def test_a_dedicated_actor_that_hangs_makes_room_for_another_one(stage: Stage, monkeypatch):
    monkeypatch.setattr("actors.supervisor.STUCK_S", 0.05)
    await stage.supervisor.start()
    identity = await dedicated(stage)
    await stage.until(lambda: any(actor.dedicated_to == identity for actor in stage.actors))
    (own,) = [actor for actor in stage.actors if actor.dedicated_to == identity]
    await stage.until(lambda: own.draining)
    stage.now_ms += 7_000

    await stage.until(own.dead.is_set)
    await stage.until(lambda: sum(actor.dedicated_to == identity for actor in stage.actors) == 2)


async def test_dedicated_actors_are_spread_over_the_hosts(stage: Stage, monkeypatch):
    await two_hosts(stage, monkeypatch)
    for _ in range(4):
        await dedicated(stage)
    await stage.until(lambda: len(stage.actors) == 8)
    assert sorted(actor.host for actor in stage.actors[4:]) == ["host-1", "host-1", "host-2", "host-2"]


async def test_a_dedicated_actor_is_made_where_actors_answer(stage: Stage, monkeypatch):
    await two_hosts(stage, monkeypatch)
    stage.silent = {"host-1"}
    await stage.until(lambda: any(m.draining for m in stage.supervisor.members))
    for _ in range(2):
        await dedicated(stage)
    await stage.until(lambda: len(stage.actors) == 6)
    assert {actor.host for actor in stage.actors[4:]} == {"host-2"}


async def test_a_dedicated_actor_that_starts_on_a_dying_host_is_given_up_for_another_one(stage: Stage, monkeypatch):
    """Ray says only after seconds that a host has gone: what was to start there would wait as long."""
    await two_hosts(stage, monkeypatch)
    stage.silent = {"host-1"}
    identity = await dedicated(stage)
    await stage.until(lambda: len(stage.actors) == 6)

    given_up, own = stage.actors[4:]
    assert (given_up.host, own.host) == ("host-1", "host-2")
    await stage.until(lambda: own.draining)
    assert given_up.dead.is_set()
    assert stage.store.executions[identity].owner == own.lease_id


async def test_room_that_nobody_gave_on_is_given_on(stage: Stage):
    first, second = (replace(new_execution(), concurrency=Concurrency(key="k", limit=1)) for _ in range(2))
    second = replace(second, workspace_id=first.workspace_id)
    await stage.executions.accept([first, second])
    stage.store.executions[first.id].status = ExecutionStatus.COMPLETED
    await stage.supervisor.start()
    await stage.until(lambda: not stage.store.executions[second.id].held)

    assert stage.store.executions[second.id].status is ExecutionStatus.QUEUED
