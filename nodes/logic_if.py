"""`logic.if`: sends every item one of two ways."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from workflow.errors import NodeError
from workflow.spec import Config, Item, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs

_BINARY = (
    "equals",
    "not_equals",
    "greater_than",
    "greater_or_equal",
    "less_than",
    "less_or_equal",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
)
_UNARY = ("exists", "not_exists", "is_true", "is_false", "is_empty", "is_not_empty")

SPEC = NodeSpec(
    type="logic.if",
    title="If",
    category="logic",
    description="Sends every item to `true` or to `false`, by conditions on it.",
    outputs=("true", "false"),
    each_item=True,
    aliases=("if", "logic.condition"),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["conditions"],
        "properties": {
            "conditions": {
                "type": "array",
                "minItems": 1,
                "title": "Conditions",
                "description": "Looked at in order, and only until the outcome is clear.",
                "items": {
                    "type": "object",
                    "required": ["left", "operator"],
                    "properties": {
                        "left": {"title": "Value", "description": "What is looked at; any JSON, may hold `{{ }}`."},
                        "operator": {
                            "enum": [*_BINARY, *_UNARY],
                            "title": "Operator",
                            "description": (
                                "Values of different types are never equal. The ordering operators take two numbers or "
                                "two strings; `contains` a string in a string, any value in a list, or a field name in "
                                "an object; `starts_with` and `ends_with` two strings; anything else is an error. A "
                                "missing value is null: `exists` is false for both. Null, an empty string, an empty "
                                "list and an empty object are empty."
                            ),
                        },
                        "right": {"title": "Compared with", "description": "Any JSON, may hold `{{ }}`."},
                    },
                    "additionalProperties": False,
                    "if": {"properties": {"operator": {"enum": list(_BINARY)}}},
                    "then": {"required": ["right"]},
                },
            },
            "combine": {
                "enum": ["and", "or"],
                "default": "and",
                "title": "Combine",
                "description": "Whether all conditions must hold or one is enough.",
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Split the items. Raises `NodeError` (`type_mismatch`) where an operator does not fit its values."""
    outputs: Outputs = {"true": [], "false": []}
    for index, item in enumerate(items):
        with context.item(index):
            met = _all_met(config.of(index), index)
            outputs["true" if met else "false"].append(Item(json=item["json"], paired_item=index))
    return outputs


def _all_met(config: JsonObject, index: int) -> bool:
    decisive = config.get("combine", "and") == "or"
    for position, condition in enumerate(config["conditions"]):
        if _met(condition, index, position) is decisive:
            return decisive
    return not decisive


def _met(condition: JsonObject, index: int, position: int) -> bool:
    left, operator, right = condition["left"], condition["operator"], condition.get("right")
    if operator in _TESTS:
        return _TESTS[operator](left)
    outcome = _COMPARISONS[operator](left, right)
    if outcome is None:
        left_type, right_type = _type(left), _type(right)
        message = f"item {index}, condition {position}: {operator} cannot compare {left_type} with {right_type}"
        fields = {"item_index": index, "condition_index": position, "operator": operator}
        raise NodeError(message, "type_mismatch", {**fields, "left_type": left_type, "right_type": right_type})
    return outcome


def _type(value: Any) -> str:
    for name, types in _TYPES.items():
        if isinstance(value, types):
            return name
    return type(value).__name__


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON: unlike Python's, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _order(left: Any, right: Any) -> int | None:
    """Return -1, 0 or 1, or None for values that have no order."""
    if (_type(left), _type(right)) not in {("number", "number"), ("string", "string")}:
        return None
    return int(left > right) - int(left < right)


def _ordered(accepted: frozenset[int]) -> Callable[[Any, Any], bool | None]:
    def compare(left: Any, right: Any) -> bool | None:
        order = _order(left, right)
        return None if order is None else order in accepted

    return compare


def _contains(left: Any, right: Any) -> bool | None:
    if isinstance(left, list):
        return any(_equal(each, right) for each in left)
    if isinstance(left, str | dict) and isinstance(right, str):
        return right in left
    return None


def _lacks(left: Any, right: Any) -> bool | None:
    outcome = _contains(left, right)
    return None if outcome is None else not outcome


def _starts(left: Any, right: Any) -> bool | None:
    return left.startswith(right) if isinstance(left, str) and isinstance(right, str) else None


def _ends(left: Any, right: Any) -> bool | None:
    return left.endswith(right) if isinstance(left, str) and isinstance(right, str) else None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


_TYPES: Mapping[str, Any] = MappingProxyType(
    {"null": type(None), "boolean": bool, "number": (int, float), "string": str, "array": list, "object": dict}
)
_TESTS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "exists": lambda value: value is not None,
        "not_exists": lambda value: value is None,
        "is_true": lambda value: value is True,
        "is_false": lambda value: value is False,
        "is_empty": _empty,
        "is_not_empty": lambda value: not _empty(value),
    }
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool | None]] = MappingProxyType(
    {
        "equals": _equal,
        "not_equals": lambda left, right: not _equal(left, right),
        "greater_than": _ordered(frozenset({1})),
        "greater_or_equal": _ordered(frozenset({0, 1})),
        "less_than": _ordered(frozenset({-1})),
        "less_or_equal": _ordered(frozenset({-1, 0})),
        "contains": _contains,
        "not_contains": _lacks,
        "starts_with": _starts,
        "ends_with": _ends,
    }
)

NODE_TYPE = NodeType(SPEC, run)
