"""How settling spreads through the graph: connections are decided, nodes begin or are skipped, rounds end. Part of the machine.

Theory. Every connection is decided once in each round of the region that it lies in: live when items came over it, else dead. A
node whose connections are all decided begins if one of them is live, and is skipped if none is. A region's round is over when
all its direct members have settled; an inner loop settles as a whole, when its header has settled.

A node with a body runs again after each round of it, until it gives nothing on the body's output. Any other header runs
again if something came back to it. When a header has settled, the connections that leave its region are decided, with all that
came over them in all rounds. So the outside sees a loop as one node: it runs once for it, whatever the number of rounds.

Work spreads through an agenda, not by recursion, so graphs of any depth settle.
"""

from collections import deque

from workflow.commands import AbortNode, Command, FinishExecution, SkipNode, StartNode
from workflow.plan import Plan
from workflow.regions import ROOT
from workflow.spec import Caught
from workflow.state import Arrival, Inputs, RegionState, State
from workflow.states import ExecutionStatus, NodeStatus


class Spread:
    """One step's spreading: begins, skips, rounds, collected as commands."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.commands: list[Command] = []
        self._decided: deque[int] = deque()
        """Positions of connections that are decided, for their targets to take up."""
        self._settled: deque[int] = deque()
        """Nodes that have settled, for their regions to take up."""

    def begin(self, index: int) -> None:
        """Let a node begin, now or as soon as fewer are under way."""
        self.state.ready.append(index)

    def begin_now(self, index: int) -> None:
        """Let a node that is ready begin, before others and whatever the limit."""
        self.state.ready.remove(index)
        self._start(index)

    def completed(self, index: int) -> None:
        """Take up that a run of this node has ended with items on its `handles`."""
        state, plan = self.state, self.state.plan
        node = state.nodes[index]
        region = plan.regions.headed_by.get(index)
        if region is not None and state.regions[region].rounds and self._goes_on(index):
            self._arm(region)
        for edge in plan.nodes[index].outputs:
            if edge.source_handle in node.handles:
                arrival = Arrival(edge.position, node.run_index)
                if edge.position in plan.regions.returning:
                    state.regions[plan.regions.headed_by[edge.target]].returned.append(arrival)
                else:
                    state.nodes[edge.target].arrivals.append(arrival)
        self._leave(index)

    def skip(self, index: int) -> None:
        """Settle a node that nothing can reach in this round."""
        node = self.state.nodes[index]
        node.status = NodeStatus.SKIPPED
        node.handles = {}
        node.runs += 1
        self.commands.append(SkipNode(index, node.run_index))
        self._leave(index)

    def catch(self, region: int, caught: Caught) -> None:
        """End the round of a region whose header catches; the header runs again."""
        state, plan = self.state, self.state.plan
        own = plan.regions.regions[region]
        for member in own.members:
            if member in state.running or member in state.waiting:
                node = state.nodes[member]
                self.commands.append(AbortNode(member, node.run_index, node.attempt))
                node.status = NodeStatus.CANCELLED
                state.running.discard(member)
                state.waiting.discard(member)
        inside = set(own.members)
        state.ready = deque(index for index in state.ready if index not in inside)
        for member in own.members:
            self._take_back(member, inside)
        self._arm(region)
        state.regions[region].caught = caught
        state.regions[region].unsettled = 0
        self._over(region)
        self.run()

    def _take_back(self, index: int, inside: set[int]) -> None:
        """Forget what has left a body whose round is given up."""
        state, plan = self.state, self.state.plan
        for edge in plan.nodes[index].outputs:
            if edge.target in inside:
                continue
            if edge.position in plan.regions.returning:
                region = state.regions[plan.regions.headed_by[edge.target]]
                region.returned = [arrival for arrival in region.returned if arrival.edge != edge.position]
            else:
                target = state.nodes[edge.target]
                target.arrivals = [arrival for arrival in target.arrivals if arrival.edge != edge.position]

    def run(self) -> None:
        """Spread until nothing more follows, then let begin what may."""
        while self._decided or self._settled:
            while self._decided:
                self._take_up(self._decided.popleft())
            if self._settled:
                self._settle(self._settled.popleft())
        self._dispatch()

    def _leave(self, index: int) -> None:
        """Decide what the end of a run decides."""
        plan = self.state.plan
        region = plan.regions.headed_by.get(index)
        if region is None:
            exits = plan.regions.region_of[index]
            self._decided.extend(
                edge.position
                for edge in plan.nodes[index].outputs
                if edge.position not in plan.regions.returning and self._region_of(edge.target) == exits
            )
            self._settled.append(index)
        else:
            self._header_left(index, region)

    def _region_of(self, index: int) -> int:
        return self.state.plan.regions.region_of[index]

    def _header_left(self, index: int, number: int) -> None:
        plan, region = self.state.plan, self.state.regions[number]
        goes_on = self._goes_on(index)
        if goes_on or region.rounds == 0:
            region.rounds += goes_on
            region.unsettled = len(plan.regions.regions[number].direct)
            self._decided.extend(plan.regions.regions[number].enters)
            if not region.unsettled:
                self._over(number)
        else:
            self._end(number)

    def _goes_on(self, index: int) -> bool:
        """Whether the run of a header that has ended begins a round."""
        node, body = self.state.nodes[index], self._body(index)
        return body in node.handles if body else node.status is not NodeStatus.SKIPPED

    def _body(self, index: int) -> str:
        node = self.state.plan.nodes[index]
        return "" if node.idle else node.type.spec.body

    def _take_up(self, position: int) -> None:
        index = self.state.plan.edges[position].target
        node = self.state.nodes[index]
        node.undecided -= 1
        if node.undecided or node.status is not NodeStatus.PENDING:
            return
        if node.arrivals:
            self.begin(index)
        else:
            self.skip(index)

    def _settle(self, index: int) -> None:
        number = self._region_of(index)
        region = self.state.regions[number]
        region.unsettled -= 1
        if region.unsettled == 0 and number != ROOT:
            self._over(number)

    def _over(self, number: int) -> None:
        """A round of a region is over: its header runs again, or the region has settled."""
        own, region = self.state.plan.regions.regions[number], self.state.regions[number]
        header = self.state.nodes[own.header]
        body = self._body(own.header)
        again = body in header.handles if body else bool(region.returned)
        if header.status is NodeStatus.SKIPPED or not again:
            self._end(number)
            return
        region.collected.extend(sorted(region.returned, key=_in_order))
        region.latest = len(region.returned)
        region.returned = []
        self.begin(own.header)

    def _end(self, number: int) -> None:
        """A region has settled: decide what leaves it."""
        own = self.state.plan.regions.regions[number]
        self.state.regions[number].ended = True
        self._decided.extend(own.exits)
        self._settled.append(own.header)

    def _arm(self, number: int) -> None:
        """Make the members of a region ready for another round."""
        state, plan = self.state, self.state.plan
        own = plan.regions.regions[number]
        returning = plan.regions.returning
        for index in own.members:
            node = state.nodes[index]
            node.status = NodeStatus.PENDING
            node.undecided = sum(edge.position not in returning for edge in plan.nodes[index].inputs)
            node.arrivals = []
            node.handles = {}
        for inner in own.inner:
            state.regions[inner] = RegionState(len(plan.regions.regions[inner].direct))

    def _dispatch(self) -> None:
        state = self.state
        limit = state.plan.max_parallel_nodes
        if not state.epoch:
            return
        while state.ready and not state.stop and not state.paused and (not limit or len(state.running) < limit):
            self._start(state.ready.popleft())

    def _start(self, index: int) -> None:
        state, plan = self.state, self.state.plan
        node = state.nodes[index]
        if node.runs >= plan.max_node_runs + bool(self._body(index)):  # the run that ends a loop is no round
            message = f"{plan.nodes[index].id!r} would run more than {plan.max_node_runs} times"
            self.stop(FinishExecution(ExecutionStatus.FAILED, "max_node_runs", message, index))
            return
        node.status = NodeStatus.RUNNING
        node.runs += 1
        node.attempt, node.failures, node.not_before_ms, node.announced = 1, 0, 0, False
        node.woken, node.waits, node.failed_with, node.asked = None, 0, None, 0
        node.begun_ms, node.overdue, node.lapses = 0, False, 0
        state.running.add(index)
        state.inputs[index, node.run_index] = self._inputs(index)
        self.commands.append(StartNode(index, node.run_index, node.attempt))

    def _inputs(self, index: int) -> Inputs:
        state, plan = self.state, self.state.plan
        number = plan.regions.headed_by.get(index)
        entered = tuple(sorted(state.nodes[index].arrivals, key=_in_order))
        if number is None:
            return Inputs(entered)
        region = state.regions[number]
        if not self._body(index):
            count = len(region.collected)
            return Inputs(tuple(region.collected[count - region.latest :]) if region.rounds else entered)
        caught, region.caught = region.caught, None
        return Inputs(entered, region.collected, len(region.collected), region.latest, region.rounds, caught)

    def stop(self, end: FinishExecution) -> None:
        """Let nothing begin any more, abort what is under way, finish."""
        state = self.state
        if state.stop is not None:
            return
        state.stop = end
        state.ready.clear()
        for index in sorted(state.running | state.waiting):
            self.commands.append(AbortNode(index, state.nodes[index].run_index, state.nodes[index].attempt))
        self.commands.append(end)

    def finish_if_settled(self) -> None:
        """Complete the execution when everything has settled."""
        if not self.state.unsettled and self.state.stop is None:
            self.state.stop = FinishExecution(ExecutionStatus.COMPLETED)
            self.commands.append(self.state.stop)


def _in_order(arrival: Arrival) -> tuple[int, int]:
    return arrival.edge, arrival.run_index


def catching_region(plan: Plan, index: int) -> int | None:
    """Return the innermost region around a node whose header catches failures, or None."""
    number = plan.regions.region_of[index]
    while number != ROOT:
        region = plan.regions.regions[number]
        header = plan.nodes[region.header]
        if header.type.spec.catches and not header.idle:
            return number
        number = region.parent
    return None
