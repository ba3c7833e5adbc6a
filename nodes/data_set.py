"""`data.set`: writes fields of every item."""

from typing import Any

from workflow.spec import (
    MAIN,
    Config,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

SPEC = NodeSpec(
    type="data.set",
    title="Set fields",
    category="data",
    description="Writes fields of every item, from fixed values or from what the item holds.",
    each_item=True,
    aliases=("set", "action.set"),
    examples=(
        Example(
            title="A full name, and a fixed field inside an object",
            config={"values": {"name": "{{ $json.first }} {{ $json.last }}", "source.kind": "import"}},
            items=[{"first": "Ada", "last": "Lovelace"}],
            outputs={
                "main": [
                    {"first": "Ada", "last": "Lovelace", "name": "Ada Lovelace", "source": {"kind": "import"}},
                ]
            },
        ),
    ),
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


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Write the fields of each item; what came in is left as it is."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            target = dict(item["json"]) if filled.get("keep_input", True) else {}
            for key, value in filled.get("values", {}).items():
                _write(target, key.split("."), value)
            results.append(Item(json=target, paired_item=index))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check that every path has a name between its dots."""
    return [
        Problem("path_empty", f"the path {key!r} has an empty name between its dots", f"values.{key}")
        for key in config.get("values", {})
        if "" in key.split(".")
    ]


def _write(target: JsonObject, path: list[str], value: Any) -> None:
    """Write into `target`, which is ours; objects on the way are shared, so each is replaced by a copy."""
    for name in path[:-1]:
        below = target.get(name)
        target[name] = dict(below) if isinstance(below, dict) else {}
        target = target[name]
    target[path[-1]] = value


NODE_TYPE = NodeType(SPEC, run, check)
