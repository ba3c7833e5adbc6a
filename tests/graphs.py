"""Graphs are drawn: `graph("a -> b -> d; a:true -> c -> d")`. A letter is a node, `:` names an output handle.

A node with a drawn handle gets the handles `true` and `false`; the name of a node decides about it: `fx…` is visible
outside, `once…` may start at most once, `wait…` may wait, `loop…` has a body behind `:loop` and ends with `:done`, `try…` has a
body behind `:try` and catches its failures, then giving `:catch` or `:done`; everything else is pure. `nodes` adds fields to nodes by name.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from workflow.document import Connection, Document, Node, WorkflowSettings
from workflow.plan import Plan, make_plan
from workflow.spec import Catalog, Config, Effect, Items, NodeContext, NodeFunction, NodeSpec, NodeType, Outputs


async def pass_through(_context: NodeContext, _config: Config, items: Items) -> Outputs:
    return {"main": items}


async def three_rounds(context: NodeContext, _config: Config, items: Items) -> Outputs:
    """Loop three times over what came in, then give all that was returned."""
    assert context.round is not None
    if context.round.number < 3:
        return {"loop": context.round.entered}
    return {"done": context.round.collected if context.round.returns else context.round.entered}


async def try_once(context: NodeContext, _config: Config, items: Items) -> Outputs:
    assert context.round is not None
    if context.round.caught is not None:
        return {"catch": [{"json": {"code": context.round.caught.code, "node_id": context.round.caught.node_id}}]}
    return {"try": items} if context.round.number == 0 else {"done": context.round.returned or context.round.entered}


async def take_true(_context: NodeContext, _config: Config, items: Items) -> Outputs:
    return {"true": items, "false": []}


def node_type(
    name: str,
    outputs: tuple[str, ...] = ("main",),
    effect: Effect = Effect.PURE,
    *,
    trigger: bool = False,
    body: str = "",
    catches: bool = False,
    suspends: bool = False,
    run: NodeFunction | None = None,
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
        body=body,
        catches=catches,
        suspends=suspends,
    )
    return NodeType(spec, run or (pass_through if "main" in outputs else take_true))


def drawing_catalog() -> Catalog:
    types = [
        node_type("draw.pure"),
        node_type("draw.branch", ("true", "false")),
        node_type("draw.effect", effect=Effect.EFFECT),
        node_type("draw.once", effect=Effect.AT_MOST_ONCE),
        node_type("draw.wait", effect=Effect.EFFECT, suspends=True),
        node_type("draw.trigger", trigger=True),
        node_type("draw.loop", ("loop", "done"), body="loop", run=three_rounds),
        node_type("draw.try", ("try", "catch", "done"), body="try", catches=True, run=try_once),
    ]
    return Catalog({t.spec.type: t for t in types})


def document(
    drawing: str, alone: Iterable[str] = (), nodes: Mapping[str, dict[str, Any]] | None = None, **settings: Any
) -> Document:
    branching: set[str] = set()
    names: dict[str, None] = dict.fromkeys(alone)
    connections = []
    for chain in filter(None, (part.strip() for part in drawing.split(";"))):
        ends = [end.strip().partition(":") for end in chain.split("->")]
        names.update(dict.fromkeys(name for name, _, _ in ends))
        branching.update(name for name, _, handle in ends if handle)
        for (source, _, handle), (target, _, _) in pairwise(ends):
            connections.append(Connection(source=source, target=target, sourceHandle=handle or "main"))
    extra = nodes or {}
    made = [Node(id=name, type=_type(name, name in branching), **extra.get(name, {})) for name in names]
    return Document(name="drawn", nodes=made, connections=connections, settings=WorkflowSettings(**settings))


def graph(
    drawing: str, alone: Iterable[str] = (), nodes: Mapping[str, dict[str, Any]] | None = None, **settings: Any
) -> Plan:
    return make_plan(document(drawing, alone, nodes, **settings), drawing_catalog())


def _type(name: str, branching: bool) -> str:
    prefixes = {
        "fx": "draw.effect",
        "once": "draw.once",
        "wait": "draw.wait",
        "start": "draw.trigger",
        "loop": "draw.loop",
        "try": "draw.try",
    }
    for prefix, kind in prefixes.items():
        if name.startswith(prefix):
            return kind
    return "draw.branch" if branching else "draw.pure"
