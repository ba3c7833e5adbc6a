import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_unique import NODE_TYPE
from nodes.equality import equal, key_of
from tests.unit.nodes.conftest import findings


def kept(outputs):
    return [item["paired_item"] for item in outputs["main"]], [item["paired_item"] for item in outputs["duplicates"]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=10),
    keep=st.sampled_from(["first", "last"]),
)
async def test_as_sql_does(run_node, sql, rows, keep):
    table = ["a", "b", "n"], [(*row, n) for n, row in enumerate(rows)]
    items = [{"a": a, "b": b} for a, b in rows]
    end = {"first": "min", "last": "max"}[keep]
    for config, columns in (
        ({}, "a, b"),
        ({"compare": "selected", "fields": ["a"]}, "a"),
        ({"compare": "except", "fields": ["a"]}, "b"),
    ):
        outputs = await run_node(NODE_TYPE, {**config, "keep": keep}, items)
        expected = sql(f"select {end}(n) from t group by {columns} order by 1", t=table)
        assert [(index,) for index in kept(outputs)[0]] == expected
        assert sorted(index for part in kept(outputs) for index in part) == list(range(len(rows)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, "0", "1", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(left=JSON, right=JSON)
def test_keys_are_the_same_where_values_are(left, right):
    assert (key_of(left) == key_of(right)) is equal(left, right)


async def test_missing_is_the_same_as_null(run_node):
    config = {"compare": "selected", "fields": ["a.b"]}
    assert kept(await run_node(NODE_TYPE, config, [{}, {"a": {"b": None}}, {"a": 5}, {"a": {"b": 0}}])) == (
        [0, 3],
        [1, 2],
    )


@pytest.mark.parametrize(
    "config", [{"compare": "selected"}, {"keep": "all"}, {"compare": "selected", "fields": [".a"]}]
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
