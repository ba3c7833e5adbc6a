"""`data.summarize`: counts, sums and the like, for all items or for groups of them."""

import math
import statistics
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from nodes.conversions import shown, text_of
from nodes.equality import key_of, type_of
from nodes.fields import FIELD_SCHEMA, FIELDS_SCHEMA, MISSING, Path, path_of, problems_of, read, write
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

_NUMERIC = frozenset({"sum", "average", "median"})
_ORDERED = frozenset({"min", "max"})


def _sum(values: list[Any], _options: JsonObject) -> int | float:
    if all(isinstance(value, int) for value in values):
        total = sum(values)
        return total if -(2**63) <= total < 2**64 else float(total)
    return _finite(math.fsum, values)


def _average(values: list[Any], _options: JsonObject) -> float | None:
    return _finite(statistics.fmean, values) if values else None


def _median(values: list[Any], _options: JsonObject) -> float | None:
    return _finite(statistics.median, values) if values else None


def _finite(function: Callable[[list[Any]], float], values: list[Any]) -> float:
    try:
        result = function(values)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise NodeError("the numbers are too large to be added up", "number_out_of_range")
    return result


def _concatenate(values: list[Any], options: JsonObject) -> str:
    return str(options.get("separator", ", ")).join(map(text_of, values))


Operation: TypeAlias = Callable[[list[Any], JsonObject], Any]
_OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "count": lambda values, _: len(values),
        "count_distinct": lambda values, _: len({key_of(value) for value in values}),
        "sum": _sum,
        "min": lambda values, _: min(values, default=None),
        "max": lambda values, _: max(values, default=None),
        "average": _average,
        "median": _median,
        "concatenate": _concatenate,
        "append": lambda values, _: values,
        "first": lambda values, _: values[0] if values else None,
        "last": lambda values, _: values[-1] if values else None,
    }
)

