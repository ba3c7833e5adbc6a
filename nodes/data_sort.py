"""`data.sort`: puts items in order."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nodes.conversions import convert, text_of
from nodes.equality import type_of
from nodes.fields import FIELD_SCHEMA, MISSING, path_of, problems_of, read
from nodes.lineage import carried
from nodes.moments import moment_of, zone_of
from workflow.errors import NodeError
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

_DIGITS = re.compile(r"([0-9]{1,300})")  # our own pattern: linear
_RANKS = MappingProxyType({"boolean": 0, "number": 1, "string": 2, "array": 3, "object": 4})

SPEC = NodeSpec(
    type="data.sort",
    title="Sort",
    category="data",
    description="Puts the items in order, by one or several of their fields. Items that are equal in all of them keep theirs.",
    aliases=("sort", "logic.sort", "dataSort"),
    may_move=True,
    literal=frozenset({"fields"}),
    examples=(
        Example(
            title="By country, then the largest order first; without a total at the end",
            config={"fields": [{"field": "user.country"}, {"field": "total", "order": "desc"}]},
            items=[
                {"user": {"country": "DE"}, "total": 5},
                {"user": {"country": "AT"}},
                {"user": {"country": "AT"}, "total": 1},
                {"user": {"country": "AT"}, "total": 9},
            ],
            outputs={
                "main": [
                    {"user": {"country": "AT"}, "total": 9},
                    {"user": {"country": "AT"}, "total": 1},
                    {"user": {"country": "AT"}},
                    {"user": {"country": "DE"}, "total": 5},
                ]
            },
        ),
        Example(
            title="File names as people count them",
            config={"fields": [{"field": "name", "type": "natural"}]},
            items=[{"name": "page10"}, {"name": "Page2"}, {"name": "page1"}],
            outputs={"main": [{"name": "page1"}, {"name": "Page2"}, {"name": "page10"}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["fields"],
        "properties": {
            "fields": {
                "type": "array",
                "minItems": 1,
                "maxItems": 20,
                "title": "Fields",
                "description": "The fields to sort by; the second decides where the first is equal, and so on.",
                "items": {
                    "type": "object",
                    "required": ["field"],
                    "properties": {
                        "field": {**FIELD_SCHEMA, "title": "Field", "description": "Its name, dotted."},
                        "order": {
                            "enum": ["asc", "desc"],
                            "default": "asc",
                            "title": "Order",
                            "description": "Null and missing values come last either way.",
                        },
                        "type": {
                            "enum": ["auto", "number", "text", "case_insensitive", "natural", "date"],
                            "default": "auto",
                            "title": "Type",
                            "description": (
                                "`auto`: each value as what it is, booleans before numbers before text. `number`, `date`: "
                                "text is read as one, and what is none is an error. `text`: by code point. "
                                "`case_insensitive`: text whatever its case. `natural`: that, and numbers inside of it "
                                "count as numbers."
                            ),
                        },
                    },
                    "additionalProperties": False,
                },
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Sort the items. Raises `NodeError` (`cannot_convert`) for a value that is not of the wanted type."""
    zone = zone_of(context.timezone)

    def date(value: Any) -> float:
        moment = moment_of(value, zone)
        return moment.timestamp() if moment else convert(value, "date", zone)

    def number(value: Any) -> float:
        return convert(value, "number", zone)  # type: ignore[no-any-return]

    keys_of = {**_KEYS, "number": number, "date": date}
    wanted = [
        (each["field"], path_of(each["field"]), each.get("order", "asc") == "desc", keys_of[each.get("type", "auto")])
        for each in config["fields"]
    ]
    keys: list[list[Any]] = []
    order: list[int] = []
    for index, item in enumerate(items):
        row: list[Any] = []
        keys.append(row)
        with context.item(index):
            for name, path, _, key_of in wanted:
                value = read(item["json"], path)
                row.append(None if value is MISSING or value is None else _key(key_of, value, name))
            order.append(index)
    for position in reversed(range(len(wanted))):
        present = [index for index in order if keys[index][position] is not None]
        absent = [index for index in order if keys[index][position] is None]
        present.sort(key=lambda index: keys[index][position], reverse=wanted[position][2])
        order = present + absent
    return {MAIN: [carried(items[index], index) for index in order]}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths."""
    return problems_of((f"fields[{index}].field", each["field"]) for index, each in enumerate(config["fields"]))


def _key(key_of: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        return key_of(value)
    except NodeError as error:
        raise NodeError(f"{name}: {error.message}", error.code, {**error.fields, "field": name}) from None


def _auto(value: Any) -> tuple[int, Any]:
    kind = type_of(value)
    return _RANKS[kind], value if kind in {"boolean", "number", "string"} else text_of(value)


def _folded(value: Any) -> str:
    return text_of(value).casefold()


def _natural(value: Any) -> list[tuple[int, Any]]:
    parts = _DIGITS.split(_folded(value))
    return [(0, int(part)) if place % 2 else (1, part) for place, part in enumerate(parts)]


_KEYS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"auto": _auto, "text": text_of, "case_insensitive": _folded, "natural": _natural}
)

NODE_TYPE = NodeType(SPEC, run, check)
