"""What to do next, in the imperative: what `step` answers with, and what the owner performs."""

from dataclasses import dataclass
from typing import TypeAlias

from workflow.states import ExecutionStatus


@dataclass(frozen=True, slots=True)
class StartNode:
    """Begin this attempt, at that time or later. Pure nodes at once; visible ones when the flush that holds the cause has returned."""

    node: int
    run_index: int
    attempt: int
    not_before_ms: int = 0


@dataclass(frozen=True, slots=True)
class AbortNode:
    """Stop this attempt; its result is not wanted any more."""

    node: int
    run_index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class SkipNode:
    """Note in the results that nothing can reach this node."""

    node: int
    run_index: int


@dataclass(frozen=True, slots=True)
class FailNode:
    """Record that this attempt failed, without starting it (its outcome is unknown and it must not start twice)."""

    node: int
    run_index: int
    attempt: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AskRecovery:
    """Ask somebody what is to become of a node that has failed for good, unless that was asked already."""

    node: int
    run_index: int
    ordinal: int
    """How often somebody was asked about this run, this time included."""
    code: str
    message: str
    until_ms: int = 0
    """When time decides, if nobody has (Unix); 0 for never."""


@dataclass(frozen=True, slots=True)
class FinishExecution:
    """Append the last event and write the terminal status."""

    status: ExecutionStatus
    code: str = ""
    message: str = ""
    node: int | None = None


Command: TypeAlias = StartNode | AbortNode | SkipNode | FailNode | AskRecovery | FinishExecution
