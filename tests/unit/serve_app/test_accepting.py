"""Accepting: nobody is told of an execution, caller or actor, before its row is committed."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from actors.ids import new_id
from actors.members import Member, Reply
from actors.pool import ActorPool
from serve_app.accepting import Acceptor, Request, Submitted
from serve_app.queue_room import QueueRoom
from store.memory import MemoryStore
from store.memory_blobs import MemoryBlobs
from tests.unit.actors.plant import new_execution
from workflow.errors import StoreUnavailable
from workflow.lifecycle import WorkflowStatus
from workflow.ports import Accepted, Isolation, NewExecution, Outcome
from workflow.states import ExecutionStatus


class Port:
    """One actor with a direct line that remembers what it was told."""

    def __init__(self) -> None:
        self.there = Member(name="n", lease_id=new_id(), actor_id="a", pid=1, host="h", slots=4)
        self.settled: list[bool] = []

    async def members(self) -> list[Member]:
        return [self.there]

    def begin(self, member: Member, claimed: Any) -> Any:
        async def end() -> Reply:
            return Reply(execution_id=claimed.id, finished=None)

        return end()

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        self.settled.append(accepted)


class Bench:
    """An acceptor whose inserts wait until the test commits them, or breaks."""

    def __init__(self) -> None:
        self.port = Port()
        self.pool = ActorPool(self.port)  # type: ignore[arg-type]
        self.inserting: list[NewExecution] = []
        self.commit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.woken = 0
        self.acceptor = Acceptor(
            self._submit,
            self.pool,
            self._wake,
            QueueRoom(self._queued, 0),
            self._keyed,
            self._status,
            MemoryBlobs(MemoryStore(lambda: 0)),
            65_536,
        )

    async def _submit(self, new: NewExecution) -> Accepted:
        self.inserting.append(new)
        await self.commit
        status = ExecutionStatus.RUNNING if new.owner else ExecutionStatus.QUEUED
        return Accepted(outcome=Outcome.CREATED, id=new.id, status=status, owner=new.owner)

    async def _queued(self, _workspace: UUID, _at_most: int) -> dict[Isolation, int]:
        return {}

    async def _keyed(self, _workspace: UUID, _key: str) -> bool:
        return False

    def _wake(self) -> None:
        self.woken += 1

    async def _status(self, _workspace: UUID, _workflow: UUID) -> WorkflowStatus:
        return WorkflowStatus.ACTIVE

    async def accepting(self, *, pushed: bool) -> "asyncio.Task[Submitted]":
        """Begin to accept an execution; return when its insert is under way and everything else that can happen has."""
        if pushed:
            await self.pool.refresh()

        new = new_execution()
        request = Request(new=new, workflow_name="w", version=None, definition=b"{}", waits=False)
        answer = asyncio.create_task(self.acceptor.accept(request))
        async with asyncio.timeout(5):
            while not self.inserting:
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        return answer


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "queued"])
async def test_nobody_is_told_before_the_commit(pushed: bool):
    bench = Bench()
    answer = await bench.accepting(pushed=pushed)

    assert not answer.done()
    assert bench.port.settled == []
    assert not bench.woken
    bench.commit.set_result(None)
    submitted = await asyncio.wait_for(answer, 5)

    (new,) = bench.inserting
    assert (submitted.accepted.id, submitted.member) == (new.id, bench.port.there if pushed else None)
    assert bench.port.settled == ([True] if pushed else [])
    assert bench.woken == (0 if pushed else 1)


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "queued"])
async def test_what_may_not_have_been_committed_is_not_acknowledged(pushed: bool):
    bench = Bench()
    answer = await bench.accepting(pushed=pushed)
    bench.commit.set_exception(StoreUnavailable("away"))

    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(answer, 5)
    assert bench.port.settled == ([False] if pushed else [])
    assert not bench.woken
