"""A new execution that keeps results of a former one: which of them, and the history that it begins with.

Theory of operation. The former execution's events are played again on its own plan, so that it is known which of them settled a run
of a node. Each of these whose node is kept is told to a fresh state of the new plan, under epoch 0: nothing begins there by itself
(`workflow.machine`, laying down). What the fresh state takes is the new execution's history; the first owner resumes it, and lets
begin what is ready. Runs may get other numbers on the way: an attempt that was aborted is no run of the new execution.

Kept are results of nodes whose ancestors are all kept, and loops and tries only as a whole: of a region of which anything runs again,
everything does. What only controlled the former execution (pausing, waiting, cancelling, its end) is not kept, and neither is the
failure that stopped it: that node is ready again.
"""

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from workflow.commands import Command, SkipNode
from workflow.document import Document, OnError
from workflow.events import Event, ExecutionStarted, NodeCompleted, NodeFailed, NodeRecovered
from workflow.flow import catching_region
from workflow.machine import may_retry, step
from workflow.plan import Plan
from workflow.regions import ROOT
from workflow.state import State, initial
from workflow.states import NodeStatus
from workflow.waiting import NodeRun, Recovery


@dataclass(frozen=True, slots=True)
class Written:
    """A document with its plan."""

    document: Document
    plan: Plan


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run of the former execution whose result is kept, and its number in the new one."""

    node_id: str
    former_index: int
    run_index: int


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a new execution begins with."""

    events: tuple[Event, ...]
    kept: tuple[KeptRun, ...]
    skipped: tuple[tuple[int, int], ...]
    """Nodes, by number, that nothing can reach, each with the run that was skipped."""
    completed: int
    """How many nodes have completed at least once."""
    ready: frozenset[str]
    """The nodes that begin as soon as somebody owns it."""


def rerun(
    plan: Plan,
    former: Plan,
    events: Iterable[Event],
    stored: Collection[NodeRun],
    again: AbstractSet[str],
    at_ms: int,
) -> Rerun:
    """Return what an execution of `plan` begins with that keeps the results of a former one, apart from those of `again`.

    `again` must hold, with a node, what follows it (`following`). `stored` are the runs whose results are still there; nodes of
    which one is missing run again, with what follows them. Raises `IllegalEvent` when the events do not fit the former plan.
    """
    settled = list(_settled(former, events))
    missing = {event.node_id for event in settled if (event.node_id, event.run_index) not in stored}
    laid = _Laid(plan, again | following(plan, missing), at_ms)
    for event in settled:
        laid.take(event)
    return laid.result()


def following(plan: Plan, node_ids: Iterable[str]) -> frozenset[str]:
    """Return these nodes of a plan, what follows them, and all of every outermost loop or try that any of them is in."""
    todo = [plan.by_id[node_id] for node_id in node_ids if node_id in plan.by_id]
    found = set(todo)
    while todo:
        index = todo.pop()
        after = {edge.target for edge in plan.nodes[index].outputs}
        header = _outermost_header(plan, index)
        if header is not None:
            after.add(header)
        after -= found
        found |= after
        todo.extend(after)
    return frozenset(plan.nodes[index].id for index in found)


def changed(new: Written, former: Written) -> frozenset[str]:
    """Return the nodes whose results mean something else in the new document: new ones, and those that differ in what decides them.

    That is type, config, whether it is disabled, what is pinned, `on_error`, whether it starts the execution, what leads to it.
    """
    before = {node.id: index for index, node in enumerate(former.document.nodes)}
    return frozenset(
        node.id
        for index, node in enumerate(new.document.nodes)
        if node.id not in before or _decisive(new, index) != _decisive(former, before[node.id])
    )


def kept_starts(plan: Plan, again: AbstractSet[str]) -> list[str]:
    """Return the nodes that begin the execution and do not run again: the ones that would not see another input."""
    return [node.id for node in plan.nodes if node.start and node.id not in again]


def _decisive(written: Written, index: int) -> tuple[object, ...]:
    node, planned = written.document.nodes[index], written.plan.nodes[index]
    nodes = written.plan.nodes
    inputs = [(nodes[edge.source].id, edge.source_handle, edge.target_handle) for edge in planned.inputs]
    spec = planned.type.spec
    return spec.type, spec.version, node.config, node.disabled, node.pinned, node.on_error, planned.start, inputs


def _outermost_header(plan: Plan, index: int) -> int | None:
    """Return the header of the outermost loop or try that a node lies in; None where it lies in none."""
    number, header = plan.regions.region_of[index], None
    while number > ROOT:
        header = plan.regions.regions[number].header
        number = plan.regions.regions[number].parent
    return header


def _settled(plan: Plan, events: Iterable[Event]) -> Iterable[NodeCompleted | NodeFailed]:
    """Return the events that settled a run of a node, as completed or as failed, in order."""
    state = initial(plan)
    for event in events:
        found = _settling(state, event)
        step(state, event)
        if found is not None:
            yield found


