"""Hypothesis strategies: random plans, without and with cycles."""

from hypothesis import assume
from hypothesis import strategies as st

from tests.graphs import drawing_catalog
from workflow.asking import AskPolicy
from workflow.document import Connection, Document, Node, WorkflowSettings
from workflow.plan import Plan, make_plan
from workflow.regions import ReturnsFromOutside, TwoEntries

KINDS = ("draw.pure", "draw.pure", "draw.branch", "draw.effect", "draw.once", "draw.wait")
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


BODIES = {"draw.loop": "loop", "draw.try": "try"}
ALL_HANDLES = {**HANDLES, "draw.loop": ("loop", "done"), "draw.try": ("try", "catch", "done")}
RETRY = {"max_attempts": 2, "backoff": "fixed", "initial_ms": 5, "max_ms": 5}


@st.composite
def cyclic_plans(draw: st.DrawFn, nodes_max: int = 10) -> Plan:
    """A random plan with loops, tries, cycles by hand, retries, errors that go on, limits on parallel nodes and runs.

    Connections mostly go forward; a few lead back. Graphs that the compiler refuses are not drawn.
    """
    count = draw(st.integers(2, nodes_max))
    kinds = ["draw.trigger"] + [draw(st.sampled_from((*KINDS, *BODIES, *BODIES))) for _ in range(count - 1)]
    connections: dict[tuple[int, int, str], None] = {}
    for target in range(1, count):
        for source in sorted(draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=2))):
            # The first handle opens a body, so it is drawn more often.
            handles = ALL_HANDLES.get(kinds[source], ("main",))
            connections[source, target, draw(st.sampled_from((handles[0], handles[0], *handles)))] = None
    for _ in range(draw(st.integers(0, 3))):
        source = draw(st.integers(1, count - 1))
        target = draw(st.integers(1, source))
        if source != target:
            connections[source, target, draw(st.sampled_from(ALL_HANDLES.get(kinds[source], ("main",))))] = None
    nodes = [
        Node(
            id=f"n{i}",
            type=kind,
            on_error=draw(st.sampled_from(["stop", "stop", "continue", "error_output", "ask"])) if i else "stop",
            ask=AskPolicy(timeout_ms=1_000) if draw(st.booleans()) else None,
            retry=RETRY if draw(st.integers(0, 4)) == 4 else None,
            disabled=i > 0 and draw(st.integers(0, 9)) == 9,
            timeout_ms=draw(st.sampled_from([None, 3, 100])) if kind == "draw.wait" else None,
        )
        for i, kind in enumerate(kinds)
    ]
    document = Document(
        name="random",
        nodes=nodes,
        connections=[Connection(source=f"n{s}", target=f"n{t}", sourceHandle=h) for s, t, h in connections],
        settings=WorkflowSettings(
            cycles="allow",
            max_node_runs=draw(st.integers(1, 4)),
            max_parallel_nodes=draw(st.sampled_from([0, 0, 1, 2])),
        ),
    )
    try:
        return make_plan(document, drawing_catalog())
    except (TwoEntries, ReturnsFromOutside):
        assume(False)
        raise
