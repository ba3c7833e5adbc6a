"""The plan: a document turned into what the engine walks over. Deterministic: the same document makes the same plan.

Nodes and connections are numbered in the order of the document; everything hot refers to them by number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from workflow.asking import AskPolicy
from workflow.budgets import Budget
from workflow.config import ConfigTemplate
from workflow.document import BudgetSettings, Document, ErrorTrigger, Node, OnError, Resources
from workflow.ports import Isolation
from workflow.regions import Link, Regions, find_regions
from workflow.retry import RetryPolicy
from workflow.spec import ERROR, Catalog, Config, Effect, Item, Items, NodeContext, NodeFunction, NodeType, Outputs


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection. `position` is its place in the document."""

    position: int
    source: int
    source_handle: str
    target: int
    target_handle: str


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node of the plan. Its edges are those that items can pass: from sources that some start leads to."""

    index: int
    id: str
    name: str
    type: NodeType
    config: dict[str, Any]
    template: ConfigTemplate = field(repr=False, compare=False)
    handles: tuple[str, ...]
    """Its output handles, with `error` where it has one."""
    timeout_ms: int
    """How long its function may run at once."""
    limit_ms: int
    """How long an attempt may take in all, what it waits for included; 0 where the document sets no limit to what waits."""
    resources: Resources
    retry: RetryPolicy | None
    on_error: OnError
    ask: AskPolicy
    """Who is asked about its failure, where its `on_error` says so."""
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    start: bool
    """Whether it begins the execution: it gets the execution's input."""
    idle: str = ""
    """Why its work is not done: `disabled` or `pinned`."""
    at_most_once: bool = False
    """Whether the document wants it never to be started twice."""

    @property
    def effect(self) -> Effect:
        """What it does to the world outside."""
        if self.idle:
            return Effect.PURE
        return Effect.AT_MOST_ONCE if self.at_most_once else self.type.spec.effect


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine walks over."""

    name: str
    nodes: tuple[PlanNode, ...]
    edges: tuple[Edge, ...]
    regions: Regions = field(repr=False)
    isolation: Isolation
    timeout_ms: int
    max_parallel_nodes: int
    max_node_runs: int
    timezone: str
    error_workflow: UUID | None
    error_trigger: ErrorTrigger
    budget: Budget
    """How much of models an execution may use."""
    by_id: Mapping[str, int] = field(repr=False)
    ends: frozenset[int] = field(repr=False)
    """Nodes that nothing follows, apart from their own bodies: what they give is the execution's output."""
    kept: frozenset[int] = field(repr=False)
    """Nodes whose results may be needed until the execution ends; those of the others, until what follows them has settled."""


def make_plan(document: Document, catalog: Catalog) -> Plan:
    """Make the plan of a document that compiles without errors.

    An execution starts at the triggers, or, where there is none, at every node without an incoming connection. A disabled
    trigger starts nothing. Raises `KeyError` for a node type or a connection that `Compiler.compile` would have refused,
    `TwoEntries` and `ReturnsFromOutside` for cycles that it would have refused, `BadInput` for an expression.
    """
    by_id = {node.id: index for index, node in enumerate(document.nodes)}
    types = [_type(catalog, node) for node in document.nodes]
    edges = tuple(
        Edge(position, by_id[c.source], c.sourceHandle, by_id[c.target], c.targetHandle)
        for position, c in enumerate(document.connections)
    )
    starts = _starts(document, types, {edge.target for edge in edges})
    bodies = frozenset(i for i, t in enumerate(types) if t.spec.body and not _idle(document.nodes[i]))
    links = [
        Link(e.source, e.target, e.source in bodies and e.source_handle == types[e.source].spec.body) for e in edges
    ]
    regions = find_regions(len(types), links, sorted(starts), bodies)
    incoming: list[list[Edge]] = [[] for _ in types]
    outgoing: list[list[Edge]] = [[] for _ in types]
    for edge in edges:
        if regions.region_of[edge.source] >= 0:
            incoming[edge.target].append(edge)
            outgoing[edge.source].append(edge)
    nodes = [
        _plan_node(index, node, types[index], incoming[index], outgoing[index], start=index in starts)
        for index, node in enumerate(document.nodes)
    ]
    return Plan(
        name=document.name,
        nodes=tuple(nodes),
        edges=edges,
        regions=regions,
        isolation=document.settings.isolation,
        timeout_ms=document.settings.timeout_ms,
        max_parallel_nodes=document.settings.max_parallel_nodes,
        max_node_runs=document.settings.max_node_runs,
        timezone=document.settings.timezone,
        error_workflow=document.settings.error_workflow,
        error_trigger=document.settings.error_trigger,
        budget=_budget(document.settings.budget),
        by_id=by_id,
        ends=(ends := frozenset(node.index for node in nodes if _is_end(node, nodes, regions))),
        kept=ends | _kept(nodes, regions),
    )


