"""The machine: the only place where the state of an execution changes.

Theory of operation. An execution is a fold: `step(state, event)` changes the state in place and answers with commands, what to
do next. It looks at no clock and performs nothing, so `replay(plan, events)` of the stored events gives the same state as the
owner had who stored them, and `outstanding(state)` gives the commands that should be in flight: recovery is the normal path.

Rule 1. Everything that changes a state is in this file. The state holds statuses, attempts, live handles, never items.
Rule 2. `step` is total. A stale or duplicate event (another attempt, a settled node, a terminal execution) is a no-op. An
illegal one (a node that is not there, a result before the start) raises `IllegalEvent`, and nothing has changed.
Rule 3. Statuses change along the tables of `workflow.states`; nothing leaves a terminal status.

Readiness. Every connection is decided once: live when its source completed with at least one item on that handle, else dead. A
node whose connections are all decided starts if one of them is live, and is skipped if none is; a skipped node decides its
connections dead in turn, until nothing more follows. So a join waits for its live inputs only, and each connection is looked at
once, whatever the size of the graph.

Failing and cancelling. The first failed node, or a request to cancel, stops the execution: nothing starts any more, what is
under way is aborted, and the execution finishes. Results that still arrive are stale.

Attempts. `ExecutionResumed` says that the attempts under way died with their owner. They start again under the next attempt
number, which is not a retry of the user's. A node that may start at most once, and whose start was recorded, fails instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from workflow.commands import AbortNode, Command, FailNode, FinishExecution, SkipNode, StartNode
from workflow.errors import Bug
from workflow.events import (
    CancelRequested,
    Event,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
)
from workflow.plan import Edge, Plan
from workflow.spec import Effect
from workflow.states import ExecutionStatus, NodeStatus


class IllegalEvent(Bug):
    """An event that cannot have happened to this execution; the state is unchanged."""

    default_code = "illegal_event"


@dataclass(slots=True)
class NodeState:
    """One node of one execution."""

    status: NodeStatus
    undecided: int
    """Connections to it that are not decided yet."""
    live: int = 0
    """Connections to it that carry items."""
    run_index: int = 0
    attempt: int = 0
    announced: bool = False
    """Whether the start of the present attempt was recorded."""
    handles: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Where an execution stands. Changed by `step` alone."""

    plan: Plan
    nodes: list[NodeState]
    status: ExecutionStatus = ExecutionStatus.QUEUED
    epoch: int = 0
    unsettled: int = 0
    running: set[int] = field(default_factory=set)
    stop: FinishExecution | None = None
    """How the execution ends, once that is decided."""


def initial(plan: Plan) -> State:
    """Return the state of an execution of which nothing has happened."""
    nodes = [NodeState(NodeStatus.PENDING, len(node.inputs)) for node in plan.nodes]
    return State(plan, nodes, unsettled=len(nodes))


def step(state: State, event: Event) -> list[Command]:
    """Change the state by the event and return what to do next. Raises `IllegalEvent`, with the state unchanged."""
    if state.status.terminal:
        return []
    match event:
        case ExecutionStarted():
            return _start(state, event)
        case ExecutionResumed():
            return _resume(state, event)
        case NodeStarted():
            node = _attempt(state, event)
            if node is not None:
                state.nodes[node].announced = True
            return []
        case NodeCompleted():
            return _complete(state, event)
        case NodeFailed():
            return _fail(state, event)
        case CancelRequested():
            return _stop(state, FinishExecution(ExecutionStatus.CANCELLED, "cancelled", f"cancelled by {event.by}"))
        case ExecutionFinished():
            return _finish(state, event)


def replay(plan: Plan, events: Iterable[Event]) -> State:
    """Return the state after these events, as their owner had it."""
    state = initial(plan)
    for event in events:
        step(state, event)
    return state


def outstanding(state: State) -> list[Command]:
    """Return what should be in flight now: the attempts under way, or the end."""
    if state.status is not ExecutionStatus.RUNNING:
        return []
    if state.stop is not None:
        return [state.stop]
    commands: list[Command] = []
    for index in sorted(state.running):
        node = state.nodes[index]
        if node.announced and state.plan.nodes[index].effect is Effect.AT_MOST_ONCE:
            message = "the owner died after this node had started; whether its effect happened is not known"
            commands.append(FailNode(index, node.run_index, node.attempt, "unknown_outcome", message))
        else:
            commands.append(StartNode(index, node.run_index, node.attempt))
    return commands


def _start(state: State, event: ExecutionStarted) -> list[Command]:
    if state.status is not ExecutionStatus.QUEUED:
        return []
    state.status = ExecutionStatus.RUNNING
    state.epoch = event.epoch
    commands: list[Command] = []
    for node in state.plan.nodes:
        if node.start:
            _begin(state, node.index, commands)
        elif not node.inputs:
            _skip(state, node.index, commands)
    return commands + _end(state)


