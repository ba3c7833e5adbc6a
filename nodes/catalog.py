"""Finds the node types that there are: modules of this package with a `NODE_TYPE`, and entry points of others."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import nodes
from workflow.errors import Bug
from workflow.spec import Catalog, NodeType

ENTRY_POINT_GROUP = "rayloom.nodes"


def load_catalog() -> Catalog:
    """Collect every node type. An entry point names a `NodeType` or an iterable of them.

    Raises `Bug` where two have the same type name, or an entry point does not load or is something else.
    """
    return _catalog([*_own(), *_others()])


def load_own() -> Catalog:
    """Collect the node types that come with Rayloom."""
    return _catalog(_own())


def _catalog(found: Iterable[tuple[str, NodeType]]) -> Catalog:
    types: dict[str, NodeType] = {}
    origins: dict[str, str] = {}
    for origin, node_type in found:
        name = node_type.spec.type
        if name in types:
            raise Bug(f"node type {name} exists twice: in {origins[name]} and in {origin}", "duplicate_node_type")
        types[name], origins[name] = node_type, origin
    return Catalog(types)


def _own() -> Iterator[tuple[str, NodeType]]:
    for module_info in pkgutil.iter_modules(nodes.__path__, "nodes."):
        if module_info.ispkg or module_info.name == __name__:
            continue
        node_type = getattr(importlib.import_module(module_info.name), "NODE_TYPE", None)
        if isinstance(node_type, NodeType):
            yield module_info.name, node_type


def _others() -> Iterator[tuple[str, NodeType]]:
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        for node_type in _loaded(entry_point):
            yield f"entry point {entry_point.name}", node_type


def _loaded(entry_point: EntryPoint) -> list[NodeType]:
    try:
        value: Any = entry_point.load()
    except Exception as error:
        message = f"entry point {entry_point.name} of {ENTRY_POINT_GROUP} does not load: {error}"
        raise Bug(message, "bad_entry_point") from error
    found = [value] if isinstance(value, NodeType) else list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(each, NodeType) for each in found):
        message = f"entry point {entry_point.name} of {ENTRY_POINT_GROUP} is not a NodeType nor several of them"
        raise Bug(message, "bad_entry_point")
    return found
