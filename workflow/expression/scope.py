"""What expressions see, as the Python side looks it up: the same data that a program gets as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from workflow.spec import Item, Items, JsonObject, Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Another node as expressions see it: its items by output handle, as its last completed run gave them.

    `paired` has an entry for each item of the node whose config it is: the handle and the index of the item of this
    other node that it descends from, or None.
    """

    outputs: Outputs
    paired: Sequence[tuple[str, int] | None] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the expressions of one attempt see. All of it is data: none of it is ever parsed."""

    items: Items
    execution_id: UUID
    workflow_id: UUID | None
    workflow_name: str
    run_index: int = 0
    now_ms: int = 0
    timezone: str = "UTC"
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    """The nodes that the template refers to and that have completed, under the names that it uses (name or id)."""
    variables: JsonObject = field(default_factory=dict)
    """`$vars`: the variables of the workspace."""
    environment: dict[str, str] = field(default_factory=dict)
    """`$env`: what the deployment lets workflows see of its environment."""
    links: Mapping[str, str] = field(default_factory=dict)
    """By node name and id: where what the node asks is answered."""
    seed: str = ""
    """Chance for `uuid()` and `Math.random()`; without it they are the same in every attempt of the execution."""

    @property
    def execution(self) -> JsonObject:
        """`$execution`."""
        links = {"resume_url": dict(self.links)} if self.links else {}
        return {"id": str(self.execution_id), "runIndex": self.run_index, **links}

    @property
    def workflow(self) -> JsonObject:
        """`$workflow`."""
        return {"id": str(self.workflow_id) if self.workflow_id else None, "name": self.workflow_name}


class Scope:
    """What the expressions of one item see, and what the engine gave for them (by placeholder, then by item)."""

    __slots__ = ("columns", "frame", "index", "json")

    def __init__(self, frame: Frame, index: int, columns: Mapping[int, Sequence[Any]]) -> None:
        self.frame = frame
        self.index = index
        self.columns = columns
        self.json: Any = frame.items[index]["json"] if frame.items else {}

    def move(self, index: int) -> None:
        """See another item from now on."""
        self.index = index
        self.json = self.frame.items[index]["json"]


class ScriptFailure(Exception):
    """An expression failed as JavaScript would fail; the text is `type: message`."""


def all_items(outputs: Outputs) -> Items:
    """Return the items of all handles, in the order of the handles."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [item for items in outputs.values() for item in items]


def node_of(frame: Frame, name: str) -> NodeView:
    """Return the node that is called so. Raises `ScriptFailure` where it has not completed."""
    found = frame.nodes.get(name)
    if found is None:
        raise ScriptFailure(f"Error: the node {_quoted(name)} has not been executed")
    return found


def item_of(frame: Frame, name: str, index: int) -> Item:
    """Return the item of another node that item `index` descends from; a node that gave one item gave that one.

    Raises `ScriptFailure` where that is not known.
    """
    found = node_of(frame, name)
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
