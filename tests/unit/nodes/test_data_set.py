import copy

import pytest

from nodes.data_set import NODE_TYPE
from tests.unit.nodes.conftest import EXECUTION_ID, WORKFLOW_ID, findings

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
