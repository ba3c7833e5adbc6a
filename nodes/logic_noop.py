"""`logic.noop`: does nothing; a place where branches meet or end, or where something will come."""

from nodes.lineage import carried
from workflow.spec import MAIN, Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="logic.noop",
    title="Do nothing",
    category="logic",
    description="Passes its items on as they are.",
    aliases=("noop", "no_op"),
    examples=(
        Example(title="One item", config={}, items=[{"a": 1}], outputs={"main": [{"a": 1}]}),
        Example(title="Several", config={}, items=[{"a": 1}, {"a": 2}], outputs={"main": [{"a": 1}, {"a": 2}]}),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    },
)


async def run(_context: NodeContext, _config: Config, items: Items) -> Outputs:
    """Pass the items on."""
    return {MAIN: [carried(item, index) for index, item in enumerate(items)]}


NODE_TYPE = NodeType(SPEC, run)
