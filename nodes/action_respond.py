"""`action.respond`: says what the execution answers to whoever started it."""

from typing import Any

from workflow.spec import MAIN, Config, Example, Item, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="action.respond",
    title="Respond",
    category="action",
    description="Sets what the execution answers. Its one item holds the answer: `status_code` and `body`.",
    responds=True,
    aliases=("respond",),
    examples=(
        Example(
            title="A body of its own",
            config={"respond_with": "json", "body": {"accepted": "{{ $json.order }}"}, "status_code": 202},
            items=[{"order": 7}],
            outputs={"main": [{"status_code": 202, "body": {"accepted": 7}}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "respond_with": {
                "enum": ["first_item", "all_items", "json"],
                "default": "first_item",
                "title": "Respond with",
                "description": (
                    "`first_item`: the first item's object, null if there is no item. `all_items`: the list of the "
                    "items' objects. `json`: what stands in `body`."
                ),
            },
            "body": {
                "title": "Body",
                "description": "Any JSON for `json`; strings in it may hold `{{ }}` and see the first item.",
            },
            "status_code": {
                "type": "integer",
                "minimum": 200,
                "maximum": 599,
                "default": 200,
                "title": "Status code",
                "description": "The HTTP status of the answer, where it is given over HTTP.",
            },
        },
        "additionalProperties": False,
        "if": {"properties": {"respond_with": {"const": "json"}}, "required": ["respond_with"]},
        "then": {"required": ["body"]},
    },
)


async def run(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Make the answer out of the items."""
    answer: JsonObject = {"status_code": config.get("status_code", 200), "body": _body(config, items)}
    return {MAIN: [Item(json=answer)]}


def _body(config: Config, items: Items) -> Any:
    match config.get("respond_with", "first_item"):
        case "all_items":
            return [item["json"] for item in items]
        case "json":
            return config["body"]
        case _:
            return items[0]["json"] if items else None


NODE_TYPE = NodeType(SPEC, run)
