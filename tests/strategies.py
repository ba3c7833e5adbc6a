"""Hypothesis strategies: random plans, and random histories of them."""

from hypothesis import strategies as st

from tests.graphs import drawing_catalog
from workflow.document import Connection, Document, Node
from workflow.plan import Plan, make_plan

KINDS = ("draw.pure", "draw.pure", "draw.branch", "draw.effect", "draw.once")
HANDLES = {"draw.branch": ("true", "false")}


@st.composite
def plans(draw: st.DrawFn, nodes_max: int = 12) -> Plan:
    """A random acyclic plan: connections go from lower to higher numbers, each from a handle that its source has."""
    count = draw(st.integers(1, nodes_max))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(count)]
    connections = []
    for target in range(1, count):
        for source in sorted(draw(st.sets(st.integers(0, target - 1), max_size=min(4, target)))):
            handle = draw(st.sampled_from(HANDLES.get(kinds[source], ("main",))))
            connections.append(Connection(source=f"n{source}", target=f"n{target}", sourceHandle=handle))
    order = draw(st.permutations(range(count)))
    nodes = [Node(id=f"n{i}", type=kinds[i]) for i in order]
    return make_plan(Document(name="random", nodes=nodes, connections=connections), drawing_catalog())
