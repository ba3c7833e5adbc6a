"""`data.json`: reads and writes JSON text, and patches objects."""

from typing import Any

import orjson

from nodes.fields import MISSING, path_of, read, write
from nodes.lineage import carried
from nodes.options import wrong
from nodes.sources import LITERAL, SOURCE_PROPERTIES, TARGET_PROPERTIES, problems_of_places, text_in
from workflow.errors import BadInput, NodeError
from workflow.spec import MAIN, Config, Example, Item, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs
from workflow.values import decode

SPEC = NodeSpec(
    type="data.json",
    title="JSON",
    category="data",
    description="Reads JSON text, writes JSON text, or lays a patch over an object.",
    each_item=True,
    may_move=True,
    aliases=("json", "json_transform"),
    literal=LITERAL | {"operation", "lines", "indent", "sort_keys"},
    examples=(
        Example(
            title="Text that holds JSON",
            config={"operation": "parse", "field": "body", "into": "body"},
            items=[{"id": 1, "body": '{"a": [1, 2]}'}],
            outputs={"main": [{"id": 1, "body": {"a": [1, 2]}}]},
        ),
        Example(
            title="An object as text",
            config={"operation": "stringify", "field": "user", "into": "text", "sort_keys": True, "keep_input": False},
            items=[{"user": {"name": "Ada", "age": 36}}],
            outputs={"main": [{"text": '{"age":36,"name":"Ada"}'}]},
        ),
        Example(
            title="A patch: null removes a field",
            config={"operation": "patch", "patch": {"user": {"age": None, "role": "{{ $json.role }}"}}},
            items=[{"user": {"name": "Ada", "age": 36}, "role": "admin"}],
            outputs={"main": [{"user": {"name": "Ada", "role": "admin"}, "role": "admin"}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {
                "enum": ["parse", "stringify", "patch"],
                "title": "Operation",
                "description": (
                    "`parse`: text becomes a value. `stringify`: a value becomes text. `patch`: a merge patch (RFC 7396) "
                    "is laid over the item, or over the object in `field`."
                ),
            },
            **SOURCE_PROPERTIES,
            "field": {
                **SOURCE_PROPERTIES["field"],
                "description": "The field that is read, dotted. Without it, `stringify` and `patch` take the whole item.",
            },
            "lines": {
                "type": "boolean",
                "default": False,
                "title": "JSON Lines",
                "description": "Whether the text has one value on each line: a list is read or written.",
            },
            "indent": {
                "type": "boolean",
                "default": False,
                "title": "Indent",
                "description": "For `stringify`: whether the text is set out on many lines, two spaces deep.",
            },
            "sort_keys": {
                "type": "boolean",
                "default": False,
                "title": "Sort fields",
                "description": "For `stringify`: whether fields are put in the order of their names.",
            },
            "patch": {
                "type": ["object", "string"],
                "title": "Patch",
                "description": "For `patch`: fields to write; null removes one, objects are merged, anything else replaces.",
            },
            **TARGET_PROPERTIES,
        },
        "additionalProperties": False,
        "if": {"properties": {"operation": {"const": "patch"}}, "required": ["operation"]},
        "then": {"required": ["patch"]},
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Work on every item. Raises `NodeError`: `json_invalid`, and those of reading text."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            results.append(carried(item, index, _made(item, filled)))
    return {MAIN: results}


def _made(item: Item, config: JsonObject) -> JsonObject:
    if config["operation"] == "patch":
        return _patched_item(item, config)
    value = _parsed(text_in(item, config), config) if config["operation"] == "parse" else _text(item, config)
    target = dict(item["json"]) if config.get("keep_input", True) else {}
    write(target, path_of(config.get("into", "data")), value)
    return target


def _parsed(text: str, config: JsonObject) -> Any:
    try:
        data = text.encode()
        if not config.get("lines", False):
            return decode(data)
        return [decode(line) for line in data.split(b"\n") if line.strip()]
    except (BadInput, UnicodeEncodeError) as error:
        message = error.message if isinstance(error, BadInput) else "the text has half of a surrogate pair"
        raise NodeError(message, "json_invalid") from None


def _text(item: Item, config: JsonObject) -> str:
    value = read(item["json"], path_of(config["field"])) if "field" in config else item["json"]
    if value is MISSING:
        raise NodeError(f"the item has no field {config['field']!r}", "field_missing", {"field": config["field"]})
    options = orjson.OPT_INDENT_2 if config.get("indent", False) else 0
    options |= orjson.OPT_SORT_KEYS if config.get("sort_keys", False) else 0
    if not config.get("lines", False):
        return orjson.dumps(value, option=options).decode()
    if not isinstance(value, list):
        raise NodeError("for JSON Lines a list is wanted", "type_mismatch")
    return "".join(orjson.dumps(each, option=options & ~orjson.OPT_INDENT_2).decode() + "\n" for each in value)


def _patched_item(item: Item, config: JsonObject) -> JsonObject:
    patch = config["patch"]
    if not isinstance(patch, dict):
        raise wrong("patch", "an object", patch)
    if "field" not in config:
        return _patched(item["json"], patch)
    path = path_of(config["field"])
    below = read(item["json"], path)
    target = dict(item["json"]) if config.get("keep_input", True) else {}
    write(target, path, _patched(below if isinstance(below, dict) else {}, patch))
    return target


def _patched(target: JsonObject, patch: JsonObject) -> JsonObject:
    made = dict(target)
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict):
            below = made.get(name)
            made[name] = _patched(below if isinstance(below, dict) else {}, value)
        else:
            made[name] = value
    return made


NODE_TYPE = NodeType(SPEC, run, problems_of_places)
