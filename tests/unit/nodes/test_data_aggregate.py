import pytest

from nodes.data_aggregate import NODE_TYPE
from tests.unit.nodes.conftest import findings

ITEMS = [{"a": {"b": 1}, "t": [1, 2]}, {"a": None, "t": 3}, {"t": None}]
CASES = [
    ({}, {"data": ITEMS}),
    ({"into": "x.y"}, {"x": {"y": ITEMS}}),
    ({"include": "selected", "fields": ["a.b"]}, {"data": [{"a": {"b": 1}}, {}, {}]}),
    ({"mode": "lists", "lists": [{"field": "a.b"}]}, {"a": {"b": [1]}}),
    ({"mode": "lists", "lists": [{"field": "a.b", "into": "b"}], "keep_missing": True}, {"b": [1, None, None]}),
    ({"mode": "lists", "lists": [{"field": "t"}]}, {"t": [[1, 2], 3]}),
    ({"mode": "lists", "lists": [{"field": "t"}], "flatten": True}, {"t": [1, 2, 3]}),
]


@pytest.mark.parametrize(("config", "expected"), CASES)
async def test_makes_one_item(run_node, config, expected):
    outputs = await run_node(NODE_TYPE, config, ITEMS)
    assert outputs == {"main": [{"json": expected, "paired_item": [0, 1, 2]}]}


@pytest.mark.parametrize(
    "config",
    [
        {"mode": "lists"},
        {"include": "selected"},
        {"mode": "lists", "lists": [{"field": "a"}, {"field": "b", "into": "a"}]},
        {"into": "a..b"},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
