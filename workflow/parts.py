"""Parts of a document that can be executed by themselves: up to a node, or one node with data given to it.

A part is a document like others. It keeps the settings of the whole, apart from its error workflow: who tries a part looks at it.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from workflow.config import ConfigTemplate
from workflow.document import Connection, Document, Node, OnError
from workflow.errors import Unprocessable
from workflow.spec import ERROR, Catalog, NodeType

Objects: TypeAlias = list[dict[str, Any]]
Given: TypeAlias = Mapping[str, Objects | Mapping[str, Objects]]
"""By node: the objects that it gives, or these by output."""

STARTING = "trigger.manual"
"""The type of the node that begins the execution of one node; it passes the input on."""
PASSING = "logic.noop"
"""The type that a trigger has where it only stands for its data."""


def until(document: Document, node_id: str) -> Document:
    """Return the part up to and with a node: it and all from which some way leads to it. Raises `Unprocessable`."""
    _node(document, node_id)
    before: dict[str, set[str]] = {}
    for connection in document.connections:
        before.setdefault(connection.target, set()).add(connection.source)
    wanted, todo = {node_id}, [node_id]
    while todo:
        found = before.get(todo.pop(), set()) - wanted
        wanted |= found
        todo.extend(found)
    connections = [c for c in document.connections if c.source in wanted and c.target in wanted]
    return _part(document, [node for node in document.nodes if node.id in wanted], connections)


def sources(document: Document, node_id: str) -> list[str]:
    """Return the nodes that give items to a node directly, in the order of the connections. Raises `Unprocessable`."""
    _node(document, node_id)
    return list(dict.fromkeys(c.source for c in document.connections if c.target == node_id))


def alone(document: Document, node_id: str, catalog: Catalog, given: Given, *, from_input: bool) -> Document:
    """Return one node, with others around it that give data and do no work. The node itself does, also where data are pinned at it.

    With `from_input` its items are the input of the execution; else its sources give them: what is given, or what is pinned at
    them, or nothing. The nodes that its expressions name give the same data to these, and nothing to the node. Raises
    `Unprocessable`: no such node, a type that is not there, data given for a node that is neither.
    """
    node = _node(document, node_id)
    spec = _type(catalog, node).spec
    direct = [] if from_input or spec.trigger else sources(document, node_id)
    named = [name for name in _named(document, node, catalog) if name not in direct]
    _check_used(document, node_id, given, {*direct, *named})
    worker = node.model_copy(update={"pinned": None})
    if spec.trigger:
        return _alone(document, [worker], [])
    first, entry = _unused_id(document), _entry(catalog, node)
    nodes, connections = [Node(id=first, type=STARTING), worker], []
    for each in document.nodes:
        if each.id in direct or each.id in named:
            stand_in = _standing_in(document, each, node_id, catalog, given)
            connections.append(Connection(source=first, target=each.id, targetHandle=_entry(catalog, stand_in)))
            if each.id in named:  # before the node, but nothing ever comes over this output of what is pinned
                stand_in = stand_in.model_copy(update={"on_error": OnError.ERROR_OUTPUT})
                connections.append(Connection(source=each.id, target=node_id, sourceHandle=ERROR, targetHandle=entry))
            nodes.append(stand_in)
    connections += [c for c in document.connections if c.target == node_id and c.source in direct]
    if from_input:
        connections.append(Connection(source=first, target=node_id, targetHandle=entry))
    return _alone(document, nodes, connections)


def _standing_in(document: Document, node: Node, for_id: str, catalog: Catalog, given: Given) -> Node:
    """Return a node that gives what is given for it, or what is pinned at it, or nothing."""
    node_type = _type(catalog, node)
    outputs: Any = node.pinned or {}
    if node.id in given:
        found = given[node.id]
        used = [c.sourceHandle for c in document.connections if (c.source, c.target) == (node.id, for_id)]
        handles = dict.fromkeys(used or node_type.outputs(node.config)[:1])
        outputs = dict.fromkeys(handles, found) if isinstance(found, list) else found
    of_trigger = {"type": PASSING, "config": {}} if node_type.spec.trigger else {}
    apart = {"disabled": False, "retry": None, "name": node.name or node_type.spec.title}
    return node.model_copy(update={"pinned": outputs, **apart, **of_trigger})


def _named(document: Document, node: Node, catalog: Catalog) -> list[str]:
    """Return the other nodes that a node's expressions name. Raises `BadInput` where they do not parse."""
    names = ConfigTemplate(node.config, _type(catalog, node).spec).references
    return [
        each.id
        for each in document.nodes
        if each.id != node.id and (each.id in names or (each.name or _type(catalog, each).spec.title) in names)
    ]


def _check_used(document: Document, node_id: str, given: Given, used: set[str]) -> None:
    unused = sorted(set(given) - used)
    if unused:
        _node(document, unused[0])
        message = f"{unused[0]!r} neither gives items to {node_id!r} nor is named in it: its data would not be used"
        raise Unprocessable(message, "data_not_used", {"node_ids": unused})


def _entry(catalog: Catalog, node: Node) -> str:
    return _type(catalog, node).inputs(node.config)[0]


def _unused_id(document: Document) -> str:
    taken = {node.id for node in document.nodes} | {node.name for node in document.nodes}
    found = "input"
    while found in taken:
        found += "_"
    return found


def _alone(document: Document, nodes: list[Node], connections: list[Connection]) -> Document:
    return _part(document, nodes, connections).model_copy(update={"input_schema": {}})


def _part(document: Document, nodes: list[Node], connections: list[Connection]) -> Document:
    settings = document.settings.model_copy(update={"error_workflow": None})
    return document.model_copy(
        update={"nodes": nodes, "connections": connections, "settings": settings, "viewport": {}}
    )


def _node(document: Document, node_id: str) -> Node:
    found = next((node for node in document.nodes if node.id == node_id), None)
    if found is None:
        raise Unprocessable(f"the workflow has no node {node_id!r}", "no_such_node", {"node_id": node_id})
    return found


def _type(catalog: Catalog, node: Node) -> NodeType:
    found = catalog.get(node.type)
    if found is None:
        raise Unprocessable(f"there is no node type {node.type!r}", "invalid_node_type", {"node_id": node.id})
    return found
