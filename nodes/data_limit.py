"""`data.limit`: keeps the first or the last items."""

from nodes.lineage import carried
from nodes.options import whole_number
from workflow.spec import MAIN, Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

_COUNT_MAX = 1_000_000_000

SPEC = NodeSpec(
    type="data.limit",
    title="Limit",
    category="data",
    description="Keeps so many of the items, from the beginning or from the end.",
    aliases=("limit", "logic.limit", "dataLimit"),
    examples=(
        Example(
            title="The first two",
            config={"count": 2},
            items=[{"n": 1}, {"n": 2}, {"n": 3}],
            outputs={"main": [{"n": 1}, {"n": 2}]},
        ),
        Example(
            title="The last but one",
            config={"count": 1, "keep": "last", "offset": 1},
            items=[{"n": 1}, {"n": 2}, {"n": 3}],
            outputs={"main": [{"n": 2}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "count": {
                "type": "integer",
                "minimum": 0,
                "maximum": _COUNT_MAX,
                "default": 1,
                "title": "Count",
                "description": "How many items are kept.",
            },
            "keep": {
                "enum": ["first", "last"],
                "default": "first",
                "title": "Keep",
                "description": "Whether the first items are kept or the last; their order stays.",
            },
            "offset": {
                "type": "integer",
                "minimum": 0,
                "maximum": _COUNT_MAX,
                "default": 0,
                "title": "Offset",
                "description": "How many items are left out before, from the end that is kept.",
            },
        },
        "additionalProperties": False,
    },
    literal=frozenset({"keep"}),
)


async def run(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Keep a part of the items."""
    count = whole_number(config.whole, "count", 1, 0, _COUNT_MAX)
    offset = whole_number(config.whole, "offset", 0, 0, _COUNT_MAX)
    if config.get("keep", "first") == "first":
        kept = range(len(items))[offset : offset + count]
    else:
        end = max(len(items) - offset, 0)
        kept = range(max(end - count, 0), end)
    return {MAIN: [carried(items[index], index) for index in kept]}


NODE_TYPE = NodeType(SPEC, run)
