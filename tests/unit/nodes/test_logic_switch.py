import pytest

from nodes.logic_switch import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


def rule(operator, right):
    return {"conditions": [{"left": "{{ $json.n }}", "operator": operator, "right": right}]}


RULES = [rule("greater_than", 10), rule("greater_than", 5), rule("matches", "x")]


def drawn(outputs):
    return {handle: [item["json"]["n"] for item in items] for handle, items in outputs.items()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"case:0": [20], "case:1": [7], "default": [1]}),
        ({"all_matches": True}, {"case:0": [20], "case:1": [20, 7], "default": [1]}),
        ({"fallback": "drop"}, {"case:0": [20], "case:1": [7]}),
    ],
)
async def test_by_rules(run_node, options, expected):
    config = {"rules": RULES[:2], **options}
    outputs = await run_node(NODE_TYPE, config, [{"n": 20}, {"n": 7}, {"n": 1}])
    assert drawn(outputs) == expected
    assert set(outputs) <= set(NODE_TYPE.outputs(config))


async def test_regular_expressions_in_rules(run_node):
    outputs = await run_node(NODE_TYPE, {"rules": [rule("matches", "^a"), rule("matches", "b$")]}, [{"n": "xb"}])
    assert drawn(outputs) == {"case:1": ["xb"]}


@pytest.mark.parametrize(
    ("case", "handle"),
    [
        ("b", "case:1"),
        (0, "case:0"),
        (1.0, "case:1"),
        (2, "default"),
        (-1, "default"),
        (True, "default"),
        ("1", "default"),
    ],
)
async def test_by_expression(run_node, case, handle):
    config = {"mode": "expression", "case": "{{ $json.n }}", "cases": ["a", "b"]}
    assert drawn(await run_node(NODE_TYPE, config, [{"n": case}])) == {handle: [case]}


async def test_no_case_is_an_error_of_the_item(run_node, context):
    config = {"mode": "expression", "case": "{{ $json.n }}", "cases": ["a"], "fallback": "error"}
    assert drawn(await run_node(NODE_TYPE, config, [{"n": "z"}, {"n": "a"}], keep_going=True)) == {"case:0": ["a"]}
    assert context.failed[0].code == "no_case"
    with pytest.raises(NodeError, match="'z'") as caught:
        await run_node(NODE_TYPE, config, [{"n": "z"}])
    assert caught.value.fields["item_index"] == 0


def test_handles_follow_the_config():
    assert NODE_TYPE.outputs({"rules": RULES}) == ("case:0", "case:1", "case:2", "default")
    assert NODE_TYPE.outputs({"mode": "expression", "case": 1, "cases": ["a"], "fallback": "error"}) == ("case:0",)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"rules": []},
        {"mode": "expression", "case": 1},
        {"mode": "expression", "cases": ["a"]},
        {"rules": "{{ $json.rules }}"},
        {"rules": RULES, "fallback": "{{ $json.x }}"},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
