"""The machine on drawn loops and tries: rounds, run indexes, joins per round, what leaves a loop, what a try catches."""

import pytest

from tests.graphs import graph
from tests.unit.workflow.play import Play
from workflow.machine import outstanding, replay
from workflow.states import ExecutionStatus, NodeStatus


def begun(drawing: str, **settings: int) -> Play:
    """Return the play of a drawing whose first node has just begun."""
    play = Play(graph(f"start -> {drawing}", **settings))
    play.start()
    play.done("start")
    return play


def finished(play: Play) -> None:
    assert play.finish(ExecutionStatus.COMPLETED) == []
    assert replay(play.plan, play.log) == play.state


def test_a_body_runs_once_for_each_round_and_then_what_follows_runs_once():
    play = Play(graph("a -> loop:loop -> b -> loop; loop:done -> c"))
    play.start()
    assert play.done("a") == ["start loop"]
    assert play.done("loop", loop=2) == ["start b"]
    assert play.done("b") == ["start loop run 1"]
    assert play.given("loop") == [("a", 0), ("b", 0)]
    assert play.done("loop", loop=1) == ["start b run 1"]
    assert play.done("b") == ["start loop run 2"]
    assert play.done("loop", done=3) == ["start c"]
    assert play.given("c") == [("loop", 2)]
    assert play.done("c") == ["finish completed"]
    finished(play)


def test_a_body_that_gives_nothing_back_does_not_end_the_loop():
    play = begun("loop:loop -> b:true -> loop; loop:done -> c")
    play.done("loop", loop=1)
    assert play.done("b", false=1) == ["start loop run 1"]
    assert play.done("loop", loop=1) == ["start b run 1"]
    assert play.done("b", true=1) == ["start loop run 2"]
    assert play.done("loop", done=1) == ["start c"]


def test_a_body_that_does_not_lead_back_runs_for_every_round():
    play = begun("loop:loop -> b -> c; loop:done -> d")
    play.done("loop", loop=1)
    play.done("b")
    assert play.done("c") == ["start loop run 1"]
    assert play.done("loop", loop=1) == ["start b run 1"]
    play.done("b")
    play.done("c")
    assert play.done("loop", done=1) == ["start d"]


def test_a_round_waits_for_all_of_its_body_and_joins_count_per_round():
    play = begun("loop:loop -> a -> j; loop:loop -> b -> j; j -> loop; loop:loop -> side; loop:done -> z")
    for run in ("", " run 1"):
        assert play.done("loop", loop=1) == [f"start a{run}", f"start b{run}", f"start side{run}"]
        assert play.done("a") == []
        assert play.done("b") == [f"start j{run}"]
        assert play.done("j") == [], "the side branch is still under way"
        assert play.done("side") == [f"start loop run {1 if not run else 2}"]
    assert play.done("loop", done=1) == ["start z"]


def test_what_a_former_round_gives_is_stale():
    play = begun("loop:loop -> b -> loop; loop:done -> z")
    play.done("loop", loop=1)
    play.done("b")
    former = play.log[-1]
    play.done("loop", loop=1)
    before = replay(play.plan, play.log)

    assert play.state.nodes[play.plan.by_id["b"]].run_index == former.run_index + 1
    assert play.tell(former) == []
    assert play.state == before


def test_a_loop_that_ends_at_once_skips_its_body():
    play = begun("loop:loop -> b -> loop; loop:done -> c")
    assert play.done("loop", done=1) == ["skip b", "start c"]
    assert play.done("c") == ["finish completed"]


def test_a_loop_that_nothing_reaches_is_skipped_with_its_body_and_what_follows():
    play = Play(graph("a:true -> x; a:false -> loop:loop -> b -> loop; loop:done -> c"))
    play.start()
    assert play.done("a", true=1) == ["skip loop", "skip b", "skip c", "start x"]
    assert play.done("x") == ["finish completed"]
    finished(play)


def test_an_inner_loop_begins_anew_in_each_round_of_the_outer_one():
    play = begun("loopa:loop -> loopb:loop -> x -> loopb; loopb:done -> loopa; loopa:done -> z")
    assert play.done("loopa", loop=1) == ["start loopb"]
    assert play.done("loopb", loop=1) == ["start x"]
    assert play.done("x") == ["start loopb run 1"]
    assert play.given("loopb") == [("loopa", 0), ("x", 0)]
    assert play.done("loopb", done=1) == ["start loopa run 1"]
    assert play.done("loopa", loop=1) == ["start loopb run 2"]
    assert play.given("loopb") == [("loopa", 1)], "what an earlier round collected is gone"
    assert play.done("loopb", loop=1) == ["start x run 1"]
    assert play.done("x") == ["start loopb run 3"]
    assert play.done("loopb", done=1) == ["start loopa run 2"]
    assert play.done("loopa", done=1) == ["start z"]
    assert play.done("z") == ["finish completed"]
    finished(play)


def test_what_leaves_a_body_sideways_is_gathered_over_all_rounds():
    play = begun("loop:loop -> b:true -> loop; b:false -> out; loop:done -> out")
    play.done("loop", loop=1)
    play.done("b", true=1)
    play.done("loop", loop=1)
    play.done("b", false=1)
    play.done("loop", loop=1)
    play.done("b", false=2)
    assert play.done("loop", done=1) == ["start out"]
    assert play.given("out") == [("b", 1), ("b", 2), ("loop", 3)]


