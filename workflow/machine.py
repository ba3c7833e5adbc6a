"""The machine: the only place where the state of an execution changes.

Theory of operation. An execution is a fold: `step(state, event)` changes the state in place and answers with commands, what to
do next. It looks at no clock and performs nothing, so `replay(plan, events)` of the stored events gives the same state as the
owner had who stored them, and `outstanding(state)` gives the commands that should be in flight: recovery is the normal path.

Rule 1. Everything that changes a state is in this file and in `workflow.flow`, how settling spreads through the graph.
Rule 2. `step` is total. A stale or duplicate event (another attempt, a settled node, a terminal execution) is a no-op. An
illegal one (a node that is not there, a result before the start) raises `IllegalEvent`, and nothing has changed.
Rule 3. Statuses change along the tables of `workflow.states`; nothing leaves a terminal status.

Failing. A failed attempt is followed by another one if the node's policy allows it, after a delay. A node that has failed for
good gives its failed items to its first output or to `error`, if its `on_error` says so; else the innermost try around it
catches the failure; else it stops the execution, as a request to cancel and the execution's time limit do: nothing starts any
more, what is under way is aborted, and the execution finishes. Results that still arrive are stale.

Attempts. `ExecutionResumed` says that the attempts under way died with their owner. They start again under the next attempt
number, which is not a retry of the user's. A node that may start at most once, and whose start was recorded, fails instead.

Waiting. An attempt may wait for a time or for something outside: it is under way no longer, and counts towards no limit, until it is
woken; then the same attempt goes on. Where the document limits the time of a node that waits, it is woken when that is over, counted
from the attempt's start through waits, pauses and crashes, and the attempt fails. While an execution is paused, what is under way
ends and nothing begins; what was about to begin is outstanding, so resuming is the same as recovering.

Laying down. A history that begins under epoch 0 was written before anybody owned the execution: what a former one left is kept
in it (`workflow.rerun`). Until the first owner resumes it nothing begins by itself, whatever the limits: a node that is ready
begins with the event that settles it, and a failure is for good. So what is laid down does not depend on what is to begin, nor on how
many nodes may be under way.
"""

from collections.abc import Iterable
from uuid import UUID

from workflow.commands import AskRecovery, Command, FailNode, FinishExecution, SkipNode, StartNode
from workflow.document import OnError
from workflow.errors import NODE_TIMEOUT, Bug
from workflow.events import (
    CancelRequested,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionTimedOut,
    ExecutionWaiting,
    NodeCompleted,
    NodeFailed,
    NodeRecovered,
    NodeStarted,
    NodeWaiting,
    NodeWoken,
    PauseRequested,
    ResumeRequested,
)
from workflow.flow import Spread, catching_region
from workflow.plan import Plan
from workflow.spec import Caught, Effect
from workflow.state import NO_EXECUTION, State, initial
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Recovery, Wake


class IllegalEvent(Bug):
    """An event that cannot have happened to this execution; the state is unchanged."""

    default_code = "illegal_event"


def step(state: State, event: Event) -> list[Command]:
    """Change the state by the event and return what to do next. Raises `IllegalEvent`, with the state unchanged."""
    if state.status.terminal:
        return []
    match event:
        case ExecutionStarted():
            return _start(state, event)
        case ExecutionResumed():
            return _resume(state, event)
        case NodeStarted() | NodeCompleted() | NodeFailed() | NodeWaiting() | NodeWoken() | NodeRecovered():
            return _of_node(state, event)
        case PauseRequested() | ResumeRequested() | ExecutionPaused() | ExecutionWaiting():
            return _rest(state, event)
        case CancelRequested():
            return _stop(state, FinishExecution(ExecutionStatus.CANCELLED, "cancelled", f"cancelled by {event.by}"))
        case ExecutionTimedOut():
            of_parent = "the time of the execution that started it is over"
            message = of_parent if event.of_parent else f"the execution took longer than its {state.plan.timeout_ms} ms"
            return _stop(state, FinishExecution(ExecutionStatus.TIMEOUT, "execution_timeout", message))
        case ExecutionFinished():
            return _finish(state, event)


def replay(plan: Plan, events: Iterable[Event], execution_id: UUID = NO_EXECUTION) -> State:
    """Return the state after these events, as their owner had it."""
    state = initial(plan, execution_id)
    for event in events:
        step(state, event)
    return state


