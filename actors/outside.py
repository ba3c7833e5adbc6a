"""What an execution asks of the world beyond its nodes' effects: people, and executions that it starts."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from uuid import UUID

import orjson

from store.children import Declared, NewChild, PostgresChildren, Refusal
from store.requests import PostgresRequests
from workflow.blobs import BlobRef, Blobs, put_apart, read_blob
from workflow.concurrency import ConcurrencyTemplate
from workflow.document import ConcurrencySettings
from workflow.errors import NodeError, StoreUnavailable, Unprocessable
from workflow.ids import derived_id
from workflow.inputs import check_input
from workflow.links import PATH, link_token, token_hash
from workflow.ports import Claimed, Concurrency
from workflow.waiting import (
    Child,
    Children,
    ChildState,
    Going,
    NewRequest,
    NoChildren,
    NodeRun,
    NoRequests,
    Request,
    Requests,
    place_after,
    places_from,
)

CHILDREN_AT_ONCE = 200
CHECKED_AT_ONCE = 16
"""After so many inputs that were held against a schema others on the actor have a turn."""
ERROR_TRIGGER = "error"
"""The trigger type of error workflows, which begin no other."""
PAUSE_S, PAUSE_MAX_S = 0.1, 2.0
R = TypeVar("R")


class Outside(Protocol):
    """Gives each run of a node its requests and children, and ends what nobody waits for any more."""

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0, lapses: int = 0) -> Requests:
        """Return the requests of a node's run; those with another ordinal, or after another number of lapses, are others."""
        ...

    def children(self, claimed: Claimed, run: NodeRun, lapses: int = 0) -> Children:
        """Return the executions that a node's run starts after so many lapses."""
        ...

    def link(self, claimed: Claimed, run: NodeRun, lapses: int = 0) -> str:
        """Return the link by which what a node's run asks is answered; empty where there is none."""
        ...

    async def forsake(self, claimed: Claimed, keep: Collection[Going]) -> None:
        """Withdraw what is asked and cancel the children that are waited for, apart from what these runs still want."""
        ...

    async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> UUID:
        """Execute a workflow about the bad end of an execution, once; return that execution's id. Raises `NodeError` if it must not be."""
        ...


class Nobody:
    """Stands for the outside where there is none."""

    def requests(self, _claimed: Claimed, _run: NodeRun, _ordinal: int = 0, _lapses: int = 0) -> Requests:
        """Return what refuses."""
        return NoRequests()

    def children(self, _claimed: Claimed, _run: NodeRun, _lapses: int = 0) -> Children:
        """Return what refuses."""
        return NoChildren()

    def link(self, _claimed: Claimed, _run: NodeRun, _lapses: int = 0) -> str:
        """Return nothing."""
        return ""

    async def forsake(self, _claimed: Claimed, _keep: Collection[Going]) -> None:
        """Find nothing to end."""

    async def begin_error_workflow(self, _claimed: Claimed, _workflow_id: UUID, _data: bytes) -> UUID:
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

    def requests(self, claimed: Claimed, run: NodeRun, ordinal: int = 0, lapses: int = 0) -> Requests:
        """Return the requests of a node's run."""
        return _RequestsOfRun(self, claimed, run, ordinal or -places_from(lapses), lapses)

    def children(self, claimed: Claimed, run: NodeRun, lapses: int = 0) -> Children:
        """Return the executions that a node's run starts after so many lapses."""
        return _ChildrenOfRun(self, claimed, run, lapses)

    def link(self, claimed: Claimed, run: NodeRun, lapses: int = 0) -> str:
        """Return the link by which what a node's run asks is answered."""
        return self.public_url + PATH + link_token(self.link_key, claimed.id, *run, -places_from(lapses))

    async def begin_error_workflow(self, claimed: Claimed, workflow_id: UUID, data: bytes) -> UUID:
        """Execute a workflow about the bad end of an execution, once; return that execution's id. Raises `NodeError` if it must not be.

        Nobody waits for it, so it is not below what has failed, but as deep as that.
        """
        children = _ChildrenOfRun(self, claimed, ("", 0), trigger=ERROR_TRIGGER, levels=0)
        (begun,) = await children.start([Child(workflow_id=workflow_id, input=data, place=0, awaited=False)])
        return begun

    async def forsake(self, claimed: Claimed, keep: Collection[Going]) -> None:
        """Withdraw what is asked and cancel the children that are waited for, apart from what these runs still want."""
        await patiently(lambda: self.kept_requests.withdraw(claimed.id, keep))
        if await patiently(lambda: self.kept_children.cancel(claimed.id, keep)):
            self.changed()


