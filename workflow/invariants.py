"""Every invariant of a state, checked after every step in tests."""

from workflow.errors import Bug
from workflow.plan import Edge
from workflow.regions import ROOT
from workflow.state import State
from workflow.states import SETTLED, ExecutionStatus, NodeStatus


def check(state: State) -> None:
    """Raise `Bug` naming the first invariant that does not hold."""
    running = {index for index, node in enumerate(state.nodes) if node.status is NodeStatus.RUNNING}
    _hold(running == state.running, "the running set holds the running nodes")
    limit = state.plan.max_parallel_nodes
    begun = [index for index in running if not state.nodes[index].waits]
    _hold(not limit or len(begun) <= limit, "no more nodes are under way than may be")
    waiting = {index for index, node in enumerate(state.nodes) if node.status is NodeStatus.WAITING}
    _hold(waiting == state.waiting, "the waiting set holds the waiting nodes")
    for index in waiting:
        _hold(state.nodes[index].attempt > 0, "a node that waits has begun")
        _hold(not state.nodes[index].overdue, "a node whose time is over fails, and waits no more")
    _hold(len(set(state.ready)) == len(state.ready), "a node is ready once")
    if state.status is ExecutionStatus.COMPLETED:
        _hold(state.unsettled == 0, "a completed execution has no unsettled node")
    if state.status.terminal:
        _hold(not running and not waiting, "a terminal execution has nothing under way")
        return
    if state.status is ExecutionStatus.WAITING:
        _hold(bool(waiting) or bool(running), "a waiting execution has something to wait for")
    if state.status is ExecutionStatus.RUNNING and state.stop is None:
        _hold(
            bool(running or waiting or state.paused or not state.epoch),
            "a running execution has something under way, or is about to end",
        )
        _check_regions(state)
        _check_nodes(state)


def _check_regions(state: State) -> None:
    for number, region in enumerate(state.plan.regions.regions):
        if number == ROOT or _in_round(state, number):
            open_members = sum(not _settled(state, index) for index in region.direct)
            _hold(open_members == state.regions[number].unsettled, f"region {number} counts its unsettled members")
            _hold(open_members > 0, f"region {number} is under way because a member is unsettled")


def _check_nodes(state: State) -> None:
    for plan_node, node in zip(state.plan.nodes, state.nodes, strict=True):
        name, number = plan_node.id, state.plan.regions.region_of[plan_node.index]
        if number < 0:
            _hold(node.status is NodeStatus.SKIPPED, f"{name}: no start leads to it, so it is skipped")
            continue
        begun = node.status in (NodeStatus.RUNNING, NodeStatus.WAITING, NodeStatus.COMPLETED, NodeStatus.FAILED)
        _hold(not begun or (node.runs > 0 and node.attempt > 0), f"{name}: begun, so its runs and attempts are counted")
        if not _in_round(state, number):
            continue
        inputs = [edge for edge in plan_node.inputs if edge.position not in state.plan.regions.returning]
        undecided = sum(not _decided(state, edge) for edge in inputs)
        _hold(node.undecided == undecided, f"{name}: undecided counts the undecided inputs")
        if begun or plan_node.index in state.ready:
            _hold(plan_node.start or (undecided == 0 and bool(node.arrivals)), f"{name}: begun before its inputs")
        if node.status is NodeStatus.SKIPPED:
            _hold(undecided == 0 and not node.arrivals, f"{name}: skipped although something could reach it")
        if node.status is NodeStatus.PENDING and plan_node.index not in state.ready and not plan_node.start:
            _hold(undecided > 0, f"{name}: waits although nothing is missing")


def _in_round(state: State, number: int) -> bool:
    """Whether a round of this region, and of all around it, is under way."""
    while number != ROOT:
        region = state.plan.regions.regions[number]
        own, header = state.regions[number], state.nodes[region.header]
        if own.rounds == 0 or own.ended or header.status in (NodeStatus.RUNNING, NodeStatus.WAITING):
            return False
        if region.header in state.ready:
            return False
        number = region.parent
    return True


def _settled(state: State, index: int) -> bool:
    headed = state.plan.regions.headed_by.get(index)
    if headed is not None:
        return state.regions[headed].ended
    return state.nodes[index].status in SETTLED


def _decided(state: State, edge: Edge) -> bool:
    regions = state.plan.regions
    source = regions.headed_by.get(edge.source)
    inside = regions.region_of[edge.source] if source is None else source
    outside = regions.region_of[edge.target]
    if inside == outside:
        return _settled(state, edge.source) if source is None else state.regions[source].rounds > 0
    while regions.regions[inside].parent != outside:
        inside = regions.regions[inside].parent
    return state.regions[inside].ended


def _hold(truth: bool, invariant: str) -> None:
    if not truth:
        raise Bug(f"broken invariant: {invariant}")
