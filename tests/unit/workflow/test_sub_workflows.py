"""Workflows that execute workflows: circles, depth, what is not there; drawn, and against a walk along every way."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import node_type
from workflow.document import parse_document
from workflow.findings import Severity
from workflow.lifecycle import EXECUTABLE, WorkflowStatus
from workflow.spec import Catalog, NodeType
from workflow.sub_workflows import (
    VERSION_MAX,
    Call,
    Callers,
    Known,
    Target,
    call_findings,
    callers_of,
    calls_of,
    targets_of,
)

CALLERS = Callers(nodes=("action.execute_workflow", "sub_workflow"), tools=("ai.agent",))
DEPTH_MAX = 3


def target(name: str) -> Target:
    """`a` is a workflow, `a2` its version 2."""
    name = name.removeprefix("?")
    return Target(UUID(int=ord(name[0])), int(name[1:]) if name[1:] else None)


def drawn(drawing: str, **statuses: str) -> dict[Target, Known | None]:
    """`a -> b c; b -> d` says what each executes; one that only others name is there and executes nothing; `?a` is not there."""
    executes: dict[str, list[str]] = {}
    for part in drawing.split(";"):
        source, _, names = part.partition("->")
        executes[source.strip()] = names.split()
    for name in [name for names in executes.values() for name in names]:
        executes.setdefault(name, [])
    return {
        target(name): None
        if name.startswith("?")
        else Known(name, WorkflowStatus(statuses.get(name, "active")), tuple(map(target, names)))
        for name, names in executes.items()
    }


def found(drawing: str, *called: str, own: str = "", depth_max: int = DEPTH_MAX, **statuses: str) -> list[str]:
    calls = [Call(f"call {name}", name, target(name)) for name in called]
    own_id = target(own).workflow_id if own else None
    return [finding.code for finding in call_findings(calls, drawn(drawing, **statuses), own_id, depth_max)]


def message(drawing: str, called: str, own: str = "") -> str:
    call = Call("n", called, target(called))
    (finding,) = call_findings([call], drawn(drawing), target(own).workflow_id if own else None, DEPTH_MAX)
    assert (finding.node_id, finding.field) == ("n", "config.workflow_id")
    return finding.message


def test_what_leads_nowhere_is_fine():
    assert found("a -> b c; b -> c", "a", "c", own="x") == []


def test_a_workflow_that_executes_itself_is_circular_by_every_way():
    assert found("x -> a", "x", own="x") == ["circular_sub_workflow"]
    assert found("a -> b; b -> x", "a", own="x") == ["circular_sub_workflow"]
    assert found("a -> b x", "a", "b", own="x") == ["circular_sub_workflow"], (
        "of the two calls only the first leads back"
    )


def test_a_new_workflow_is_in_no_circle_but_may_lead_into_one():
    assert found("x -> a", "x") == []
    assert found("a -> b; b -> a", "a", own="x") == ["circular_sub_workflow"]
    assert found("a -> a", "a") == ["circular_sub_workflow"]
    assert found("c -> a; a -> b; b -> a", "c", "b") == ["circular_sub_workflow"] * 2


def test_another_version_of_what_is_on_the_way_is_in_a_circle_too():
    assert found("a -> b; b -> a2; a2 ->", "a") == ["circular_sub_workflow"]
    assert found("a -> b; b -> a2; a2 ->", "b") == []
    assert found("x9 ->", "x9", own="x") == ["circular_sub_workflow"]


def test_three_below_one_another_are_the_most():
    assert found("a -> b; b -> c", "a") == []
    assert found("a -> b; b -> c; c -> d", "a") == ["sub_workflow_too_deep"]
    assert found("a -> b; b -> c; c -> d", "a", "b", depth_max=3) == ["sub_workflow_too_deep"]
    assert found("a -> b", "a", depth_max=1) == ["sub_workflow_too_deep"]
    assert found("a -> d b; b -> c; c -> d", "a") == ["sub_workflow_too_deep"], "the longest way counts"


def test_what_is_not_there_makes_nothing_too_deep():
    assert found("a -> b; b -> c; c -> ?d; ?d ->", "a") == []


def test_the_way_is_said():
    assert message("a -> b; b -> c; c -> d", "a").endswith("this workflow → 'a' → 'b' → 'c' → 'd'")
    assert message("a -> b; b -> x", "a", own="x").endswith(": this workflow → 'a' → 'b' → this workflow")
    assert message("a -> b; b -> a", "a").endswith(": this workflow → 'a' → 'b' → 'a'")
    six = "a -> b; b -> c; c -> d; d -> e; e -> f"
    assert message(six, "a").endswith("'e' → 'f'")
    assert message(f"{six}; f -> g", "a").endswith("'e' → 'f' → …")


def reporting(to: str, *nodes: str, own: str | None = None, status: str = "active", there: bool = True) -> list[str]:
    call = Call("", to, target(to), "settings.error_workflow", reports=True)
    known = {target(to): Known(to, WorkflowStatus(status), [target(node) for node in nodes]) if there else None}
    findings = list(call_findings([call], known, target(own).workflow_id if own else None, 0))
    assert all((each.node_id, each.field) == ("", "settings.error_workflow") for each in findings)
    assert all(each.severity is Severity.WARNING for each in findings)
    return [each.code for each in findings]


def test_an_error_workflow_that_would_not_begin_is_a_warning_and_it_is_no_level_below():
    assert reporting("e") == []
    assert reporting("e", there=False) == ["error_workflow_not_found"]
    assert reporting("e", status="archived") == ["error_workflow_archived"]
    assert reporting("e", status="paused") == ["error_workflow_paused"]
    assert reporting("x", own="x") == ["error_workflow_circular"]
    assert reporting("e", "x", own="x") == [], "it may execute what has failed again"


def test_what_is_not_there_or_not_in_service_is_only_a_warning():
    calls = [Call("n", "b", target("b")), Call("m", "not an id", None), Call("o", "c", target("c"))]
    findings = list(call_findings(calls, drawn("?b ->; c ->", c="archived"), None, DEPTH_MAX))
    assert [finding.code for finding in findings] == [
        "sub_workflow_not_found",
        "sub_workflow_not_found",
        "sub_workflow_archived",
    ]
    assert {finding.severity for finding in findings} == {Severity.WARNING}
    (unnamed,) = call_findings([Call("n", "", None)], {}, None, DEPTH_MAX)
    assert (unnamed.code, unnamed.message) == ("sub_workflow_not_found", "the node names no workflow yet")
    assert found("b ->", "b", b="paused") == ["sub_workflow_paused"]
    assert found("b ->", "b", b="draft") == []
    (finding,) = call_findings([Call("n", "b", target("b4"))], {target("b4"): None}, None, DEPTH_MAX)
    assert "version 4" in finding.message


def test_what_was_not_looked_at_is_taken_on_trust():
    assert list(call_findings([Call("n", "z", target("z"))], {}, None, DEPTH_MAX)) == []


def test_only_what_a_document_says_in_so_many_words_is_a_call():
    id_ = str(UUID(int=5))

    def call(node: str, **config: object) -> dict[str, object]:
        return {"id": node, "type": CALLERS.nodes[0], "config": {"workflow_id": id_, **config}}

    document = parse_document(
        {
            "name": "w",
            "nodes": [
                call("plain"),
                {**call("alias"), "type": "sub_workflow"},
                call("version", version=2),
                call("version with a point", version=2.0),
                call("nothing", workflow_id="nothing"),
                call("null", version=None),
                {**call("disabled"), "disabled": True},
                {**call("pinned"), "pinned": {"main": []}},
                {**call("other"), "type": "logic.noop"},
                call("chosen", workflow_id="{{ $json.id }}"),
                call("chosen version", version="{{ $json.version }}"),
                call("first", version=1),
                call("last", version=VERSION_MAX),
                call("none", version=0),
                call("too high", version=VERSION_MAX + 1),
                call("half", version=1.5),
            ],
            "connections": [],
        }
    )
    calls = calls_of(document, CALLERS)
    plain, second = Target(UUID(int=5)), Target(UUID(int=5), 2)
    assert [(one.node_id, one.target) for one in calls] == [
        ("plain", plain),
        ("alias", plain),
        ("version", second),
        ("version with a point", second),
        ("nothing", None),
        ("null", plain),
        ("first", Target(UUID(int=5), 1)),
        ("last", Target(UUID(int=5), VERSION_MAX)),
    ]
    assert targets_of(calls)[:2] == [plain, second]
    assert len(targets_of(calls)) == 4


def test_every_name_of_the_node_type_is_known_and_none_where_there_is_no_such_type():
    executes = node_type("action.execute_workflow")
    executes = NodeType(replace(executes.spec, aliases=("sub_workflow",)), executes.run)
    agent = node_type("ai.agent")
    assert callers_of(Catalog({one.spec.type: one for one in (executes, agent)})) == CALLERS
    assert callers_of(Catalog({})) == Callers()


def test_the_tools_of_an_agent_are_calls_each_in_its_own_field():
    id_ = str(UUID(int=5))
    tools = [
        {"name": "a", "description": "a", "workflow_id": id_},
        {"name": "b", "description": "b", "collection": ""},
        {"name": "c", "description": "c", "workflow_id": "nothing"},
        {"name": "d", "description": "d", "workflow_id": "{{ $vars.d }}"},
        "no tool",
    ]
    nodes = [
        {"id": "agent", "type": "ai.agent", "config": {"tools": tools}},
        {"id": "bare", "type": "ai.agent", "config": {}},
        {"id": "odd", "type": "ai.agent", "config": {"tools": "{{ $vars.tools }}"}},
        {"id": "off", "type": "ai.agent", "config": {"tools": tools}, "disabled": True},
        {"id": "other", "type": "logic.noop", "config": {"tools": tools}},
    ]

    calls = calls_of(parse_document({"name": "w", "nodes": nodes, "connections": []}), CALLERS)

    assert calls == [
        Call("agent", id_, Target(UUID(int=5)), "config.tools.0.workflow_id"),
        Call("agent", "nothing", None, "config.tools.2.workflow_id"),
    ]
    known = {Target(UUID(int=5)): None}
    assert [finding.field for finding in call_findings(calls, known, None, DEPTH_MAX)] == [call.field for call in calls]


NODE = st.sampled_from(["a", "b", "c", "d", "e", "a2", "b2"])
GRAPH = st.dictionaries(NODE, st.lists(NODE, max_size=3, unique=True), max_size=7)


@given(GRAPH, st.lists(NODE, min_size=1, max_size=4), st.sampled_from(["", "a", "e"]), st.integers(1, 4))
def test_a_walk_along_every_way_finds_the_same(
    graph: dict[str, list[str]], called: list[str], own: str, depth_max: int
):
    below = {target(n): Known(n, WorkflowStatus.ACTIVE, tuple(map(target, to))) for n, to in graph.items()}
    own_id = target(own).workflow_id if own else None
    above = frozenset() if own_id is None else frozenset({own_id})
    calls = [Call(str(place), name, target(name)) for place, name in enumerate(called)]

    found = {f.node_id: f.code for f in call_findings(calls, below, own_id, depth_max)}

    for call in calls:
        assert call.target is not None
        ways = list(_ways(call.target, below, above))
        if any(circular for circular, _ in ways):
            assert found[call.node_id] == "circular_sub_workflow"
        elif max(length for _, length in ways) > depth_max:
            assert found[call.node_id] == "sub_workflow_too_deep"
        else:
            assert call.node_id not in found


def _ways(
    at: Target, below: dict[Target, Known], above: frozenset[UUID], length: int = 1
) -> Iterator[tuple[bool, int]]:
    if at.workflow_id in above:
        yield True, length
        return
    yield False, length
    for one in below[at].executes if at in below else ():
        yield from _ways(one, below, above | {at.workflow_id}, length + 1)


def test_what_may_not_be_executed_is_warned_of():
    codes = {status: found("b ->", "b", b=status) for status in WorkflowStatus}
    assert {status for status, code in codes.items() if not code} == EXECUTABLE
