"""Where items come from: what expressions see of other nodes, with the item of theirs that each item descends from.

An item's `paired_item` counts through the list that its node was given, so a way back is found by taking turns: from an item to
the place in the list, from the place to the connection and run that brought it, from there to the item at its source.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actors.results import Results
from workflow.config import NodeView
from workflow.plan import Plan
from workflow.references import nodes_called
from workflow.spec import Items, Outputs
from workflow.state import State

STEPS_MAX = 10_000
"""Steps back for one item; a longer way is given up."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """An item of a node: by run, handle and index."""

    run_index: int
    handle: str
    index: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The list that a run was given: where each part begins, and (source, run, handle) of each part."""

    starts: Sequence[int]
    parts: Sequence[tuple[int, int, str]]
    count: int


class Lineage:
    """Looks back through the results of one execution. Keeps what it has looked up about finished runs."""

    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan = plan
        self._results = results
        self._inputs: dict[tuple[int, int], _Inputs] = {}

    def views(self, state: State, index: int, count: int, names: Iterable[str]) -> dict[str, NodeView]:
        """Return what the present run of a node, which is given `count` items, sees of other nodes by name or id.

        A node that has not completed has no view.
        """
        found = {}
        for name in names:
            called = nodes_called(self._plan, name)
            view = self._view(state, index, count, called[0]) if called else None
            if view is not None:
                found[name] = view
        return found

    def _view(self, state: State, index: int, count: int, target: int) -> NodeView | None:
        run_index = state.nodes[index].run_index
        first = self._given(state, index, run_index).count - count
        origins = [self._origin(state, (index, run_index, first + item), target) for item in range(count)]
        runs = sorted({origin.run_index for origin in origins if origin is not None})
        if not runs:
            latest = self._latest(state, target)
            return None if latest is None else NodeView(outputs=latest, paired=(None,) * count)
        outputs: dict[str, Items] = {}
        offsets: dict[tuple[int, str], int] = {}
        for run in runs:
            for handle, items in self._results.output_of(target, run).items():
                offsets[run, handle] = len(outputs.setdefault(handle, []))
                outputs[handle] = items if not outputs[handle] else [*outputs[handle], *items]
        paired = [None if o is None else (o.handle, offsets[o.run_index, o.handle] + o.index) for o in origins]
        return NodeView(outputs=outputs, paired=paired)

    def _latest(self, state: State, target: int) -> Outputs | None:
        for run_index in range(state.nodes[target].runs - 1, -1, -1):
            outputs = self._results.output_of(target, run_index)
            if outputs:
                return outputs
        return None

    def _origin(self, state: State, place: tuple[int, int, int], target: int) -> _Origin | None:
        """Follow one place of an input list back to an item of the target; the first way that leads there counts."""
        todo = [place]
        for _ in range(STEPS_MAX):
            if not todo:
                return None
            index, run_index, position = todo.pop()
            given = self._given(state, index, run_index)
            if not 0 <= position < given.count:
                continue
            part = bisect_right(given.starts, position) - 1
            source, source_run, handle = given.parts[part]
            at = position - given.starts[part]
            if source == target:
                return _Origin(source_run, handle, at)
            pairs = self._results.output_of(source, source_run)[handle][at].get("paired_item")
            if pairs is None:
                pairs = 0 if self._given(state, source, source_run).count == 1 else []
            ways = pairs if isinstance(pairs, list) else [pairs]
            todo.extend((source, source_run, pair) for pair in reversed(ways))
        return None

    def _given(self, state: State, index: int, run_index: int) -> _Inputs:
        kept = self._inputs.get((index, run_index))
        if kept is not None:
            return kept
        inputs = state.inputs[index, run_index]
        starts, parts, count = [], [], 0
        for arrival in (*inputs.entered, *inputs.collected[: inputs.count]):
            items = self._results.of_arrival(arrival)
            if items:
                edge = self._plan.edges[arrival.edge]
                starts.append(count)
                parts.append((edge.source, arrival.run_index, edge.source_handle))
                count += len(items)
        found = self._inputs[index, run_index] = _Inputs(starts, parts, count)
        return found
