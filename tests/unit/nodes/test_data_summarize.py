import statistics

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_summarize import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

VALUES = [3, None, 1.5, 3, 2]
CASES = [
    ("count", 4),
    ("count_distinct", 3),
    ("sum", 9.5),
    ("min", 1.5),
    ("max", 3),
    ("average", 2.375),
    ("median", 2.5),
    ("concatenate", "3, 1.5, 3, 2"),
    ("append", [3, 1.5, 3, 2]),
    ("first", 3),
    ("last", 2),
]


@pytest.mark.parametrize(("operation", "expected"), CASES)
async def test_operations(run_node, operation, expected):
    config = {"values": [{"operation": operation, "field": "o.v"}]}
    outputs = await run_node(NODE_TYPE, config, [{"o": {"v": value}} for value in VALUES])
    assert outputs == {"main": [{"json": {f"{operation}_o_v": expected}, "paired_item": [0, 1, 2, 3, 4]}]}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("count", 0),
        ("sum", 0),
        ("min", None),
        ("average", None),
        ("median", None),
        ("concatenate", ""),
        ("append", []),
        ("first", None),
        ("last", None),
    ],
)
async def test_of_nothing(run_node, operation, expected):
    config = {"values": [{"operation": operation, "field": "v", "into": "r"}]}
    assert (await run_node(NODE_TYPE, config, [{}, {"v": None}]))["main"][0]["json"] == {"r": expected}


AGGREGATES = {
    "sum": "sum(v)",
    "min": "min(v)",
    "max": "max(v)",
    "average": "avg(v)",
    "count_distinct": "count(distinct v)",
}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.sampled_from("xyz"), st.booleans(), st.integers(-1000, 1000)), min_size=1, max_size=12)
)
async def test_groups_as_sql_does(run_node, sql, rows):
    config = {
        "group_by": ["g.name", "flag"],
        "values": [
            {"operation": "count"},
            *({"operation": each, "field": "v", "into": each} for each in [*AGGREGATES, "median"]),
        ],
    }
    outputs = await run_node(NODE_TYPE, config, [{"g": {"name": g}, "flag": f, "v": v} for g, f, v in rows])
    ours = [item["json"] for item in outputs["main"]]
    query = f"select g, flag, count(*), {', '.join(AGGREGATES.values())} from t group by g, flag order by min(rowid)"
    for each, row in zip(ours, sql(query, t=(["g", "flag", "v"], rows)), strict=True):
        group = (each["g"]["name"], each["flag"])
        assert (*group, each["count"], *(each[name] for name in AGGREGATES)) == row
        assert each["median"] == statistics.median(v for g, f, v in rows if (g, f) == group)
    assert sorted(index for item in outputs["main"] for index in item["paired_item"]) == list(range(len(rows)))


async def test_groups_in_one_item_and_without_those_that_lack_the_field(run_node):
    config = {"group_by": ["g"], "values": [{"operation": "count"}], "output": "single"}
    items = [{"g": 1}, {}, {"g": True}, {"g": 1.0}]
    groups = [{"g": 1, "count": 2}, {"g": None, "count": 1}, {"g": True, "count": 1}]
    assert await run_node(NODE_TYPE, config, items) == {
        "main": [{"json": {"groups": groups}, "paired_item": [0, 1, 2, 3]}]
    }
    outputs = await run_node(NODE_TYPE, {**config, "skip_without_group": True}, items)
    assert outputs["main"][0]["json"]["groups"] == [groups[0], groups[2]]


async def test_sums_are_exact_as_long_as_they_can_be(run_node):
    config = {"values": [{"operation": "sum", "field": "v", "into": "r"}]}
    for values, expected in (
        ([2**60, 1], 2**60 + 1),
        ([2**63, 2**63], 2.0**64),
        ([0.1] * 10, 1.0),
    ):
        assert (await run_node(NODE_TYPE, config, [{"v": v} for v in values]))["main"][0]["json"] == {"r": expected}


@pytest.mark.parametrize(
    ("operation", "values"),
    [("sum", [1, "2"]), ("average", [True]), ("min", [1, [1]]), ("max", [1, "a"]), ("median", [{}])],
)
async def test_values_that_do_not_fit(run_node, operation, values):
    config = {"values": [{"operation": operation, "field": "v"}]}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{"v": v} for v in values])
    assert caught.value.code == "type_mismatch"


async def test_numbers_too_large(run_node):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"values": [{"operation": "sum", "field": "v"}]}, [{"v": 1.7e308}, {"v": 1.7e308}])
    assert caught.value.code == "number_out_of_range"


async def test_items_fail_by_themselves(run_node, context):
    config = {"values": [{"operation": "sum", "field": "v", "into": "r"}]}
    outputs = await run_node(NODE_TYPE, config, [{"v": 1}, {"v": "x"}, {"v": 2}], keep_going=True)
    assert outputs["main"] == [{"json": {"r": 3}, "paired_item": [0, 2]}]
    assert list(context.failed) == [1]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"values": [{"operation": "sum"}]},
        {"values": [{"operation": "mode", "field": "a"}]},
        {"values": [{"operation": "sum", "field": "a"}, {"operation": "sum", "field": "a"}]},
        {"values": [{"operation": "count", "into": "g"}], "group_by": ["g"]},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
