"""`trigger.manual`: where an execution begins that somebody started."""

from workflow.spec import MAIN, Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="trigger.manual",
    title="Manual trigger",
    category="trigger",
    description="Starts the workflow when a person or a program executes it, and passes on the input of the execution.",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    },
    inputs=(),
    trigger=True,
    aliases=("manual_trigger",),
    examples=(Example(title="The input goes on", config={}, items=[{"order": 7}], outputs={"main": [{"order": 7}]}),),
)


async def run(_context: NodeContext, _config: Config, items: Items) -> Outputs:
    """Pass on the items that the execution was started with."""
    return {MAIN: items}


NODE_TYPE = NodeType(SPEC, run)