def outstanding(state: State) -> list[Command]:
    """Return what should be in flight now: the attempts under way, or the end."""
    if state.status is not ExecutionStatus.RUNNING:
        return []
    if state.stop is not None:
        return [state.stop]
    commands: list[Command] = _asked(state)
    for index in sorted(state.running):
        node = state.nodes[index]
        if node.overdue:
            commands.append(_too_late(state, index))
        elif node.announced and state.plan.nodes[index].effect is Effect.AT_MOST_ONCE:
            message = "the owner died after this node had started; whether its effect happened is not known"
            commands.append(FailNode(index, node.run_index, node.attempt, "unknown_outcome", message))
        else:
            commands.append(StartNode(index, node.run_index, node.attempt, node.not_before_ms))
    return commands


def _asked(state: State) -> list[Command]:
    return [asking for index in sorted(state.waiting) if (asking := recovery_asked(state, index))]


def recovery_asked(state: State, index: int) -> AskRecovery | None:
    """Return what somebody is asked about a node that waits; None where it has not failed."""
    node = state.nodes[index]
    if node.failed_with is None:
        return None
    return AskRecovery(index, node.run_index, node.asked, *node.failed_with, until_ms=node.wake_at_ms)


def _of_node(
    state: State, event: NodeStarted | NodeCompleted | NodeFailed | NodeWaiting | NodeWoken | NodeRecovered
) -> list[Command]:
    match event:
        case NodeStarted():
            index = _attempt(state, event)
            if index is not None:
                state.nodes[index].announced = True
                state.nodes[index].begun_ms = state.nodes[index].begun_ms or event.at_ms
            return []
        case NodeCompleted():
            return _complete(state, event)
        case NodeFailed():
            return _fail(state, event)
        case NodeWaiting():
            index = _attempt(state, event)
            stale = index is None or event.wait != state.nodes[index].waits
            if stale or index is None:
                return []
            times_ms = (event.until_ms, state.deadline_ms(index))
            return _wait(state, index, min(filter(None, times_ms), default=0))
        case NodeWoken():
            return _wake(state, event)
        case NodeRecovered():
            return _recover(state, event)


def _rest(state: State, event: PauseRequested | ResumeRequested | ExecutionPaused | ExecutionWaiting) -> list[Command]:
    if state.status is not ExecutionStatus.RUNNING:
        raise IllegalEvent(f"{event.kind} comes while it is running", fields={"state": state.status})
    if state.stop is not None:
        return []
    match event:
        case PauseRequested():
            state.paused = True
        case ResumeRequested() if state.paused:
            state.paused = False
            spread = Spread(state)
            commands = outstanding(state)
            spread.run()
            return [*commands, *spread.commands]
        case ExecutionPaused() if state.paused:
            state.status = ExecutionStatus.PAUSED
        case ExecutionWaiting():
            state.status = ExecutionStatus.WAITING
    return []


def _start(state: State, event: ExecutionStarted) -> list[Command]:
    if state.status is not ExecutionStatus.QUEUED:
        return []
    state.status = ExecutionStatus.RUNNING
    state.epoch = event.epoch
    spread = Spread(state)
    for node in state.plan.nodes:
        if node.start:
            spread.begin(node.index)
        elif state.plan.regions.region_of[node.index] < 0:
            state.nodes[node.index].status = NodeStatus.SKIPPED
            state.nodes[node.index].runs = 1
            spread.commands.append(SkipNode(node.index, 0))
    spread.run()
    spread.finish_if_settled()
    return spread.commands


def _resume(state: State, event: ExecutionResumed) -> list[Command]:
    if state.status is ExecutionStatus.QUEUED:
        raise IllegalEvent("an execution that has not started cannot be resumed", fields={"event": event.kind})
    if event.epoch <= state.epoch:
        return []
    laid_down = not state.epoch
    state.epoch = event.epoch
    state.status = ExecutionStatus.RUNNING
    restarted: list[Command] = []
    for command in outstanding(state):
        if isinstance(command, StartNode):
            node = state.nodes[command.node]
            node.attempt += 1
            node.announced = False
            restarted.append(StartNode(command.node, command.run_index, node.attempt, node.not_before_ms))
        else:
            restarted.append(command)
    if laid_down:
        spread = Spread(state)
        spread.run()
        restarted.extend(spread.commands)
    return restarted


def _complete(state: State, event: NodeCompleted) -> list[Command]:
    index = _attempt(state, event)
    if index is None:
        return []
    _check_handles(state, index, event)
    return _settled(state, index, NodeStatus.COMPLETED, event)