def test_a_cycle_by_hand_runs_until_nothing_comes_back():
    play = Play(graph("start -> a -> b:false -> a; b:true -> c", cycles="allow"))
    play.start()
    play.done("start")
    play.done("a")
    assert play.done("b", false=1) == ["start a run 1"]
    assert play.given("a") == [("b", 0)]
    play.done("a")
    assert play.done("b", true=1) == ["start c"]
    assert play.given("c") == [("b", 1)]
    assert play.done("c") == ["finish completed"]
    finished(play)


def test_a_node_runs_as_often_as_it_may_and_then_the_execution_fails():
    play = Play(graph("start -> a -> b -> a", cycles="allow", max_node_runs=2))
    play.start()
    play.done("start")
    play.done("a")
    assert play.done("b") == ["start a run 1"]
    play.done("a")
    assert play.done("b") == ["finish failed max_node_runs"]


def test_a_loop_may_have_as_many_rounds_as_a_node_may_run():
    play = begun("loop:loop -> b -> loop", max_node_runs=2)
    for _ in range(2):
        play.done("loop", loop=1)
        play.done("b")
    assert play.done("loop", done=1) == ["finish completed"]


def test_a_crash_in_a_round_resumes_in_that_round():
    play = begun("loop:loop -> b -> loop; loop:done -> c")
    play.done("loop", loop=1)
    play.done("b")
    play.done("loop", loop=1)
    state = replay(play.plan, play.log)
    assert [c.run_index for c in outstanding(state)] == [1]
    assert play.resume() == ["start b run 1 #2"]
    assert play.done("b", attempt=1) == [], "the lost attempt"
    assert play.done("b") == ["start loop run 2"]


def test_a_failure_in_a_body_is_caught_and_the_rest_of_it_aborted():
    play = begun("try:try -> a; try:try -> b -> c; try:catch -> x; try:done -> y")
    assert play.done("try", **{"try": 1}) == ["start a", "start b"]
    assert play.fail("a") == ["abort b", "start try run 1"]
    caught = play.state.inputs[play.plan.by_id["try"], 1].caught
    assert caught is not None
    assert (caught.node_id, caught.code) == ("a", "boom")
    assert play.done("b", attempt=1) == [], "it was aborted"
    assert play.done("try", catch=1) == ["skip y", "start x"]
    assert play.done("x") == ["finish completed"]
    finished(play)


def test_a_body_without_a_failure_ends_the_try():
    play = begun("try:try -> a -> try; try:catch -> x; try:done -> y")
    play.done("try", **{"try": 1})
    assert play.done("a") == ["start try run 1"]
    assert play.given("try") == [("start", 0), ("a", 0)]
    assert play.done("try", done=1) == ["skip x", "start y"]


def test_what_a_body_gave_before_it_failed_is_taken_back():
    play = begun("try:try -> a -> b; a -> out; try:catch -> out")
    play.done("try", **{"try": 1})
    play.done("a")
    play.fail("b")
    assert play.done("try", catch=1) == ["start out"]
    assert play.given("out") == [("try", 1)]


def test_the_innermost_try_catches_and_a_failure_behind_it_is_not_caught():
    play = begun("trya:try -> tryb:try -> a; tryb:catch -> h; trya:catch -> x")
    play.done("trya", **{"try": 1})
    play.done("tryb", **{"try": 1})
    assert play.fail("a") == ["start tryb run 1"]
    assert play.done("tryb", catch=1) == ["start h"]
    assert play.fail("h") == ["start trya run 1"]
    assert play.done("trya", catch=1) == ["start x"]
    assert play.fail("x") == ["finish failed boom"]


def test_a_try_inside_a_loop_and_a_loop_inside_a_try():
    play = begun("loop:loop -> try:try -> a; try:catch -> b -> loop; loop:done -> z")
    for run in range(2):
        play.done("loop", loop=1)
        play.done("try", **{"try": 1})
        play.fail("a")
        play.done("try", catch=1)
        assert play.done("b") == [f"start loop run {run + 1}"]
    assert play.done("loop", done=1) == ["start z"]

    play = begun("try:try -> loop:loop -> a -> loop; loop:done -> b; try:catch -> x")
    play.done("try", **{"try": 1})
    play.done("loop", loop=1)
    play.done("a")
    play.done("loop", loop=1)
    assert play.fail("a") == ["start try run 1"]
    assert play.done("try", catch=1) == ["start x"]
    assert play.done("x") == ["finish completed"]


@pytest.mark.parametrize("stop", ["cancel", "time_over"])
def test_stopping_in_a_loop_aborts_what_is_under_way(stop: str):
    play = begun("loop:loop -> a; loop:loop -> b")
    play.done("loop", loop=1)
    status = {"cancel": "cancelled cancelled", "time_over": "timeout execution_timeout"}[stop]
    assert getattr(play, stop)() == ["abort a", "abort b", f"finish {status}"]
    assert play.done("a") == []
    play.finish(ExecutionStatus.CANCELLED if stop == "cancel" else ExecutionStatus.TIMEOUT)
    assert play.state.nodes[play.plan.by_id["a"]].status is NodeStatus.CANCELLED
