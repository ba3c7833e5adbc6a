"""The state of one execution: statuses, attempts, live handles, rounds; never items. Changed by `workflow.machine` alone."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from workflow.commands import FinishExecution
from workflow.plan import Plan
from workflow.regions import ROOT
from workflow.spec import Caught
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Wake

NO_EXECUTION = UUID(int=0)


class Arrival(NamedTuple):
    """Items that came over a connection (by position) from a run of its source."""

    edge: int
    run_index: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the items of one run of a node come from, in the order in which it gets them.

    For a node with a body, `collected` is what its body had returned until then (a shared list that grows: the first `count`
    entries), of which the last `latest` came in the round before.
    """

    entered: tuple[Arrival, ...]
    collected: Sequence[Arrival] = ()
    count: int = 0
    latest: int = 0
    round: int = 0
    caught: Caught | None = None


@dataclass(slots=True)
class NodeState:
    """One node of one execution."""

    status: NodeStatus
    undecided: int
    """Connections to it that are not decided yet."""
    arrivals: list[Arrival] = field(default_factory=list)
    """What has come over the connections to it, apart from those that return."""
    runs: int = 0
    """How often it has run or was skipped."""
    attempt: int = 0
    failures: int = 0
    """Failed attempts of the present run."""
    not_before_ms: int = 0
    """When the present attempt may begin, if it follows a failed one."""
    begun_ms: int = 0
    """When the present attempt has begun, or the one that it stands for because its owner was lost; 0 while that is not recorded."""
    announced: bool = False
    """Whether the start of the present attempt was recorded."""
    wake_at_ms: int = 0
    """When a waiting node is called again at the latest; 0 for never."""
    woken: Wake | None = None
    """Why its present attempt was called again last."""
    waits: int = 0
    """How often its present run has waited and gone on: then it goes on at once, whatever else is under way."""
    overdue: bool = False
    """Whether the time of its present attempt was over when it was woken: then it fails, and is not called again."""
    lapses: int = 0
    """In how many attempts of its present run its time was over: what it had asked and started in these is wanted no more."""
    failed_with: tuple[str, str] | None = None
    """Code and message of the failure that somebody is asked about."""
    asked: int = 0
    """How often somebody was asked about its present run."""
    handles: dict[str, int] = field(default_factory=dict)

    @property
    def run_index(self) -> int:
        """The number of its present or last run."""
        return max(self.runs - 1, 0)


@dataclass(slots=True)
class RegionState:
    """One region of one execution."""

    unsettled: int
    """Its direct members that have not settled in this round."""
    rounds: int = 0
    """Rounds begun since its header was entered."""
    returned: list[Arrival] = field(default_factory=list)
    """What came back to the header in this round."""
    collected: list[Arrival] = field(default_factory=list)
    """What came back in the rounds before."""
    latest: int = 0
    """How many of those came back in the round before."""
    caught: Caught | None = None
    ended: bool = False
    """Whether its header has settled, after the last round."""


@dataclass(slots=True)
class State:
    """Where an execution stands."""

    plan: Plan
    nodes: list[NodeState]
    regions: list[RegionState]
    execution_id: UUID = NO_EXECUTION
    status: ExecutionStatus = ExecutionStatus.QUEUED
    epoch: int = 0
    """The present owner's; 0 while a history is laid down that nobody owns."""
    running: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    """Nodes that wait for something outside, or for a time."""
    paused: bool = False
    """Whether nothing may begin: it is paused, or will be when what is under way has ended."""
    ready: deque[int] = field(default_factory=deque)
    """Nodes that could begin if fewer were under way."""
    inputs: dict[tuple[int, int], Inputs] = field(default_factory=dict)
    """By node and run index: what it was given."""
    stop: FinishExecution | None = None
    """How the execution ends, once that is decided."""

    def deadline_ms(self, index: int) -> int:
        """Return when the time of a node's present attempt is over, what it waits for included; 0 where no limit is set."""
        limit_ms, begun_ms = self.plan.nodes[index].limit_ms, self.nodes[index].begun_ms
        return begun_ms + limit_ms if limit_ms and begun_ms else 0

    @property
    def unsettled(self) -> int:
        """How many nodes or loops of the whole are not settled."""
        return self.regions[ROOT].unsettled


def initial(plan: Plan, execution_id: UUID = NO_EXECUTION) -> State:
    """Return the state of an execution of which nothing has happened."""
    returning = plan.regions.returning
    nodes = [
        NodeState(NodeStatus.PENDING, sum(edge.position not in returning for edge in node.inputs))
        for node in plan.nodes
    ]
    regions = [RegionState(len(region.direct)) for region in plan.regions.regions]
    return State(plan, nodes, regions, execution_id)
