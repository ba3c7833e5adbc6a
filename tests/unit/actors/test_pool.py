"""The pool as a replica knows it: choosing, counting, and sharing calls."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from actors.ids import new_id
from actors.members import Member, Reply
from actors.placement import Load, choose
from actors.pool import ActorPool
from tests.unit.actors.plant import claimed
from workflow.ports import Accepted, Claimed, Outcome


def load(active: int, lag_ms: float = 0, slots: int = 4, **rest: bool) -> Load:
    return Load(lease_id=new_id(), slots=slots, active=active, lag_ms=lag_ms, **rest)


def test_an_idle_actor_comes_first_then_the_fullest_that_keeps_up():
    idle, some, most, full = load(0), load(1), load(3), load(4)

    assert choose([some, most, idle, full]) is idle
    assert choose([some, most, full]) is most
    assert choose([some, load(3, lag_ms=50), full]) is some
    busy, busier = load(1, lag_ms=50), load(2, lag_ms=50)
    assert choose([full, busier, busy]) is busy
    assert choose([full, load(0, draining=True)]) is None


class Port:
    """A pool whose actor answers when the test says so."""

    def __init__(self) -> None:
        self.member = Member(name="actor", lease_id=new_id(), actor_id="a", pid=1, host="here", slots=2)
        self.calls: list[list[UUID]] = []
        self.ended: list[UUID] = []
        self.ends = asyncio.Event()
        self.gone = False

    async def members(self) -> list[Member]:
        return [self.member]

    async def run(self, member: Member, batch: Sequence[Claimed]) -> list[Reply]:
        if self.gone:
            raise ConnectionError("gone")
        self.calls.append([c.id for c in batch])
        return await self.outcomes(member, [c.id for c in batch])

    async def outcomes(self, member: Member, waiting: Sequence[UUID]) -> list[Reply]:
        while not set(self.ended) & set(waiting):
            self.ends.clear()
            await self.ends.wait()
        return [Reply(execution_id=i, finished=None) for i in self.ended if i in waiting]

    def begin(self, member: Member, claimed: Claimed) -> None:
        return None

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        return

    def end(self, execution_id: UUID) -> None:
        self.ended.append(execution_id)
        self.ends.set()


def execution() -> Claimed:
    return claimed(Accepted(outcome=Outcome.CREATED, id=new_id()), b"{}")


@pytest.fixture
async def port() -> Port:
    return Port()


async def test_pushes_of_one_turn_share_a_call_and_each_gets_its_own_answer(port: Port):
    pool = ActorPool(port)
    await pool.refresh()
    pushes = [execution() for _ in range(3)]
    answers = [pool.push(port.member, push) for push in pushes]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert port.calls == [[p.id for p in pushes]]
    port.end(pushes[1].id)
    assert (await answers[1]).execution_id == pushes[1].id
    assert not answers[0].done()
    port.end(pushes[0].id)
    port.end(pushes[2].id)
    assert [(await a).execution_id for a in answers] == [p.id for p in pushes]


async def test_places_are_counted_until_their_execution_ends(port: Port):
    pool = ActorPool(port)
    await pool.refresh()
    first, second = execution(), execution()
    member = pool.reserve()
    assert pool.reserve() is not None
    assert pool.reserve() is None, "two slots, two reserved"
    answer = pool.push(member, first)
    pool.push(member, second)

    port.end(first.id)
    await answer

    assert pool.reserve() is not None


async def test_a_lost_call_answers_none_and_frees_its_place(port: Port):
    pool = ActorPool(port)
    await pool.refresh()
    port.gone = True
    member = pool.reserve()

    assert await pool.push(member, execution()) is None
    pool.reserve()
    assert pool.reserve() is not None


async def test_a_caller_that_gives_up_does_not_disturb_the_others(port: Port):
    pool = ActorPool(port)
    await pool.refresh()
    first, second = execution(), execution()
    impatient, patient = pool.push(port.member, first), pool.push(port.member, second)
    impatient.cancel()
    await asyncio.sleep(0)

    port.end(first.id)
    port.end(second.id)

    assert (await patient).execution_id == second.id
