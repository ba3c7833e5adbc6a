"""Accepting executions: choose an actor, make the row durable (together with others that come at once), call the actor.

Everything happens in a task of its own in an empty context: whatever the client does, an accepted execution goes its way, and a
call that is lost between commit and actor is made good by the actor's next renewal.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, replace

from actors.members import Member, Reply
from actors.pool import ActorPool
from workflow.errors import NotFound, StoreUnavailable, Unprocessable
from workflow.ports import Accepted, Claimed, Isolation, NewExecution, Outcome
from workflow.states import ExecutionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An execution to accept, and what the actor needs of its workflow."""

    new: NewExecution
    workflow_name: str
    waits: bool
    """Whether the caller waits for the end."""
    definition_of: Callable[[int | None], Awaitable[bytes]]
    """Gives the definition of the version that was pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """An accepted execution; `reply` is the call to its actor, where one was made."""

    accepted: Accepted
    member: Member | None = None
    reply: "asyncio.Future[Reply | None] | None" = None


class Acceptor:
    """Accepts executions and sends them on their way."""

    def __init__(
        self,
        submit: Callable[[NewExecution], Awaitable[Accepted]],
        pool: ActorPool,
        queue_changed: Callable[[], None],
    ) -> None:
        self._submit = submit
        self._pool = pool
        self.queue_changed = queue_changed

    async def accept(self, request: Request) -> Submitted:
        """Return the accepted execution. Raises `NotFound`, `Unprocessable`, `StoreUnavailable`."""
        task = asyncio.get_running_loop().create_task(self._accept(request), context=Context())
        return await asyncio.shield(task)

    async def _accept(self, request: Request) -> Submitted:
        new = request.new
        member = self._pool.reserve() if new.isolation is Isolation.POOLED else None
        pushed = False
        try:
            if member is not None:
                new = replace(new, owner=member.lease_id)
            accepted = await self._submit(new)
            check_outcome(accepted, new)
            if accepted.outcome is Outcome.REPLAYED:
                return Submitted(accepted=accepted)
            if accepted.status is ExecutionStatus.RUNNING and member is not None:
                try:
                    claimed = await _claimed(request, accepted)
                except StoreUnavailable:  # it is accepted: the actor's next renewal reads the row back
                    return Submitted(accepted=accepted, member=member)
                pushed = True
                return Submitted(accepted=accepted, member=member, reply=self._pool.push(member, claimed))
        finally:
            if member is not None and not pushed:
                self._pool.release(member.lease_id)
        if new.isolation is Isolation.DEDICATED:
            self._pool.wake_dedicated()
        else:
            self.queue_changed()
        return Submitted(accepted=accepted)


def check_outcome(accepted: Accepted, new: NewExecution) -> None:
    """Raise what an outcome means to the caller, if it was not accepted."""
    if accepted.outcome is Outcome.NO_WORKFLOW:
        raise NotFound("there is no such workflow", fields={"workflow_id": str(new.workflow_id)})
    if accepted.outcome is Outcome.KEY_MISMATCH:
        message = "this Idempotency-Key was used before with another request"
        raise Unprocessable(message, "idempotency_key_reused", {"execution_id": str(accepted.id)})


async def _claimed(request: Request, accepted: Accepted) -> Claimed:
    new = request.new
    return Claimed(
        id=accepted.id,
        workspace_id=new.workspace_id,
        workflow_id=new.workflow_id,
        workflow_version=accepted.workflow_version,
        workflow_name=request.workflow_name,
        definition=await request.definition_of(accepted.workflow_version),
        input=new.input,
        epoch=1,
        last_seq=0,
        recovered=False,
        losses=0,
        crashes=0,
        isolation=new.isolation,
        answered=request.waits,
    )