SPEC = NodeSpec(
    type="data.summarize",
    title="Summarize",
    category="data",
    description="Counts, adds up and the like: over all items, or for each group that has the same values in some fields.",
    aliases=("summarize",),
    may_move=True,
    literal=frozenset({"group_by", "values", "output", "skip_without_group"}),
    examples=(
        Example(
            title="Number and total of the orders by country",
            config={
                "group_by": ["country"],
                "values": [{"operation": "count"}, {"operation": "sum", "field": "total"}],
            },
            items=[{"country": "AT", "total": 5}, {"country": "DE", "total": 1}, {"country": "AT", "total": 2.5}],
            outputs={
                "main": [
                    {"country": "AT", "count": 2, "sum_total": 7.5},
                    {"country": "DE", "count": 1, "sum_total": 1},
                ]
            },
        ),
        Example(
            title="Over all items",
            config={
                "values": [
                    {"operation": "concatenate", "field": "user.name", "separator": "; ", "into": "names"},
                    {"operation": "max", "field": "age"},
                ]
            },
            items=[{"user": {"name": "Ada"}, "age": 36}, {"user": {"name": "Bob"}}],
            outputs={"main": [{"names": "Ada; Bob", "max_age": 36}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["values"],
        "properties": {
            "group_by": {
                **FIELDS_SCHEMA,
                "minItems": 0,
                "maxItems": 20,
                "default": [],
                "title": "Group by",
                "description": "The fields that make a group, dotted; a missing field is the same as null.",
            },
            "values": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "title": "Values",
                "description": "What is made of the items of a group.",
                "items": {
                    "type": "object",
                    "required": ["operation"],
                    "properties": {
                        "operation": {
                            "enum": list(_OPERATIONS),
                            "title": "Operation",
                            "description": (
                                "Null and missing values do not count. `sum`, `average` and `median` take numbers, `min` and "
                                "`max` numbers or strings. `append` makes a list, `concatenate` a text."
                            ),
                        },
                        "field": {
                            **FIELD_SCHEMA,
                            "title": "Field",
                            "description": "Its name, dotted; `count` without a field counts the items.",
                        },
                        "into": {
                            **FIELD_SCHEMA,
                            "title": "Into",
                            "description": "The field that gets the result; `sum_total` for the sum of `total`.",
                        },
                        "separator": {
                            "type": "string",
                            "default": ", ",
                            "title": "Separator",
                            "description": "What `concatenate` puts between values.",
                        },
                    },
                    "additionalProperties": False,
                    "if": {"properties": {"operation": {"not": {"const": "count"}}}},
                    "then": {"required": ["field"]},
                },
            },
            "output": {
                "enum": ["items", "single"],
                "default": "items",
                "title": "Output",
                "description": "An item for each group, or one item with the list `groups`.",
            },
            "skip_without_group": {
                "type": "boolean",
                "default": False,
                "title": "Skip items without a group",
                "description": "Whether items that lack a field of `group_by` are left out.",
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Summarize the items. Raises `NodeError` (`type_mismatch`) for a value that cannot be added up or put in order."""
    group_paths = [path_of(name) for name in config.get("group_by", [])]
    wanted = [(each, path_of(each["field"]) if "field" in each else None) for each in config["values"]]
    skip = config.get("skip_without_group", False)
    groups: dict[Hashable, tuple[list[Any], list[list[Any]], list[int]]] = {}
    if not group_paths:
        groups[()] = ([], [[] for _ in wanted], [])
    for index, item in enumerate(items):
        with context.item(index):
            names = [_value(item["json"], path) for path in group_paths]
            if skip and None in names:
                continue
            taken = [_taken(item["json"], path, each) for each, path in wanted]
            key = tuple(map(key_of, names))
            group = groups.setdefault(key, (names, [[] for _ in wanted], []))
            for column, value in zip(group[1], taken, strict=True):
                if value is not None:
                    column.append(value)
            group[2].append(index)
    results: Items = []
    for names, columns, indexes in groups.values():
        made: JsonObject = {}
        for path, name in zip(group_paths, names, strict=True):
            write(made, path, name)
        for (each, _), column in zip(wanted, columns, strict=True):
            write(made, path_of(_into(each)), _result(each, column))
        results.append({"json": made, "paired_item": indexes})
    if config.get("output", "items") == "items":
        return {MAIN: results}
    indexes = [index for _, _, part in groups.values() for index in part]
    return {MAIN: [{"json": {"groups": [item["json"] for item in results]}, "paired_item": sorted(indexes)}]}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths, and that no two results go to one place."""
    names = [(f"group_by[{index}]", name) for index, name in enumerate(config.get("group_by", []))]
    for index, each in enumerate(config["values"]):
        names += [(f"values[{index}].{part}", each[part]) for part in ("field", "into") if part in each]
    found = problems_of(names)
    taken = set(config.get("group_by", []))
    for index, each in enumerate(config["values"]):
        if (goal := _into(each)) in taken:
            found.append(Problem("names_clash", f"two results go into {goal!r}", f"values[{index}]"))
        taken.add(goal)
    return found


def _into(each: JsonObject) -> str:
    """Return where a result goes; a name made of a path has no dots."""
    made = "_".join([each["operation"], *([each["field"].replace(".", "_")] if "field" in each else [])])
    return str(each.get("into", made))


def _value(source: JsonObject, path: Path) -> Any:
    found = read(source, path)
    return None if found is MISSING else found


def _taken(source: JsonObject, path: Path | None, each: JsonObject) -> Any:
    """Return what counts of an item for one value: None for nothing."""
    if path is None:
        return True
    value, operation = _value(source, path), each["operation"]
    if value is None:
        return None
    kind = type_of(value)
    if (operation in _NUMERIC and kind != "number") or (operation in _ORDERED and kind not in {"number", "string"}):
        message = f"{each['field']}: {operation} of {shown(value)} is not possible"
        raise NodeError(message, "type_mismatch", {"field": each["field"], "operation": operation, "type": kind})
    return value


def _result(each: JsonObject, values: list[Any]) -> Any:
    operation = each["operation"]
    if operation in _ORDERED and len({type(value) is str for value in values}) > 1:
        message = f"{each['field']}: {operation} of numbers and strings together is not possible"
        raise NodeError(message, "type_mismatch", {"field": each["field"], "operation": operation})
    return _OPERATIONS[operation](values, each)


NODE_TYPE = NodeType(SPEC, run, check)