def _fail(state: State, event: NodeFailed) -> list[Command]:
    index = _attempt(state, event)
    if index is None:
        return []
    _check_handles(state, index, event)
    plan_node, node = state.plan.nodes[index], state.nodes[index]
    if lapses(state, event):
        node.lapses += 1
        node.woken, node.overdue = None, False
    if may_retry(state, event):
        node.failures += 1
        node.attempt += 1
        node.announced, node.begun_ms = False, 0
        policy = plan_node.retry
        delay_ms = policy.delay_ms(node.failures, state.execution_id, plan_node.id) if policy else 0
        node.not_before_ms = event.at_ms + max(delay_ms, event.retry_after_ms)
        return [StartNode(index, node.run_index, node.attempt, node.not_before_ms)]
    if plan_node.on_error is OnError.ASK:
        node.failed_with = (event.code, event.message)
        node.asked += 1
        timeout_ms = plan_node.ask.timeout_ms
        until_ms = 0 if timeout_ms is None else event.at_ms + timeout_ms
        asking = AskRecovery(index, node.run_index, node.asked, event.code, event.message, until_ms)
        return [asking, *_wait(state, index, until_ms)]
    if plan_node.on_error is not OnError.STOP:
        return _settled(state, index, NodeStatus.FAILED, event)
    return _failed(state, index, event.code, event.message)


def _failed(state: State, index: int, code: str, message: str) -> list[Command]:
    """A node has failed for good: whoever is around it catches that, or the execution stops."""
    node = state.nodes[index]
    node.status = NodeStatus.FAILED
    state.running.discard(index)
    state.waiting.discard(index)
    spread = Spread(state)
    region = catching_region(state.plan, index)
    if region is None:
        spread.stop(FinishExecution(ExecutionStatus.FAILED, code, message, index))
        return spread.commands
    node_id = state.plan.nodes[index].id
    spread.catch(region, Caught(node_id=node_id, run_index=node.run_index, code=code, message=message))
    return spread.commands


def _wait(state: State, index: int, until_ms: int) -> list[Command]:
    node = state.nodes[index]
    node.status = NodeStatus.WAITING
    node.wake_at_ms = until_ms
    state.running.discard(index)
    state.waiting.add(index)
    spread = Spread(state)
    spread.run()
    return spread.commands


def _wake(state: State, event: NodeWoken) -> list[Command]:
    index = _attempt(state, event, NodeStatus.WAITING)
    if index is None or state.nodes[index].failed_with or event.wait != state.nodes[index].waits:
        return []
    node = state.nodes[index]
    node.woken = Wake(event.cause)
    goes_on = _under_way_again(state, index)
    node.overdue = 0 < state.deadline_ms(index) <= event.at_ms
    return [_too_late(state, index) if node.overdue else goes_on]


def _too_late(state: State, index: int) -> FailNode:
    plan_node, node = state.plan.nodes[index], state.nodes[index]
    message = f"{plan_node.id!r} took longer than its {plan_node.limit_ms} ms"
    return FailNode(index, node.run_index, node.attempt, NODE_TIMEOUT, message)


def _recover(state: State, event: NodeRecovered) -> list[Command]:
    index = _attempt(state, event, NodeStatus.WAITING)
    if index is None or state.nodes[index].failed_with is None:
        return []
    _check_handles(state, index, event)
    node = state.nodes[index]
    code, message = node.failed_with or ("", "")
    node.failed_with, node.wake_at_ms = None, 0
    if event.decision == Recovery.RETRY:
        node.attempt += 1
        node.failures, node.not_before_ms, node.begun_ms = 0, 0, 0
        return [_under_way_again(state, index)]
    if event.decision == Recovery.ABORT:
        return _failed(state, index, code, message)
    return _settled(state, index, NodeStatus.COMPLETED, event)


def _under_way_again(state: State, index: int) -> StartNode:
    node = state.nodes[index]
    node.status = NodeStatus.RUNNING
    node.wake_at_ms, node.announced = 0, False
    node.waits += 1
    state.waiting.discard(index)
    state.running.add(index)
    return StartNode(index, node.run_index, node.attempt)


def may_leave(state: State, event: NodeFailed) -> bool:
    """Whether the node is of a kind that asks or starts what outlives its attempts."""
    return state.plan.nodes[state.plan.by_id[event.node_id]].type.spec.suspends


