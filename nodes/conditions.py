"""Groups of conditions, as `logic.if`, `logic.filter` and `logic.switch` have them in their configs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nodes import comparisons
from nodes.comparisons import Reading, question_of
from nodes.equality import type_of
from nodes.moments import zone_of
from nodes.options import wrong
from nodes.patterns import answered
from workflow.errors import NodeError
from workflow.spec import Config, Items, JsonObject, NodeContext

OPTIONS = frozenset({"combine", "case_sensitive", "types"})
"""The fields of a config that say how conditions are taken; no placeholders in them."""


async def reading_of(
    context: NodeContext, config: Config, items: Items, groups_of: Callable[[JsonObject], Sequence[Any]]
) -> Reading:
    """Return how the conditions of a node are to be taken; all its regular expressions are answered here, at once."""
    options = _options(config, items)
    reading = Reading(
        zone=zone_of(context.timezone),
        case_sensitive=options.get("case_sensitive", True),
        loose=options.get("types", "strict") == "loose",
    )
    questions = []
    for index in range(len(items)):
        try:
            groups = groups_of(config.of(index))
        except NodeError:
            continue  # told when this item's turn comes
        for group in groups:
            for condition in _searches(group):
                question = question_of(condition.get("left"), condition.get("right"), reading)
                if question is not None:
                    questions.append(question)
    if not questions:
        return reading
    answers = await answered(context, questions)
    return Reading(reading.zone, reading.case_sensitive, reading.loose, answers)


def _options(config: Config, items: Items) -> JsonObject:
    """Return the config of any item that has one: the options are the same for all."""
    for index in range(len(items)):
        try:
            return config.of(index)
        except NodeError:
            continue
    return {}


def met(group: JsonObject, reading: Reading, index: int, place: tuple[int, ...] = ()) -> bool:
    """Whether a group of conditions holds; they are looked at in order, and only until the outcome is clear.

    Raises `NodeError`: `type_mismatch` where an operator does not fit its values, `not_a_time`, `regex_invalid`.
    """
    entries = group.get("conditions")
    if not isinstance(entries, list):
        raise wrong("conditions", "a list", entries)
    decisive = group.get("combine", "and") == "or"
    for position, entry in enumerate(entries):
        here = (*place, position)
        if not isinstance(entry, dict):
            raise wrong("conditions", "a list of objects", entry)
        outcome = met(entry, reading, index, here) if "conditions" in entry else _holds(entry, reading, index, here)
        if outcome is decisive:
            return decisive
    return not decisive


def _holds(condition: JsonObject, reading: Reading, index: int, place: tuple[int, ...]) -> bool:
    left, operator, right = condition.get("left"), condition.get("operator", ""), condition.get("right")
    compare = comparisons.ALL.get(operator) if isinstance(operator, str) else None
    if compare is None:
        raise wrong("operator", "the name of an operator", operator)
    where: JsonObject = {"item_index": index, "condition_index": place[0], "operator": operator}
    if len(place) > 1:
        where["condition_path"] = list(place)
    number = ".".join(map(str, place))
    try:
        outcome = compare(left, right, reading)
    except NodeError as error:
        message = f"item {index}, condition {number}: {error.message}"
        raise NodeError(message, error.code, {**where, **error.fields}) from error
    if outcome is None:
        kinds = {"left_type": type_of(left), "right_type": type_of(right)}
        message = f"item {index}, condition {number}: {operator} cannot compare {' with '.join(kinds.values())}"
        raise NodeError(message, "type_mismatch", {**where, **kinds})
    return outcome


def _searches(group: Any) -> Iterator[JsonObject]:
    """Find every condition with a regular expression."""
    entries = group.get("conditions") if isinstance(group, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        if "conditions" in entry:
            yield from _searches(entry)
        elif entry.get("operator") in comparisons.SEARCHED:
            yield entry


_OPERATOR_HELP = (
    "Values of different types are never equal. The ordering operators and `between` take two numbers or two strings; "
    "`before`, `after` and `time_between` ISO 8601 text or milliseconds since 1970; `contains` a string in a string, any "
    "value in a list, or a field name in an object; `in` looks for a value in a list; `length_…` count the characters of a "
    "string, the elements of a list or the fields of an object; `matches` finds a regular expression (JavaScript's) anywhere "
    "in a string. Anything else is an error. A missing value is null: `exists` is false for both. Null, an empty string, an "
    "empty list and an empty object are empty."
)


def _when(operators: Sequence[str], then: JsonObject) -> JsonObject:
    return {"if": {"properties": {"operator": {"enum": list(operators)}}, "required": ["operator"]}, "then": then}


DEFINITIONS: JsonObject = {
    "group": {
        "type": "object",
        "required": ["conditions"],
        "properties": {
            "conditions": {"$ref": "#/$defs/conditions"},
            "combine": {"enum": ["and", "or"], "default": "and"},
        },
        "additionalProperties": False,
    },
    "conditions": {
        "type": "array",
        "minItems": 1,
        "maxItems": 200,
        "items": {
            "type": "object",
            "if": {"required": ["conditions"]},
            "then": {"$ref": "#/$defs/group"},
            "else": {"$ref": "#/$defs/condition"},
        },
    },
    "condition": {
        "type": "object",
        "required": ["left", "operator"],
        "properties": {
            "left": {"title": "Value", "description": "What is looked at; any JSON, may hold `{{ }}`."},
            "operator": {"enum": list(comparisons.ALL), "title": "Operator", "description": _OPERATOR_HELP},
            "right": {"title": "Compared with", "description": "Any JSON, may hold `{{ }}`."},
        },
        "additionalProperties": False,
        "allOf": [
            _when(list(comparisons.BINARY), {"required": ["right"]}),
            _when(
                list(comparisons.PAIRED),
                {"properties": {"right": {"type": "array", "minItems": 2, "maxItems": 2}}},
            ),
            _when(list(comparisons.LISTED), {"properties": {"right": {"type": "array"}}}),
            _when(list(comparisons.TYPED), {"properties": {"right": {"enum": list(comparisons.TYPES_TESTED)}}}),
        ],
    },
}
"""The `$defs` that `CONDITIONS` refers to."""

CONDITIONS: JsonObject = {
    "$ref": "#/$defs/conditions",
    "title": "Conditions",
    "description": (
        "Looked at in order, and only until the outcome is clear. In place of a condition there may be a group: "
        "`conditions` and `combine` of its own."
    ),
}
COMBINE: JsonObject = {
    "enum": ["and", "or"],
    "default": "and",
    "title": "Combine",
    "description": "Whether all conditions must hold or one is enough.",
}
CASE_SENSITIVE: JsonObject = {
    "type": "boolean",
    "default": True,
    "title": "Case-sensitive",
    "description": "Whether `A` and `a` are different, also in regular expressions and inside of lists and objects.",
}
TYPES: JsonObject = {
    "enum": ["strict", "loose"],
    "default": "strict",
    "title": "Types",
    "description": (
        "`strict`: a value is what it is. `loose`: text that spells a number, a boolean, a list or an object may be "
        'equal to one ("5" to 5, "true" to true), two texts that spell numbers are ordered as numbers, and null is an '
        "empty text."
    ),
}