@dataclass(frozen=True, slots=True)
class _RequestsOfRun:
    around: StoredOutside
    claimed: Claimed
    run: NodeRun
    ordinal: int
    lapses: int

    def at(self, place: int) -> Requests:
        """Return another request of the run; those about failures have ordinals above 0. Raises `NodeError` for too many."""
        return replace(self, ordinal=-place_after(self.lapses, 1 + place))

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
    lapses: int = 0
    trigger: str = "sub_workflow"
    levels: int = 1
    known: dict[tuple[UUID, int | None], Declared] = field(default_factory=dict)
    """What was looked up of workflows: in one attempt, the same version is checked and started."""

    async def misfits(self, children: Sequence[Child]) -> dict[int, NodeError]:
        """Return, by place, what is wrong with the input of those whose workflow declares another one."""
        await self._look_up(children)
        found: dict[int, NodeError] = {}
        for number, child in enumerate(children):
            declared = self._declared(child)
            if declared is not None and declared.input_schema:
                try:
                    check_input(orjson.loads(child.input), dict(declared.input_schema))
                except Unprocessable as error:
                    fields = {**error.fields, "workflow_id": str(child.workflow_id), "retryable": False}
                    found[child.place] = NodeError(error.message, error.code, fields)
            if number % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
        return found

    async def start(self, children: Sequence[Child]) -> list[UUID]:
        """Start them and return their ids, in order. Raises `NodeError` where one must not be started, and `Fenced`."""
        for misfit in (await self.misfits(children)).values():
            raise misfit
        ids: list[UUID] = []
        for first in range(0, len(children), CHILDREN_AT_ONCE):
            given = children[first : first + CHILDREN_AT_ONCE]
            some = [await self._new(child, self._declared(child)) for child in given]
            refused = await self._start(some)
            if refused:
                raise _refusal(refused[0], children[first + [new.place for new in some].index(refused[0].place)])
            ids.extend(new.id for new in some)
            self.around.changed()
        return ids

    async def states(self) -> list[ChildState]:
        """Return those that are waited for, by place."""
        first = places_from(self.lapses)
        found = await patiently(lambda: self.around.kept_children.states(self.claimed.id, self.run, first))
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
                levels=self.levels,
            )
        )

    async def _look_up(self, children: Sequence[Child]) -> None:
        named = {(child.workflow_id, child.version) for child in children if child.workflow_id is not None}
        missing = [
            (workflow_id, version) for workflow_id, version in named - set(self.known) if workflow_id is not None
        ]
        if missing:
            workspace_id = self.claimed.workspace_id
            self.known.update(await patiently(lambda: self.around.kept_children.declared(workspace_id, missing)))

    def _declared(self, child: Child) -> Declared | None:
        return None if child.workflow_id is None else self.known.get((child.workflow_id, child.version))

    async def _new(self, child: Child, declared: Declared | None) -> NewChild:
        place = place_after(self.lapses, child.place)
        identity = derived_id(self.claimed.id, "child", *self.run, place)
        above_bytes = self.around.blob_above_bytes
        data, reference = await patiently(
            lambda: put_apart(self.around.blobs, self.claimed.workspace_id, identity, child.input, above_bytes)
        )
        return NewChild(
            id=identity,
            place=place,
            workflow_id=child.workflow_id,
            version=child.version if declared is None else declared.version,
            definition=child.definition,
            input=data,
            input_ref=reference,
            awaited=child.awaited,
            concurrency=_concurrency(child, declared),
        )

    async def _whole(self, state: ChildState, reference: BlobRef | None) -> ChildState:
        if reference is None or state.output is not None:
            return state
        return replace(
            state, output=await patiently(lambda: read_blob(self.around.blobs, self.claimed.workspace_id, reference))
        )


def _concurrency(child: Child, declared: Declared | None) -> Concurrency | None:
    """Return the concurrency key of a child, worked out as the API does it for what it accepts."""
    settings = declared.concurrency if declared else None
    if declared is None or not settings or not settings.get("limit"):
        return None
    template = ConcurrencyTemplate(ConcurrencySettings(**settings), child.workflow_id, declared.name)
    return template.of(orjson.loads(child.input))


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
