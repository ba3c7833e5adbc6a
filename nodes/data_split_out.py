"""`data.split_out`: an item for every element of a list."""

from itertools import zip_longest
from typing import Any

from nodes.fields import FIELD_SCHEMA, FIELDS_SCHEMA, MISSING, Path, included, path_of, problems_of, read, remove, write
from workflow.errors import NodeError
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

_ITEMS_MAX = 1_000_000

SPEC = NodeSpec(
    type="data.split_out",
    title="Split out",
    category="data",
    description="Makes an item of every element of a list, of one field or of several in step. Files stay behind.",
    aliases=("split_out", "splitData"),
    may_move=True,
    literal=frozenset({"lists", "include", "fields", "keep_empty"}),
    examples=(
        Example(
            title="The lines of an order",
            config={"lists": [{"field": "lines"}]},
            items=[{"id": 1, "lines": [{"article": "A"}, {"article": "B"}]}],
            outputs={"main": [{"article": "A"}, {"article": "B"}]},
        ),
        Example(
            title="Two lists in step, with another field",
            config={
                "lists": [{"field": "names", "into": "name"}, {"field": "ages", "into": "age"}],
                "include": "selected",
                "fields": ["id"],
            },
            items=[{"id": 1, "names": ["Ada", "Bob"], "ages": [36], "more": True}],
            outputs={"main": [{"id": 1, "name": "Ada", "age": 36}, {"id": 1, "name": "Bob"}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["lists"],
        "properties": {
            "lists": {
                "type": "array",
                "minItems": 1,
                "maxItems": 20,
                "title": "Lists",
                "description": (
                    "The fields that hold the lists, dotted, and the field that gets an element (`into`). Without `into`, "
                    "and with nothing else included, an element of a single list that is an object is the whole item; "
                    "otherwise it stands under the name of the list. Of an object its values are the elements; any other "
                    "value is a list of one; null and a missing value are an empty list."
                ),
                "items": {
                    "type": "object",
                    "required": ["field"],
                    "properties": {"field": FIELD_SCHEMA, "into": FIELD_SCHEMA},
                    "additionalProperties": False,
                },
            },
            "include": {
                "enum": ["none", "all", "selected", "except"],
                "default": "none",
                "title": "Include",
                "description": "Which other fields of the item go with every element: none, all, those in `fields`, or all except those.",
            },
            "fields": {**FIELDS_SCHEMA, "title": "Fields", "description": "The fields that `include` means, dotted."},
            "keep_empty": {
                "type": "boolean",
                "default": False,
                "title": "Keep empty",
                "description": "Whether an item whose lists are all empty goes on, without an element.",
            },
        },
        "additionalProperties": False,
        "if": {"properties": {"include": {"enum": ["selected", "except"]}}, "required": ["include"]},
        "then": {"required": ["fields"]},
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Make the items. Raises `NodeError` (`too_many_items`)."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            objects = _split(item["json"], config.whole, _ITEMS_MAX - len(results))
            results += [Item(json=json, paired_item=index) for json in objects]
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths, and that no two elements go to one place."""
    lists = config["lists"]
    names = [(f"lists[{index}].{part}", name) for index, each in enumerate(lists) for part, name in each.items()]
    names += [(f"fields[{index}]", name) for index, name in enumerate(config.get("fields", []))]
    found = problems_of(names)
    goals = [each.get("into", each["field"]) for each in lists]
    for index, goal in enumerate(goals):
        if goal in goals[:index]:
            found.append(Problem("names_clash", f"two lists go into {goal!r}", f"lists[{index}]"))
    return found


def _split(source: JsonObject, options: JsonObject, most: int) -> list[JsonObject]:
    lists = [(path_of(each["field"]), each.get("into")) for each in options["lists"]]
    include = options.get("include", "none")
    others = included(source, include, [path_of(name) for name in options.get("fields", [])])
    for path, _ in lists:
        remove(others, path)
    elements = [_elements(read(source, path)) for path, _ in lists]
    count = max(map(len, elements))
    if count > most:
        raise NodeError(f"there would be more than {_ITEMS_MAX} items", "too_many_items", {"items_max": _ITEMS_MAX})
    if count == 0:
        return [others] if options.get("keep_empty", False) else []
    whole = include == "none" and len(lists) == 1 and lists[0][1] is None
    goals = [path_of(into) if into is not None else path for path, into in lists]
    return [_object(others, goals, row, whole=whole) for row in zip_longest(*elements, fillvalue=MISSING)]


def _object(others: JsonObject, goals: list[Path], row: tuple[Any, ...], *, whole: bool) -> JsonObject:
    if whole and isinstance(row[0], dict):
        return row[0]
    made = dict(others)
    for path, value in zip(goals, row, strict=True):
        if value is not MISSING:
            write(made, path, value)
    return made


def _elements(value: Any) -> list[Any]:
    if value is MISSING or value is None:
        return []
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else [value]


NODE_TYPE = NodeType(SPEC, run, check)
