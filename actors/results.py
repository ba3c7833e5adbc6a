"""The items of one execution: what each run of a node gave, and what the next one gets."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from actors.work import error_item
from workflow.blobs import BlobRef, missing
from workflow.document import OnError
from workflow.errors import NodeError
from workflow.plan import Plan, PlanNode
from workflow.ports import NodeRow
from workflow.spec import ERROR, Branch, Item, Items, Outputs, Round
from workflow.state import Arrival, Inputs, State
from workflow.states import SETTLED, NodeStatus
from workflow.values import encode


@dataclass(frozen=True, slots=True)
class Given:
    """What one run of a node is given. Lists are shared: nobody changes them."""

    items: Items
    bytes: int
    """About how much JSON that is."""
    branches: Sequence[Branch] = ()
    round: Round | None = None


@dataclass(slots=True)
class _Collected:
    """What a body has returned since its node was entered. `starts[n]` is where the items of arrival `n` begin."""

    arrivals: Sequence[Arrival]
    count: int = 0
    items: Items = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])


class Results:
    """Items by node and run. Lists are shared between consumers; node types do not change what they are given."""

    def __init__(self, plan: Plan, input_json: bytes, released_above_bytes: int = sys.maxsize) -> None:
        self._plan = plan
        self._released_above_bytes = released_above_bytes
        self.take_input(input_json)
        self._outputs: dict[tuple[int, int], Outputs] = {}
        self._bytes: dict[tuple[int, int], int] = {}
        self._completed: set[int] = set()
        self._collected: dict[int, _Collected] = {}
        self._awaited: dict[tuple[int, int], int] = {}
        """Large outputs that are released as soon as so many runs have settled that were given them."""
        self.absent: dict[tuple[int, int], BlobRef] = {}
        """Outputs that are still needed and are to be fetched."""

    def take_input(self, input_json: bytes) -> None:
        """Take the execution's input."""
        self._input = Given(input_items(orjson.loads(input_json)), len(input_json))

    @property
    def completed_count(self) -> int:
        """How many nodes have completed at least once."""
        return len(self._completed)

    def output_of(self, index: int, run_index: int) -> Outputs:
        """Return what a run gave; nothing where it gave nothing."""
        return self._outputs.get((index, run_index), {})

    def given(self, state: State, index: int) -> Given:
        """Return what the present run of a node is given, in the order of its connections."""
        node = self._plan.nodes[index]
        if node.start:
            return self._input
        inputs = state.inputs[index, state.nodes[index].run_index]
        items, branches, size = self._entered(node, inputs.entered)
        if not node.type.spec.body or node.idle:
            return Given(items, size, branches)
        kept = self._collect(index, inputs)
        latest = kept.items[kept.starts[inputs.count - inputs.latest] :]
        size += sum(self._size(arrival) for arrival in inputs.collected[inputs.count - inputs.latest : inputs.count])
        number = self._plan.regions.headed_by[index]
        here = Round(
            number=inputs.round,
            entered=items,
            returned=latest if inputs.round else [],
            collected=kept.items,
            returns=bool(self._plan.regions.regions[number].returns),
            caught=inputs.caught,
        )
        return Given(here.returned if inputs.round and here.returns else items, size, branches, here)

    def _entered(self, node: PlanNode, arrivals: Sequence[Arrival]) -> tuple[Items, list[Branch], int]:
        by_edge: dict[int, list[Arrival]] = {}
        for arrival in arrivals:
            by_edge.setdefault(arrival.edge, []).append(arrival)
        start = 0
        branches: list[Branch] = []
        for edge in node.inputs:
            here = by_edge.get(edge.position, [])
            if edge.position in self._plan.regions.returning and not here:
                continue
            found = self._items(here)
            branches.append(
                Branch(
                    handle=edge.target_handle,
                    source_id=self._plan.nodes[edge.source].id,
                    source_handle=edge.source_handle,
                    items=found,
                    start=start,
                )
            )
            start += len(found)
        taken = [branch.items for branch in branches if branch.items]
        items = taken[0] if len(taken) == 1 else [item for part in taken for item in part]
        return items, branches, sum(map(self._size, arrivals))

    def _items(self, arrivals: Sequence[Arrival]) -> Items:
        if len(arrivals) == 1:
            return self.of_arrival(arrivals[0])
        return [item for arrival in arrivals for item in self.of_arrival(arrival)]

    def of_arrival(self, arrival: Arrival) -> Items:
        """Return the items that came over a connection."""
        edge = self._plan.edges[arrival.edge]
        return self._outputs[edge.source, arrival.run_index][edge.source_handle]

    def _size(self, arrival: Arrival) -> int:
        return self._bytes[self._plan.edges[arrival.edge].source, arrival.run_index]

    def _collect(self, index: int, inputs: Inputs) -> "_Collected":
        """Return what the body has returned; the list grows with the rounds, and begins anew when the node is entered anew."""
        kept = self._collected.get(index)
        if kept is None or kept.arrivals is not inputs.collected:
            kept = self._collected[index] = _Collected(inputs.collected)
        for arrival in inputs.collected[kept.count : inputs.count]:
            kept.items.extend(self.of_arrival(arrival))
            kept.starts.append(len(kept.items))
        kept.count = inputs.count
        return kept

    def accept(
        self, index: int, run_index: int, outputs: Mapping[str, Items], bytes_max: int, data: bytes | None = None
    ) -> tuple[dict[str, int], bytes]:
        """Take a run's outputs: return the items by handle and the JSON. Raises `NodeError` or `BadInput` for what cannot be kept.

        `data` is the JSON where another process has encoded and checked it already.
        """
        node = self._plan.nodes[index]
        check_outputs(node, outputs)
        data = encode(outputs) if data is None else data
        if len(data) > bytes_max:
            message = (
                f"the output of {node.id!r} is {len(data)} bytes of JSON, more than the {bytes_max} that are allowed"
            )
            raise NodeError(message, "output_too_large", {"retryable": False})
        self._keep(index, run_index, dict(outputs), len(data))
        self._completed.add(index)
        return {handle: len(items) for handle, items in outputs.items()}, data

    def error_outputs(self, state: State, index: int, error: NodeError) -> Outputs:
        """Return what a failed node gives where its `on_error` lets the execution go on: all its items, as failed."""
        node = self._plan.nodes[index]
        if not error_handle(node):
            return {}
        given = self.given(state, index).items or [Item(json={})]
        return {error_handle(node): [error_item(node.id, item, i, error) for i, item in enumerate(given)]}

    def keep_failed(self, index: int, run_index: int, outputs: Outputs, data: bytes) -> None:
        """Take the error items of a run that has failed for good."""
        self._keep(index, run_index, outputs, len(data))

    def settled(self, state: State, index: int, run_index: int) -> None:
        """A run has settled for good: release large outputs that nothing can need any more."""
        if not self._awaited:
            return
        for arrival in state.inputs[index, run_index].entered:
            key = self._plan.edges[arrival.edge].source, arrival.run_index
            left = self._awaited.get(key)
            if left == 1:
                del self._awaited[key], self._outputs[key]
            elif left is not None:
                self._awaited[key] = left - 1

    def _keep(self, index: int, run_index: int, outputs: Outputs, size: int) -> None:
        self._bytes[index, run_index] = size
        if size > self._released_above_bytes:
            counts = {handle: len(items) for handle, items in outputs.items()}
            if not self._is_awaited(index, run_index, counts, size, 0):
                return
        self._outputs[index, run_index] = outputs

    def _is_awaited(self, index: int, run_index: int, counts: Mapping[str, int], size: int, taken: int) -> bool:
        """Whether an output is still needed, `taken` of the runs that get it having settled; note how many have not."""
        if size <= self._released_above_bytes or index in self._plan.kept:
            return True
        left = sum(counts.get(edge.source_handle, 0) > 0 for edge in self._plan.nodes[index].outputs) - taken
        if left > 0:
            self._awaited[index, run_index] = left
        return left > 0

    def restore(self, state: State, rows: Iterable[NodeRow]) -> None:
        """Take up what former owners have written, as far as it is still needed; what is `absent` then, is to be filled in."""
        taken = self._taken(state)
        for row in rows:
            if row.status not in (NodeStatus.COMPLETED, NodeStatus.FAILED):
                continue
            index = self._plan.by_id[row.node_id]
            key = index, row.run_index
            if row.status is NodeStatus.COMPLETED:
                self._completed.add(index)
            if row.output is not None:
                outputs, size = orjson.loads(row.output), len(row.output)
                counts = {handle: len(items) for handle, items in outputs.items()}
                if self._is_awaited(*key, counts, size, taken[key]):
                    self._outputs[key] = outputs
            elif row.output_ref is not None:
                size = row.output_ref.size
                if self._is_awaited(*key, row.output_ref.items, size, taken[key]):
                    self.absent[key] = row.output_ref
            else:
                continue
            self._bytes[key] = size

    def fill(self, contents: Mapping[bytes, bytes]) -> None:
        """Take what was absent, by sha256. Raises `BlobMissing`."""
        for key, reference in self.absent.items():
            if reference.sha256 not in contents:
                raise missing(reference)
            self._outputs[key] = orjson.loads(contents[reference.sha256])
        self.absent = {}

    def _taken(self, state: State) -> Counter[tuple[int, int]]:
        """Return how many runs that were given each output have settled."""
        taken: Counter[tuple[int, int]] = Counter()
        for (index, run_index), inputs in state.inputs.items():
            node = state.nodes[index]
            if run_index < node.run_index or node.status in SETTLED:
                taken.update((self._plan.edges[a.edge].source, a.run_index) for a in inputs.entered)
        return taken

    def output(self, state: State, bytes_max: int) -> bytes:
        """Return the execution's output: what the first node that responds gave, else the items of each end by node id.

        An end is a node that nothing follows, apart from its own body or another round of a cycle; of its runs, the last one counts.
        """
        last = {node.index: state.nodes[node.index].run_index for node in self._plan.nodes}
        for node in self._plan.nodes:
            found = self._outputs.get((node.index, last[node.index]))
            if found is not None and node.type.spec.responds and not node.idle:
                return orjson.dumps(found["main"][0]["json"]["body"])
        ends = [key for key in last.items() if key in self._outputs and key[0] in self._plan.ends]
        size = sum(self._bytes[key] for key in ends)
        if size > bytes_max:
            message = f"the output of the execution is {size} bytes of JSON, more than the {bytes_max} that are allowed"
            raise NodeError(message, "output_too_large")
        return orjson.dumps(
            {
                self._plan.nodes[key[0]].id: [item["json"] for items in self._outputs[key].values() for item in items]
                for key in ends
            }
        )


def error_handle(node: PlanNode) -> str:
    """Return the output that a node's failed items go to; empty where its failure is not passed on."""
    if node.on_error in (OnError.STOP, OnError.ASK):
        return ""
    if node.on_error is OnError.ERROR_OUTPUT:
        return ERROR
    # A failed header must not begin another round with what failed: a loop whose condition throws would never end.
    return next(handle for handle in node.handles if handle != node.type.spec.body)


def input_items(value: Any) -> Items:
    """Return an execution's input as items: an object is one, a list of objects that many, null is one empty object."""
    if isinstance(value, list):
        return [Item(json=entry) for entry in value]
    return [Item(json=value if value is not None else {})]


def check_outputs(node: PlanNode, outputs: Any) -> None:
    """Raise `NodeError` unless these are items on handles that the node has."""
    fine = isinstance(outputs, dict) and all(
        handle in node.handles
        and isinstance(items, list)
        and all(isinstance(i, dict) and isinstance(i.get("json"), dict) for i in items)
        for handle, items in outputs.items()
    )
    if not fine:
        message = f"{node.id!r} did not return lists of items on its handles {', '.join(node.handles)}"
        raise NodeError(message, "outputs_invalid", {"retryable": False})
