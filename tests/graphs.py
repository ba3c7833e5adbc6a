"""Graphs are drawn: `graph("a -> b -> d; a:true -> c -> d")`. A letter is a node, `:` names an output handle.

A node with a drawn handle gets the handles `true` and `false`; the name of a node decides its effect: `fx…` is visible
outside, `once…` may start at most once, everything else is pure.
"""

from collections.abc import Iterable
from itertools import pairwise

from workflow.document import Connection, Document, Node
from workflow.plan import Plan, make_plan
from workflow.spec import Catalog, Effect, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs


async def pass_through(_context: NodeContext, _config: JsonObject, items: Items) -> Outputs:
    return {"main": items}


async def take_true(_context: NodeContext, _config: JsonObject, items: Items) -> Outputs:
    return {"true": items, "false": []}


def node_type(
    name: str, outputs: tuple[str, ...] = ("main",), effect: Effect = Effect.PURE, *, trigger: bool = False
) -> NodeType:
    spec = NodeSpec(
        type=name,
        title=name,
        category="test",
        description="a node of a drawing",
        config_schema={"type": "object"},
        outputs=outputs,
        effect=effect,
        trigger=trigger,
    )
    return NodeType(spec, pass_through if "main" in outputs else take_true)


def drawing_catalog() -> Catalog:
    types = [
        node_type("draw.pure"),
        node_type("draw.branch", ("true", "false")),
        node_type("draw.effect", effect=Effect.EFFECT),
        node_type("draw.once", effect=Effect.AT_MOST_ONCE),
        node_type("draw.trigger", trigger=True),
    ]
    return Catalog({t.spec.type: t for t in types})


def document(drawing: str, alone: Iterable[str] = ()) -> Document:
    branching: set[str] = set()
    names: dict[str, None] = dict.fromkeys(alone)
    connections = []
    for chain in filter(None, (part.strip() for part in drawing.split(";"))):
        ends = [end.strip().partition(":") for end in chain.split("->")]
        names.update(dict.fromkeys(name for name, _, _ in ends))
        branching.update(name for name, _, handle in ends if handle)
        for (source, _, handle), (target, _, _) in pairwise(ends):
            connections.append(Connection(source=source, target=target, sourceHandle=handle or "main"))
    nodes = [Node(id=name, type=_type(name, name in branching)) for name in names]
    return Document(name="drawn", nodes=nodes, connections=connections)


def graph(drawing: str, alone: Iterable[str] = ()) -> Plan:
    return make_plan(document(drawing, alone), drawing_catalog())


def _type(name: str, branching: bool) -> str:
    if branching:
        return "draw.branch"
    for prefix, kind in (("fx", "draw.effect"), ("once", "draw.once"), ("start", "draw.trigger")):
        if name.startswith(prefix):
            return kind
    return "draw.pure"
