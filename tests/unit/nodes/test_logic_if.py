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
    (2, "between", [1, 2]),
    ("b", "between", ["a", "c"]),
    (3, "not_between", [1, 2]),
    ("abc", "not_starts_with", "b"),
    ("abc", "not_ends_with", "b"),
    ("order 12", "matches", r"^order \d+$"),
    ("äé", "matches", r"^\p{L}+$"),
    ("order", "not_matches", r"\d"),
    ("a@b", "matches", r"^\w\@\w$"),
    ("😀", "matches", "^.$"),
    (2, "in", [1, 2]),
    (True, "not_in", [1, "true"]),
    ({"a": None}, "has_key", "a"),
    ({}, "lacks_key", "a"),
    ("äbc", "length_equals", 3),
    ([1, 2], "length_not_equals", 3),
    ({"a": 1}, "length_less_than", 2),
    ([1, 2], "length_greater_than", 1),
    ([1, 2], "length_greater_or_equal", 2),
    ([1, 2], "length_less_or_equal", 2),
    (1.0, "is_type", "integer"),
    (1.5, "is_not_type", "integer"),
    (None, "is_type", "null"),
    (True, "is_not_type", "number"),
    ("2026-02-28", "is_type", "date"),
    ("2026-02-30", "is_not_type", "date"),
    ("2026-11-22", "before", "2026-11-22T00:00:01Z"),
    ("2026-11-22T12:00:00+02:00", "before", "2026-11-22T11:00:00Z"),
    ("2026-11-22T12:00:00+02:00", "before_or_at", "2026-11-22T10:00:00Z"),
    ("2026-11-22", "after", 0),
    ("2026-11-22", "after_or_at", "2026-11-22"),
    ("2026-11-22", "time_between", ["2026-11-01", "2026-11-30"]),
    ("2026-12-22", "time_not_between", ["2026-11-01", "2026-11-30"]),
]
HOLDS_NOT = [
    (1, "equals", "1"),
    (1, "is_true", None),
    (None, "is_false", None),
    (2, "greater_than", 2),
    ([1], "contains", 2),
    ("abc", "starts_with", "b"),
    (None, "exists", None),
    ("a", "matches", "b"),
    ("A", "equals", "a"),
    ("a", "in", ["A"]),
    (0, "between", [1, 2]),
]
LOOSE = [
    ("5", "equals", 5),
    (5, "equals", " 5.0 "),
    ("true", "equals", True),
    (1, "equals", True),
    ("no", "equals", False),
    (None, "equals", ""),
    ("[1]", "equals", [1]),
    ({"a": 1}, "equals", '{"a":1.0}'),
    ("ten", "not_equals", 10),
    ("10", "greater_than", "9"),
    ("10", "greater_than", 9),
    ("b", "greater_than", "a"),
    (15, "contains", "5"),
    (["1"], "contains", 1),
    ("1", "in", [1]),
    ("yes", "is_true", None),
    (0, "is_false", None),
    ("maybe", "not_equals", True),
    (2026, "matches", "^20"),
    (None, "length_equals", 0),
    ("[", "not_equals", [1]),
]
CASELESS = [
    ("STRASSE", "equals", "straße"),
    (["A"], "contains", "a"),
    ({"k": "A"}, "equals", {"k": "a"}),
    ("Abc", "starts_with", "aB"),
    ("B", "greater_than", "a"),
    ("ABC", "matches", "^abc$"),
    ("A", "in", ["a"]),
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
    (5, "matches", "5", "number", "string"),
    (5, "has_key", "a", "number", "string"),
    (5, "length_equals", 1, "number", "number"),
    ("5", "between", [1, 9], "string", "array"),
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
        {"conditions": [{"left": 1, "operator": "resembles", "right": "x"}]},
        {"conditions": [{"left": 1, "operator": "exists"}], "combine": "xor"},
    ],
)
def test_config_that_the_schema_refuses(config):
    assert findings(NODE_TYPE, config)


def test_bad_expressions_are_found_on_both_sides():
    config = {"conditions": [condition("{{ $json.a", "equals", "{{ $json.b")]}
    assert [field for _, field in findings(NODE_TYPE, config)] == ["conditions[0].left", "conditions[0].right"]


@pytest.mark.parametrize(("left", "operator", "right"), LOOSE)
async def test_loose_types(run_node, left, operator, right):
    config = {"conditions": [condition("{{ $json.v }}", operator, right)], "types": "loose"}
    assert len((await run_node(NODE_TYPE, config, [{"v": left}]))["true"]) == 1


@pytest.mark.parametrize(("left", "operator", "right"), CASELESS)
async def test_without_case(run_node, left, operator, right):
    config = {"conditions": [condition("{{ $json.v }}", operator, right)], "case_sensitive": False}
    assert len((await run_node(NODE_TYPE, config, [{"v": left}]))["true"]) == 1


async def test_times_without_an_offset_are_in_the_zone_of_the_workflow(run_node, context):
    config = {"conditions": [condition("2026-07-01T12:00", "before", "2026-07-01T11:00Z")]}
    context.timezone = "Europe/Vienna"
    assert len((await run_node(NODE_TYPE, config, [{}]))["true"]) == 1
    context.timezone = "UTC"
    assert len((await run_node(NODE_TYPE, config, [{}]))["true"]) == 0


@pytest.mark.parametrize(
    ("left", "operator", "right", "code"),
    [("x", "before", "2026-01-01", "not_a_time"), ("x", "matches", "(", "regex_invalid")],
)
async def test_sides_that_are_not_what_they_should_be(run_node, left, operator, right, code):
    inner = {"combine": "or", "conditions": [condition(1, "equals", 2), condition("{{ $json.v }}", operator, right)]}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"conditions": [inner]}, [{"v": left}])
    assert caught.value.code == code
    assert caught.value.fields["condition_path"] == [0, 1]


async def test_items_fail_by_themselves(run_node, context):
    config = {"conditions": [condition("{{ $json.v }}", "greater_than", 1)]}
    outputs = await run_node(NODE_TYPE, config, [{"v": "x"}, {"v": 2}], keep_going=True)
    assert [item["paired_item"] for item in outputs["true"]] == [1]
    assert context.failed[0].code == "type_mismatch"


async def test_a_regular_expression_that_never_ends_is_stopped(run_node, context):
    context.timeout_ms = 300
    config = {"conditions": [condition("{{ $json.v }}", "matches", "^(a+)+$")]}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{"v": "a" * 60 + "b"}])
    assert caught.value.code == "code_timeout"


async def test_placeholders_that_turn_out_to_be_no_conditions(run_node):
    for config in (
        {"conditions": "{{ $json.v }}"},
        {"conditions": ["{{ $json.v }}"]},
        {"conditions": [condition(1, "{{ $json.v }}", 1)]},
    ):
        with pytest.raises(NodeError) as caught:
            await run_node(NODE_TYPE, config, [{"v": "x"}])
        assert caught.value.code in {"config_value_invalid", "invalid_option"}
