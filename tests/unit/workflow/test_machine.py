"""The machine on drawn graphs: what starts when, what is skipped, what a crash or a failure does."""

import pytest

from tests.graphs import graph
from workflow.commands import AbortNode, FailNode, FinishExecution, SkipNode, StartNode
from workflow.events import (
    CancelRequested,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
)
from workflow.invariants import check
from workflow.machine import IllegalEvent, State, initial, outstanding, replay, step
from workflow.plan import Plan
from workflow.states import ExecutionStatus, NodeStatus


class Play:
    """Plays a drawn graph by names: `play.done("a")` answers with what that made happen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: State = initial(plan)
        self.now = 0

    def tell(self, event) -> list[str]:
        commands = step(self.state, event)
        check(self.state)
        return [self._words(c) for c in commands]

    def start(self) -> list[str]:
        return self.tell(ExecutionStarted(at_ms=0, epoch=1))

    def done(self, name: str, attempt: int = 1, **handles: int) -> list[str]:
        return self.tell(
            NodeCompleted(
                at_ms=1, node_id=name, run_index=0, attempt=attempt, handles=handles or {"main": 1}, duration_ms=1
            )
        )

    def fail(self, name: str, attempt: int = 1) -> list[str]:
        return self.tell(
            NodeFailed(
                at_ms=1, node_id=name, run_index=0, attempt=attempt, code="boom", message="it broke", duration_ms=1
            )
        )

    def resume(self, epoch: int = 2) -> list[str]:
        return self.tell(ExecutionResumed(at_ms=2, epoch=epoch))

    def finish(self, status: ExecutionStatus) -> list[str]:
        return self.tell(ExecutionFinished(at_ms=3, status=status))

    def _words(self, command) -> str:
        match command:
            case StartNode(node, _, attempt):
                return f"start {self.plan.nodes[node].id}" + (f" #{attempt}" if attempt > 1 else "")
            case AbortNode(node):
                return f"abort {self.plan.nodes[node].id}"
            case SkipNode(node):
                return f"skip {self.plan.nodes[node].id}"
            case FailNode(node, _, _, code):
                return f"fail {self.plan.nodes[node].id} {code}"
            case FinishExecution(status, code):
                return f"finish {status.value}" + (f" {code}" if code else "")


def test_a_chain_starts_one_after_the_other():
    play = Play(graph("a -> b -> c"))

    assert play.start() == ["start a"]
    assert play.done("a") == ["start b"]
    assert play.done("b") == ["start c"]
    assert play.done("c") == ["finish completed"]
    assert play.finish(ExecutionStatus.COMPLETED) == []
    assert play.state.status is ExecutionStatus.COMPLETED


def test_a_join_waits_for_all_its_live_inputs():
    play = Play(graph("a -> b -> d; a -> c -> d"))
    play.start()

    assert play.done("a") == ["start b", "start c"]
    assert play.done("b") == []
    assert play.done("c") == ["start d"]


def test_a_branch_not_taken_is_skipped_to_its_end_and_the_join_does_not_wait_for_it():
    play = Play(graph("a:true -> b -> d; a:false -> c -> e -> d"))
    play.start()

    assert play.done("a", true=2) == ["start b", "skip c", "skip e"]
    assert play.done("b") == ["start d"]


def test_both_branches_run_when_both_have_items():
    play = Play(graph("a:true -> b -> d; a:false -> c -> d"))
    play.start()

    assert play.done("a", true=1, false=3) == ["start b", "start c"]
    play.done("b")
    assert play.done("c") == ["start d"]


def test_an_output_without_items_is_not_taken():
    play = Play(graph("a -> b -> c"))
    play.start()

    assert play.done("a", main=0) == ["skip b", "skip c", "finish completed"]


def test_an_execution_starts_at_its_triggers_and_skips_what_they_do_not_reach():
    play = Play(graph("start -> a; x -> y -> a"))

    assert play.start() == ["start start", "skip x", "skip y"]
    assert play.done("start") == ["start a"]


def test_a_failed_node_stops_the_execution_and_aborts_what_is_under_way():
    play = Play(graph("a -> b -> d; a -> c -> d"))
    play.start()
    play.done("a")

    assert play.fail("b") == ["abort c", "finish failed boom"]
    assert play.done("c") == [], "a late result is stale"
    play.finish(ExecutionStatus.FAILED)
    assert [n.status for n in play.state.nodes] == [
        NodeStatus.COMPLETED,
        NodeStatus.FAILED,
        NodeStatus.PENDING,
        NodeStatus.CANCELLED,
    ]


def test_cancel_aborts_and_finishes_once():
    play = Play(graph("a -> b"))
    play.start()

    assert play.tell(CancelRequested(at_ms=1, by="me")) == ["abort a", "finish cancelled cancelled"]
    assert play.tell(CancelRequested(at_ms=2, by="me")) == []
    assert play.fail("a") == []


def test_a_resumed_execution_starts_its_lost_attempts_again_and_nothing_else():
    play = Play(graph("a -> b -> d; a -> c -> d"))
    play.start()
    play.done("a")
    play.done("b")

    assert play.resume() == ["start c #2"]
    assert play.done("c", attempt=1) == [], "the former owner's result is stale"
    assert play.done("c", attempt=2) == ["start d"]


def test_resuming_twice_under_the_same_epoch_does_nothing():
    play = Play(graph("a -> b"))
    play.start()
    play.resume(epoch=2)

    assert play.resume(epoch=2) == []


def test_an_announced_at_most_once_node_fails_with_its_outcome_unknown():
    play = Play(graph("once -> b"))
    play.start()
    play.tell(NodeStarted(at_ms=1, node_id="once", run_index=0, attempt=1))

    assert play.resume() == ["fail once unknown_outcome"]


def test_an_at_most_once_node_that_was_not_announced_starts():
    play = Play(graph("once -> b"))
    play.start()

    assert play.resume() == ["start once #2"]


def test_a_resumed_execution_that_had_failed_only_has_to_finish():
    play = Play(graph("a -> b; a -> c"))
    play.start()
    play.done("a")
    play.fail("b")

    assert play.resume() == ["finish failed boom"]


@pytest.mark.parametrize(
    "event",
    [
        NodeCompleted(at_ms=1, node_id="a", run_index=0, attempt=1, handles={"main": 1}, duration_ms=1),
        ExecutionResumed(at_ms=1, epoch=2),
        CancelRequested(at_ms=1, by="me"),
        ExecutionFinished(at_ms=1, status=ExecutionStatus.COMPLETED),
    ],
)
def test_nothing_but_the_start_can_come_first_and_the_state_is_unchanged(event):
    play = Play(graph("a -> b"))

    with pytest.raises(IllegalEvent):
        step(play.state, event)

    assert play.state == initial(play.plan)


@pytest.mark.parametrize(
    "event",
    [
        NodeCompleted(at_ms=1, node_id="nobody", run_index=0, attempt=1, handles={}, duration_ms=1),
        NodeCompleted(at_ms=1, node_id="a", run_index=0, attempt=1, handles={"nowhere": 1}, duration_ms=1),
        NodeCompleted(at_ms=1, node_id="a", run_index=0, attempt=2, handles={"main": 1}, duration_ms=1),
        NodeCompleted(at_ms=1, node_id="b", run_index=0, attempt=1, handles={"main": 1}, duration_ms=1),
        ExecutionFinished(at_ms=1, status=ExecutionStatus.COMPLETED),
        ExecutionFinished(at_ms=1, status=ExecutionStatus.RUNNING),
    ],
)
def test_an_illegal_event_raises_and_nothing_happens(event):
    play = Play(graph("a -> b"))
    play.start()
    before = replay(play.plan, [ExecutionStarted(at_ms=0, epoch=1)])

    with pytest.raises(IllegalEvent):
        step(play.state, event)

    assert play.state == before
    assert outstanding(play.state) == [StartNode(0, 0, 1)]
