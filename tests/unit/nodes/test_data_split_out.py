import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_split_out import NODE_TYPE
from tests.unit.nodes.conftest import findings

ITEM = {"id": 7, "o": {"l": [1, {"x": 2}], "k": 0}, "m": ["a"], "d": {"p": 1, "q": 2}, "e": []}
CASES = [
    ({"lists": [{"field": "o.l"}]}, [{"o": {"l": 1}}, {"x": 2}]),
    ({"lists": [{"field": "o.l", "into": "v"}]}, [{"v": 1}, {"v": {"x": 2}}]),
    (
        {"lists": [{"field": "o.l"}], "include": "selected", "fields": ["id"]},
        [{"id": 7, "o": {"l": 1}}, {"id": 7, "o": {"l": {"x": 2}}}],
    ),
    (
        {"lists": [{"field": "o.l", "into": "v"}], "include": "except", "fields": ["m", "d", "e"]},
        [{"id": 7, "o": {"k": 0}, "v": 1}, {"id": 7, "o": {"k": 0}, "v": {"x": 2}}],
    ),
    ({"lists": [{"field": "m", "into": "a"}, {"field": "o.l", "into": "b"}]}, [{"a": "a", "b": 1}, {"b": {"x": 2}}]),
    ({"lists": [{"field": "d", "into": "v"}]}, [{"v": 1}, {"v": 2}]),
    ({"lists": [{"field": "id"}]}, [{"id": 7}]),
    ({"lists": [{"field": "e"}]}, []),
    ({"lists": [{"field": "gone"}]}, []),
    ({"lists": [{"field": "e"}], "include": "selected", "fields": ["id"], "keep_empty": True}, [{"id": 7}]),
]


@pytest.mark.parametrize(("config", "expected"), CASES)
async def test_splits(run_node, config, expected):
    before = copy.deepcopy(ITEM)
    outputs = await run_node(NODE_TYPE, config, [{}, ITEM])
    keep_empty = config.get("keep_empty", False)
    assert outputs["main"][keep_empty:] == [{"json": each, "paired_item": 1} for each in expected]
    assert before == ITEM


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=6))
async def test_as_sql_splits(run_node, sql, rows):
    table = ["n", "v"], [(n, json.dumps(v)) for n, v in enumerate(rows)]
    outputs = await run_node(
        NODE_TYPE, {"lists": [{"field": "v"}], "include": "all"}, [{"n": n, "v": v} for n, v in enumerate(rows)]
    )
    assert [(item["json"]["n"], item["json"]["v"]) for item in outputs["main"]] == sql(
        "select t.n, each.value from t, json_each(t.v) each order by t.n, each.key", t=table
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"lists": [{"field": "a"}], "include": "selected"},
        {"lists": [{"field": "a"}, {"field": "b", "into": "a"}]},
        {"lists": [{"field": "a..b"}]},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
