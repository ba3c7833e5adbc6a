"""What expressions see, as the Python side looks it up: the same data that a program gets as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from workflow.spec import Item, Items, Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Another node as expressions see it: its items by output handle, as its last completed run gave them.

    `paired` has an entry for each item of the node whose config it is: the handle and the index of the item of this
    other node that it descends from, or None.
    """

    outputs: Outputs
    paired: Sequence[tuple[str, int] | None] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the expressions of one attempt see, whichever item they are evaluated for."""

    items: Items
    run_index: int
    execution: Mapping[str, Any]
    workflow: Mapping[str, Any]
    variables: Mapping[str, Any]
    environment: Mapping[str, str]
    nodes: Mapping[str, NodeView]


class Scope:
    """What the expressions of one item see, and what the engine gave for them (by placeholder, then by item)."""

    __slots__ = ("columns", "index", "json", "view")

    def __init__(self, view: View, index: int, columns: Mapping[int, Sequence[Any]]) -> None:
        self.view = view
        self.index = index
        self.columns = columns
        self.json: Any = view.items[index]["json"] if view.items else {}

    def move(self, index: int) -> None:
        """See another item from now on."""
        self.index = index
        self.json = self.view.items[index]["json"]


class ScriptFailure(Exception):
    """An expression failed as JavaScript would fail; the text is `type: message`."""


def all_items(outputs: Outputs) -> Items:
    """Return the items of all handles, in the order of the handles."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [item for items in outputs.values() for item in items]


def node_of(view: View, name: str) -> NodeView:
    """Return the node that is called so. Raises `ScriptFailure` where it has not completed."""
    found = view.nodes.get(name)
    if found is None:
        raise ScriptFailure(f"Error: the node {_quoted(name)} has not been executed")
    return found


def item_of(view: View, name: str, index: int) -> Item:
    """Return the item of another node that item `index` descends from; a node that gave one item gave that one.

    Raises `ScriptFailure` where that is not known.
    """
    found = node_of(view, name)
    pair = found.paired[index] if index < len(found.paired) else None
    if pair is not None:
        items = found.outputs.get(pair[0], [])
        if pair[1] < len(items):
            return items[pair[1]]
    items = all_items(found.outputs)
    if len(items) != 1:
        raise ScriptFailure(
            f"Error: the node {_quoted(name)} gave {len(items)} items and it is not known which of them this item comes from"
        )
    return items[0]


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()