def _resume(state: State, event: ExecutionResumed) -> list[Command]:
    if state.status is ExecutionStatus.QUEUED:
        raise IllegalEvent("an execution that has not started cannot be resumed", fields={"event": event.kind})
    if event.epoch <= state.epoch:
        return []
    state.epoch = event.epoch
    commands = outstanding(state)
    restarted: list[Command] = []
    for command in commands:
        if isinstance(command, StartNode):
            node = state.nodes[command.node]
            node.attempt += 1
            node.announced = False
            restarted.append(StartNode(command.node, command.run_index, node.attempt))
        else:
            restarted.append(command)
    return restarted


def _complete(state: State, event: NodeCompleted) -> list[Command]:
    index = _attempt(state, event)
    if index is None:
        return []
    known = state.plan.nodes[index].type.spec.outputs
    if not set(event.handles) <= set(known):
        raise IllegalEvent(f"{event.node_id!r} has no such output", fields={"handles": sorted(event.handles)})
    node = state.nodes[index]
    node.status = NodeStatus.COMPLETED
    node.handles = {handle: count for handle, count in event.handles.items() if count > 0}
    state.running.discard(index)
    state.unsettled -= 1
    commands: list[Command] = []
    _decide(state, state.plan.nodes[index].outputs, commands)
    return commands + _end(state)


def _fail(state: State, event: NodeFailed) -> list[Command]:
    index = _attempt(state, event)
    if index is None:
        return []
    state.nodes[index].status = NodeStatus.FAILED
    state.running.discard(index)
    state.unsettled -= 1
    return _stop(state, FinishExecution(ExecutionStatus.FAILED, event.code, event.message, index))


def _stop(state: State, end: FinishExecution) -> list[Command]:
    if state.status is not ExecutionStatus.RUNNING:
        raise IllegalEvent("an execution that has not started cannot be stopped", fields={"status": state.status})
    if state.stop is not None:
        return []
    state.stop = end
    aborts: list[Command] = [
        AbortNode(index, state.nodes[index].run_index, state.nodes[index].attempt) for index in sorted(state.running)
    ]
    return [*aborts, end]


def _finish(state: State, event: ExecutionFinished) -> list[Command]:
    decided = state.stop.status if state.stop else None
    if event.status is ExecutionStatus.COMPLETED and decided is not ExecutionStatus.COMPLETED:
        raise IllegalEvent(
            "an execution with unsettled nodes cannot be completed", fields={"unsettled": state.unsettled}
        )
    if not event.status.terminal:
        raise IllegalEvent("an execution finishes with a terminal status", fields={"status": event.status})
    for index in state.running:
        state.nodes[index].status = NodeStatus.CANCELLED
        state.unsettled -= 1
    state.running.clear()
    state.status = event.status
    return []


def _attempt(state: State, event: NodeStarted | NodeCompleted | NodeFailed) -> int | None:
    """Return the node that the event is about, or None when the event is stale. Raises `IllegalEvent`."""
    index = state.plan.by_id.get(event.node_id)
    if index is None:
        raise IllegalEvent(f"there is no node {event.node_id!r}", fields={"event": event.kind})
    node = state.nodes[index]
    if state.status is ExecutionStatus.QUEUED or event.attempt > node.attempt:
        raise IllegalEvent(
            f"attempt {event.attempt} of {event.node_id!r} was never started",
            fields={"event": event.kind, "attempt": node.attempt},
        )
    stale = (
        state.stop is not None
        or node.status is not NodeStatus.RUNNING
        or event.run_index != node.run_index
        or event.attempt != node.attempt
    )
    return None if stale else index


def _begin(state: State, index: int, commands: list[Command]) -> None:
    node = state.nodes[index]
    node.status = NodeStatus.RUNNING
    node.attempt = 1
    state.running.add(index)
    commands.append(StartNode(index, node.run_index, node.attempt))


def _skip(state: State, index: int, commands: list[Command]) -> None:
    node = state.nodes[index]
    node.status = NodeStatus.SKIPPED
    state.unsettled -= 1
    commands.append(SkipNode(index, node.run_index))
    _decide(state, state.plan.nodes[index].outputs, commands)


def _decide(state: State, edges: Iterable[Edge], commands: list[Command]) -> None:
    """Decide the connections that leave a settled node, and settle what is decided by that, to a fixed point."""
    todo = list(edges)
    for edge in todo:
        target = state.nodes[edge.target]
        target.undecided -= 1
        target.live += edge.source_handle in state.nodes[edge.source].handles
        if target.undecided or target.status is not NodeStatus.PENDING:
            continue
        if target.live:
            _begin(state, edge.target, commands)
        else:
            target.status = NodeStatus.SKIPPED
            state.unsettled -= 1
            commands.append(SkipNode(edge.target, target.run_index))
            todo.extend(state.plan.nodes[edge.target].outputs)


def _end(state: State) -> list[Command]:
    if state.unsettled or state.stop:
        return []
    state.stop = FinishExecution(ExecutionStatus.COMPLETED)
    return [state.stop]
