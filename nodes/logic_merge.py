"""`logic.merge`: brings branches together again."""

from workflow.spec import MAIN, Config, Items, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="logic.merge",
    title="Merge",
    category="logic",
    description=(
        "Waits for all branches that lead here and were taken, and passes on their items, one branch after the other "
        "in the order of the connections."
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["append"],
                "default": "append",
                "title": "Mode",
                "description": "How items are brought together: `append` puts them one after the other.",
            },
        },
        "additionalProperties": False,
    },
)


async def run(_context: NodeContext, _config: Config, items: Items) -> Outputs:
    """Pass on the items, which arrive in the order of the connections."""
    return {MAIN: items}


NODE_TYPE = NodeType(SPEC, run)
