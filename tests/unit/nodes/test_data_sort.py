from functools import cmp_to_key

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_sort import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


def values(outputs):
    return [item["json"].get("v") for item in outputs["main"]]


CASES = [
    ("auto", "asc", [2, "a", None, True, "B", 1.5, [1]], [True, 1.5, 2, "B", "a", [1], None]),
    ("auto", "desc", [1, None, 3, 2], [3, 2, 1, None]),
    ("number", "asc", ["10", 9, "1e1", True], [True, 9, "10", "1e1"]),
    ("text", "asc", [10, 9, "b", "B"], [10, 9, "B", "b"]),
    ("case_insensitive", "asc", ["b", "A", "c", "B"], ["A", "b", "B", "c"]),
    ("case_insensitive", "desc", ["b", "A", "c", "B"], ["c", "b", "B", "A"]),
    ("natural", "asc", ["f10", "f9", "F9a", "9", "f"], ["9", "f", "f9", "F9a", "f10"]),
    ("date", "asc", ["2026-02-01", "2026-01-31T23:00-05:00", 0], [0, "2026-02-01", "2026-01-31T23:00-05:00"]),
]


@pytest.mark.parametrize(("kind", "order", "before", "after"), CASES)
async def test_orders(run_node, kind, order, before, after):
    config = {"fields": [{"field": "v", "type": kind, "order": order}]}
    assert values(await run_node(NODE_TYPE, config, [{"v": each} for each in before])) == after


async def test_missing_is_last_as_null_is(run_node):
    outputs = await run_node(NODE_TYPE, {"fields": [{"field": "v"}]}, [{}, {"v": None}, {"v": 0}])
    assert [item["paired_item"] for item in outputs["main"]] == [2, 0, 1]


KEYS = st.one_of(st.none(), st.integers(-2, 2), st.sampled_from([0.5, 1.0]))
ROWS = st.lists(st.tuples(KEYS, KEYS), max_size=12)
ORDER = st.sampled_from(["asc", "desc"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, orders=st.tuples(ORDER, ORDER))
async def test_is_the_stable_sort_by_all_fields(run_node, rows, orders):
    def compare(left, right):
        for a, b, order in zip(left, right, orders, strict=True):
            if (a is None) != (b is None):
                return 1 if a is None else -1
            if a is not None and a != b:
                return (1 if a > b else -1) * (1 if order == "asc" else -1)
        return 0

    config = {"fields": [{"field": f"o.{n}", "order": order} for n, order in zip("ab", orders, strict=True)]}
    outputs = await run_node(NODE_TYPE, config, [{"o": {"a": a, "b": b}} for a, b in rows])
    expected = sorted(range(len(rows)), key=cmp_to_key(lambda i, j: compare(rows[i], rows[j])))
    assert [item["paired_item"] for item in outputs["main"]] == expected


@pytest.mark.parametrize(("kind", "value"), [("number", "x"), ("date", "x"), ("number", [1])])
async def test_values_that_are_not_of_the_type(run_node, context, kind, value):
    config = {"fields": [{"field": "v", "type": kind}]}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{"v": 1}, {"v": value}])
    assert caught.value.code == "cannot_convert"
    assert caught.value.fields["item_index"] == 1
    assert values(await run_node(NODE_TYPE, config, [{"v": 1}, {"v": value}, {"v": 0}], keep_going=True)) == [0, 1]


@pytest.mark.parametrize("config", [{}, {"fields": []}, {"fields": [{"field": "a."}]}, {"fields": "{{ $json.f }}"}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
