"""What an execution asks of the world beyond its nodes' effects: people, and executions that it starts."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from uuid import UUID

import orjson

from store.children import NewChild, PostgresChildren, Refusal
from store.requests import PostgresRequests
from workflow.blobs import BlobRef, Blobs, put_apart, read_blob
from workflow.concurrency import ConcurrencyTemplate
from workflow.document import ConcurrencySettings
from workflow.errors import NodeError, StoreUnavailable
from workflow.ids import derived_id
from workflow.links import PATH, link_token, token_hash
from workflow.ports import Claimed, Concurrency
from workflow.waiting import (
    Child,
    Children,
    ChildState,
    NewRequest,
    NoChildren,
    NodeRun,
    NoRequests,
    Request,
    Requests,
)

CHILDREN_AT_ONCE = 200
ERROR_TRIGGER = "error"
"""The trigger type of error workflows, which begin no other."""
PAUSE_S, PAUSE_MAX_S = 0.1, 2.0
R = TypeVar("R")


class Outside(Protocol):
    """Gives each run of a node its requests and children, and ends what nobody waits for any more."""

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0) -> Requests:
        """Return the requests of a node's run; those with another ordinal are others."""
        ...

    def children(self, claimed: Claimed, run: NodeRun) -> Children:
        """Return the executions that a node's run starts."""
        ...

    def link(self, claimed: Claimed, run: NodeRun) -> str:
        """Return the link by which what a node's run asks is answered; empty where there is none."""
        ...

    async def forsake(self, claimed: Claimed, keep: Collection[NodeRun]) -> None:
        """Withdraw what is asked and cancel the children that are waited for, apart from those of these runs."""
        ...

    async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> None:
        """Execute a workflow about the bad end of an execution, once. Raises `NodeError` where it must not be executed."""
        ...


class Nobody:
    """Stands for the outside where there is none."""

    def requests(self, _claimed: Claimed, _run: NodeRun, _ordinal: int = 0) -> Requests:
        """Return what refuses."""
        return NoRequests()

    def children(self, _claimed: Claimed, _run: NodeRun) -> Children:
        """Return what refuses."""
        return NoChildren()

    def link(self, _claimed: Claimed, _run: NodeRun) -> str:
        """Return nothing."""
        return ""

    async def forsake(self, _claimed: Claimed, _keep: Collection[NodeRun]) -> None:
        """Find nothing to end."""

    async def begin_error_workflow(self, _claimed: Claimed, _workflow_id: UUID, _data: bytes) -> None:
        """Refuse."""
        raise NodeError("no other workflow can be executed here: this needs an instance", "needs_instance")


class StoredOutside:
    """The outside as the database keeps it. While that is away, everything here waits for it."""

    def __init__(
        self,
        requests: PostgresRequests,
        children: PostgresChildren,
        blobs: Blobs,
        *,
        link_key: bytes,
        public_url: str,
        blob_above_bytes: int,
        depth_max: int,
        changed: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.kept_requests = requests
        self.kept_children = children
        self.blobs = blobs
        self.link_key = link_key
        self.public_url = public_url
        self.blob_above_bytes = blob_above_bytes
        self.depth_max = depth_max
        self.changed = changed
        self.now_ms = now_ms

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0) -> Requests:
        """Return the requests of a node's run."""
        return _RequestsOfRun(self, claimed, run, ordinal)

    def children(self, claimed: Claimed, run: NodeRun) -> Children:
        """Return the executions that a node's run starts."""
        return _ChildrenOfRun(self, claimed, run)

    def link(self, claimed: Claimed, run: NodeRun) -> str:
        """Return the link by which what a node's run asks is answered."""
        return self.public_url + PATH + link_token(self.link_key, claimed.id, *run)

    async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> None:
        """Execute a workflow about the bad end of an execution, once. Raises `NodeError` where it must not be executed."""
        children = _ChildrenOfRun(self, claimed, ("", 0), ERROR_TRIGGER)
        await children.start([Child(workflow_id=workflow_id, input=data, place=0, awaited=False)])

    async def forsake(self, claimed: Claimed, keep: Collection[NodeRun]) -> None:
        """Withdraw what is asked and cancel the children that are waited for, apart from those of these runs."""
        await patiently(lambda: self.kept_requests.withdraw(claimed.id, keep))
        if await patiently(lambda: self.kept_children.cancel(claimed.id, keep)):
            self.changed()