def forsakes(state: State, event: NodeFailed) -> bool:
    """Whether, after this failure, nobody wants what the node had asked or started any more."""
    index = state.plan.by_id[event.node_id]
    node = state.nodes[index]
    if state.stop is not None or not may_leave(state, event):
        return False
    goes_on = node.run_index == event.run_index and node.status in (NodeStatus.RUNNING, NodeStatus.WAITING)
    return lapses(state, event) or not goes_on


def lapses(state: State, event: NodeFailed) -> bool:
    """Whether this failure, of an attempt under way, means that the time of a node which may wait is over: what it asked is withdrawn."""
    return event.code == NODE_TIMEOUT and state.plan.nodes[state.plan.by_id[event.node_id]].limit_ms > 0


def may_retry(state: State, event: NodeFailed) -> bool:
    """Whether this failure, of an attempt under way, will be followed by another attempt.

    A node that may start at most once is never tried again, whatever its policy says, and what is laid down has ended.
    """
    index = state.plan.by_id[event.node_id]
    policy = state.plan.nodes[index].retry
    if policy is None or state.plan.nodes[index].effect is Effect.AT_MOST_ONCE or not state.epoch:
        return False
    return policy.allows(state.nodes[index].failures + 1, event.code, retryable=event.retryable)


def _settled(
    state: State, index: int, status: NodeStatus, event: NodeCompleted | NodeFailed | NodeRecovered
) -> list[Command]:
    node = state.nodes[index]
    node.status = status
    node.handles = {handle: count for handle, count in event.handles.items() if count > 0}
    state.running.discard(index)
    state.waiting.discard(index)
    spread = Spread(state)
    spread.completed(index)
    spread.run()
    spread.finish_if_settled()
    return spread.commands


def _check_handles(state: State, index: int, event: NodeCompleted | NodeFailed | NodeRecovered) -> None:
    if not set(event.handles) <= set(state.plan.nodes[index].handles):
        raise IllegalEvent(f"{event.node_id!r} has no such output", fields={"handles": sorted(event.handles)})


def _stop(state: State, end: FinishExecution) -> list[Command]:
    if state.status is not ExecutionStatus.RUNNING:
        raise IllegalEvent("an execution that has not started cannot be stopped", fields={"state": state.status})
    spread = Spread(state)
    spread.stop(end)
    return spread.commands


def _finish(state: State, event: ExecutionFinished) -> list[Command]:
    decided = state.stop.status if state.stop else None
    if event.status is ExecutionStatus.COMPLETED and decided is not ExecutionStatus.COMPLETED:
        raise IllegalEvent(
            "an execution with unsettled nodes cannot be completed", fields={"unsettled": state.unsettled}
        )
    if not event.status.terminal:
        raise IllegalEvent("an execution finishes with a terminal status", fields={"state": event.status})
    for index in state.running | state.waiting:
        state.nodes[index].status = NodeStatus.CANCELLED
    state.running.clear()
    state.waiting.clear()
    state.status = event.status
    return []


def _attempt(
    state: State,
    event: NodeStarted | NodeCompleted | NodeFailed | NodeWaiting | NodeWoken | NodeRecovered,
    expected: NodeStatus = NodeStatus.RUNNING,
) -> int | None:
    """Return the node that the event is about, or None when the event is stale. Raises `IllegalEvent`."""
    index = state.plan.by_id.get(event.node_id)
    if index is None:
        raise IllegalEvent(f"there is no node {event.node_id!r}", fields={"event": event.kind})
    node = state.nodes[index]
    if not state.epoch and isinstance(event, NodeCompleted | NodeFailed):
        _lay_down(state, index, event)
    if state.status is ExecutionStatus.QUEUED or event.run_index > node.run_index:
        raise IllegalEvent(
            f"run {event.run_index} of {event.node_id!r} was never started",
            fields={"event": event.kind, "run_index": node.run_index},
        )
    if event.run_index == node.run_index and event.attempt > node.attempt:
        raise IllegalEvent(
            f"attempt {event.attempt} of {event.node_id!r} was never started",
            fields={"event": event.kind, "attempt": node.attempt},
        )
    stale = (
        state.stop is not None
        or node.status is not expected
        or event.run_index != node.run_index
        or event.attempt != node.attempt
    )
    return None if stale else index


def _lay_down(state: State, index: int, event: NodeCompleted | NodeFailed) -> None:
    """Let a node begin with the event that settles it, if it could begin and this is its next run."""
    if (event.run_index, event.attempt) == (state.nodes[index].runs, 1) and index in state.ready:
        _check_handles(state, index, event)
        Spread(state).begin_now(index)
