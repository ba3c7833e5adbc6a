"""What a new execution keeps of a former one, and that it goes on from there."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import document, drawing_catalog, graph
from tests.strategies import cyclic_plans, plans
from tests.unit.workflow.play import Play
from tests.unit.workflow.test_machine_properties import World
from workflow.commands import FailNode, FinishExecution, StartNode
from workflow.document import Document
from workflow.events import (
    Event,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    NodeCompleted,
    NodeFailed,
    NodeRecovered,
    from_body,
    to_body,
)
from workflow.invariants import check
from workflow.machine import outstanding, replay, step
from workflow.plan import Plan, make_plan
from workflow.rerun import Rerun, Written, changed, following, kept_starts, rerun
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Recovery

NOW_MS = 1_000
NONE: frozenset[str] = frozenset()
RETRY = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 5, "max_ms": 5, "retry_on": ["boom"]}


def runs_in(log: list[Event]) -> set[tuple[str, int]]:
    return {
        (event.node_id, event.run_index)
        for event in log
        if isinstance(event, NodeCompleted | NodeFailed | NodeRecovered)
    }


def again(play: Play, nodes: frozenset[str] = NONE, plan: Plan | None = None) -> Rerun:
    return rerun(plan or play.plan, play.plan, play.log, runs_in(play.log), nodes, NOW_MS)


def begun(made: Rerun, plan: Plan) -> tuple[Play, list[str]]:
    """The new execution in the hands of its first owner, and what begins."""
    play = Play(plan)
    for event in made.events:
        play.tell(event)
    return play, play.tell(ExecutionResumed(at_ms=NOW_MS + 1, epoch=1))


def kept(made: Rerun) -> list[tuple[str, int]]:
    return [(run.node_id, run.run_index) for run in made.kept]


def test_a_retried_execution_goes_on_at_the_node_that_failed():
    play = Play(graph("a -> b -> d; a -> c -> d"))
    play.start()
    play.done("a")
    play.done("c")
    play.fail("b")
    play.finish(ExecutionStatus.FAILED)
    made = again(play)

    assert kept(made) == [("a", 0), ("c", 0)]
    assert made.ready == {"b"}
    new, words = begun(made, play.plan)
    assert words == ["start b"]
    assert new.given("b") == [("a", 0)]
    assert new.done("b") == ["start d"]
    assert new.done("d") == ["finish completed"]


def test_what_was_under_way_when_it_was_cancelled_begins_again():
    play = Play(graph("a -> b; c"))
    play.start()
    play.done("a")
    play.cancel()
    play.finish(ExecutionStatus.CANCELLED)
    made = again(play)

    assert (kept(made), made.ready) == ([("a", 0)], {"b", "c"})


def test_what_nothing_can_reach_is_skipped_again():
    play = Play(graph("a:true -> b; a:false -> c -> d"))
    play.start()
    play.done("a", true=1)
    play.fail("b")
    made = again(play)

    assert made.skipped == ((play.plan.by_id["c"], 0), (play.plan.by_id["d"], 0))
    assert made.completed == 1


def test_an_execution_of_which_everything_is_kept_ends_at_once():
    play = Play(graph("a -> b"))
    play.start()
    play.done("a")
    play.done("b")
    made = again(play)

    _, words = begun(made, play.plan)
    assert words == ["finish completed"]


def test_a_chosen_node_and_all_behind_it_run_again_and_the_others_do_not():
    play = Play(graph("a -> b -> d; a -> c -> d -> e; x -> y"))
    play.start()
    for name in ("a", "b", "c", "d", "e", "x", "y"):
        play.done(name)
    made = again(play, following(play.plan, ["c"]))

    assert kept(made) == [("a", 0), ("b", 0), ("x", 0), ("y", 0)]
    new, words = begun(made, play.plan)
    assert words == ["start c"]
    assert new.done("c") == ["start d"]
    assert new.given("d") == [("b", 0), ("c", 0)]


def test_what_is_kept_does_not_depend_on_how_many_nodes_may_be_under_way():
    play = Play(graph("a -> c; b -> d", max_parallel_nodes=1))
    play.start()
    for name in ("a", "b", "c", "d"):
        play.done(name)
    made = again(play, following(play.plan, ["a"]))

    assert kept(made) == [("b", 0), ("d", 0)]
    new, words = begun(made, play.plan)
    assert words == ["start a"]
    assert new.done("a") == ["start c"]


def test_no_more_begins_at_first_than_may_be_under_way():
    play = Play(graph("a; b; c", alone=("a", "b", "c"), max_parallel_nodes=2))
    play.start()
    made = again(play)

    new, words = begun(made, play.plan)
    assert words == ["start a", "start b"]
    assert new.done("a") == ["start c"]


def test_rounds_of_a_loop_are_kept_up_to_the_one_that_failed():
    play = Play(graph("start -> loop; loop:loop -> w -> loop; loop:done -> end"))
    play.start()
    play.done("start")
    play.done("loop", loop=1)
    play.done("w")
    play.done("loop", loop=1)
    play.fail("w")
    made = again(play)

    assert kept(made) == [("start", 0), ("loop", 0), ("w", 0), ("loop", 1)]
    new, words = begun(made, play.plan)
    assert words == ["start w run 1"]
    new.done("w")
    assert new.given("loop") == [("start", 0), ("w", 0), ("w", 1)]
    assert new.done("loop", done=1) == ["start end"]


def test_a_node_in_a_loop_means_the_whole_outermost_loop():
    plan = graph(
        "start -> a -> loop; loop:loop -> loopb; loopb:loop -> w -> loopb; loopb:done -> x -> loop; loop:done -> end; start -> z"
    )

    assert following(plan, ["w"]) == {"loop", "loopb", "w", "x", "end"}
    assert following(plan, ["end"]) == {"end"}
    assert following(plan, ["loop"]) == {"loop", "loopb", "w", "x", "end"}
    assert following(plan, ["a"]) == {"a", "loop", "loopb", "w", "x", "end"}


def test_a_failure_that_was_caught_stays_caught():
    play = Play(graph("start -> try; try:try -> w -> x; try:catch -> c -> d"))
    play.start()
    play.done("start")
    play.done("try", **{"try": 1})
    play.fail("w")
    play.done("try", catch=1)
    play.fail("c")
    made = again(play)

    assert kept(made) == [("start", 0), ("try", 0), ("w", 0), ("try", 1)]
    new, words = begun(made, play.plan)
    assert words == ["start c"]
    assert new.done("c") == ["start d"]


def test_an_aborted_attempt_is_no_run_of_the_new_execution():
    play = Play(graph("start -> loop; loop:loop -> try; try:try -> v; try:try -> w; try -> loop; loop:done -> end"))
    play.start()
    play.done("start")
    play.done("loop", loop=1)
    play.done("try", **{"try": 1})
    play.fail("w")  # v is aborted
    play.done("try", catch=1)
    play.done("loop", loop=1)
    play.done("try", **{"try": 1})
    play.done("v")
    play.cancel()
    made = again(play)

    [run] = [run for run in made.kept if run.node_id == "v"]
    assert (run.former_index, run.run_index) == (1, 0)


def test_failures_that_go_on_are_kept_whatever_the_policy_says_of_another_attempt():
    plan = graph("a -> b -> c", nodes={"b": {"on_error": "continue", "retry": RETRY}})
    play = Play(plan)
    play.start()
    play.done("a")
    play.fail("b", main=1)
    play.fail("b", main=1)
    play.fail("c")
    made = again(play)

    assert kept(made) == [("a", 0), ("b", 0)]
    new, words = begun(made, plan)
    assert words == ["start c"]
    assert new.state.nodes[plan.by_id["b"]].status is NodeStatus.FAILED


def test_what_somebody_has_decided_is_not_asked_again():
    plan = graph("a -> b -> c", nodes={"a": {"on_error": "ask"}, "b": {"on_error": "ask"}})
    play = Play(plan)
    play.start()
    play.fail("a")
    play.recover("a", Recovery.REPLACE, main=2)
    play.fail("b")
    play.recover("b", Recovery.ABORT)
    made = again(play)

    assert kept(made) == [("a", 0)]
    _, words = begun(made, plan)
    assert words == ["start b"]


def test_a_decision_to_fail_that_was_caught_is_kept():
    plan = graph("start -> try; try:try -> w; try:catch -> c", nodes={"w": {"on_error": "ask"}})
    play = Play(plan)
    play.start()
    play.done("start")
    play.done("try", **{"try": 1})
    play.fail("w")
    play.recover("w", Recovery.ABORT)
    play.done("try", catch=1)
    play.fail("c")
    made = again(play)

    assert kept(made) == [("start", 0), ("try", 0), ("w", 0), ("try", 1)]
    _, words = begun(made, plan)
    assert words == ["start c"]


def test_a_result_that_is_gone_is_not_kept_nor_what_follows_it():
    play = Play(graph("a -> b -> c; x"))
    play.start()
    for name in ("a", "b", "c"):
        play.done(name)
    made = rerun(play.plan, play.plan, play.log, {("a", 0), ("c", 0)}, NONE, NOW_MS)

    assert (kept(made), made.ready) == ([("a", 0)], {"b", "x"})


def written(drawing: str, **fields: dict) -> Written:
    made = document(drawing, nodes=fields)
    return Written(made, make_plan(made, drawing_catalog()))


def test_another_version_keeps_what_means_the_same():
    former = written("a -> b -> c; a -> d -> e")
    same = written("a -> b -> c; a -> d -> e", b={"name": "other", "timeout_ms": 5, "retry": RETRY})
    assert changed(same, former) == NONE
    assert changed(written("a -> b -> c; a -> d -> e -> f", d={"config": {"x": 1}}), former) == {"d", "f"}
    assert changed(written("a -> b -> c; a -> d -> e", c={"pinned": {"main": []}}), former) == {"c"}
    assert changed(written("a -> b -> c; a -> d -> e; b -> e"), former) == {"e"}
    assert changed(written("z -> a -> b -> c; a -> d -> e"), former) == {"z", "a"}
    assert changed(written("a -> b -> c; a -> fxd -> e"), former) == {"fxd", "e"}


def test_results_of_a_former_version_serve_the_next_one():
    play = Play(graph("a -> b -> c"))
    play.start()
    play.done("a")
    play.done("b")
    play.fail("c")
    plan = graph("a -> b -> c; b -> new -> end", nodes={"c": {"config": {"x": 1}}})
    made = again(play, following(plan, ["c", "new"]), plan)

    assert kept(made) == [("a", 0), ("b", 0)]
    _, words = begun(made, plan)
    assert words == ["start c", "start new"]


def test_a_start_that_is_kept_does_not_see_another_input():
    plan = graph("a -> b; x -> y")

    assert kept_starts(plan, following(plan, ["a"])) == ["x"]
    assert kept_starts(plan, following(plan, ["b"])) == ["a", "x"]
    assert kept_starts(plan, following(plan, ["a", "x"])) == []


def test_at_most_so_many_runs_hold_for_what_is_kept_too():
    cycle = "start -> a:true -> b -> a; a:false -> end"
    play = Play(graph(cycle, cycles="allow", max_node_runs=5))
    play.start()
    play.done("start")
    for _ in range(3):
        play.done("a", true=1)
        play.done("b")
    play.cancel()
    plan = graph(cycle, cycles="allow", max_node_runs=2)
    made = again(play, NONE, plan)

    assert kept(made) == [("start", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    _, words = begun(made, plan)
    assert words == ["finish failed max_node_runs"]


def play_on(world: World, steps_max: int) -> None:
    """Play to the end, or for so many steps."""
    for _ in range(steps_max):
        if world.state.status.terminal:
            return
        world.disturb()
        if world.state.status.terminal:
            return
        if world.state.stop is None and (world.state.paused or not world.in_flight):
            world.go_on()
            continue
        world.perform(world.in_flight.pop(world.draw.draw(st.integers(0, len(world.in_flight) - 1))))


def play_out(plan: Plan, made: Rerun) -> tuple[list[Event], set[tuple[int, int]]]:
    """Let every node complete on its first handles until it ends; return the events and the runs that were started."""
    stored = [from_body(event.kind, event.at_ms, to_body(event)) for event in made.events]
    state = replay(plan, stored)
    check(state)
    started: set[tuple[int, int]] = set()
    log = list(stored)
    todo = step(state, ExecutionResumed(at_ms=NOW_MS, epoch=1))
    log.append(ExecutionResumed(at_ms=NOW_MS, epoch=1))
    for _ in range(5_000):
        if state.status.terminal:
            break
        command = next(c for c in todo if isinstance(c, StartNode | FinishExecution | FailNode))
        todo.remove(command)
        if isinstance(command, FinishExecution):
            event: Event = finished(command)
        else:
            node = plan.nodes[command.node]
            started.add((command.node, command.run_index))
            # The last handle leads out of a body, so that loops come to an end.
            event = NodeCompleted(
                at_ms=NOW_MS,
                node_id=node.id,
                run_index=command.run_index,
                attempt=command.attempt,
                handles={node.handles[-1]: 1},
                duration_ms=0,
            )
        log.append(event)
        todo.extend(step(state, event))
        check(state)
    assert state.status.terminal, "it ends"
    assert replay(plan, log) == state
    assert outstanding(state) == []
    return log, started


def finished(command: FinishExecution) -> Event:
    return ExecutionFinished(at_ms=NOW_MS, status=command.status, code=command.code)


@given(plans() | cyclic_plans(), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_whatever_happened_a_retried_execution_ends_and_starts_nothing_that_is_kept(plan: Plan, data: st.DataObject):
    world = World(plan, data)
    world.tell(ExecutionStarted(at_ms=0, epoch=1))
    play_on(world, data.draw(st.integers(0, 60)))
    former = world.log
    made = rerun(plan, plan, former, runs_in(former), NONE, NOW_MS)

    completed = {(e.node_id, e.run_index) for e in former if isinstance(e, NodeCompleted)}
    completed &= live(plan, former)
    assert completed <= {(run.node_id, run.former_index) for run in made.kept}, "every result is kept"
    _, started = play_out(plan, made)
    for run in made.kept:
        assert (plan.by_id[run.node_id], run.run_index) not in started, "what is kept is not started again"
    assert len({(run.node_id, run.run_index) for run in made.kept}) == len(made.kept)
    assert len({(run.node_id, run.former_index) for run in made.kept}) == len(made.kept)


def live(plan: Plan, log: list[Event]) -> set[tuple[str, int]]:
    """The runs whose completion was taken up when it came, and not too late or twice."""
    found = set()
    for place, event in enumerate(log):
        if isinstance(event, NodeCompleted):
            before = replay(plan, log[:place])
            node = before.nodes[plan.by_id[event.node_id]]
            present = (node.status, node.run_index, node.attempt)
            if before.stop is None and present == (NodeStatus.RUNNING, event.run_index, event.attempt):
                found.add((event.node_id, event.run_index))
    return found


@given(plans() | cyclic_plans(), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_chosen_node_runs_again_and_what_is_kept_has_only_kept_ancestors(plan: Plan, data: st.DataObject):
    world = World(plan, data)
    world.tell(ExecutionStarted(at_ms=0, epoch=1))
    play_on(world, data.draw(st.integers(0, 80)))
    chosen = data.draw(st.sampled_from([node.id for node in plan.nodes]))
    nodes = following(plan, [chosen])
    made = rerun(plan, plan, world.log, runs_in(world.log), nodes, NOW_MS)

    assert chosen in nodes
    names = {run.node_id for run in made.kept}
    assert not names & nodes
    for name in names:
        for edge in plan.nodes[plan.by_id[name]].inputs:
            assert plan.nodes[edge.source].id not in nodes
    _, started = play_out(plan, made)
    assert not {(plan.by_id[run.node_id], run.run_index) for run in made.kept} & started


@given(plans() | cyclic_plans(), st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_retry_of_a_retry_keeps_as_much(plan: Plan, data: st.DataObject):
    world = World(plan, data)
    world.tell(ExecutionStarted(at_ms=0, epoch=1))
    play_on(world, data.draw(st.integers(0, 60)))
    first = rerun(plan, plan, world.log, runs_in(world.log), NONE, NOW_MS)
    second = rerun(plan, plan, first.events, runs_in(list(first.events)), NONE, NOW_MS)

    assert second.events == first.events
    assert second.skipped == first.skipped
    assert [run.node_id for run in second.kept] == [run.node_id for run in first.kept]


def test_documents_are_compared_by_what_they_mean_not_by_their_order():
    former = written("a -> b; a -> c")
    turned = Document(
        name="drawn", nodes=list(reversed(former.document.nodes)), connections=former.document.connections
    )

    assert changed(Written(turned, make_plan(turned, drawing_catalog())), former) == NONE
