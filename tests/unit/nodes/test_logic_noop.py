from nodes.logic_noop import NODE_TYPE


async def test_passes_items_on(run_node):
    outputs = await run_node(NODE_TYPE, {}, [{"a": 1}, {"b": 2}])
    assert outputs == {"main": [{"json": {"a": 1}, "paired_item": 0}, {"json": {"b": 2}, "paired_item": 1}]}
