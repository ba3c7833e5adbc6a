import pytest

from nodes.logic_if import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

HOLDS = [
    (1, "equals", 1.0),
    ("a", "equals", "a"),
    (None, "equals", None),
    ({"a": [1]}, "equals", {"a": [1.0]}),
    (1, "not_equals", "1"),
    (True, "not_equals", 1),
    ({"a": [True]}, "not_equals", {"a": [1]}),
    ({"a": 1}, "not_equals", {"b": 1}),
    ([1], "not_equals", [1, 1]),
    (2, "greater_than", 1.5),
    ("b", "greater_than", "a"),
    (2, "greater_or_equal", 2),
    (-1, "less_than", 0),
    ("a", "less_or_equal", "a"),
    ("haystack", "contains", "stack"),
    ([1, "a", True], "contains", True),
    ({"a": None}, "contains", "a"),
    ([True], "not_contains", 1),
    ("abc", "starts_with", "ab"),
    ("abc", "ends_with", "bc"),
    (0, "exists", None),
    ("", "exists", None),
    (None, "not_exists", None),
    (True, "is_true", None),
    (False, "is_false", None),
    ("", "is_empty", None),
    ([], "is_empty", None),
    ({}, "is_empty", None),
    (None, "is_empty", None),
    (0, "is_not_empty", None),
    (" ", "is_not_empty", None),
]
HOLDS_NOT = [
    (1, "equals", "1"),
    (1, "is_true", None),
    (None, "is_false", None),
    (2, "greater_than", 2),
    ([1], "contains", 2),
    ("abc", "starts_with", "b"),
    (None, "exists", None),
]
MISMATCHED = [
    (1, "greater_than", "1", "number", "string"),
    (None, "less_than", 1, "null", "number"),
    (True, "less_than", 2, "boolean", "number"),
    ([1], "greater_or_equal", [0], "array", "array"),
    ({}, "less_or_equal", {}, "object", "object"),
    (5, "contains", 5, "number", "number"),
    ("5", "not_contains", 5, "string", "number"),
    (None, "starts_with", "a", "null", "string"),
    ("a", "ends_with", 1, "string", "number"),
]


def condition(left, operator, right):
    return {"left": left, "operator": operator, "right": right}


@pytest.mark.parametrize(("left", "operator", "right"), HOLDS)
async def test_holds(run_node, left, operator, right):
    outputs = await run_node(NODE_TYPE, {"conditions": [condition("{{ $json.v }}", operator, right)]}, [{"v": left}])
    assert outputs == {"true": [{"json": {"v": left}, "paired_item": 0}], "false": []}


@pytest.mark.parametrize(("left", "operator", "right"), HOLDS_NOT)
async def test_does_not_hold(run_node, left, operator, right):
    outputs = await run_node(NODE_TYPE, {"conditions": [condition("{{ $json.v }}", operator, right)]}, [{"v": left}])
    assert outputs == {"true": [], "false": [{"json": {"v": left}, "paired_item": 0}]}


@pytest.mark.parametrize(("left", "operator", "right", "left_type", "right_type"), MISMATCHED)
async def test_types_that_do_not_fit(run_node, left, operator, right, left_type, right_type):
    conditions = [condition(1, "equals", 1), condition("{{ $json.v }}", operator, right)]
    fitting = {"v": right if operator not in {"contains", "not_contains"} else "x"}
    guarded = [condition("{{ $json.ok }}", "is_true", None), *conditions]
    outputs = await run_node(NODE_TYPE, {"conditions": guarded}, [{**fitting, "ok": False}])
    assert len(outputs["false"]) == 1, "conditions after the outcome is clear are not looked at"

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"conditions": conditions}, [{"v": left}])
    assert caught.value.code == "type_mismatch"
    assert caught.value.fields == {
        "item_index": 0,
        "condition_index": 1,
        "operator": operator,
        "left_type": left_type,
        "right_type": right_type,
    }
    for word in ("item 0", left_type, right_type):
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("combine", "true"),
    [("and", [5]), ("or", [1, 5, 9])],
)
async def test_splits_and_combines(run_node, combine, true):
    config = {
        "conditions": [condition("{{ $json.n }}", "greater_than", 2), condition("{{ $json.n }}", "less_than", 8)],
        "combine": combine,
    }
    outputs = await run_node(NODE_TYPE, config, [{"n": 1}, {"n": 5}, {"n": 9}])
    assert [item["json"]["n"] for item in outputs["true"]] == true
    positions = {item["json"]["n"]: item["paired_item"] for handle in outputs.values() for item in handle}
    assert positions == {1: 0, 5: 1, 9: 2}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"conditions": []},
        {"conditions": [{"left": 1, "operator": "equals"}]},
        {"conditions": [{"left": 1, "operator": "matches", "right": "x"}]},
        {"conditions": [{"left": 1, "operator": "exists"}], "combine": "xor"},
    ],
)
def test_config_that_the_schema_refuses(config):
    assert findings(NODE_TYPE, config)


def test_bad_expressions_are_found_on_both_sides():
    config = {"conditions": [condition("{{ $json.a", "equals", "{{ $json.b")]}
    assert [field for _, field in findings(NODE_TYPE, config)] == ["conditions[0].left", "conditions[0].right"]
