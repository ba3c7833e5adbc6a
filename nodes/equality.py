"""When two JSON values are the same: unlike in Python, true is not 1; numbers are the same whatever their type."""

import math
from collections.abc import Hashable
from typing import Any, Final

_BOOLEAN, _LIST, _OBJECT = "boolean", "list", "object"

JSON_TYPES: Final = ("null", "boolean", "number", "string", "array", "object")


def type_of(value: Any) -> str:
    """Return the name of a value's JSON type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def equal(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def key_of(value: Any) -> Hashable:
    """Return what stands for a value in sets and dicts: two keys are the same when the values are."""
    if isinstance(value, bool):
        return _BOOLEAN, value
    if isinstance(value, dict):
        return _OBJECT, frozenset((name, key_of(part)) for name, part in value.items())
    if isinstance(value, list):
        return _LIST, tuple(map(key_of, value))
    return value  # type: ignore[no-any-return]


def loose_key_of(value: Any) -> Hashable:
    """Return a key that text shares with the number or the boolean that it spells."""
    if isinstance(value, str):
        spelled = value.strip()
        if spelled in {"true", "false"}:
            return _BOOLEAN, spelled == "true"
        number = number_in(spelled)
        return value if number is None else number
    return key_of(value)


def number_in(text: str) -> int | float | None:
    """Return the number that a text spells in decimal, or None. Digits are ASCII, integers fit 64 bits."""
    text = text.strip()
    if not text.isascii() or "_" in text or len(text) > 400:
        return None
    try:
        whole = int(text)
    except ValueError:
        pass
    else:
        return whole if -(2**63) <= whole < 2**64 else None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
