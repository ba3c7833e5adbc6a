"""`data.unique`: keeps one of the items that are the same."""

from collections.abc import Callable, Hashable
from typing import Any

from nodes.equality import key_of
from nodes.fields import FIELDS_SCHEMA, MISSING, path_of, problems_of, read, without
from nodes.lineage import carried
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

_DUPLICATES = "duplicates"

SPEC = NodeSpec(
    type="data.unique",
    title="Remove duplicates",
    category="data",
    description="Keeps one of the items that are the same, in all fields or in some; the others go to `duplicates`.",
    outputs=(MAIN, _DUPLICATES),
    aliases=("unique", "logic.unique", "remove_duplicates"),
    may_move=True,
    literal=frozenset({"compare", "fields", "keep"}),
    examples=(
        Example(
            title="The same in all fields",
            config={},
            items=[{"a": 1}, {"a": 2}, {"a": 1.0}, {"a": True}],
            outputs={"main": [{"a": 1}, {"a": 2}, {"a": True}], "duplicates": [{"a": 1.0}]},
        ),
        Example(
            title="The newest of each person",
            config={"compare": "selected", "fields": ["user.id"], "keep": "last"},
            items=[{"user": {"id": 1}, "v": 1}, {"user": {"id": 2}, "v": 2}, {"user": {"id": 1}, "v": 3}],
            outputs={
                "main": [{"user": {"id": 2}, "v": 2}, {"user": {"id": 1}, "v": 3}],
                "duplicates": [{"user": {"id": 1}, "v": 1}],
            },
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "compare": {
                "enum": ["all", "selected", "except"],
                "default": "all",
                "title": "Compare",
                "description": "By which fields items are the same: all, those in `fields`, or all except those.",
            },
            "fields": {
                **FIELDS_SCHEMA,
                "title": "Fields",
                "description": "Names, dotted. A missing field is the same as null.",
            },
            "keep": {
                "enum": ["first", "last"],
                "default": "first",
                "title": "Keep",
                "description": "Which one of those that are the same is kept.",
            },
        },
        "additionalProperties": False,
        "if": {"properties": {"compare": {"enum": ["selected", "except"]}}, "required": ["compare"]},
        "then": {"required": ["fields"]},
    },
)


async def run(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Separate the items that are kept from their duplicates; both keep their order."""
    key = _key(config.get("compare", "all"), config.get("fields", []))
    last = config.get("keep", "first") == "last"
    seen: set[Hashable] = set()
    kept = [False] * len(items)
    for index in reversed(range(len(items))) if last else range(len(items)):
        found = key(items[index]["json"])
        kept[index] = found not in seen
        seen.add(found)
    outputs: Outputs = {MAIN: [], _DUPLICATES: []}
    for index, item in enumerate(items):
        outputs[MAIN if kept[index] else _DUPLICATES].append(carried(item, index))
    return outputs


def check(config: JsonObject) -> list[Problem]:
    """Check the paths."""
    return problems_of((f"fields[{index}]", name) for index, name in enumerate(config.get("fields", [])))


def _key(compare: str, names: list[str]) -> Callable[[JsonObject], Hashable]:
    paths = [path_of(name) for name in names]
    if compare == "all":
        return key_of
    if compare == "except":
        return lambda json: key_of(without(json, paths))
    return lambda json: tuple(key_of(_value(read(json, path))) for path in paths)


def _value(found: Any) -> Any:
    return None if found is MISSING else found


NODE_TYPE = NodeType(SPEC, run, check)
