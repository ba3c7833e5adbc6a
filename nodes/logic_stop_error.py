"""`logic.stop_error`: fails on purpose."""

from nodes.conversions import text_of
from workflow.errors import NodeError
from workflow.spec import Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

_CODE = "stopped"

SPEC = NodeSpec(
    type="logic.stop_error",
    title="Stop with an error",
    category="logic",
    description="Fails with a message of your own, and with it the execution, unless `on_error` says otherwise.",
    outputs=(),
    aliases=("stop_error", "action.stop_error", "stopError", "logic.throw_error", "throw_error"),
    examples=(
        Example(
            title="A message with a value",
            config={"message": "Order {{ $json.id }} has no lines"},
            items=[{"id": 7}],
            error="stopped",
        ),
        Example(
            title="A code and fields for whoever handles the error",
            config={"message": "Out of stock", "code": "out_of_stock", "fields": {"article": "{{ $json.article }}"}},
            items=[{"article": "A-1"}],
            error="out_of_stock",
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": {
                "type": "string",
                "minLength": 1,
                "maxLength": 10_000,
                "title": "Message",
                "description": "What went wrong; may hold `{{ }}` and sees the first item.",
            },
            "code": {
                "type": "string",
                "pattern": "^[a-z][a-z0-9_]{0,63}$",
                "default": _CODE,
                "title": "Code",
                "description": "A stable name of the error, for `retry_on` and for whoever handles it.",
            },
            "fields": {
                "type": "object",
                "default": {},
                "title": "Fields",
                "description": "More about the error, kept with it; may hold `{{ }}`.",
            },
        },
        "additionalProperties": False,
    },
    literal=frozenset({"code"}),
)


async def run(_context: NodeContext, config: Config, _items: Items) -> Outputs:
    """Raise the `NodeError` that the config describes."""
    fields = config.get("fields", {})
    raise NodeError(text_of(config["message"]), config.get("code", _CODE), fields if isinstance(fields, dict) else {})


NODE_TYPE = NodeType(SPEC, run)
