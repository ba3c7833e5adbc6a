"""Wherever a config holds a user's schema, one that reaches outside, never ends or blocks is refused when it is compiled."""

from collections.abc import Callable
from typing import Any

import pytest

from nodes import ai_agent, ai_extract, ai_llm, hitl_request, logic_wait
from tests.unit.nodes.conftest import findings
from workflow.spec import NodeType

Schema = dict[str, Any]
TOOL = {"name": "t", "description": "d", "node": {"type": "data.set", "config": {}}}

PLACES: dict[str, tuple[NodeType, Callable[[Schema], Schema], str, str]] = {
    "form": (
        logic_wait.NODE_TYPE,
        lambda schema: {"mode": "form", "form_schema": schema},
        "invalid_form_schema",
        "form_schema",
    ),
    "webhook": (
        logic_wait.NODE_TYPE,
        lambda schema: {"mode": "webhook", "form_schema": schema},
        "invalid_form_schema",
        "form_schema",
    ),
    "request": (
        hitl_request.NODE_TYPE,
        lambda schema: {"title": "t", "form_schema": schema},
        "invalid_form_schema",
        "form_schema",
    ),
    "answer": (
        ai_llm.NODE_TYPE,
        lambda schema: {"prompt": "p", "schema": schema},
        "invalid_answer_schema",
        "schema",
    ),
    "extract": (
        ai_extract.NODE_TYPE,
        lambda schema: {"text": "t", "schema": schema},
        "invalid_answer_schema",
        "schema",
    ),
    "agent": (
        ai_agent.NODE_TYPE,
        lambda schema: {"prompt": "p", "schema": schema, "tools": [TOOL]},
        "invalid_answer_schema",
        "schema",
    ),
    "tool": (
        ai_agent.NODE_TYPE,
        lambda schema: {"prompt": "p", "tools": [{**TOOL, "parameters": schema}]},
        "invalid_tool_parameters",
        "tools.0.parameters",
    ),
}
REFUSED: list[tuple[Schema, str]] = [
    ({"$ref": "http://127.0.0.1:9/x"}, "$ref"),
    ({"$ref": "file:///etc/passwd"}, "$ref"),
    ({"$ref": "#/definitions/nope"}, "$ref"),
    ({"$dynamicRef": "#x"}, "$dynamicRef"),
    ({"properties": {"a": {"pattern": "^(?=a)"}}}, "properties.a.pattern"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("schema", "field"), REFUSED)
def test_a_schema_that_cannot_be_used_is_found(place: str, schema: Schema, field: str):
    node_type, config, code, where = PLACES[place]
    assert findings(node_type, config(schema)) == [(code, f"{where}.{field}")]


@pytest.mark.parametrize("place", PLACES)
def test_one_that_refers_to_itself_without_end_is_found(place: str):
    node_type, config, code, where = PLACES[place]
    assert findings(node_type, config({"$ref": "#"})) == [(code, where)]


@pytest.mark.parametrize("place", PLACES)
def test_one_that_is_a_tree_is_not(place: str):
    node_type, config, _, _ = PLACES[place]
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"pattern": "^(a+)+$"}}}
    assert findings(node_type, config(tree)) == []
