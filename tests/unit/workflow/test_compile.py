"""Compiling: every finding with its code and place; warnings never block; the plan is deterministic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import document, drawing_catalog, node_type
from workflow.compile import Compiler
from workflow.document import parse_document
from workflow.errors import InvalidDefinition
from workflow.findings import Severity
from workflow.spec import Catalog, NodeSpec, NodeType, Problem

NODE = {"id": "a", "type": "draw.pure"}


@pytest.fixture
def compiler() -> Compiler:
    async def run(_context, _config, items):
        return {"main": items}

    spec = NodeSpec(
        type="draw.picky",
        title="picky",
        category="test",
        description="",
        config_schema={
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
    )
    picky = NodeType(spec, run, lambda config: [Problem("odd", "n is odd", "n")] if config["n"] % 2 else [])
    types = {t.spec.type: t for t in drawing_catalog()}
    return Compiler(Catalog({**types, "draw.picky": picky, "t2": node_type("t2", trigger=True)}), nodes_max=50)


def found(compiler: Compiler, value: dict) -> list[tuple[str, str, str]]:
    return [(f.code, f.node_id, f.field) for f in compiler.validate(parse_document({"name": "w", **value}))]


def connect(*pairs: tuple[str, str], **extra: str) -> list[dict]:
    return [{"source": a, "target": b, **extra} for a, b in pairs]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, ("empty_workflow", "", "")),
        ({"nodes": [NODE, NODE]}, ("duplicate_node_id", "a", "id")),
        ({"nodes": [{"id": "a", "type": "nope"}]}, ("invalid_node_type", "a", "type")),
        ({"nodes": [NODE], "connections": connect(("a", "x"))}, ("missing_target_node", "", "connections.0.target")),
        ({"nodes": [NODE], "connections": connect(("x", "a"))}, ("missing_source_node", "", "connections.0.source")),
        (
            {"nodes": [NODE, {**NODE, "id": "b"}], "connections": connect(("a", "b"), sourceHandle="nope")},
            ("invalid_handle", "a", "connections.0.sourceHandle"),
        ),
        (
            {"nodes": [NODE, {**NODE, "id": "b"}], "connections": connect(("a", "b"), targetHandle="nope")},
            ("invalid_handle", "b", "connections.0.targetHandle"),
        ),
        (
            {"nodes": [NODE, {**NODE, "id": "b"}], "connections": connect(("a", "b"), ("a", "b"))},
            ("duplicate_connection", "a", "connections.1"),
        ),
        (
            {"nodes": [NODE, {"id": "t", "type": "draw.trigger"}], "connections": connect(("a", "t"))},
            ("trigger_has_input", "t", "connections.0"),
        ),
        ({"nodes": [NODE], "connections": connect(("a", "a"))}, ("self_loop", "a", "connections.0")),
        (
            {"nodes": [NODE, {**NODE, "id": "b"}], "connections": connect(("a", "b"), ("b", "a"))},
            ("no_start", "", ""),
        ),
        (
            {
                "nodes": [{"id": "t", "type": "draw.trigger"}, NODE, {**NODE, "id": "b"}],
                "connections": connect(("t", "a"), ("a", "b"), ("b", "a")),
            },
            ("dag_cycle", "a", "connections.2"),
        ),
        (
            {
                "nodes": [{"id": "t", "type": "draw.trigger"}, NODE, {**NODE, "id": "b"}],
                "connections": connect(("t", "a"), ("t", "b"), ("a", "b"), ("b", "a")),
                "settings": {"cycles": "allow"},
            },
            ("cycle_with_two_entries", "a", ""),
        ),
        (
            {
                "nodes": [{"id": "t", "type": "draw.trigger"}, {"id": "l", "type": "draw.loop"}, NODE],
                "connections": [
                    *connect(("t", "l"), ("a", "l")),
                    {"source": "l", "sourceHandle": "done", "target": "a"},
                ],
            },
            ("return_from_outside_body", "a", "connections.1"),
        ),
        ({"nodes": [{"id": "t", "type": "draw.trigger", "disabled": True}, NODE]}, ("no_start", "", "")),
        ({"nodes": [{**NODE, "pinned": {"nope": []}}]}, ("invalid_handle", "a", "pinned.nope")),
        (
            {"nodes": [{"id": "t", "type": "draw.trigger", "on_error": "continue"}]},
            ("on_error_not_supported", "t", "on_error"),
        ),
        ({"nodes": [{"id": "a", "type": "draw.picky"}]}, ("missing_config", "a", "config")),
        ({"nodes": [{"id": "a", "type": "draw.picky", "config": {"n": "x"}}]}, ("invalid_config", "a", "config.n")),
        ({"nodes": [{"id": "a", "type": "draw.picky", "config": {"n": 3}}]}, ("odd", "a", "config.n")),
        ({"nodes": [{**NODE, "resources": {"cpu": 1}}]}, ("resources_not_supported", "a", "resources")),
        ({"nodes": [{**NODE, "at_most_once": True}]}, ("at_most_once_not_supported", "a", "at_most_once")),
        ({"nodes": [{**NODE, "id": f"n{i}"} for i in range(51)]}, ("too_many_nodes", "", "")),
    ],
)
def test_what_is_wrong_is_found_with_its_place(compiler: Compiler, value: dict, expected: tuple[str, str, str]):
    assert expected in found(compiler, value)
    with pytest.raises(InvalidDefinition) as refused:
        compiler.compile(parse_document({"name": "w", **value}))
    assert expected[0] in {f["code"] for f in refused.value.fields["findings"]}


def test_all_errors_are_collected(compiler: Compiler):
    value = {
        "nodes": [{"id": "a", "type": "nope"}, {"id": "b", "type": "draw.picky"}],
        "connections": connect(("a", "x"), ("y", "b")),
    }

    codes = [code for code, _, _ in found(compiler, value)]

    assert codes == ["invalid_node_type", "missing_config", "missing_target_node", "missing_source_node"]


def test_warnings_do_not_block(compiler: Compiler):
    compiled = compiler.compile(document("start -> a; x -> y"))

    assert [(w.code, w.node_id) for w in compiled.warnings] == [("orphan_node", "x"), ("unreachable_node", "y")]
    assert all(w.severity is Severity.WARNING for w in compiled.warnings)


def test_without_a_trigger_it_starts_at_the_nodes_without_input(compiler: Compiler):
    compiled = compiler.compile(document("a -> b; c -> b"))

    assert [w.code for w in compiled.warnings] == ["no_trigger"]
    assert [n.id for n in compiled.plan.nodes if n.start] == ["a", "c"]


RETRYING = {"timeout_ms": 1_000, "auto_action": "retry"}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"type": "draw.once", "on_error": "ask", "ask": RETRYING}, ("invalid_auto_action", "a", "ask.auto_action")),
        ({"type": "draw.pure", "on_error": "stop", "ask": RETRYING}, ("ask_not_used", "a", "ask")),
        ({"type": "draw.pure", "on_error": "ask", "ask": RETRYING}, None),
        ({"type": "draw.once", "on_error": "ask", "ask": {**RETRYING, "auto_action": "skip"}}, None),
    ],
)
def test_what_is_done_about_a_failure_by_itself_fits_the_node(compiler: Compiler, node: dict, expected: object):
    others = [each for each in found(compiler, {"nodes": [{"id": "a", **node}]}) if each[0] != "no_trigger"]
    assert others == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ([], "malformed_document", ""),
        ({"nodes": []}, "malformed_document", "name"),
        ({"name": "w", "nodes": [{"id": "a"}]}, "malformed_document", "nodes.0.type"),
        ({"name": "w", "nodes": [{**NODE, "colour": "red"}]}, "unknown_field", "nodes.0.colour"),
        ({"name": "w", "nodes": [{**NODE, "timeout_ms": -1}]}, "malformed_document", "nodes.0.timeout_ms"),
        ({"name": "w", "settings": {"isolation": "vacuum"}}, "malformed_document", "settings.isolation"),
        ({"name": "w", "nodes": [{**NODE, "id": 7}]}, "malformed_document", "nodes.0.id"),
        ({"name": "w", "nodes": "many"}, "malformed_document", "nodes"),
        ({"name": "w", "nodes": [{**NODE, "ask": {"auto_action": "skip"}}]}, "malformed_document", "nodes.0.ask"),
        ({"name": "w", "nodes": [{**NODE, "ask": {"escalate_to": "admin"}}]}, "malformed_document", "nodes.0.ask"),
        (
            {"name": "w", "nodes": [{**NODE, "ask": {"timeout_ms": 999}}]},
            "malformed_document",
            "nodes.0.ask.timeout_ms",
        ),
        (
            {"name": "w", "nodes": [{**NODE, "ask": {"timeout_ms": 1_000, "auto_action": "replace"}}]},
            "malformed_document",
            "nodes.0.ask.auto_action",
        ),
        (
            {"name": "w", "nodes": [{**NODE, "ask": {"allowed_roles": ["boss"]}}]},
            "malformed_document",
            "nodes.0.ask.allowed_roles.0",
        ),
    ],
)
def test_a_malformed_document_is_refused_with_the_place(value: object, code: str, field: str):
    with pytest.raises(InvalidDefinition) as refused:
        parse_document(value)

    (finding,) = refused.value.fields["findings"]
    assert (finding["code"], finding["field"]) == (code, field)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_document_or_is_refused(value: object):
    refused = None
    try:
        parse_document(value)
    except InvalidDefinition as error:
        refused = error
    assert refused is None or refused.fields["findings"]


def test_a_chain_of_thousands_compiles_without_recursion():
    chain = " -> ".join(f"n{i}" for i in range(4_000))
    plan = Compiler(drawing_catalog(), nodes_max=5_000).compile(document(chain)).plan

    assert len(plan.nodes) == 4_000


def expressions(*nodes: tuple[str, str], edges: list[tuple[str, str]], **settings) -> dict:
    """A workflow of nodes (id, expression), each called by its id in capitals."""
    made = [{"id": i, "name": i.upper(), "type": "draw.pure", "config": {"v": ["{{ " + e + " }}"]}} for i, e in nodes]
    return {"nodes": made, "connections": connect(*edges), **settings}


@pytest.mark.parametrize(
    ("c", "expected"),
    [
        ("$node.A.json.x + $('b').first().json.x", []),
        ("$node['A'].json.x", []),
        ("$('nope').first()", [("invalid_reference", "c", "config.v[0]")]),
        ("$('C').first()", [("non_ancestor_reference", "c", "config.v[0]")]),
        ("$('d').first().json", [("non_ancestor_reference", "c", "config.v[0]")]),
        ("$($json.which).first()", [("dynamic_reference", "c", "config.v[0]")]),
        ("$json.a", []),
    ],
)
def test_an_expression_names_nodes_that_come_before_it(compiler, c, expected):
    value = expressions(("a", "1"), ("b", "2"), ("c", c), ("d", "3"), edges=[("a", "b"), ("b", "c"), ("a", "d")])
    assert [each for each in found(compiler, value) if each[0] != "no_trigger"] == expected


def test_a_name_that_two_nodes_have_is_ambiguous(compiler):
    value = expressions(("a", "1"), ("b", "1"), ("c", "$('A').first()"), edges=[("a", "b"), ("b", "c")])
    value["nodes"][1]["name"] = "A"
    assert ("ambiguous_reference", "c", "config.v[0]") in found(compiler, value)


def test_a_reference_in_a_literal_field_is_none(compiler):
    plan = compiler.compile(parse_document({"name": "w", **expressions(("a", "'$node.X'"), edges=[])})).plan
    assert dict(plan.nodes[0].template.references) == {}
