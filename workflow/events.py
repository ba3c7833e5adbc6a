"""What happened, in the past tense. One event is one argument of `step`, one row of `stream_events`, one message of a stream.

An event carries no item data, only which handles are live and with how many items, so its body stays under 1 KiB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from workflow.errors import Bug
from workflow.states import TERMINAL, ExecutionStatus
from workflow.waiting import Recovery, Wake

MESSAGE_CHARS_MAX = 400
"""Longer messages are cut in the event; the node execution keeps the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStarted:
    """The first owner has taken the execution up."""

    kind: ClassVar[str] = "execution.started"
    at_ms: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResumed:
    """Another owner has taken the execution over; attempts under way were lost with the former one."""

    kind: ClassVar[str] = "execution.resumed"
    at_ms: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted:
    """An attempt leaves the actor (a Ray task, an effect). Attempts of pure nodes inside it are not announced."""

    kind: ClassVar[str] = "node.started"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCompleted:
    """An attempt succeeded. `handles` says how many items each output handle carries.

    `text` is what a model has answered, as far as it fits; the node execution has the whole.
    """

    kind: ClassVar[str] = "node.completed"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int
    handles: Mapping[str, int]
    duration_ms: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed:
    """An attempt failed. `handles` are the error items it would give if it failed for good; `retryable` that it may succeed later."""

    kind: ClassVar[str] = "node.failed"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int
    code: str
    message: str
    duration_ms: float
    retryable: bool = True
    retry_after_ms: int = 0
    """The least delay that whoever failed asks for."""
    handles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWaiting:
    """An attempt goes on when something happens outside, or at `until_ms`; 0 means that no time is set."""

    kind: ClassVar[str] = "node.waiting"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int
    wait: int
    """How often this run has waited before."""
    until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWoken:
    """What a waiting attempt waited for may have happened, or its time has come."""

    kind: ClassVar[str] = "node.woken"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int
    wait: int
    cause: Wake


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecovered:
    """Somebody has decided about a node that has failed; `handles` says what it gives where it goes on without another attempt."""

    kind: ClassVar[str] = "node.recovered"
    at_ms: int
    node_id: str
    run_index: int
    attempt: int
    decision: Recovery
    by: str = ""
    handles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested:
    """Somebody left the signal to pause."""

    kind: ClassVar[str] = "execution.pause_requested"
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested:
    """Somebody left the signal to go on."""

    kind: ClassVar[str] = "execution.resume_requested"
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPaused:
    """Nothing is under way any more: the owner lets go."""

    kind: ClassVar[str] = "execution.paused"
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionWaiting:
    """All that has begun waits: the owner lets go until a signal comes, or until `until_ms`; 0 means that no time is set."""

    kind: ClassVar[str] = "execution.waiting"
    at_ms: int
    until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody left the signal to stop."""

    kind: ClassVar[str] = "execution.cancel_requested"
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionTimedOut:
    """The execution's time limit is over, or that of the one that started it."""

    kind: ClassVar[str] = "execution.time_over"
    at_ms: int
    of_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFinished:
    """The end: status is terminal. Its kind is `execution.` and the status."""

    at_ms: int
    status: ExecutionStatus
    code: str = ""
    message: str = ""
    node_id: str = ""
    error_workflow: Mapping[str, str] = field(default_factory=dict)
    """What became of its error workflow, where it has begun one: `execution_id`, or `refused` with the code that says why."""

    @property
    def kind(self) -> str:
        """The name of this event."""
        return f"execution.{self.status.value}"


Event: TypeAlias = (
    ExecutionStarted
    | ExecutionResumed
    | NodeStarted
    | NodeCompleted
    | NodeFailed
    | NodeWaiting
    | NodeWoken
    | NodeRecovered
    | PauseRequested
    | ResumeRequested
    | ExecutionPaused
    | ExecutionWaiting
    | CancelRequested
    | ExecutionTimedOut
    | ExecutionFinished
)

_PLAIN: Mapping[str, type[Any]] = MappingProxyType(
    {
        t.kind: t
        for t in (
            ExecutionStarted,
            ExecutionResumed,
            NodeStarted,
            NodeCompleted,
            NodeFailed,
            NodeWaiting,
            NodeWoken,
            NodeRecovered,
            PauseRequested,
            ResumeRequested,
            ExecutionPaused,
            ExecutionWaiting,
            CancelRequested,
            ExecutionTimedOut,
        )
    }
)
TERMINAL_KINDS = frozenset({f"execution.{status.value}" for status in TERMINAL})


def to_body(event: Event) -> dict[str, Any]:
    """Return the JSON body of an event: its fields without the time and without the kind, which are columns of their own."""
    body = {name: getattr(event, name) for name in event.__slots__ if name != "at_ms"}
    if "handles" in body:
        body["handles"] = dict(body["handles"])
    if "text" in body:
        body["text"] = body["text"][:MESSAGE_CHARS_MAX]
        if not body["text"]:
            del body["text"]
    if "message" in body:
        body["message"] = body["message"][:MESSAGE_CHARS_MAX]
    if isinstance(event, ExecutionFinished):
        del body["status"]
        if not event.error_workflow:
            del body["error_workflow"]
    return body


def from_body(kind: str, at_ms: int, body: Mapping[str, Any]) -> Event:
    """Return the event that `to_body` described. Raises `Bug` for a kind that nobody writes."""
    if kind in TERMINAL_KINDS:
        return ExecutionFinished(at_ms=at_ms, status=ExecutionStatus(kind.removeprefix("execution.")), **body)
    if kind not in _PLAIN:
        raise Bug(f"no such event: {kind}", fields={"kind": kind})
    event: Event = _PLAIN[kind](at_ms=at_ms, **body)
    return event
