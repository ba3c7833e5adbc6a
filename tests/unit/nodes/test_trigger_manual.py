from nodes.trigger_manual import NODE_TYPE


async def test_passes_on_what_the_execution_was_started_with(run_node):
    assert await run_node(NODE_TYPE, {}, [{"a": 1}, {"b": 2}]) == {"main": [{"json": {"a": 1}}, {"json": {"b": 2}}]}


def test_is_a_trigger_without_inputs():
    assert NODE_TYPE.spec.trigger
    assert NODE_TYPE.spec.inputs == ()
