"""The states of an execution and of a node execution, and the only changes between them. Data: `docs/states.md` is made from it.

Rule 1: a status changes only along a row of these tables. Rule 2: terminal means for ever: a retry is a new execution.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class ExecutionStatus(StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"

    @property
    def terminal(self) -> bool:
        """Whether nothing can change any more."""
        return self in TERMINAL


class NodeStatus(StrEnum):
    """Where one node of one execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


TERMINAL = frozenset(
    {ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.TIMEOUT}
)
SETTLED = frozenset({NodeStatus.COMPLETED, NodeStatus.FAILED, NodeStatus.SKIPPED, NodeStatus.CANCELLED})

EXECUTION_STATES: Mapping[ExecutionStatus, str] = MappingProxyType(
    {
        ExecutionStatus.QUEUED: (
            "Accepted and durable, owned by nobody. An execution actor with a free slot claims it, by priority and fair between "
            "workspaces, which raises the epoch. A crash of anything leaves it as it is."
        ),
        ExecutionStatus.RUNNING: (
            "Owned by one execution actor under one epoch; only that owner writes it. If the owner's lease ends, any other actor "
            "claims it, raises the epoch, replays its events and goes on; writes of the former owner are refused."
        ),
        ExecutionStatus.COMPLETED: (
            "Every node has completed or was skipped. The output and the last event were committed together. Never changes again."
        ),
        ExecutionStatus.FAILED: (
            "A node failed, or the execution itself could not go on (code `poisoned`: it brought down its actor again and again). "
            "The error names the node. What was in flight has been aborted. Never changes again."
        ),
        ExecutionStatus.CANCELLED: (
            "Somebody asked for it to stop. What was in flight has been aborted, what had been committed is kept. Never changes again."
        ),
        ExecutionStatus.TIMEOUT: (
            "It took longer than `settings.timeout_ms`, counted from its start and through crashes. What was in flight has been "
            "aborted, what had been committed is kept. Never changes again."
        ),
    }
)

NODE_STATES: Mapping[NodeStatus, str] = MappingProxyType(
    {
        NodeStatus.PENDING: (
            "Waits for its inputs: not all connections that could still bring items have been decided. In a loop every round is a "
            "run of its own (`run_index`), which begins here; what is settled is the run."
        ),
        NodeStatus.RUNNING: (
            "An attempt is under way. If the owner dies, the next owner starts another attempt, which does not count as a retry; "
            "a node that may start at most once fails with code `unknown_outcome` instead. Also while it waits to be tried again "
            "after a failure that its retry policy covers."
        ),
        NodeStatus.COMPLETED: "Its result is the one durable result for this node and run index; nobody computes it again.",
        NodeStatus.FAILED: (
            "Its last attempt failed; the error is kept with it. The execution goes on if the node's `on_error` is not `stop`, or "
            "if a try around it catches the failure."
        ),
        NodeStatus.SKIPPED: "No item can reach it any more: every connection to it comes from a branch that was not taken.",
        NodeStatus.CANCELLED: "It was under way when the execution stopped, and was aborted.",
    }
)

EXECUTION_TRANSITIONS: Mapping[tuple[ExecutionStatus, str], ExecutionStatus] = MappingProxyType(
    {
        (ExecutionStatus.QUEUED, "execution.started"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.resumed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.started"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.completed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.failed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.cancel_requested"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.time_over"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.completed"): ExecutionStatus.COMPLETED,
        (ExecutionStatus.RUNNING, "execution.failed"): ExecutionStatus.FAILED,
        (ExecutionStatus.RUNNING, "execution.cancelled"): ExecutionStatus.CANCELLED,
        (ExecutionStatus.RUNNING, "execution.timeout"): ExecutionStatus.TIMEOUT,
    }
)

NODE_TRANSITIONS: Mapping[tuple[NodeStatus, str], NodeStatus] = MappingProxyType(
    {
        (NodeStatus.PENDING, "inputs ready"): NodeStatus.RUNNING,
        (NodeStatus.PENDING, "nothing can arrive"): NodeStatus.SKIPPED,
        (NodeStatus.RUNNING, "node.completed"): NodeStatus.COMPLETED,
        (NodeStatus.RUNNING, "node.failed"): NodeStatus.FAILED,
        (NodeStatus.RUNNING, "node.failed, to be retried"): NodeStatus.RUNNING,
        (NodeStatus.RUNNING, "execution stops, or a try ends its body"): NodeStatus.CANCELLED,
    }
)
