"""One object made of several."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from nodes.equality import equal
from workflow.spec import JsonObject


class Clash(StrEnum):
    """What becomes of fields that have the same name and different values."""

    PREFER_FIRST = "prefer_first"
    PREFER_LAST = "prefer_last"
    SUFFIX = "suffix"


def combined(parts: Sequence[tuple[int, JsonObject]], clash: Clash, *, deep: bool = False) -> JsonObject:
    """Return an object with the fields of all; each part comes with the number that its fields have as a suffix."""
    if len(parts) == 1:
        return parts[0][1]
    if clash is Clash.SUFFIX:
        return _suffixed(parts, deep=deep)
    made: JsonObject = {}
    for _, part in parts if clash is Clash.PREFER_LAST else reversed(parts):
        for name, value in part.items():
            made[name] = _over(made[name], value) if deep and name in made else value
    if clash is Clash.PREFER_LAST:
        return made
    names = dict.fromkeys(name for _, part in parts for name in part)
    return {name: made[name] for name in names}


def _over(below: Any, above: Any) -> Any:
    """Return `above` laid over `below`, field by field where both are objects."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    laid = dict(below)
    for name, value in above.items():
        laid[name] = _over(laid[name], value) if name in laid else value
    return laid


def _suffixed(parts: Sequence[tuple[int, JsonObject]], *, deep: bool) -> JsonObject:
    held: dict[str, list[tuple[int, Any]]] = {}
    for number, part in parts:
        for name, value in part.items():
            held.setdefault(name, []).append((number, value))
    made: JsonObject = {}
    for name, values in held.items():
        if all(equal(values[0][1], value) for _, value in values[1:]):
            made[name] = values[0][1]
        elif deep and all(isinstance(value, dict) for _, value in values):
            made[name] = _suffixed(values, deep=True)
        else:
            made.update((f"{name}_{number}", value) for number, value in values)
    return made
