"""`data.set`: writes fields of every item."""

from typing import Any

from workflow import expression
from workflow.spec import MAIN, Item, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs, Problem

SPEC = NodeSpec(
    type="data.set",
    title="Set fields",
    category="data",
    description="Writes fields of every item, from fixed values or from what the item holds.",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "values": {
                "type": "object",
                "default": {},
                "title": "Values",
                "description": (
                    "What to write, by field: `a.b` writes the field `b` of the object `a`, which is made where it "
                    "is missing or not an object. A value is any JSON; strings in it may hold `{{ }}`. They are "
                    "written in order, and all see the item as it came in."
                ),
            },
            "keep_input": {
                "type": "boolean",
                "default": True,
                "title": "Keep input",
                "description": "Whether the other fields of the item are kept.",
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: JsonObject, items: Items) -> Outputs:
    """Write the fields of each item; what came in is left as it is."""
    values = [
        (tuple(key.split(".")), expression.compile_value(value)) for key, value in config.get("values", {}).items()
    ]
    keep = config.get("keep_input", True)
    results: Items = []
    for scope in expression.scopes(context, (item["json"] for item in items)):
        target = dict(scope.json) if keep else {}
        for path, value in values:
            _write(target, path, value.evaluate(scope))
        results.append(Item(json=target, paired_item=scope.item_index))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the expressions, and that every path has a name between its dots."""
    values = config.get("values", {})
    empty = [
        Problem("path_empty", f"the path {key!r} has an empty name between its dots", f"values.{key}")
        for key in values
        if "" in key.split(".")
    ]
    return empty + expression.problems(values, "values")


def _write(target: JsonObject, path: tuple[str, ...], value: Any) -> None:
    """Write into `target`, which is ours; objects on the way are shared, so each is replaced by a copy."""
    for name in path[:-1]:
        below = target.get(name)
        target[name] = dict(below) if isinstance(below, dict) else {}
        target = target[name]
    target[path[-1]] = value


NODE_TYPE = NodeType(SPEC, run, check)
