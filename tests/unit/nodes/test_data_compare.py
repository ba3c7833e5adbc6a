import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_compare import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


def drawn(outputs):
    return {
        handle: [(item["json"], item["paired_item"]) for item in items] for handle, items in outputs.items() if items
    }


CASES = [
    ({}, {"v": 1}, {"v": 1.0}, None),
    ({}, {"v": 1}, {"v": True}, {"v": {"a": 1, "b": True}}),
    ({}, {"v": None}, {}, {"v": {"a": None}}),
    ({"types": "loose"}, {"v": "1"}, {"v": 1}, None),
    ({"ignore": ["o.x"]}, {"o": {"x": 1, "y": 1}}, {"o": {"x": 2, "y": 1}}, None),
    ({}, {"o": {"x": 1}}, {"o": {"x": 2}}, {"o": {"a": {"x": 1}, "b": {"x": 2}}}),
    ({"deep": True}, {"o": {"x": 1, "y": 0}}, {"o": {"x": 2, "y": 0}}, {"o.x": {"a": 1, "b": 2}}),
]


@pytest.mark.parametrize(("options", "a", "b", "different"), CASES)
async def test_differences(run_node, options, a, b, different):
    outputs = drawn(await run_node(NODE_TYPE, {"keys": ["k"], **options}, inputs=[[{"k": 1, **a}], [{"k": 1, **b}]]))
    if different is None:
        assert outputs == {"same": [({"k": 1, **a}, [0, 1])]}
    else:
        [(report, paired)] = outputs["different"]
        assert (report["different"], report["key"], paired) == (different, {"k": 1}, [0, 1])


async def test_items_without_a_key_and_several_with_one(run_node):
    inputs = [
        [{}, {"k": 1, "n": 1}, {"k": 1, "n": 2}, {"k": 1, "n": 3}],
        [{"k": None}, {"k": 1, "n": 1}, {"k": 1, "n": 0}],
    ]
    outputs = drawn(await run_node(NODE_TYPE, {"keys": ["k"], "on_difference": "a"}, inputs=inputs))
    assert outputs == {
        "only_a": [({}, 0), ({"k": 1, "n": 3}, 3)],
        "same": [({"k": 1, "n": 1}, [1, 5])],
        "different": [({"k": 1, "n": 2}, [2, 6])],
        "only_b": [({"k": None}, 4)],
    }


SIDE = st.dictionaries(st.integers(0, 5), st.integers(0, 2), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=SIDE, right=SIDE)
async def test_as_a_full_join_of_sql_says(run_node, sql, left, right):
    sides = [[{"k": k, "v": v} for k, v in side.items()] for side in (left, right)]
    outputs = await run_node(NODE_TYPE, {"keys": ["k"], "on_difference": "b"}, inputs=sides)
    tables = {name: (["k", "v"], list(side.items())) for name, side in (("a", left), ("b", right))}
    expected = {
        handle: {k for (k,) in sql(f"select coalesce(a.k, b.k) from a full join b on a.k = b.k where {what}", **tables)}
        for handle, what in (
            ("only_a", "b.k is null"),
            ("only_b", "a.k is null"),
            ("same", "a.v = b.v"),
            ("different", "a.v <> b.v"),
        )
    }
    assert {handle: {item["json"]["k"] for item in items} for handle, items in outputs.items()} == expected


async def test_takes_two_inputs(run_node):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"keys": ["k"]}, inputs=[[{}], [{}], [{}]])
    assert caught.value.code == "too_many_inputs"


@pytest.mark.parametrize("config", [{}, {"keys": []}, {"keys": ["a."]}, {"keys": ["a"], "ignore": [""]}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
