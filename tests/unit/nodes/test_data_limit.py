import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_limit import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

SMALL = st.integers(0, 6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=SMALL, count=SMALL, offset=SMALL)
async def test_is_a_slice(run_node, length, count, offset):
    items = [{"n": n} for n in range(length)]
    config = {"count": count, "offset": offset}
    first = await run_node(NODE_TYPE, config, items)
    assert [item["paired_item"] for item in first["main"]] == list(range(length))[offset:][:count]
    last = await run_node(NODE_TYPE, {**config, "keep": "last"}, items)
    mirrored = list(reversed(range(length)))[offset:][:count]
    assert [item["paired_item"] for item in last["main"]] == mirrored[::-1]


async def test_a_number_may_come_from_an_item(run_node):
    assert len((await run_node(NODE_TYPE, {"count": "{{ $json.n }}"}, [{"n": 2.0}] * 3))["main"]) == 2


@pytest.mark.parametrize("count", [-1, "2", 1.5, True, None])
async def test_numbers_that_are_none(run_node, count):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"count": "{{ $json.n }}"}, [{"n": count}])
    assert caught.value.code == "config_value_invalid"


@pytest.mark.parametrize("config", [{"count": -1}, {"keep": "middle"}, {"keep": "{{ $json.k }}"}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
