"""`data.aggregate`: one item made of all."""

from typing import Any

from nodes.fields import FIELD_SCHEMA, FIELDS_SCHEMA, MISSING, included, path_of, problems_of, read, write
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

SPEC = NodeSpec(
    type="data.aggregate",
    title="Aggregate",
    category="data",
    description="Makes one item of all: a list of their objects, or a list of each of some fields.",
    aliases=("aggregate",),
    literal=frozenset({"mode", "into", "include", "fields", "lists", "keep_missing", "flatten"}),
    examples=(
        Example(
            title="All objects in one list",
            config={"into": "rows", "include": "except", "fields": ["secret"]},
            items=[{"a": 1, "secret": "x"}, {"a": 2}],
            outputs={"main": [{"rows": [{"a": 1}, {"a": 2}]}]},
        ),
        Example(
            title="Some fields, each in a list",
            config={"mode": "lists", "lists": [{"field": "user.name", "into": "names"}, {"field": "age"}]},
            items=[{"user": {"name": "Ada"}, "age": 36}, {"user": {"name": "Bob"}}],
            outputs={"main": [{"names": ["Ada", "Bob"], "age": [36]}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["items", "lists"],
                "default": "items",
                "title": "Mode",
                "description": "`items`: a list of the objects. `lists`: a list for each field in `lists`.",
            },
            "into": {
                **FIELD_SCHEMA,
                "default": "data",
                "title": "Into",
                "description": "For `items`: the field that gets the list, dotted.",
            },
            "include": {
                "enum": ["all", "selected", "except"],
                "default": "all",
                "title": "Include",
                "description": "For `items`: which fields of the objects: all, those in `fields`, or all except those.",
            },
            "fields": {**FIELDS_SCHEMA, "title": "Fields", "description": "The fields that `include` means, dotted."},
            "lists": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "title": "Lists",
                "description": "For `lists`: which fields, and under which other name the list stands.",
                "items": {
                    "type": "object",
                    "required": ["field"],
                    "properties": {"field": FIELD_SCHEMA, "into": FIELD_SCHEMA},
                    "additionalProperties": False,
                },
            },
            "keep_missing": {
                "type": "boolean",
                "default": False,
                "title": "Keep missing",
                "description": "For `lists`: whether null stands where an item has no value, so that lists match by position.",
            },
            "flatten": {
                "type": "boolean",
                "default": False,
                "title": "Flatten",
                "description": "For `lists`: whether values that are lists add their elements.",
            },
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"mode": {"const": "lists"}}, "required": ["mode"]},
                "then": {"required": ["lists"]},
            },
            {
                "if": {"properties": {"include": {"enum": ["selected", "except"]}}, "required": ["include"]},
                "then": {"required": ["fields"]},
            },
        ],
    },
)


async def run(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Make the one item."""
    made: JsonObject = {}
    if config.get("mode", "items") == "items":
        paths = [path_of(name) for name in config.get("fields", [])]
        include = config.get("include", "all")
        objects = [item["json"] if include == "all" else included(item["json"], include, paths) for item in items]
        write(made, path_of(config.get("into", "data")), objects)
    else:
        for each in config["lists"]:
            write(made, path_of(each.get("into", each["field"])), _values(items, each["field"], config))
    return {MAIN: [{"json": made, "paired_item": list(range(len(items)))}]}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths, and that no two lists go to one place."""
    lists = config.get("lists", [])
    names = [("into", config.get("into", "data"))]
    names += [(f"fields[{index}]", name) for index, name in enumerate(config.get("fields", []))]
    names += [(f"lists[{index}].{part}", name) for index, each in enumerate(lists) for part, name in each.items()]
    found = problems_of(names)
    goals = [each.get("into", each["field"]) for each in lists]
    for index, goal in enumerate(goals):
        if goal in goals[:index]:
            found.append(Problem("names_clash", f"two lists go into {goal!r}", f"lists[{index}]"))
    return found


def _values(items: Items, name: str, config: Config) -> list[Any]:
    path, keep_missing, flatten = path_of(name), config.get("keep_missing", False), config.get("flatten", False)
    values: list[Any] = []
    for item in items:
        value = read(item["json"], path)
        if value is MISSING or value is None:
            if keep_missing:
                values.append(None)
        elif flatten and isinstance(value, list):
            values.extend(value)
        else:
            values.append(value)
    return values


NODE_TYPE = NodeType(SPEC, run, check)
