"""Accepting executions: choose an actor, make the row durable (together with others that come at once), call the actor.

Where there is a direct line, the actor begins while the row is being inserted; nothing of it is written, visible or answered before
the row is committed.

Everything happens in a task of its own in an empty context: whatever the client does, an accepted execution goes its way, and a
call that is lost between commit and actor is made good by the actor's next renewal.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, replace
from uuid import UUID

from actors.members import Member, Reply
from actors.pool import ActorPool
from serve_app.once import key_reused
from serve_app.queue_room import QueueRoom, queue_full
from workflow.blobs import Blobs, put_apart
from workflow.concurrency import shown_key
from workflow.errors import Conflict, Unavailable, WorkflowChanged
from workflow.lifecycle import EXECUTABLE, WorkflowStatus, state_conflict
from workflow.ports import Accepted, Claimed, Isolation, NewExecution, Outcome
from workflow.states import ExecutionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An execution to accept, and what the actor needs of its workflow."""

    new: NewExecution
    workflow_name: str
    version: int | None
    """The version that is pinned; None where the definition comes with the request."""
    definition: bytes
    waits: bool
    """Whether the caller waits for the end."""


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
        room: QueueRoom,
        keyed: Callable[[UUID, str], Awaitable[bool]],
        status_of: Callable[[UUID, UUID], Awaitable[WorkflowStatus]],
        blobs: Blobs,
        blob_above_bytes: int,
    ) -> None:
        self._submit = submit
        self._pool = pool
        self._room = room
        self._keyed = keyed
        self._status_of = status_of
        self._blobs = blobs
        self._blob_above_bytes = blob_above_bytes
        self.queue_changed = queue_changed

    async def accept(self, request: Request) -> Submitted:
        """Return the accepted execution. Raises `NotFound`, `Conflict`, `Unprocessable`, `Overloaded`, `StoreUnavailable`."""
        task = asyncio.get_running_loop().create_task(self._accept(request), context=Context())
        return await asyncio.shield(task)

    async def require_room(self, workspace_id: UUID) -> None:
        """Raise `Overloaded` where a pooled execution would find no room in the queue now: before what it is for is made."""
        member = self._pool.reserve()
        try:
            full = await self._room.full(workspace_id, pushable=member is not None)
        finally:
            if member is not None:
                self._pool.release(member.lease_id)
        if full:
            raise queue_full(workspace_id, self._room.queued_max)

    async def queue(
        self, workspace_id: UUID, isolation: Isolation, insert: Callable[[], Awaitable[Accepted]]
    ) -> Accepted:
        """Return what an insert of a queued execution accepts, if there is room in the queue. Raises `Overloaded`, and what it raises."""
        task = asyncio.get_running_loop().create_task(self._queue(workspace_id, isolation, insert), context=Context())
        return await asyncio.shield(task)

    async def _queue(
        self, workspace_id: UUID, isolation: Isolation, insert: Callable[[], Awaitable[Accepted]]
    ) -> Accepted:
        if await self._room.full(workspace_id, pushable=False):
            raise queue_full(workspace_id, self._room.queued_max)
        self._room.enter(workspace_id, isolation)
        created = False
        try:
            accepted = await insert()
            created = accepted.outcome is Outcome.CREATED
        finally:
            self._room.leave(workspace_id, isolation, entered=True, queued=created)
        self._tell_of(accepted, isolation)
        return accepted

    async def _accept(self, request: Request) -> Submitted:
        new = request.new
        pushable = new.isolation is Isolation.POOLED and new.concurrency is None
        member = self._pool.reserve() if pushable else None
        await self._find_room(new, member)
        if member is None:
            accepted = await self._insert(new)
            await self._check(accepted, new)
            self._tell_of(accepted, new.isolation)
            return Submitted(accepted=accepted)
        new = replace(new, owner=member.lease_id)
        begun = None
        if new.idempotency is None:  # with a key, the row may turn out to be another execution's
            begun = self._pool.begin(member, _claimed(request))
        answered: Accepted | None = None
        try:
            accepted = answered = await self._insert(new)
        finally:
            mine = answered is not None and (answered.outcome, answered.status) == (
                Outcome.CREATED,
                ExecutionStatus.RUNNING,
            )
            if begun is not None:
                self._pool.settle(member, new.id, accepted=mine)
            elif not mine:
                self._pool.release(member.lease_id)
        await self._check(accepted, new)
        if not mine:
            self._tell_of(accepted, new.isolation)
            return Submitted(accepted=accepted)
        reply = begun if begun is not None else self._pool.push(member, _claimed(request))
        return Submitted(accepted=accepted, member=member, reply=reply)

    async def _find_room(self, new: NewExecution, member: Member | None) -> None:
        """Raise `Overloaded` when it would have to be queued and the queue is full; what its key replays takes no room."""
        room = False
        try:
            room = not await self._room.full(new.workspace_id, pushable=member is not None) or (
                new.idempotency is not None and await self._keyed(new.workspace_id, new.idempotency.key)
            )
        finally:
            if member is not None and not room:
                self._pool.release(member.lease_id)
        if not room:
            raise queue_full(new.workspace_id, self._room.queued_max)
        if member is None:
            self._room.enter(new.workspace_id, new.isolation)

    async def _insert(self, new: NewExecution) -> Accepted:
        accepted = None
        try:
            data, reference = await put_apart(self._blobs, new.workspace_id, new.id, new.input, self._blob_above_bytes)
            if reference is not None:
                new = replace(new, input=data, input_ref=reference)
            accepted = await self._submit(new)
            return accepted
        finally:
            queued = accepted is not None and (accepted.outcome, accepted.status) == (
                Outcome.CREATED,
                ExecutionStatus.QUEUED,
            )
            self._room.leave(new.workspace_id, new.isolation, entered=new.owner is None, queued=queued)

    async def _check(self, accepted: Accepted, new: NewExecution) -> None:
        """Raise what an outcome means to the caller, if it was not accepted."""
        if accepted.outcome is Outcome.OUTDATED:
            raise WorkflowChanged("the workflow was changed just now: try again")
        if accepted.outcome is Outcome.NO_WORKFLOW and new.workflow_id is not None:
            # The insert itself decides; why it refused is worth a look only now.
            status = await self._status_of(new.workspace_id, new.workflow_id)
            if status in EXECUTABLE:
                raise Unavailable("the workflow came into another state just now: try again", "workflow_state_changed")
            raise state_conflict(status, "execute")
        if accepted.outcome is Outcome.LIMITED and new.concurrency is not None:
            key, limit = shown_key(new.concurrency.key), new.concurrency.limit
            message = f"{limit} executions of this workflow{f' with the key {key!r}' if key else ''} are under way, as many as may be"
            raise Conflict(message, "concurrency_limit", {"limit": limit, "key": key})
        if accepted.outcome is Outcome.KEY_MISMATCH:
            raise key_reused({"execution_id": str(accepted.id)})

    def _tell_of(self, accepted: Accepted, isolation: Isolation) -> None:
        if accepted.outcome is Outcome.REPLAYED:
            return
        for execution_id, owner in accepted.superseded:
            stopping = self._pool.member(owner) if owner is not None else None
            if stopping is not None:
                self._pool.deliver(stopping.name, execution_id)
        if isolation is Isolation.DEDICATED:
            self._pool.wake_dedicated()
        else:
            self.queue_changed()


def _claimed(request: Request) -> Claimed:
    new = request.new
    return Claimed(
        id=new.id,
        workspace_id=new.workspace_id,
        workflow_id=new.workflow_id,
        workflow_version=request.version,
        workflow_name=request.workflow_name,
        definition=request.definition,
        input=new.input,
        epoch=1,
        last_seq=0,
        recovered=False,
        losses=0,
        crashes=0,
        isolation=new.isolation,
        priority=new.priority,
        triggered_by=new.triggered_by,
        trigger_type=new.trigger_type,
        answered=request.waits,
    )
