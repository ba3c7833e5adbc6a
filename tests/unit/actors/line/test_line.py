"""The direct line: pushes and answers, many at once, ends that break, strangers, no door."""

import asyncio
import socket
from uuid import UUID

import pytest

from actors import line as line_module
from actors.ids import new_id
from actors.line import Door, Line, LineLost, address_of
from actors.surroundings import Finished
from tests.unit.actors.plant import claimed
from workflow.ports import Accepted, Claimed, Ending, Outcome
from workflow.states import ExecutionStatus


def push() -> Claimed:
    return claimed(Accepted(outcome=Outcome.CREATED, id=new_id()), b'{"nodes": []}')


class Actor:
    """An actor's door; executions end when the test says so."""

    def __init__(self) -> None:
        self.lease_id = new_id()
        self.door = Door(self)
        self.settled: dict[UUID, bool] = {}
        self.taken: list[UUID] = []
        self.ends: dict[UUID, asyncio.Event] = {}

    async def run(self, pushed: Claimed) -> Finished | None:
        self.taken.append(pushed.id)
        await self.ends.setdefault(pushed.id, asyncio.Event()).wait()
        ending = Ending(status=ExecutionStatus.COMPLETED, at_ms=1, output=b"x" * 300_000)
        return Finished(
            id=pushed.id, epoch=1, ending=ending, started_ms=0, nodes_total=1, nodes_completed=1, last_seq=1
        )

    def begin(self, pushed: Claimed):
        return self.run(pushed)

    def settle(self, execution_id: UUID, *, accepted: bool) -> None:
        self.settled[execution_id] = accepted

    def end(self, execution_id: UUID) -> None:
        self.ends.setdefault(execution_id, asyncio.Event()).set()


@pytest.fixture
async def actor():
    made = Actor()
    await made.door.open(made.lease_id)
    yield made
    await made.door.close()


async def test_each_push_gets_its_own_answer_when_its_execution_ends(actor: Actor):
    line = await Line.to(actor.lease_id)
    batch = [push() for _ in range(3)]
    actor.end(batch[1].id)

    first = await line.push(batch)
    rest = asyncio.create_task(line.outcomes([batch[0].id, batch[2].id]))
    actor.end(batch[0].id)

    assert [reply.execution_id for reply in first] == [batch[1].id]
    assert len(first[0].finished.ending.output) == 300_000
    assert [reply.execution_id for reply in await rest] == [batch[0].id]
    actor.end(batch[2].id)
    assert (await line.outcomes([batch[2].id]))[0].execution_id == batch[2].id


async def test_several_replicas_have_lines_of_their_own(actor: Actor):
    lines = [await Line.to(actor.lease_id) for _ in range(3)]
    pushes = [push() for _ in lines]
    for pushed in pushes:
        actor.end(pushed.id)

    replies = await asyncio.gather(*(line.push([pushed]) for line, pushed in zip(lines, pushes, strict=True)))

    assert [reply[0].execution_id for reply in replies] == [pushed.id for pushed in pushes]


async def test_where_there_is_no_door_there_is_no_line():
    with pytest.raises(LineLost):
        await Line.to(new_id())


async def test_who_waits_hears_at_once_that_the_line_broke_and_the_execution_goes_on(actor: Actor):
    line = await Line.to(actor.lease_id)
    pushed = push()
    waiting = asyncio.create_task(line.push([pushed]))
    while not actor.taken:
        await asyncio.sleep(0)

    line._end._transport.abort()

    with pytest.raises(LineLost):
        await waiting
    assert line.lost
    with pytest.raises(LineLost):
        await line.push([push()])
    actor.end(pushed.id)


async def test_a_process_of_another_user_is_not_spoken_to(actor: Actor, monkeypatch):
    monkeypatch.setattr(line_module.os, "getuid", lambda: 4_294_000_000)
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    connection.connect(address_of(actor.lease_id))

    assert await loop.sock_recv(connection, 1) == b"", "it was closed without a word"
    connection.close()


async def test_a_new_lease_has_a_door_of_its_own_and_the_old_line_still_answers(actor: Actor):
    old = await Line.to(actor.lease_id)
    pushed = push()
    waiting = asyncio.create_task(old.push([pushed]))
    later = new_id()

    await actor.door.open(later)
    line = await Line.to(later)
    actor.end(pushed.id)

    assert (await waiting)[0].execution_id == pushed.id
    other = push()
    actor.end(other.id)
    assert (await line.push([other]))[0].execution_id == other.id


async def until(truth) -> None:
    async with asyncio.timeout(5):
        while not truth():
            await asyncio.sleep(0)


async def test_what_is_begun_is_settled_and_answered(actor: Actor):
    line = await Line.to(actor.lease_id)
    pushed = push()
    end = asyncio.create_task(line.begin(pushed))
    await until(lambda: actor.taken == [pushed.id])

    line.settle(pushed.id, accepted=True)
    await until(lambda: actor.settled == {pushed.id: True})
    actor.end(pushed.id)

    assert (await end).execution_id == pushed.id


async def test_what_was_begun_and_never_settled_is_given_up_when_the_line_breaks(actor: Actor):
    line = await Line.to(actor.lease_id)
    settled, unsettled = push(), push()
    ends = [asyncio.create_task(line.begin(p)) for p in (settled, unsettled)]
    await until(lambda: len(actor.taken) == 2)
    line.settle(settled.id, accepted=True)
    await until(lambda: bool(actor.settled))

    line._end._transport.abort()

    await until(lambda: unsettled.id in actor.settled)
    assert actor.settled == {settled.id: True, unsettled.id: False}
    for end in ends:
        with pytest.raises(LineLost):
            await end
