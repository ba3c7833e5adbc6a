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
    WAITING = "waiting"
    PAUSED = "paused"
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
    WAITING = "waiting"
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
            "Accepted and durable, owned by nobody. An execution actor with a free slot claims it, in fair turns between "
            "workspaces and by priority within each, which raises the epoch. What its concurrency key holds is not claimed until the key "
            "has room, unless somebody wants to stop it. A crash of anything leaves it as it is."
        ),
        ExecutionStatus.RUNNING: (
            "Owned by one execution actor under one epoch; only that owner writes it. If the owner's lease ends, any other actor "
            "claims it, raises the epoch, replays its events and goes on; writes of the former owner are refused."
        ),
        ExecutionStatus.WAITING: (
            "Nothing is under way: every node that has begun waits for a time, a person, a request from outside or a child. Owned by "
            "nobody and held in no memory; claimed again when its earliest time has come or a signal is left for it."
        ),
        ExecutionStatus.PAUSED: (
            "Somebody asked for it to pause; what was under way then has ended and is committed. Owned by nobody; claimed again when "
            "it is to resume or to stop, or when its time limit is over. Answers of people and ends of children are kept for it."
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
        NodeStatus.WAITING: (
            "It has begun, and waits for a time, a person, a request from outside or a child; no process holds it and it counts "
            "towards no limit. Where the document gives it a `timeout_ms`, it is woken when that is over and fails with the code "
            "`node_timeout`: what it had asked is withdrawn, and the children that it waits for are cancelled. With `on_error: ask` also "
            "after its last attempt has failed, until somebody has decided, or the time in its `ask`."
        ),
        NodeStatus.COMPLETED: "Its result is the one durable result for this node and run index; nobody computes it again.",
        NodeStatus.FAILED: (
            "Its last attempt failed; the error is kept with it. The execution goes on if the node's `on_error` is not `stop`, or "
            "if a try around it catches the failure."
        ),
        NodeStatus.SKIPPED: "No item can reach it any more: every connection to it comes from a branch that was not taken.",
        NodeStatus.CANCELLED: "It was under way or waiting when the execution stopped, and was aborted.",
    }
)

EXECUTION_TRANSITIONS: Mapping[tuple[ExecutionStatus, str], ExecutionStatus] = MappingProxyType(
    {
        (ExecutionStatus.QUEUED, "execution.started"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.resumed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.started"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.completed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.failed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.waiting"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.woken"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "node.recovered"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.pause_requested"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.resume_requested"): ExecutionStatus.RUNNING,
        (ExecutionStatus.RUNNING, "execution.waiting"): ExecutionStatus.WAITING,
        (ExecutionStatus.RUNNING, "execution.paused"): ExecutionStatus.PAUSED,
        (ExecutionStatus.WAITING, "execution.resumed"): ExecutionStatus.RUNNING,
        (ExecutionStatus.PAUSED, "execution.resumed"): ExecutionStatus.RUNNING,
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
        (NodeStatus.RUNNING, "node.waiting"): NodeStatus.WAITING,
        (NodeStatus.RUNNING, "node.failed, somebody is asked"): NodeStatus.WAITING,
        (NodeStatus.WAITING, "node.woken"): NodeStatus.RUNNING,
        (NodeStatus.WAITING, "node.recovered: retry"): NodeStatus.RUNNING,
        (NodeStatus.WAITING, "node.recovered: skip, replace"): NodeStatus.COMPLETED,
        (NodeStatus.WAITING, "node.recovered: abort"): NodeStatus.FAILED,
        (NodeStatus.RUNNING, "execution stops, or a try ends its body"): NodeStatus.CANCELLED,
        (NodeStatus.WAITING, "execution stops, or a try ends its body"): NodeStatus.CANCELLED,
    }
)
