import pytest

from nodes.logic_merge import NODE_TYPE
from tests.unit.nodes.conftest import findings


@pytest.mark.parametrize("config", [{}, {"mode": "append"}])
async def test_appends_in_the_order_given(run_node, config):
    outputs = await run_node(NODE_TYPE, config, [{"from": "a"}, {"from": "b"}])
    assert outputs == {"main": [{"json": {"from": "a"}}, {"json": {"from": "b"}}]}


def test_knows_no_other_mode():
    assert findings(NODE_TYPE, {"mode": "zip"}) == [("invalid_config", "mode")]
