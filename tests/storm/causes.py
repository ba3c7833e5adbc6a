"""I4 and I7: what results were made of, and what was started more than once. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.storm.evidence import Story
from tests.storm.shape import Run, Shape
from tests.storm.sink import Seen

UNKNOWN = "unknown_outcome"


def causes(told: Story, shape: Shape, answers: Mapping[Run, int], of_children: Iterable[int] = ()) -> Iterator[str]:
    """I4: an answer of the sink in any committed output is a committed answer of an effect before that node."""
    before = _before(shape.document)
    below = frozenset(of_children)
    for result in told.results:
        if result.status != "completed":
            continue
        among = before.get(result.node_id, set()) | {result.node_id}
        known = {serial for (node_id, _), serial in answers.items() if node_id in among} | below
        if unknown := _serials(result.output) - known:
            yield f"{result.node_id} was made of the answers {sorted(unknown)}, committed before it are {sorted(known)}"


def once(told: Story, shape: Shape, seen: Mapping[str, list[Seen]]) -> Iterator[str]:
    """I7: a node that starts at most once has one request at the sink; without a result its outcome is said to be unknown."""
    for node_id in shape.once:
        requests = seen.get(f"{told.id}:{node_id}:0:0", [])
        if len(requests) > 1:
            yield f"{node_id} sent {len(requests)} requests"
        results = [result for result in told.results if result.node_id == node_id]
        if any(result.status == "failed" and result.code != UNKNOWN for result in results):
            yield f"{node_id} failed with {[result.code for result in results]}, the sink refuses nothing"
        if told.status == "completed" and not any(result.status in ("completed", "failed") for result in results):
            yield f"{node_id} sent {len(requests)} requests, and nobody is told what became of it"
        if any(result.status == "completed" for result in results) and not requests:
            yield f"{node_id} has completed without a request"


def unknown_outcomes(told: Story, shape: Shape) -> int:
    """Return how many outcomes of an execution are not known."""
    return sum(result.node_id in shape.once and result.code == UNKNOWN for result in told.results)


def _before(document: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return all nodes from which connections lead to a node."""
    sources: dict[str, set[str]] = {}
    for connection in document["connections"]:
        sources.setdefault(connection["target"], set()).add(connection["source"])
    found: dict[str, set[str]] = {}
    for node_id in sources:
        todo, reached = [node_id], set[str]()
        while todo:
            new = sources.get(todo.pop(), set()) - reached
            reached |= new
            todo += new
        found[node_id] = reached
    return found


def _serials(output: Any) -> set[int]:
    outputs = output.values() if isinstance(output, dict) else ()
    items = [item["json"] for items in outputs for item in items]
    return {item["serial"] for item in items if isinstance(item.get("serial"), int)}
