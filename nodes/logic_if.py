"""`logic.if`: sends every item one of two ways."""

from nodes import conditions
from nodes.lineage import carried
from workflow.spec import Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="logic.if",
    title="If",
    category="logic",
    description="Sends every item to `true` or to `false`, by conditions on it.",
    outputs=("true", "false"),
    each_item=True,
    aliases=("if", "logic.condition"),
    literal=conditions.OPTIONS,
    examples=(
        Example(
            title="Large orders one way, the others another",
            config={"conditions": [{"left": "{{ $json.total }}", "operator": "greater_or_equal", "right": 100}]},
            items=[{"total": 20}, {"total": 120}],
            outputs={"true": [{"total": 120}], "false": [{"total": 20}]},
        ),
        Example(
            title="Active, and from one of two countries or invited",
            config={
                "conditions": [
                    {"left": "{{ $json.active }}", "operator": "is_true"},
                    {
                        "combine": "or",
                        "conditions": [
                            {"left": "{{ $json.country }}", "operator": "in", "right": ["DE", "AT"]},
                            {"left": "{{ $json.tags }}", "operator": "contains", "right": "invited"},
                        ],
                    },
                ]
            },
            items=[
                {"active": True, "country": "AT", "tags": []},
                {"active": True, "country": "FR", "tags": ["invited"]},
                {"active": True, "country": "FR", "tags": []},
            ],
            outputs={
                "true": [
                    {"active": True, "country": "AT", "tags": []},
                    {"active": True, "country": "FR", "tags": ["invited"]},
                ],
                "false": [{"active": True, "country": "FR", "tags": []}],
            },
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": conditions.DEFINITIONS,
        "type": "object",
        "required": ["conditions"],
        "properties": {
            "conditions": conditions.CONDITIONS,
            "combine": conditions.COMBINE,
            "case_sensitive": conditions.CASE_SENSITIVE,
            "types": conditions.TYPES,
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Split the items. Raises `NodeError` where an operator does not fit its values."""
    reading = await conditions.reading_of(context, config, items, lambda filled: [filled])
    outputs: Outputs = {"true": [], "false": []}
    for index, item in enumerate(items):
        with context.item(index):
            met = conditions.met(config.of(index), reading, index)
            outputs["true" if met else "false"].append(carried(item, index))
    return outputs


NODE_TYPE = NodeType(SPEC, run)
