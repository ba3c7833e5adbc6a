import pytest
from jsonschema import ValidationError

from nodes.logic_merge import NODE_TYPE


@pytest.mark.parametrize("config", [{}, {"mode": "append"}])
async def test_appends_in_the_order_given(run_node, config):
    outputs = await run_node(NODE_TYPE, config, [{"from": "a"}, {"from": "b"}])
    assert outputs == {"main": [{"json": {"from": "a"}}, {"json": {"from": "b"}}]}


async def test_knows_no_other_mode(run_node):
    with pytest.raises(ValidationError):
        await run_node(NODE_TYPE, {"mode": "zip"}, [])
