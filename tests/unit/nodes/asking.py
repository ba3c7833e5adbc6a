"""What nodes that wait see of the world: one request, and children, that a test sets as it likes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from workflow.errors import NodeError
from workflow.states import ExecutionStatus
from workflow.waiting import Child, ChildState, NewRequest, Request, RequestStatus

REQUEST_ID = UUID(int=77)
USER_ID = UUID(int=78)


@dataclass
class OneRequest:
    """The request of a run. `expiry` is what it becomes when its time is over."""

    now_ms: int
    request: Request | None = None
    expiry: tuple[RequestStatus, dict[str, Any] | None] = (RequestStatus.TIMEOUT, None)
    opened: list[NewRequest] = field(default_factory=list)
    looks: list[bool] = field(default_factory=list)

    async def open(self, new: NewRequest) -> Request:
        self.opened.append(new)
        expires_ms = None if new.timeout_ms is None else self.now_ms + new.timeout_ms
        self.request = Request(id=REQUEST_ID, status=RequestStatus.PENDING, expires_ms=expires_ms)
        return self.request

    async def look(self, *, expire: bool = False) -> Request | None:
        self.looks.append(expire)
        if expire and self.request is not None and self.request.status is RequestStatus.PENDING:
            status, response = self.expiry
            self.request = Request(id=REQUEST_ID, status=status, response=response)
        return self.request

    def settled(self, status: RequestStatus, response: dict[str, Any] | None = None, by: UUID | None = None) -> None:
        self.request = Request(id=REQUEST_ID, status=status, response=response, user_id=by, responded_ms=5)


@dataclass
class SomeChildren:
    """The children of a run; `refuses` is the code with which none may be started."""

    refuses: str = ""
    started: list[Child] = field(default_factory=list)
    known: list[ChildState] = field(default_factory=list)
    misfit: set[int] = field(default_factory=set)
    """The places of those whose input is not what their workflow wants."""

    async def misfits(self, children: Sequence[Child]) -> dict[int, NodeError]:
        fields = {"retryable": False}
        wrong = {place: NodeError("it lacks v", "input_schema_violated", fields) for place in self.misfit}
        return {child.place: wrong[child.place] for child in children if child.place in self.misfit}

    async def start(self, children: Sequence[Child]) -> list[UUID]:
        if self.refuses:
            raise NodeError("it must not be started", self.refuses, {"retryable": False})
        for misfit in (await self.misfits(children)).values():
            raise misfit
        self.started += children
        self.known += [ChildState(id=child_id(c.place), place=c.place, status=ExecutionStatus.QUEUED) for c in children]
        return [child_id(child.place) for child in children]

    async def states(self) -> list[ChildState]:
        return self.known

    def ended(self, *outputs: bytes | None) -> None:
        completed = ExecutionStatus.COMPLETED
        self.known = [
            ChildState(id=child_id(place), place=place, status=completed, output=output)
            for place, output in enumerate(outputs)
        ]


def child_id(place: int) -> UUID:
    return UUID(int=1_000 + place)