def _settling(state: State, event: Event) -> NodeCompleted | NodeFailed | None:
    match event:
        case NodeCompleted() if _present(state, event, NodeStatus.RUNNING):
            return event
        case NodeFailed() if _present(state, event, NodeStatus.RUNNING) and not may_retry(state, event):
            on_error = state.plan.nodes[state.plan.by_id[event.node_id]].on_error
            return None if on_error is OnError.ASK or _stops(state.plan, event) else event
        case NodeRecovered() if _present(state, event, NodeStatus.WAITING):
            return _decided(state, event)
        case _:
            return None


def _decided(state: State, event: NodeRecovered) -> NodeCompleted | NodeFailed | None:
    """Return what a decision about a failed node has settled; what was replaced or skipped counts as completed."""
    failed_with = state.nodes[state.plan.by_id[event.node_id]].failed_with
    if failed_with is None or event.decision is Recovery.RETRY:
        return None
    run = {"at_ms": event.at_ms, "run_index": event.run_index, "attempt": event.attempt, "duration_ms": 0.0}
    if event.decision is not Recovery.ABORT:
        return NodeCompleted(node_id=event.node_id, handles=event.handles, **run)  # type: ignore[arg-type]
    code, message = failed_with
    failed = NodeFailed(node_id=event.node_id, code=code, message=message, **run)  # type: ignore[arg-type]
    return None if _stops(state.plan, failed) else failed


def _stops(plan: Plan, event: NodeFailed) -> bool:
    """Whether a failure for good stops the execution, unless somebody decides otherwise."""
    index = plan.by_id[event.node_id]
    goes_on = plan.nodes[index].on_error in (OnError.CONTINUE, OnError.ERROR_OUTPUT)
    return not goes_on and catching_region(plan, index) is None


def _present(state: State, event: NodeCompleted | NodeFailed | NodeRecovered, status: NodeStatus) -> bool:
    """Whether an event is about an attempt that is the present one of its node, in this status."""
    index = state.plan.by_id.get(event.node_id)
    if index is None or state.stop is not None:
        return False
    node = state.nodes[index]
    if not state.epoch and index in state.ready:  # the former execution kept this of one before it
        return (event.run_index, event.attempt) == (node.runs, 1)
    return (node.status, node.run_index, node.attempt) == (status, event.run_index, event.attempt)


class _Laid:
    """The history of the new execution, as far as it is laid down."""

    def __init__(self, plan: Plan, again: AbstractSet[str], at_ms: int) -> None:
        self._plan = plan
        self._again = again
        self._at_ms = at_ms
        self._state = initial(plan)
        self._events: list[Event] = []
        self._kept: list[KeptRun] = []
        self._skipped: list[tuple[int, int]] = []
        self._completed: set[str] = set()
        self._tell(ExecutionStarted(at_ms=at_ms, epoch=0))

    def take(self, settled: NodeCompleted | NodeFailed) -> None:
        """Keep what an event of the former execution says, if its node is kept and could begin now."""
        index = self._plan.by_id.get(settled.node_id)
        if index is None or settled.node_id in self._again or not self._fits(index, settled):
            return
        node = self._state.nodes[index]
        run_index = node.runs
        self._tell(replace(settled, at_ms=self._at_ms, run_index=run_index, attempt=1))
        if node.status is NodeStatus.WAITING:
            self._tell(
                NodeRecovered(
                    at_ms=self._at_ms,
                    node_id=settled.node_id,
                    run_index=run_index,
                    attempt=1,
                    decision=Recovery.ABORT,
                )
            )
        self._kept.append(KeptRun(settled.node_id, settled.run_index, run_index))
        if isinstance(settled, NodeCompleted):
            self._completed.add(settled.node_id)

    def result(self) -> Rerun:
        """Return what was laid down."""
        return Rerun(
            events=tuple(self._events),
            kept=tuple(self._kept),
            skipped=tuple(self._skipped),
            completed=len(self._completed),
            ready=frozenset(self._plan.nodes[index].id for index in self._state.ready),
        )

    def _fits(self, index: int, settled: NodeCompleted | NodeFailed) -> bool:
        planned = self._plan.nodes[index]
        own_max = self._plan.max_node_runs + bool(planned.type.spec.body and not planned.idle)
        return (
            index in self._state.ready
            and self._state.nodes[index].runs < own_max
            and set(settled.handles) <= set(planned.handles)
            and not (isinstance(settled, NodeFailed) and _stops(self._plan, settled))
        )

    def _tell(self, event: Event) -> None:
        commands: Sequence[Command] = step(self._state, event)
        self._events.append(event)
        self._skipped.extend((each.node, each.run_index) for each in commands if isinstance(each, SkipNode))
