"""The pool as an API replica knows it: who there is, how busy, and pushing an execution to one of them.

What is known is up to a second old, plus what this replica itself has under way. That is enough: the insert checks the lease in
the same statement, and an actor with too much gives an execution back to the queue.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from actors.members import Member, PoolPort, Reply
from actors.placement import Load, choose
from workflow.ports import Claimed

REFRESH_S = 1.0
BEGUN_EARLY_MAX = 4
"""With more of this replica's executions on an actor, beginning early saves no time and costs a message."""


@dataclass(frozen=True, slots=True)
class _Push:
    claimed: Claimed
    answer: "asyncio.Future[Reply | None]"


class ActorPool:
    """Chooses execution actors and calls them."""

    def __init__(self, port: PoolPort) -> None:
        self._port = port
        self._members: dict[UUID, Member] = {}
        self._mine: Counter[UUID] = Counter()
        self._mine_then: Counter[UUID] = Counter()
        self._outbox: dict[UUID, list[_Push]] = {}
        self._exchanges: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("rayloom.pool")

    @property
    def members(self) -> list[Member]:
        """Who there was when we last asked."""
        return list(self._members.values())

    def member(self, lease_id: UUID) -> Member | None:
        """Return the member with this lease."""
        return self._members.get(lease_id)

    async def refresh_for_ever(self) -> None:
        """Keep asking the supervisor; while it does not answer nobody is known, and executions are queued."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Ask the supervisor once."""
        try:
            members = await asyncio.wait_for(self._port.members(), timeout=2 * REFRESH_S)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the supervisor, nobody is known
            if self._members:
                self._log.warning("pool.unknown", error=f"{type(error).__name__}: {error}")
            members = []
        self._members = {member.lease_id: member for member in members}
        self._mine_then = Counter(self._mine)

    def reserve(self) -> Member | None:
        """Choose an actor for one more execution and count it there until `release`; None when it should be queued."""
        loads = [
            Load(
                lease_id=m.lease_id,
                slots=m.slots,
                active=self._mine[m.lease_id] + max(0, m.active - self._mine_then[m.lease_id]),
                lag_ms=m.lag_ms,
                draining=m.draining,
            )
            for m in self._members.values()
        ]
        load = choose(loads)
        if load is None:
            return None
        self._mine[load.lease_id] += 1
        return self._members[load.lease_id]

    def release(self, lease_id: UUID) -> None:
        """The reserved place is free again."""
        self._mine[lease_id] -= 1
        if self._mine[lease_id] <= 0:
            del self._mine[lease_id]

    def push(self, member: Member, claimed: Claimed) -> "asyncio.Future[Reply | None]":
        """Have the actor called; the answer is None when the call failed, whatever that means for the execution.

        Pushes to one actor in one turn of the loop, as the requests of one commit are, share a call.
        """
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        outbox = self._outbox.setdefault(member.lease_id, [])
        outbox.append(_Push(claimed, answer))
        if len(outbox) == 1:
            asyncio.get_running_loop().call_soon(self._send, member)
        return answer

    def begin(self, member: Member, claimed: Claimed) -> "asyncio.Future[Reply | None] | None":
        """Have an execution begun whose row is being inserted; None when that is not possible and it has to be pushed later."""
        if self._mine[member.lease_id] > BEGUN_EARLY_MAX:
            return None
        end = self._port.begin(member, claimed)
        if end is None:
            return None
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(self._await_end(member, end, answer), context=Context())
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)
        return answer

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        """Say what became of the row of an execution that was begun."""
        self._port.settle(member, execution_id, accepted=accepted)

    async def _await_end(
        self, member: Member, end: Coroutine[Any, Any, Reply], answer: "asyncio.Future[Reply | None]"
    ) -> None:
        reply = None
        try:
            reply = await end
        except Exception as error:  # noqa: BLE001 - the row is committed, or it is not: whoever owns it next goes on
            self._log.warning("push.lost", executions=1, actor=member.name, error=type(error).__name__)
        finally:
            self._answer(member, answer, reply)

    def deliver(self, actor_name: str, execution_id: UUID) -> None:
        """Tell an actor that a signal waits."""
        self._port.deliver(actor_name, execution_id)

    def wake_dedicated(self) -> None:
        """Tell the supervisor that an execution wants an actor of its own."""
        self._port.wake_dedicated()

    def _send(self, member: Member) -> None:
        pushes = self._outbox.pop(member.lease_id)
        # An empty context: a client that goes away must not cancel what its request, or another one, began.
        task = asyncio.get_running_loop().create_task(self._exchange(member, pushes), context=Context())
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)

    async def _exchange(self, member: Member, pushes: "list[_Push]") -> None:
        waiting = {push.claimed.id: push.answer for push in pushes}
        try:
            replies = await self._port.run(member, [push.claimed for push in pushes])
            while True:
                for reply in replies:
                    self._answer(member, waiting.pop(reply.execution_id), reply)
                if not waiting:
                    return
                replies = await self._port.outcomes(member, list(waiting))
        except Exception as error:  # noqa: BLE001 - the rows are committed: whoever owns them next goes on
            self._log.warning("push.lost", executions=len(waiting), actor=member.name, error=type(error).__name__)
        finally:
            for answer in waiting.values():
                self._answer(member, answer, None)

    def _answer(self, member: Member, answer: "asyncio.Future[Reply | None]", reply: Reply | None) -> None:
        self.release(member.lease_id)
        if not answer.done():
            answer.set_result(reply)
