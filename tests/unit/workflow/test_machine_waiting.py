"""Waiting, pausing and asking: what the machine makes of drawn graphs."""

import pytest

from tests.graphs import graph
from tests.unit.workflow.play import Play
from workflow.machine import IllegalEvent, outstanding
from workflow.resting import due_nodes, next_due_ms
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Recovery, Wake


def play(drawing: str, **fields: object) -> Play:
    return Play(graph(drawing, **fields))


def test_what_waits_is_woken_in_the_same_attempt():
    p = play("a -> b")
    assert p.start() == ["start a"]
    assert p.wait("a") == []
    assert p.wake("a") == ["start a"]
    assert p.state.nodes[0].woken is Wake.SIGNAL
    assert p.done("a") == ["start b"]


def test_a_wait_that_is_told_again_is_stale():
    p = play("a -> b")
    p.start()
    p.wait("a")
    told = p.log[-1]
    p.wake("a")
    assert p.tell(told) == []
    assert (p.state.nodes[0].status, p.state.waiting) == (NodeStatus.RUNNING, set())


def test_a_wake_up_that_is_told_again_is_stale():
    p = play("a -> b")
    p.start()
    p.wait("a")
    p.wake("a")
    told = p.log[-1]
    p.wait("a")
    assert p.tell(told) == []
    assert (p.state.nodes[0].status, p.state.waiting) == (NodeStatus.WAITING, {0})


def test_what_waits_counts_towards_no_limit():
    p = play("a; b; c", max_parallel_nodes=1)
    assert p.start() == ["start a"]
    assert p.wait("a") == ["start b"]
    assert p.wake("a") == ["start a"]  # two are under way now: what was woken goes first
    assert p.done("b") == []
    assert p.done("a") == ["start c"]


def test_a_wake_up_for_what_does_not_wait_is_stale():
    p = play("a -> b")
    p.start()
    assert p.wake("a") == []
    p.done("a")
    assert p.wake("a") == []


def test_paused_nothing_begins_and_what_was_to_begin_begins_with_resuming():
    p = play("a -> b; c -> d")
    p.start()
    assert p.pause() == []
    assert p.done("a") == []
    assert p.rest() == []
    assert p.state.status is ExecutionStatus.PAUSED
    assert p.resume() == ["start c #2"]
    assert p.go_on() == ["start c #2", "start b"]


def test_paused_it_can_be_cancelled():
    p = play("a -> b")
    p.start()
    p.pause()
    p.rest()
    p.resume()
    assert p.cancel() == ["abort a", "finish cancelled cancelled"]


def test_what_waits_is_aborted_when_it_stops_or_its_try_ends():
    p = play("a -> b; c")
    p.start()
    p.wait("a")
    assert p.fail("c") == ["abort a", "finish failed boom"]
    assert p.finish(ExecutionStatus.FAILED) == []
    assert p.state.nodes[0].status is NodeStatus.CANCELLED

    p = play("try:try -> a; try:try -> b; try:catch -> c")
    p.start()
    p.done("try", **{"try": 1})
    p.wait("a")
    assert p.fail("b") == ["abort a", "start try run 1"]


def test_at_rest_nothing_is_outstanding_and_the_next_owner_goes_on():
    p = play("a -> b")
    p.start()
    p.wait("a", until_ms=99)
    p.rest()
    assert (p.state.status, outstanding(p.state)) == (ExecutionStatus.WAITING, [])
    assert p.resume() == []
    assert p.wake("a", Wake.TIME) == ["start a"]


@pytest.mark.parametrize(
    ("decision", "handles", "words"),
    [
        (Recovery.RETRY, {}, ["start a #2"]),
        (Recovery.SKIP, {"main": 1}, ["start b"]),
        (Recovery.REPLACE, {"main": 2}, ["start b"]),
        (Recovery.REPLACE, {}, ["skip b", "finish completed"]),
        (Recovery.ABORT, {}, ["finish failed boom"]),
    ],
)
def test_somebody_decides_about_a_failure(decision, handles, words):
    p = play("a -> b", nodes={"a": {"on_error": "ask"}})
    p.start()
    assert p.fail("a") == ["ask about a"]
    assert p.recover("a", decision, **handles) == words
    assert p.recover("a", decision, **handles) == []


def test_asked_again_it_is_another_request_and_the_next_owner_asks_the_same():
    p = play("a", nodes={"a": {"on_error": "ask"}})
    p.start()
    p.fail("a")
    p.recover("a", Recovery.RETRY)
    assert p.fail("a") == ["ask about a again (2)"]
    assert p.wake("a") == []  # it waits for a decision, not for a wake-up
    p.rest()
    assert p.resume() == ["ask about a again (2)"]


def test_who_is_asked_for_a_time_is_asked_until_then_and_the_next_owner_asks_until_the_same():
    p = play("a", nodes={"a": {"on_error": "ask", "ask": {"timeout_ms": 5_000}}})
    p.start()
    assert p.fail("a", at_ms=100) == ["ask about a until 5100"]
    assert (next_due_ms(p.state), due_nodes(p.state, 5_099), due_nodes(p.state, 5_100)) == (5_100, [], [0])
    assert next_due_ms(p.state, apart={0}) is None
    assert p.wake("a", Wake.TIME) == []  # that, too, is looked up in what was asked
    p.rest()
    assert p.resume() == ["ask about a until 5100"]
    assert p.recover("a", Recovery.RETRY) == ["start a #2"]
    assert p.state.nodes[0].wake_at_ms == 0
    assert p.fail("a", at_ms=6_000) == ["ask about a again (2) until 11000"]


def test_retries_come_before_asking():
    policy = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 5, "max_ms": 5}
    p = play("a", nodes={"a": {"on_error": "ask", "retry": policy}})
    p.start()
    assert p.fail("a")[0].startswith("start a #2")
    assert p.fail("a") == ["ask about a"]
    assert p.recover("a", Recovery.RETRY) == ["start a #3"]
    assert p.fail("a")[0].startswith("start a #4")  # somebody's decision gives it all its attempts again


def test_nothing_rests_or_pauses_before_it_has_started():
    p = play("a")
    with pytest.raises(IllegalEvent):
        p.pause()
    with pytest.raises(IllegalEvent):
        p.rest()
