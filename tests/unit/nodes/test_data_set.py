import copy

import pytest

from nodes.data_set import NODE_TYPE
from tests.unit.nodes.conftest import EXECUTION_ID, WORKFLOW_ID, findings
from workflow.errors import NodeError

CASES = [
    # what is set                                   in                    out
    ({"b": 2}, {"a": 1}, {"a": 1, "b": 2}),
    ({"a": 2}, {"a": 1}, {"a": 2}),
    ({"a.b.c": 1}, {}, {"a": {"b": {"c": 1}}}),
    ({"a.b": 1}, {"a": {"x": 0}}, {"a": {"x": 0, "b": 1}}),
    ({"a.b": 1}, {"a": 5}, {"a": {"b": 1}}),
    ({"a": {"x": 1}, "a.y": 2}, {}, {"a": {"x": 1, "y": 2}}),
    ({"a": "{{ $json.n }}"}, {"n": 7}, {"n": 7, "a": 7}),
    ({"a": "n={{ $json.n }}"}, {"n": 7}, {"n": 7, "a": "n=7"}),
    ({"n": 8, "m": "{{ $json.n }}"}, {"n": 7}, {"n": 8, "m": 7}),
    ({"a": ["{{ $json.n }}", {"b": "{{ $json.n }}"}, None]}, {"n": 7}, {"n": 7, "a": [7, {"b": 7}, None]}),
    ({"a": "{{ $json.missing?.path }}"}, {}, {"a": None}),
    ({"a": "{{ $json.text }}"}, {"text": "{{ $json.n }}"}, {"text": "{{ $json.n }}", "a": "{{ $json.n }}"}),
    ({"e": "{{ $execution.id }}", "w": "{{ $workflow.id }}"}, {}, {"e": str(EXECUTION_ID), "w": str(WORKFLOW_ID)}),
    ({"w": "{{ $workflow.name }}"}, {}, {"w": "Orders"}),
]


@pytest.mark.parametrize(("values", "before", "after"), CASES)
async def test_writes(run_node, values, before, after):
    kept = copy.deepcopy(before)
    assert await run_node(NODE_TYPE, {"values": values}, [before]) == {"main": [{"json": after, "paired_item": 0}]}
    assert before == kept, "what came in is shared with other nodes"


async def test_every_item_by_itself(run_node):
    outputs = await run_node(NODE_TYPE, {"values": {"i": "{{ $itemIndex }}"}}, [{}, {}, {}])
    assert outputs["main"] == [{"json": {"i": n}, "paired_item": n} for n in range(3)]


async def test_without_the_input(run_node):
    outputs = await run_node(NODE_TYPE, {"values": {"b": "{{ $json.a }}"}, "keep_input": False}, [{"a": 1}])
    assert outputs["main"][0]["json"] == {"b": 1}


async def test_config_is_not_changed_by_writing_below_a_value_of_it(run_node):
    config = {"values": {"a": {"x": 1}, "a.y": "{{ $itemIndex }}"}}
    kept = copy.deepcopy(config)
    await run_node(NODE_TYPE, config, [{}, {}])
    assert config == kept


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"a..b": 1}, "path_empty", "values.a..b"),
        ({"": 1}, "path_empty", "values."),
        ({"a": [{"b": "{{ $json.x"}]}, "expression_unclosed", "values.a[0].b"),
        ({"a": "{{ $json.x"}, "expression_unclosed", "values.a"),
    ],
)
def test_check_names_the_field(values, code, field):
    assert findings(NODE_TYPE, {"values": values}) == [(code, field)]


NESTED = {"id": 1, "user": {"name": "Ada", "age": 36}, "a.b": 5, "tags": [{"k": 1}]}
INCLUDES = [
    ({"include": "none"}, {}),
    (
        {"include": "selected", "fields": ["user.name", "tags.0.k", "gone"]},
        {"user": {"name": "Ada"}, "tags": {"0": {"k": 1}}},
    ),
    ({"include": "except", "fields": ["user.name", "tags", "a.b"]}, {"id": 1, "user": {"age": 36}, "a.b": 5}),
    ({"include": "selected", "fields": ["a.b"], "dot_notation": False}, {"a.b": 5}),
    ({"include": "none", "values": {"x.y": 1}, "dot_notation": False}, {"x.y": 1}),
    ({"remove": ["user.age", "tags", "a.b", "none.such"]}, {"id": 1, "user": {"name": "Ada"}, "a.b": 5}),
    ({"mode": "json", "json": {"id": "{{ $json.user.age }}"}}, {**NESTED, "id": 36}),
    ({"mode": "json", "json": "{{ $json.user }}", "include": "none"}, {"name": "Ada", "age": 36}),
    ({"mode": "json", "json": '{"n": {{ $json.id }}}', "include": "none"}, {"n": 1}),
]


@pytest.mark.parametrize(("config", "after"), INCLUDES)
async def test_includes(run_node, config, after):
    kept = copy.deepcopy(NESTED)
    outputs = await run_node(NODE_TYPE, config, [NESTED])
    assert outputs["main"][0]["json"] == after
    assert kept == NESTED


TYPES = [
    (" 12 ", "number", 12),
    ("1.5e3", "number", 1500.0),
    (True, "number", 1),
    ("yes", "boolean", True),
    (0, "boolean", False),
    (1.5, "string", "1.5"),
    ({"a": [1]}, "string", '{"a":[1]}'),
    ("[1]", "array", [1]),
    ('{"a":1}', "object", {"a": 1}),
    ("2026-07-01", "date", "2026-07-01T00:00:00.000+02:00"),
    (0, "date", "1970-01-01T01:00:00.000+01:00"),
    (None, "number", None),
]


@pytest.mark.parametrize(("value", "to", "after"), TYPES)
async def test_types(run_node, context, value, to, after):
    context.timezone = "Europe/Vienna"
    config = {"values": {"a.v": "{{ $json.v }}"}, "types": {"a.v": to, "missing": to}, "keep_input": False}
    result = (await run_node(NODE_TYPE, config, [{"v": value}]))["main"][0]["json"]
    assert result == {"a": {"v": after}}
    assert type(result["a"]["v"]) is type(after)


@pytest.mark.parametrize(
    ("value", "to"),
    [
        ("1_000", "number"),
        ("NaN", "number"),
        ("٣", "number"),
        ("", "number"),
        ("1" * 30, "number"),
        ([1], "number"),
        (2, "boolean"),
        ("{", "object"),
        ("[1]", "object"),
        ({}, "array"),
        ("2026-02-30", "date"),
        (1e300, "date"),
    ],
)
async def test_values_that_do_not_spell_the_type(run_node, context, value, to):
    outputs = await run_node(NODE_TYPE, {"types": {"v": to}}, [{"v": None}, {"v": value}], keep_going=True)
    assert [item["paired_item"] for item in outputs["main"]] == [0]
    error = context.failed[1]
    assert (error.code, error.fields["field"], error.fields["to"]) == ("cannot_convert", "v", to)


@pytest.mark.parametrize("text", ["[1]", "{", "5", ""])
async def test_json_that_is_no_object(run_node, text):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "json", "json": "{{ $json.t }}"}, [{"t": text}])
    assert caught.value.code in {"json_invalid", "invalid_option"}
    assert caught.value.fields["item_index"] == 0


@pytest.mark.parametrize(
    "config",
    [
        {"include": "selected"},
        {"mode": "json"},
        {"types": {"a": "integer"}},
        {"include": "none", "keep_input": False},
        {"remove": ["a..b"]},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
