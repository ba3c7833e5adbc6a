"""Runs the worked examples of all node types, which the docs show."""

import pytest

from nodes.catalog import load_catalog
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.spec import Effect

EXAMPLES = [(each, example) for each in load_catalog() for example in each.spec.examples]
# What an effect gives depends on the world outside: its examples are compiled, and its own tests have a world for it.
RUN = [(each, example) for each, example in EXAMPLES if each.spec.effect is Effect.PURE]


@pytest.mark.parametrize(("node_type", "example"), EXAMPLES, ids=lambda part: getattr(part, "title", ""))
def test_its_config_compiles(node_type, example):
    assert findings(node_type, example.config) == []


@pytest.mark.parametrize(("node_type", "example"), RUN, ids=lambda part: getattr(part, "title", ""))
async def test_gives_what_it_says(run_node, node_type, example):
    inputs = example.inputs or {"main": example.items}
    arguments = {"inputs": [list(part) for part in inputs.values()], "handles": list(inputs)}
    if example.error:
        with pytest.raises(NodeError) as caught:
            await run_node(node_type, example.config, **arguments)
        assert caught.value.code == example.error
        return
    outputs = await run_node(node_type, example.config, **arguments)
    if example.outputs is not None:
        taken = {handle: [item["json"] for item in items] for handle, items in outputs.items() if items}
        assert taken == {handle: list(objects) for handle, objects in example.outputs.items() if objects}


@pytest.mark.parametrize(("node_type", "example"), EXAMPLES, ids=lambda part: getattr(part, "title", ""))
def test_its_handles_are_those_of_its_config(node_type, example):
    assert set(example.inputs or ()) <= set(node_type.inputs(example.config))
    assert set(example.outputs or ()) <= set(node_type.outputs(example.config))


@pytest.mark.parametrize("node_type", list(load_catalog()), ids=lambda each: each.spec.type)
def test_data_is_shown_by_two_examples(node_type):
    if node_type.spec.category == "data":
        assert len(node_type.spec.examples) >= 2
