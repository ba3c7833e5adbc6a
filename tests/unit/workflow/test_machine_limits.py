"""The time limit of a node that waits: it holds through waits, pauses and crashes, and its end is a failure like any other."""

import pytest

from tests.unit.workflow.play import Play
from tests.unit.workflow.test_machine_waiting import play
from workflow.machine import outstanding, replay
from workflow.resting import due_nodes, next_due_ms
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Recovery, Wake

LIMITED = {"timeout_ms": 100}
RETRY = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 5, "max_ms": 5}


def waiting(drawing: str = "wait -> b", until_ms: int = 0, **fields: object) -> Play:
    p = play(drawing, nodes={"wait": {**LIMITED, **fields}})
    p.start()
    p.begin("wait", at_ms=10)
    p.wait("wait", until_ms=until_ms)
    return p


@pytest.mark.parametrize(("until_ms", "due_ms"), [(0, 110), (50, 50), (500, 110)])
def test_what_waits_is_due_when_its_time_is_over_and_not_later(until_ms: int, due_ms: int):
    p = waiting(until_ms=until_ms)
    assert next_due_ms(p.state) == due_ms
    assert due_nodes(p.state, due_ms - 1) == []
    assert due_nodes(p.state, due_ms) == [0]


def test_without_a_limit_in_the_document_it_waits_for_as_long_as_it_takes():
    p = play("wait -> b")
    p.start()
    p.begin("wait")
    p.wait("wait")
    assert next_due_ms(p.state) is None
    assert p.wake("wait", Wake.SIGNAL, at_ms=10**12) == ["start wait"]


def test_woken_before_it_goes_on_and_the_time_counts_from_its_start():
    p = waiting()
    assert p.wake("wait", at_ms=60) == ["start wait"]
    p.begin("wait", at_ms=60)
    p.wait("wait")
    assert next_due_ms(p.state) == 110


@pytest.mark.parametrize("cause", list(Wake))
def test_when_its_time_is_over_it_fails_and_is_not_called_again(cause: Wake):
    p = waiting()
    assert p.wake("wait", cause, at_ms=110) == ["fail wait node_timeout"]
    assert outstanding(p.state) == outstanding(replay(p.plan, p.log))
    assert p.fail("wait", code="node_timeout") == ["finish failed node_timeout"]


def test_whoever_takes_over_between_the_wake_up_and_the_failure_lets_it_fail():
    p = waiting()
    p.wake("wait", Wake.TIME, at_ms=110)
    assert p.resume() == ["fail wait node_timeout"]
    assert p.fail("wait", code="node_timeout") == ["finish failed node_timeout"]


def test_a_crash_does_not_prolong_it():
    p = play("wait -> b", nodes={"wait": LIMITED})
    p.start()
    p.begin("wait", at_ms=10)
    assert p.resume() == ["start wait #2"]
    p.begin("wait", at_ms=90)
    p.wait("wait")
    assert next_due_ms(p.state) == 110


def test_time_goes_on_while_it_is_paused():
    p = waiting()
    p.pause()
    p.rest()
    p.resume()
    p.go_on()
    assert p.wake("wait", Wake.TIME, at_ms=500) == ["fail wait node_timeout"]


@pytest.mark.parametrize(("on_error", "words"), [("continue", ["start b"]), ("stop", ["finish failed node_timeout"])])
def test_the_failure_goes_where_any_failure_goes(on_error: str, words: list[str]):
    p = waiting(on_error=on_error)
    p.wake("wait", Wake.TIME, at_ms=110)
    assert p.fail("wait", code="node_timeout", main=1) == words


def test_a_try_around_it_catches_it():
    p = play("try:try -> wait; try:catch -> c", nodes={"wait": LIMITED})
    p.start()
    p.done("try", **{"try": 1})
    p.begin("wait", at_ms=10)
    p.wait("wait")
    p.wake("wait", Wake.TIME, at_ms=110)
    assert p.fail("wait", code="node_timeout") == ["start try run 1"]


def test_another_attempt_begins_anew_with_all_its_time():
    p = waiting(retry=RETRY)
    p.wake("wait", Wake.TIME, at_ms=110)
    assert p.fail("wait", code="node_timeout", at_ms=110)[0].startswith("start wait #2")
    node = p.state.nodes[0]
    assert (node.woken, node.overdue, node.lapses, p.state.deadline_ms(0)) == (None, False, 1, 0)
    p.begin("wait", at_ms=120)
    p.wait("wait")
    assert next_due_ms(p.state) == 220


def test_another_attempt_after_another_failure_goes_on_with_what_was_asked():
    p = waiting(retry=RETRY)
    p.wake("wait", at_ms=50)
    p.fail("wait", at_ms=50)
    assert (p.state.nodes[0].woken, p.state.nodes[0].lapses) == (Wake.SIGNAL, 0)


def test_while_somebody_is_asked_about_it_nothing_is_due_and_trying_again_begins_anew():
    p = waiting(on_error="ask")
    p.wake("wait", Wake.TIME, at_ms=110)
    assert p.fail("wait", code="node_timeout") == ["ask about wait"]
    assert next_due_ms(p.state) is None
    assert p.recover("wait", Recovery.RETRY) == ["start wait #2"]
    assert (p.state.nodes[0].lapses, p.state.deadline_ms(0)) == (1, 0)


def test_the_next_run_of_a_node_has_its_own_time():
    p = play("a -> loop; loop:loop -> wait -> loop; loop:done -> d", nodes={"wait": LIMITED})
    p.start()
    p.done("a")
    p.done("loop", loop=1)
    p.begin("wait", at_ms=10)
    p.wait("wait")
    p.wake("wait", at_ms=20)
    p.done("wait")
    p.done("loop", loop=1)
    p.begin("wait", at_ms=200)
    p.wait("wait")
    assert next_due_ms(p.state) == 300
    assert p.state.nodes[p.plan.by_id["wait"]].status is NodeStatus.WAITING
    assert p.state.status is ExecutionStatus.RUNNING
