"""What a node waits for: the values that cross between node types, the engine and what keeps requests and children.

A node's function may return `Suspend` instead of outputs. Its attempt then waits, in no process, and the function is called
again with `context.woken` set when its time has come or a signal was left for it. A signal only wakes: what was answered or
what became of a child is read again by the function, so it may find that there is nothing yet, and suspend again. Such a
node's effect is never pure, for the wake-up must be committed before the function looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from workflow.errors import NodeError
from workflow.states import ExecutionStatus

NodeRun: TypeAlias = tuple[str, int]
"""A node's id and the index of its run."""

PLACES_MAX = 1 << 24
"""So many children, or requests beside its first one, can a run of a node have; after a lapse it has the next so many numbers."""
LAPSES_TOLD_APART = 127
"""What more lapses of a run ask and start has the numbers of this one: a number is a 32-bit integer where it is kept."""


class Going(NamedTuple):
    """A run of a node that goes on; what it has asked and started under numbers below `places_from` is wanted no more."""

    node_id: str
    run_index: int
    places_from: int = 0


def places_from(lapses: int) -> int:
    """Return the first of the numbers of what a run asks and starts after so many lapses."""
    return min(lapses, LAPSES_TOLD_APART) * PLACES_MAX


def place_after(lapses: int, place: int) -> int:
    """Return the number of what a run that has lapsed so often knows by `place`. Raises `NodeError` for a place that is none."""
    if place >= PLACES_MAX:
        message = f"this run of the node asks or starts more than the {PLACES_MAX} that it may"
        raise NodeError(message, "too_many_children", {"retryable": False})
    return places_from(lapses) + place


@dataclass(frozen=True, slots=True)
class Suspend:
    """Wait for a signal, and at most until `until_ms` (Unix); without it for as long as it takes."""

    until_ms: int | None = None


class Wake(StrEnum):
    """Why a function is called again."""

    SIGNAL = "signal"
    TIME = "time"


class Recovery(StrEnum):
    """What somebody decided about a node that has failed."""

    RETRY = "retry"
    """It is tried again, as if it had not failed."""
    SKIP = "skip"
    """It gives its input on, as a disabled node does."""
    REPLACE = "replace"
    """It gives what was answered."""
    ABORT = "abort"
    """It has failed."""


class RequestType(StrEnum):
    """What is asked of the world outside."""

    APPROVAL = "approval"
    CLARIFICATION = "clarification"
    ERROR_RECOVERY = "error_recovery"
    FORM = "form"
    WEBHOOK = "webhook"


class RequestStatus(StrEnum):
    """Where a request stands. Only `pending` changes."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    ANSWERED = "answered"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """What a node asks, and of whom."""

    type: RequestType
    title: str = ""
    message: str = ""
    options: Sequence[Mapping[str, Any]] = ()
    """What there is to choose from: `{"id", "label"}`."""
    form_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the answer's data."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """What whoever answers should see."""
    allowed_roles: Sequence[str] = ()
    approvals_required: int = 1
    timeout_ms: int | None = None
    expires_ms: int | None = None
    """When its time is over (Unix), where that was decided before it is made; else `timeout_ms` after that."""
    auto_action: str = ""
    """The decision when nobody has answered in time."""
    remind_after_ms: int | None = None
    escalate_after_ms: int | None = None
    escalate_to: str = ""
    """The role that may answer, too, once it is escalated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it stands. `response` is the JSON of the answer, once there is one: an object, where the answer was checked."""

    id: UUID
    status: RequestStatus
    response: Any = None
    user_id: UUID | None = None
    expires_ms: int | None = None
    responded_ms: int | None = None


class Requests(Protocol):
    """The requests of one run of one node. Opening twice opens once."""

    def at(self, place: int) -> "Requests":
        """Return another request of the run, by a number from 0 on that tells it apart from the others."""
        ...

    async def open(self, new: NewRequest) -> Request:
        """Make the request, or return the one that this attempt has made before."""
        ...

    async def look(self, *, expire: bool = False) -> Request | None:
        """Return the request as it stands; with `expire`, one that is pending and whose time is over times out now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An execution to start: of a workflow of the same workspace, or of a definition (JSON) that comes along, with this input (JSON).

    `place` tells the children of one run apart: with the same place again, the same child is meant.
    """

    workflow_id: UUID | None
    input: bytes
    place: int
    definition: bytes | None = None
    """Set where `workflow_id` is None."""
    version: int | None = None
    awaited: bool = True
    """Whether its end wakes the node that started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildState:
    """A child as it stands; `output` is JSON."""

    id: UUID
    place: int
    status: ExecutionStatus
    output: bytes | None = None
    error_code: str = ""
    error_message: str = ""


class Children(Protocol):
    """The executions that one run of one node has started. Starting twice starts once."""

    async def misfits(self, children: Sequence[Child]) -> Mapping[int, NodeError]:
        """Return, by place, what is wrong with those whose input is not what their workflow's `input_schema` wants."""
        ...

    async def start(self, children: Sequence[Child]) -> list[UUID]:
        """Start them and return their ids, in order. Raises `NodeError` where one must not be started; none is where one is a misfit."""
        ...

    async def states(self) -> list[ChildState]:
        """Return those that were started, by place; outputs of those that have completed."""
        ...


class NoRequests:
    """Stands where nobody can be asked: where an execution runs by itself, without an instance around it."""

    def at(self, _place: int) -> "NoRequests":
        """Return the same."""
        return self

    async def open(self, _new: NewRequest) -> Request:
        """Refuse."""
        raise NodeError("nobody can be asked here: this needs an instance", "needs_instance", {"retryable": False})

    async def look(self, *, expire: bool = False) -> Request | None:  # noqa: ARG002 - the signature of the port
        """Find none."""
        return None


class NoChildren:
    """Stands where no other execution can be started."""

    async def misfits(self, _children: Sequence[Child]) -> Mapping[int, NodeError]:
        """Find none."""
        return {}

    async def start(self, _children: Sequence[Child]) -> list[UUID]:
        """Refuse."""
        message = "no other workflow can be executed here: this needs an instance"
        raise NodeError(message, "needs_instance", {"retryable": False})

    async def states(self) -> list[ChildState]:
        """Find none."""
        return []
