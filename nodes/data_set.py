"""`data.set`: writes fields of every item."""

from typing import Any
from zoneinfo import ZoneInfo

from nodes import conversions, fields
from nodes.lineage import carried
from nodes.moments import zone_of
from nodes.options import wrong
from workflow.errors import BadInput, NodeError
from workflow.spec import (
    MAIN,
    Config,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)
from workflow.values import decode

_INCLUDES = ("all", "none", "selected", "except")

SPEC = NodeSpec(
    type="data.set",
    title="Set fields",
    category="data",
    description="Writes fields of every item, from fixed values or from what the item holds; keeps or removes the others.",
    each_item=True,
    aliases=("set", "action.set"),
    literal=frozenset({"mode", "include", "fields", "remove", "types", "dot_notation"}),
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
        Example(
            title="Some fields only, one of them as a number",
            config={"include": "selected", "fields": ["id", "user.name"], "values": {"age": "{{ $json.user.age }}"}}
            | {"types": {"age": "number"}},
            items=[{"id": 1, "user": {"name": "Ada", "age": "36"}, "secret": "x"}],
            outputs={"main": [{"id": 1, "user": {"name": "Ada"}, "age": 36}]},
        ),
        Example(
            title="A whole object in place of the item",
            config={"mode": "json", "json": {"user": "{{ $json.user }}", "ok": True}, "include": "none"},
            items=[{"user": {"name": "Ada"}, "more": 1}],
            outputs={"main": [{"user": {"name": "Ada"}, "ok": True}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["fields", "json"],
                "default": "fields",
                "title": "Mode",
                "description": "`fields`: writes the fields in `values`. `json`: writes all the fields of one object.",
            },
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
            "json": {
                "type": ["object", "string"],
                "title": "JSON",
                "description": "For the mode `json`: an object, `{{ }}` that gives one, or text that spells one.",
            },
            "keep_input": {
                "type": "boolean",
                "default": True,
                "title": "Keep input",
                "description": "Whether the other fields of the item are kept; `include` says it in more detail.",
            },
            "include": {
                "enum": list(_INCLUDES),
                "title": "Include",
                "description": "Which fields of the item are kept: all, none, those in `fields`, or all except those.",
            },
            "fields": {
                **fields.FIELDS_SCHEMA,
                "title": "Fields",
                "description": "The fields that `include` selects or leaves out.",
            },
            "remove": {
                **fields.FIELDS_SCHEMA,
                "minItems": 0,
                "default": [],
                "title": "Remove",
                "description": "Fields to remove, after the others are written.",
            },
            "types": {
                "type": "object",
                "additionalProperties": {"enum": list(conversions.TYPES)},
                "default": {},
                "title": "Types",
                "description": (
                    "What to make of fields, by field: `string`, `number`, `boolean`, `array`, `object` or `date` (ISO "
                    "8601 in the workflow's time zone). Null stays null; what does not spell the type is an error."
                ),
            },
            "dot_notation": {
                "type": "boolean",
                "default": True,
                "title": "Dot notation",
                "description": "Whether a dot in the name of a field leads into an object.",
            },
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"include": {"enum": ["selected", "except"]}}, "required": ["include"]},
                "then": {"required": ["fields"]},
            },
            {
                "if": {"properties": {"mode": {"const": "json"}}, "required": ["mode"]},
                "then": {"required": ["json"]},
            },
        ],
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Write the fields of each item; what came in is left as it is. Raises `NodeError` (`cannot_convert`)."""
    zone = zone_of(context.timezone)
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            dots = filled.get("dot_notation", True)
            include = filled.get("include") or ("all" if filled.get("keep_input", True) else "none")
            selected = [fields.path_of(name, dots=dots) for name in filled.get("fields", ())]
            target = fields.included(item["json"], include, selected)
            if filled.get("mode", "fields") == "json":
                target.update(_object(filled["json"]))
            else:
                for name, value in _values(filled).items():
                    fields.write(target, fields.path_of(name, dots=dots), value)
            for name, to in filled.get("types", {}).items():
                _retype(target, name, fields.path_of(name, dots=dots), to, zone)
            for name in filled.get("remove", ()):
                fields.remove(target, fields.path_of(name, dots=dots))
            results.append(carried(item, index, target))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check that every path has a name between its dots."""
    dots = config.get("dot_notation", True)
    names = [(f"values.{name}", name) for name in config.get("values", {})]
    names += [(f"types.{name}", name) for name in config.get("types", {})]
    for option in ("fields", "remove"):
        names += [(f"{option}[{index}]", name) for index, name in enumerate(config.get(option, ()))]
    found = fields.problems_of(names, dots=dots)
    if "include" in config and "keep_input" in config:
        found.append(Problem("options_clash", "say either `include` or `keep_input`", "keep_input"))
    return found


def _values(config: JsonObject) -> JsonObject:
    values = config.get("values", {})
    if not isinstance(values, dict):
        raise wrong("values", "an object", values)
    return values


def _object(value: Any) -> JsonObject:
    if isinstance(value, str):
        try:
            value = decode(value.encode(errors="surrogatepass"))
        except BadInput as error:
            raise NodeError(f"json: {error.message}", "json_invalid") from error
    if not isinstance(value, dict):
        raise wrong("json", "an object", value)
    return value


def _retype(target: JsonObject, name: str, path: fields.Path, to: str, zone: ZoneInfo) -> None:
    value = fields.read(target, path)
    if value is fields.MISSING:
        return
    try:
        converted = conversions.convert(value, to, zone)
    except NodeError as error:
        raise NodeError(f"{name}: {error.message}", error.code, {**error.fields, "field": name}) from None
    fields.write(target, path, converted)


NODE_TYPE = NodeType(SPEC, run, check)
