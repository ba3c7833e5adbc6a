"""The machine on failures: retries with backoff, errors that go on, disabled and pinned nodes, the limit on parallel nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import graph
from tests.unit.workflow.play import Play
from workflow.machine import outstanding, replay
from workflow.retry import JITTER_SHARE, Backoff, RetryPolicy
from workflow.spec import Effect
from workflow.state import NO_EXECUTION
from workflow.states import ExecutionStatus, NodeStatus

RETRY = {"retry": {"max_attempts": 3, "backoff": "fixed", "initial_ms": 1000, "max_ms": 1000}}


def test_a_failed_node_is_tried_again_after_its_delay_and_then_fails():
    play = Play(graph("a -> b", nodes={"a": RETRY}))
    play.start()
    delay_ms = play.plan.nodes[0].retry.delay_ms(1, NO_EXECUTION, "a")
    assert play.fail("a", at_ms=10) == [f"start a #2 at {10 + delay_ms}"]
    assert play.fail("a", attempt=1) == [], "a failure is counted once"
    second = play.fail("a", at_ms=5_000)
    assert second[0].startswith("start a #3 at 6")
    assert play.fail("a") == ["finish failed boom"]


def test_an_attempt_lost_to_a_crash_is_not_one_of_the_users():
    play = Play(graph("a", nodes={"a": RETRY}))
    play.start()
    play.resume(2)
    play.resume(3)
    play.fail("a")
    play.resume(4)
    play.fail("a")
    assert play.state.nodes[0].attempt == 6
    assert play.fail("a") == ["finish failed boom"]


def test_a_node_that_may_start_once_is_not_tried_again_whatever_its_policy_says():
    play = Play(graph("once -> b", nodes={"once": RETRY}))
    play.start()
    assert play.fail("once") == ["finish failed boom"]


def test_a_wait_for_the_next_attempt_survives_a_crash():
    play = Play(graph("a", nodes={"a": RETRY}))
    play.start()
    (later,) = play.fail("a", at_ms=10)
    state = replay(play.plan, play.log)
    assert [c.not_before_ms for c in outstanding(state)] == [int(later.split(" at ")[1])]
    (resumed,) = play.resume()
    assert resumed == later.replace("#2", "#3")


@pytest.mark.parametrize(
    ("policy", "failure", "tried_again"),
    [
        ({}, {"code": "boom"}, True),
        ({}, {"code": "boom", "retryable": False}, False),
        ({"retry_on": ["http_503"]}, {"code": "http_503", "retryable": False}, True),
        ({"retry_on": ["http_503"]}, {"code": "boom"}, False),
        ({"max_attempts": 1}, {"code": "boom"}, False),
    ],
)
def test_what_is_tried_again(policy, failure, tried_again):
    play = Play(graph("a", nodes={"a": {"retry": policy}}))
    play.start()
    assert play.fail("a", **failure)[0].startswith("start a #2") is tried_again


@given(st.sampled_from(list(Backoff)), st.integers(1, 90), st.integers(0, 10_000), st.integers(0, 60_000))
def test_delays_grow_up_to_their_limit(backoff, failures, initial_ms, max_ms):
    policy = RetryPolicy(backoff=backoff, initial_ms=initial_ms, max_ms=max_ms)
    factor = {Backoff.FIXED: 1, Backoff.LINEAR: failures, Backoff.EXPONENTIAL: 2 ** (failures - 1)}[backoff]
    delay_ms = policy.delay_ms(failures, NO_EXECUTION, "a")
    plain = min(initial_ms * factor, max_ms)
    assert plain <= delay_ms <= plain * (1 + JITTER_SHARE)
    assert delay_ms == policy.delay_ms(failures, NO_EXECUTION, "a"), "a replay waits as long"


@pytest.mark.parametrize(("on_error", "handle"), [("continue", "main"), ("error_output", "error")])
def test_a_failure_goes_on_where_the_node_says_so(on_error, handle):
    play = Play(
        graph("a:main -> b; a:error -> c" if handle == "error" else "a -> b", nodes={"a": {"type_": 1}} if 0 else None)
    )
    drawing = "a -> b -> d"
    play = Play(graph(drawing, nodes={"a": {"on_error": on_error}}))
    play.start()
    went_on = play.fail("a", **{handle: 2})
    assert went_on == (["start b"] if handle == "main" else ["skip b", "skip d", "finish completed"])
    assert play.state.nodes[0].status is NodeStatus.FAILED


def test_retries_come_before_the_error_output():
    play = Play(graph("a -> b", nodes={"a": {**RETRY, "on_error": "continue"}}))
    play.start()
    assert play.fail("a", main=1)[0].startswith("start a #2")
    play.fail("a", main=1)
    assert play.fail("a", main=1) == ["start b"]


def test_no_more_nodes_than_allowed_are_under_way():
    play = Play(graph("a -> b; a -> c; a -> d; a -> e", max_parallel_nodes=2))
    play.start()
    assert play.done("a") == ["start b", "start c"]
    assert play.done("c") == ["start d"]
    assert play.done("b") == ["start e"]
    play.done("d")
    assert play.done("e") == ["finish completed"]


def test_what_waits_for_its_turn_never_begins_after_a_stop():
    play = Play(graph("a -> b; a -> c; a -> d", max_parallel_nodes=1))
    play.start()
    play.done("a")
    assert play.cancel() == ["abort b", "finish cancelled cancelled"]
    assert play.done("b") == []
    play.finish(ExecutionStatus.CANCELLED)


def test_disabled_and_pinned_nodes_do_no_work_and_a_disabled_trigger_starts_nothing():
    plan = graph("start -> fx -> b; start2 -> c", nodes={"fx": {"disabled": True}, "start2": {"disabled": True}})
    assert plan.nodes[plan.by_id["fx"]].effect is Effect.PURE
    play = Play(plan)
    assert play.start() == ["skip start2", "skip c", "start start"]
    pinned = graph("start -> loop:loop -> b -> loop; loop:done -> c", nodes={"loop": {"pinned": {"done": [{}]}}})
    play = Play(pinned)
    play.start()
    play.done("start")
    assert play.done("loop", done=1) == ["skip b", "start c"], "it loops no more"
    assert play.done("c") == ["finish completed"]
