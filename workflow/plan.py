"""The plan: a document turned into what the engine walks over. Deterministic: the same document makes the same plan.

Nodes are numbered in the order of the document; everything hot refers to them by number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow.config import ConfigTemplate
from workflow.document import Document, Resources
from workflow.ports import Isolation
from workflow.spec import Catalog, Effect, NodeType


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection, seen from its target."""

    source: int
    source_handle: str
    target: int
    target_handle: str


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node of the plan."""

    index: int
    id: str
    name: str
    type: NodeType
    config: dict[str, Any]
    template: ConfigTemplate = field(repr=False, compare=False)
    timeout_ms: int
    resources: Resources
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    start: bool
    """Whether it begins the execution: it gets the execution's input."""

    @property
    def effect(self) -> Effect:
        """What it does to the world outside."""
        return self.type.spec.effect


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine walks over."""

    name: str
    nodes: tuple[PlanNode, ...]
    isolation: Isolation
    by_id: Mapping[str, int] = field(repr=False)


def make_plan(document: Document, catalog: Catalog) -> Plan:
    """Make the plan of a document that compiles without errors.

    An execution starts at the triggers, or, where there is none, at every node without an incoming connection.
    Raises `KeyError` for a node type or a connection that `compile_document` would have refused.
    """
    by_id = {node.id: index for index, node in enumerate(document.nodes)}
    incoming: list[list[Edge]] = [[] for _ in document.nodes]
    outgoing: list[list[Edge]] = [[] for _ in document.nodes]
    for c in document.connections:
        edge = Edge(by_id[c.source], c.sourceHandle, by_id[c.target], c.targetHandle)
        incoming[edge.target].append(edge)
        outgoing[edge.source].append(edge)
    types = [catalog.get(node.type) for node in document.nodes]
    has_trigger = any(t is not None and t.spec.trigger for t in types)
    nodes = []
    for index, (node, node_type) in enumerate(zip(document.nodes, types, strict=True)):
        if node_type is None:
            raise KeyError(node.type)
        nodes.append(
            PlanNode(
                index=index,
                id=node.id,
                name=node.name or node_type.spec.title,
                type=node_type,
                config=node.config,
                template=ConfigTemplate(node.config, node_type.spec),
                timeout_ms=node.timeout_ms or node_type.spec.timeout_ms,
                resources=node.resources,
                inputs=tuple(incoming[index]),
                outputs=tuple(outgoing[index]),
                start=node_type.spec.trigger if has_trigger else not incoming[index],
            )
        )
    return Plan(name=document.name, nodes=tuple(nodes), isolation=document.settings.isolation, by_id=by_id)
