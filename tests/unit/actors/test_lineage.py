"""Which item of another node an item descends from: through branches, joins, loops, and back over many nodes."""

from collections.abc import Sequence

import orjson

from actors.lineage import Lineage
from actors.results import Results
from tests.graphs import graph
from workflow.commands import StartNode
from workflow.events import ExecutionStarted, NodeCompleted
from workflow.machine import step
from workflow.plan import Plan
from workflow.spec import Item, Outputs
from workflow.state import State, initial


class Story:
    """Tells an execution node by node; `give` says which input items the outputs were made of."""

    def __init__(self, plan: Plan, inputs: Sequence[dict]) -> None:
        self.plan = plan
        self.state: State = initial(plan)
        self.results = Results(plan, orjson.dumps(list(inputs)))
        self.lineage = Lineage(plan, self.results)
        self.started = [c for c in step(self.state, ExecutionStarted(at_ms=0, epoch=1)) if isinstance(c, StartNode)]

    def give(self, name: str, **handles: list[int | list[int] | None]) -> None:
        """Let a node give items `{"of": name, "n": …}` paired with these input items."""
        index = self.plan.by_id[name]
        outputs: Outputs = {
            handle: [
                Item(json={"of": name, "n": n}, **({} if pair is None else {"paired_item": pair}))
                for n, pair in enumerate(pairs)
            ]
            for handle, pairs in handles.items()
        }
        run_index = self.state.nodes[index].run_index
        counts, _ = self.results.accept(index, run_index, outputs, 1_000_000)
        event = NodeCompleted(at_ms=1, node_id=name, run_index=run_index, attempt=1, handles=counts, duration_ms=1)
        step(self.state, event)

    def sees(self, name: str, other: str) -> list[tuple[str, int] | None] | None:
        index = self.plan.by_id[name]
        count = len(self.results.given(self.state, index).items)
        views = self.lineage.views(self.state, index, count, [other])
        return list(views[other].paired) if other in views else None


def test_items_are_followed_over_several_nodes_and_a_filter():
    story = Story(graph("start -> a -> b -> c"), [{}, {}, {}])
    story.give("start", main=[0, 1, 2])
    story.give("a", main=[2, 0])
    story.give("b", main=[1, 0, 0])

    assert story.sees("c", "b") == [("main", 0), ("main", 1), ("main", 2)]
    assert story.sees("c", "a") == [("main", 1), ("main", 0), ("main", 0)]
    assert story.sees("c", "start") == [("main", 0), ("main", 2), ("main", 2)]


def test_a_join_leads_back_over_the_branch_that_each_item_came_by():
    story = Story(graph("start -> a:true -> b -> d; a:false -> c -> d"), [{}, {}])
    story.give("start", main=[0, 1])
    story.give("a", true=[1], false=[0])
    story.give("b", main=[0])
    story.give("c", main=[0])

    assert story.sees("d", "a") == [("true", 0), ("false", 0)]
    assert story.sees("d", "start") == [("main", 1), ("main", 0)]
    assert story.sees("d", "c") == [None, ("main", 0)]


def test_an_item_made_of_several_leads_back_to_the_first_and_one_of_nothing_only_to_an_only_item():
    story = Story(graph("start -> a -> b -> c"), [{}])
    story.give("start", main=[0, 0])
    story.give("a", main=[[1, 0]])
    story.give("b", main=[None])

    assert story.sees("b", "start") is not None
    assert story.sees("c", "a") == [("main", 0)], "there was only one it could have come from"
    assert story.sees("c", "start") == [("main", 1)]


def test_a_node_that_has_not_run_is_not_seen_and_one_without_a_way_is_seen_whole():
    story = Story(graph("start -> a -> d; start -> b -> d; start -> c"), [{}])
    story.give("start", main=[0, 0])
    story.give("a", main=[None])
    story.give("b", main=[1])

    assert story.sees("d", "c") is None
    assert story.sees("d", "a") == [("main", 0), None]
    assert story.sees("d", "start") == [None, ("main", 1)]


def test_in_a_loop_the_present_round_is_seen_and_behind_it_all_of_them():
    story = Story(graph("start -> loop:loop -> b -> c -> loop; loop:done -> z"), [{}, {}])
    story.give("start", main=[0, 1])
    story.give("loop", loop=[0])
    story.give("b", main=[0])
    assert story.sees("c", "start") == [("main", 0)]
    story.give("c", main=[0])
    story.give("loop", loop=[1])
    assert story.sees("b", "start") == [("main", 1)]
    story.give("b", main=[0, 0])
    assert story.sees("c", "b") == [("main", 0), ("main", 1)]
    story.give("c", main=[1])
    # 2 items entered the loop; its body returned one in each round, which count from 2.
    story.give("loop", done=[2, 3])

    assert story.sees("z", "loop") == [("done", 0), ("done", 1)]
    assert story.sees("z", "c") == [("main", 0), ("main", 1)]
    assert story.sees("z", "b") == [("main", 0), ("main", 2)]
    assert story.sees("z", "start") == [("main", 0), ("main", 1)]


def test_ten_thousand_items_and_a_long_way_back():
    names = [f"n{i}" for i in range(50)]
    story = Story(graph("start -> " + " -> ".join(names)), [{}] * 1_000)
    every = list(range(1_000))
    story.give("start", main=every)
    for name in names[:-1]:
        story.give(name, main=every[::-1])

    assert story.sees(names[-1], "start") == [("main", 999 - n) for n in every]
