"""`logic.filter`: lets the items through that meet conditions."""

from nodes import conditions
from nodes.lineage import carried
from workflow.spec import MAIN, Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

_DISCARDED = "discarded"

SPEC = NodeSpec(
    type="logic.filter",
    title="Filter",
    category="logic",
    description="Lets the items through that meet conditions; the others go to `discarded`.",
    outputs=(MAIN, _DISCARDED),
    each_item=True,
    aliases=("filter", "data.filter", "dataFilter"),
    literal=conditions.OPTIONS,
    examples=(
        Example(
            title="Addresses of one domain, whatever their case",
            config={
                "conditions": [{"left": "{{ $json.email }}", "operator": "ends_with", "right": "@example.com"}],
                "case_sensitive": False,
            },
            items=[{"email": "Ada@Example.com"}, {"email": "bob@example.org"}],
            outputs={"main": [{"email": "Ada@Example.com"}], "discarded": [{"email": "bob@example.org"}]},
        ),
        Example(
            title="Numbers that came as text",
            config={
                "conditions": [{"left": "{{ $json.age }}", "operator": "between", "right": [18, 65]}],
                "types": "loose",
            },
            items=[{"age": "17"}, {"age": "18"}, {"age": 65}],
            outputs={"main": [{"age": "18"}, {"age": 65}], "discarded": [{"age": "17"}]},
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
    outputs: Outputs = {MAIN: [], _DISCARDED: []}
    for index, item in enumerate(items):
        with context.item(index):
            met = conditions.met(config.of(index), reading, index)
            outputs[MAIN if met else _DISCARDED].append(carried(item, index))
    return outputs


NODE_TYPE = NodeType(SPEC, run)
