"""The machine on drawn graphs: what starts when, what is skipped, what a crash or a failure does."""

import pytest

from tests.graphs import graph
from tests.unit.workflow.play import Play
from workflow.commands import StartNode
from workflow.events import (
    CancelRequested,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionTimedOut,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
)
from workflow.machine import IllegalEvent, outstanding, replay, step
from workflow.state import initial
from workflow.states import TERMINAL, ExecutionStatus, NodeStatus


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

    assert play.done("a", true=2) == ["skip c", "skip e", "start b"]
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

    assert play.start() == ["skip x", "skip y", "start start"]
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


@pytest.mark.parametrize(
    "event",
    [
        ExecutionStarted(at_ms=9, epoch=2),
        ExecutionResumed(at_ms=9, epoch=2),
        NodeStarted(at_ms=9, node_id="b", run_index=0, attempt=1),
        NodeCompleted(at_ms=9, node_id="b", run_index=0, attempt=1, handles={"main": 1}, duration_ms=1),
        NodeFailed(at_ms=9, node_id="b", run_index=0, attempt=1, code="boom", message="", duration_ms=1, handles={}),
        CancelRequested(at_ms=9, by="me"),
        ExecutionTimedOut(at_ms=9),
        *(ExecutionFinished(at_ms=9, status=status) for status in sorted(TERMINAL)),
    ],
    ids=lambda event: event.kind,
)
def test_nothing_moves_an_execution_that_has_ended(event):
    play = Play(graph("a -> b"))
    play.start()
    play.done("a")
    play.tell(CancelRequested(at_ms=2, by="me"))
    play.finish(ExecutionStatus.CANCELLED)
    before = replay(play.plan, play.log)

    assert step(play.state, event) == []
    assert play.state == before
    assert outstanding(play.state) == []


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