@dataclass(frozen=True, slots=True)
class _RequestsOfRun:
    around: StoredOutside
    claimed: Claimed
    run: NodeRun
    ordinal: int

    def at(self, place: int) -> Requests:
        """Return another request of the run; those about failures have ordinals above 0."""
        return replace(self, ordinal=-1 - place)

    async def open(self, new: NewRequest) -> Request:
        """Make the request, or return the one that was made before. Raises `Fenced`."""
        names = (*self.run, self.ordinal)
        return await patiently(
            lambda: self.around.kept_requests.open(
                self.claimed,
                self.run,
                self.ordinal,
                new,
                request_id=derived_id(self.claimed.id, "request", *names),
                token_hash=token_hash(link_token(self.around.link_key, self.claimed.id, *names)),
                now_ms=self.around.now_ms(),
            )
        )

    async def look(self, *, expire: bool = False) -> Request | None:
        """Return the request as it stands."""
        return await patiently(
            lambda: self.around.kept_requests.look(
                self.claimed.id, self.run, self.ordinal, expire=expire, now_ms=self.around.now_ms()
            )
        )


@dataclass(frozen=True, slots=True)
class _ChildrenOfRun:
    around: StoredOutside
    claimed: Claimed
    run: NodeRun
    trigger: str = "sub_workflow"

    async def start(self, children: Sequence[Child]) -> list[UUID]:
        """Start them and return their ids, in order. Raises `NodeError` where one must not be started, and `Fenced`."""
        ids: list[UUID] = []
        for first in range(0, len(children), CHILDREN_AT_ONCE):
            given = children[first : first + CHILDREN_AT_ONCE]
            keys = await self._concurrency(given)
            some = [await self._new(child, key) for child, key in zip(given, keys, strict=True)]
            refused = await self._start(some)
            if refused:
                raise _refusal(refused[0], children[first + [new.place for new in some].index(refused[0].place)])
            ids.extend(new.id for new in some)
            self.around.changed()
        return ids

    async def states(self) -> list[ChildState]:
        """Return those that are waited for, by place."""
        found = await patiently(lambda: self.around.kept_children.states(self.claimed.id, self.run))
        return [await self._whole(state, reference) for state, reference in found]

    async def _start(self, some: Sequence[NewChild]) -> list[Refusal]:
        return await patiently(
            lambda: self.around.kept_children.start(
                self.claimed,
                self.run,
                some,
                trigger=self.trigger,
                deadline_ms=self.claimed.deadline_ms,
                depth_max=self.around.depth_max,
            )
        )

    async def _concurrency(self, children: Sequence[Child]) -> list[Concurrency | None]:
        """Return the concurrency key of each, worked out as the API does it for those that it accepts."""
        named = [(child.workflow_id, child.version) for child in children]
        stored = [(workflow_id, version) for workflow_id, version in named if workflow_id is not None]
        found = {}
        if stored:
            found = await patiently(lambda: self.around.kept_children.limits(self.claimed.workspace_id, stored))
        templates = {
            (workflow_id, version): ConcurrencyTemplate(ConcurrencySettings(**settings), workflow_id, name)
            for (workflow_id, version), (name, settings) in found.items()
        }
        return [
            templates[workflow_id, version].of(orjson.loads(child.input))
            if workflow_id is not None and (workflow_id, version) in templates
            else None
            for (workflow_id, version), child in zip(named, children, strict=True)
        ]

    async def _new(self, child: Child, concurrency: Concurrency | None) -> NewChild:
        identity = derived_id(self.claimed.id, "child", *self.run, child.place)
        above_bytes = self.around.blob_above_bytes
        data, reference = await patiently(
            lambda: put_apart(self.around.blobs, self.claimed.workspace_id, identity, child.input, above_bytes)
        )
        return NewChild(
            id=identity,
            place=child.place,
            workflow_id=child.workflow_id,
            version=child.version,
            definition=child.definition,
            input=data,
            input_ref=reference,
            awaited=child.awaited,
            concurrency=concurrency,
        )

    async def _whole(self, state: ChildState, reference: BlobRef | None) -> ChildState:
        if reference is None or state.output is not None:
            return state
        return replace(
            state, output=await patiently(lambda: read_blob(self.around.blobs, self.claimed.workspace_id, reference))
        )


async def patiently(call: Callable[[], Awaitable[R]]) -> R:
    """Return what the call gives, asking again for as long as the database does not answer. The call is safe to repeat."""
    pause_s = PAUSE_S
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _refusal(refused: Refusal, child: Child) -> NodeError:
    fields = {"workflow_id": str(child.workflow_id), "retryable": False}
    if refused.depth is not None:
        message = f"this execution is {refused.depth} deep already: it may start none below it"
        return NodeError(message, "depth_exceeded", fields)
    if refused.limited:
        message = "as many executions of this workflow with its concurrency key are under way as may be"
        return NodeError(message, "concurrency_limit", {**fields, "retryable": True})
    if refused.circular:
        return NodeError("the workflow is under way above this execution already", "workflow_circular", fields)
    return NodeError("there is no such workflow or version that may be executed", "workflow_not_found", fields)
