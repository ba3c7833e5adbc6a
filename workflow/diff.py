"""What changed between two documents: nodes by id, connections, and everything else field by field.

Two documents are functionally the same when they differ only in how they look: positions, the names that people gave to nodes and
workflow, the viewport. Fields of nodes are compared by whatever names they have, so that a new one needs no change here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from workflow.document import Document

LOOKS_OF_NODES = frozenset({"name", "position"})
LOOKS_OF_DOCUMENTS = frozenset({"name", "viewport"})
COMPARED_APART = frozenset({"nodes", "connections"})


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; None stands for what is absent, too."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that both documents have, and the fields in which it differs."""

    node_id: str
    fields: Sequence[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What changed. `order_changed` says that what both have comes in another order, which may order a join's items anew."""

    functional: bool
    nodes_added: Sequence[Mapping[str, Any]]
    nodes_removed: Sequence[Mapping[str, Any]]
    nodes_changed: Sequence[NodeChange]
    connections_added: Sequence[Mapping[str, Any]]
    connections_removed: Sequence[Mapping[str, Any]]
    fields_changed: Sequence[Change]
    order_changed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as JSON."""
        return asdict(self)


def compare(before: Document, after: Document, show: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Diff:
    """Return what became of the first document in the second. Ids of nodes are unique in each, as in all that compiles.

    `show` says what is told of a node. Nodes are compared as they are: that a secret is another one is told, but neither of them.
    """
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    old_nodes = {node["id"]: node for node in old["nodes"]}
    new_nodes = {node["id"]: node for node in new["nodes"]}
    nodes_changed = [
        NodeChange(identity, _shown(changes, show(old_nodes[identity]), show(node)))
        for identity, node in new_nodes.items()
        if identity in old_nodes and (changes := _changes(old_nodes[identity], node))
    ]
    nodes_added = [show(node) for identity, node in new_nodes.items() if identity not in old_nodes]
    nodes_removed = [show(node) for identity, node in old_nodes.items() if identity not in new_nodes]
    connections_added = _beyond(new["connections"], old["connections"])
    connections_removed = _beyond(old["connections"], new["connections"])
    fields_changed = _changes(_fields(old), _fields(new))
    order_changed = _order(old_nodes, new_nodes) != _order(new_nodes, old_nodes) or (
        not connections_added and not connections_removed and old["connections"] != new["connections"]
    )
    return Diff(
        functional=bool(nodes_added or nodes_removed or connections_added or connections_removed or order_changed)
        or any(change.field not in LOOKS_OF_NODES for node in nodes_changed for change in node.fields)
        or any(change.field not in LOOKS_OF_DOCUMENTS for change in fields_changed),
        nodes_added=nodes_added,
        nodes_removed=nodes_removed,
        nodes_changed=nodes_changed,
        connections_added=connections_added,
        connections_removed=connections_removed,
        fields_changed=fields_changed,
        order_changed=order_changed,
    )


def _shown(changes: Iterable[Change], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [Change(each.field, before.get(each.field), after.get(each.field)) for each in changes]


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's other fields, each of the settings under a name of its own."""
    others = {name: value for name, value in document.items() if name not in COMPARED_APART | {"settings"}}
    return {**others, **{f"settings.{name}": value for name, value in document["settings"].items()}}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    names = dict.fromkeys((*before, *after))
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return [Change(name, old, new) for name, old, new in pairs if _written(old) != _written(new)]


def _beyond(these: Iterable[Mapping[str, Any]], those: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what is in the first list and not, or not as often, in the second."""
    left = Counter(map(_written, those))
    found = []
    for one in these:
        key = _written(one)
        if left[key]:
            left[key] -= 1
        else:
            found.append(one)
    return found


def _order(nodes: Iterable[str], others: Mapping[str, Any]) -> list[str]:
    return [identity for identity in nodes if identity in others]


def _written(value: Any) -> bytes:
    """Return a text that is the same for equal values only: in Python 1, 1.0 and True are equal, in a config they are not."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