def _budget(written: BudgetSettings) -> Budget:
    usd = None if written.usd is None else Decimal(str(written.usd))  # as it was written, not as it is stored in binary
    return Budget(usd=usd, tokens=written.tokens)


def _is_end(node: PlanNode, nodes: Sequence[PlanNode], regions: Regions) -> bool:
    """Whether nothing follows a node, apart from its own body, or from another round of a cycle by hand."""
    number = regions.headed_by.get(node.index)
    own = regions.regions[number].enters if number is not None and _has_body(node) else ()
    return all(
        edge.position in own or (edge.position in regions.returning and not _has_body(nodes[edge.target]))
        for edge in node.outputs
    )


def _has_body(node: PlanNode) -> bool:
    return bool(node.type.spec.body) and not node.idle


def _kept(nodes: Sequence[PlanNode], regions: Regions) -> set[int]:
    """Return the nodes that respond, that lead to the header of a cycle, that expressions name, or that these look through.

    An expression that names another node looks back through all nodes before its own, to find which items belong together.
    """
    named = frozenset[str]().union(*(node.template.references for node in nodes))
    kept = {node.index for node in nodes if node.type.spec.responds}
    kept.update(node.index for node in nodes if node.id in named or node.name in named)
    kept.update(edge.source for header in regions.headed_by for edge in nodes[header].inputs)
    seen: set[int] = set()
    todo = [node.index for node in nodes if node.template.references]
    while todo:
        before = {edge.source for edge in nodes[todo.pop()].inputs} - seen
        seen |= before
        todo.extend(before)
    return kept | seen


def _type(catalog: Catalog, node: Node) -> NodeType:
    found = catalog.get(node.type)
    if found is None:
        raise KeyError(node.type)
    return found


def _idle(node: Node) -> str:
    if node.disabled:
        return "disabled"
    return "" if node.pinned is None else "pinned"


def _starts(document: Document, types: list[NodeType], with_input: set[int]) -> set[int]:
    triggers = {index for index, found in enumerate(types) if found.spec.trigger}
    if triggers:
        return {index for index in triggers if not document.nodes[index].disabled}
    return set(range(len(types))) - with_input


def _plan_node(
    index: int, node: Node, node_type: NodeType, incoming: list[Edge], outgoing: list[Edge], *, start: bool
) -> PlanNode:
    idle = _idle(node)
    handles = node_type.outputs(node.config)
    if node.on_error is OnError.ERROR_OUTPUT:
        handles = (*handles, ERROR)
    config = {} if idle else node.config
    runs = node_type
    if node.disabled:
        runs = NodeType(node_type.spec, _pass_on(handles[0]))
    elif node.pinned is not None:
        runs = NodeType(node_type.spec, _give(node.pinned))
    return PlanNode(
        index=index,
        id=node.id,
        name=node.name or node_type.spec.title,
        type=runs,
        config=config,
        template=ConfigTemplate(config, node_type.spec),
        handles=handles,
        timeout_ms=node.timeout_ms or node_type.spec.timeout_ms,
        limit_ms=(node.timeout_ms or 0) if node_type.spec.suspends else 0,
        resources=node.resources,
        retry=node.retry,
        on_error=node.on_error,
        ask=node.ask or AskPolicy(),
        inputs=tuple(incoming),
        outputs=tuple(outgoing),
        start=start,
        idle=idle,
        at_most_once=node.at_most_once,
    )


def _pass_on(handle: str) -> NodeFunction:
    async def run(_context: NodeContext, _config: Config, items: Items) -> Outputs:
        return {handle: [Item(**{**item, "paired_item": index}) for index, item in enumerate(items)]}

    return run


def _give(pinned: Mapping[str, list[dict[str, Any]]]) -> NodeFunction:
    async def run(_context: NodeContext, _config: Config, _items: Items) -> Outputs:
        return {handle: [Item(json=each) for each in objects] for handle, objects in pinned.items()}

    return run
