"""When an execution may leave its actor, when it is due, and whose wake-up comes too early: at the edges of each time."""

from collections.abc import Callable

import pytest

from tests.graphs import graph
from tests.unit.workflow.play import Play
from workflow.events import ExecutionResumed, ExecutionStarted, PauseRequested
from workflow.resting import begun_ms, due_nodes, is_too_early, may_rest, next_due_ms, waiting_run

PATIENCE_MS = 2_000
NOW_MS = 100_000


def waiting(**until_ms: int) -> Play:
    """An execution whose nodes a, b, c have begun, of which these wait until then; 0 is for ever."""
    play = Play(graph("a; b; c"))
    play.start()
    for name, at_ms in until_ms.items():
        play.wait(name, at_ms)
    return play


def test_it_has_begun_when_its_first_owner_took_it_up():
    laid_down, started = ExecutionStarted(at_ms=1, epoch=0), ExecutionStarted(at_ms=2, epoch=1)
    resumed, wish = ExecutionResumed(at_ms=3, epoch=2), PauseRequested(at_ms=0, by="somebody")
    assert begun_ms([]) is None
    assert begun_ms([laid_down, wish]) is None
    assert begun_ms([wish, started, resumed]) == 2
    assert begun_ms([laid_down, resumed, ExecutionResumed(at_ms=4, epoch=3)]) == 3


def test_the_next_time_is_the_earliest_of_nodes_that_wait_and_attempts_that_will():
    assert next_due_ms(waiting().state) is None
    assert next_due_ms(waiting(a=0).state) is None, "it waits for as long as it takes"
    assert next_due_ms(waiting(a=0, b=7, c=5).state) == 5
    assert next_due_ms(waiting(a=5).state, [3, 9]) == 3
    assert next_due_ms(waiting(a=5).state, [9]) == 5
    assert next_due_ms(waiting().state, [9]) == 9


def test_what_goes_on_is_not_waited_for_any_more():
    play = waiting(a=5, b=7)
    play.wake("a")
    assert next_due_ms(play.state) == 7


@pytest.mark.parametrize(("due_ms", "rests"), [(PATIENCE_MS, False), (PATIENCE_MS + 1, True), (0, False), (-1, False)])
def test_it_rests_where_the_wait_is_longer_than_the_patience(due_ms: int, rests: bool):
    assert may_rest(waiting(a=NOW_MS + due_ms).state, [], PATIENCE_MS, NOW_MS) is rests
    assert may_rest(waiting().state, [NOW_MS + due_ms], PATIENCE_MS, NOW_MS) is rests
    assert may_rest(waiting(a=0).state, iter([NOW_MS + due_ms]), PATIENCE_MS, NOW_MS) is rests, "the earliest counts"


def test_what_waits_for_something_outside_rests_and_what_waits_for_nothing_does_not():
    assert may_rest(waiting(a=0).state, [], PATIENCE_MS, NOW_MS)
    assert not may_rest(waiting().state, [], PATIENCE_MS, NOW_MS)


@pytest.mark.parametrize(
    "state",
    [lambda: waiting(a=0), lambda: waiting(a=NOW_MS * 2), lambda: _paused(waiting())],
    ids=["0", "time", "paused"],
)
def test_without_patience_or_with_its_own_time_nearly_over_it_stays(state: Callable[[], Play]):
    assert not may_rest(state().state, [], None, NOW_MS)
    assert not may_rest(state().state, [], PATIENCE_MS, NOW_MS, NOW_MS + PATIENCE_MS)
    assert not may_rest(state().state, [], PATIENCE_MS, NOW_MS, NOW_MS - 1)
    assert may_rest(state().state, [], PATIENCE_MS, NOW_MS, NOW_MS + PATIENCE_MS + 1)


def test_a_paused_one_rests_whatever_is_due():
    assert may_rest(_paused(waiting()).state, [], PATIENCE_MS, NOW_MS)
    assert may_rest(_paused(waiting(a=NOW_MS + 1)).state, [NOW_MS - 1], PATIENCE_MS, NOW_MS)


def test_due_is_what_waits_for_a_time_that_has_come():
    state = waiting(c=NOW_MS, a=NOW_MS - 1, b=NOW_MS + 1).state
    assert due_nodes(state, NOW_MS) == [0, 2]
    assert due_nodes(state, NOW_MS - 1) == [0]
    assert due_nodes(state, NOW_MS + 1) == [0, 1, 2]
    assert due_nodes(waiting(a=0).state, NOW_MS) == [], "it waits for as long as it takes"
    assert due_nodes(waiting().state, NOW_MS) == []


def test_a_run_that_waits_is_found_by_its_node_and_number():
    state = waiting(b=0).state
    assert waiting_run(state, "b", 0) == 1
    assert waiting_run(state, "b", 1) is None, "another run of it"
    assert waiting_run(state, "a", 0) is None, "it has begun and does not wait"
    assert waiting_run(state, "z", 0) is None


def test_a_wake_up_is_too_early_before_the_run_waits_and_while_nothing_may_begin():
    play = waiting(b=0)
    assert is_too_early(play.state, "a", 0)
    assert not is_too_early(play.state, "b", 0)
    assert not is_too_early(play.state, "a", 1), "another run of it: what it was for is over"
    assert not is_too_early(play.state, "z", 0)
    play.done("a")
    assert not is_too_early(play.state, "a", 0), "it has ended"
    play.pause()
    assert is_too_early(play.state, "b", 0), "paused, it hears of it when it goes on"
    assert is_too_early(play.state, "c", 0)
    assert not is_too_early(play.state, "a", 0)


def test_a_wake_up_for_what_has_not_begun_is_not_kept():
    play = Play(graph("a -> b"))
    play.start()
    assert not is_too_early(play.state, "b", 0)
    assert waiting_run(play.state, "b", 0) is None


def _paused(play: Play) -> Play:
    play.pause()
    return play
