"""Every invariant of a state, checked after every step in tests."""

from workflow.errors import Bug
from workflow.machine import State
from workflow.states import SETTLED, ExecutionStatus, NodeStatus


def check(state: State) -> None:
    """Raise `Bug` naming the first invariant that does not hold."""
    running = {index for index, node in enumerate(state.nodes) if node.status is NodeStatus.RUNNING}
    _hold(running == state.running, "the running set holds the running nodes")
    unsettled = sum(node.status not in SETTLED for node in state.nodes)
    _hold(unsettled == state.unsettled, "unsettled counts the nodes that are not settled")
    for plan_node, node in zip(state.plan.nodes, state.nodes, strict=True):
        sources = [(state.nodes[edge.source], edge.source_handle) for edge in plan_node.inputs]
        decided = [
            (source, handle)
            for source, handle in sources
            if source.status in (NodeStatus.COMPLETED, NodeStatus.SKIPPED)
        ]
        live = sum(handle in source.handles for source, handle in decided)
        _hold(node.undecided == len(sources) - len(decided), f"{plan_node.id}: undecided counts the undecided inputs")
        _hold(node.live == live, f"{plan_node.id}: live counts the inputs that carry items")
        begun = node.status not in (NodeStatus.PENDING, NodeStatus.SKIPPED)
        _hold(
            not begun or plan_node.start or (node.undecided == 0 and live > 0),
            f"{plan_node.id}: begun before its inputs",
        )
        _hold(
            node.attempt > 0 if begun else node.attempt == 0, f"{plan_node.id}: attempts are counted from 1 once begun"
        )
        if node.status is NodeStatus.SKIPPED:
            _hold(node.undecided == 0 and live == 0, f"{plan_node.id}: skipped although something could reach it")
    if state.status is ExecutionStatus.COMPLETED:
        _hold(unsettled == 0, "a completed execution has no unsettled node")
    if state.status is ExecutionStatus.RUNNING:
        _hold(
            bool(running) or state.stop is not None, "a running execution has something under way, or is about to end"
        )
    if state.status.terminal:
        _hold(not running, "a terminal execution has nothing under way")


def _hold(truth: bool, invariant: str) -> None:
    if not truth:
        raise Bug(f"broken invariant: {invariant}")
