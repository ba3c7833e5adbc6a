"""Fields of an item's object by dotted path: `user.name`, `lines.0.price`.

What is written goes into an object that is the caller's own; objects on the way to it may be shared with other items, so
each of them is replaced by a copy.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, TypeAlias

from workflow.spec import JsonObject, Problem

Path: TypeAlias = tuple[str, ...]

FIELD_CHARS_MAX = 1_000


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""What a path that leads nowhere gives, as distinct from null."""


def path_of(name: str, *, dots: bool = True) -> Path:
    """Split a name at its dots; without `dots` it is one name whatever it holds."""
    return tuple(name.split(".")) if dots else (name,)


def read(source: Any, path: Path) -> Any:
    """Return the value at the path, or `MISSING`. A number in the path counts through a list."""
    value = source
    for name in path:
        if isinstance(value, dict):
            value = value.get(name, MISSING)
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def write(target: JsonObject, path: Path, value: Any) -> None:
    """Write into an object that is ours; what is not an object on the way is replaced by one."""
    for name in path[:-1]:
        below = target.get(name)
        target[name] = dict(below) if isinstance(below, dict) else {}
        target = target[name]
    target[path[-1]] = value


def remove(target: JsonObject, path: Path) -> None:
    """Remove a field from an object that is ours, if it is there."""
    if read(target, path) is MISSING:
        return
    for name in path[:-1]:
        below = target[name]
        if not isinstance(below, dict):
            return  # inside a list: elements have no name to remove
        target[name] = dict(below)
        target = target[name]
    target.pop(path[-1], None)


def only(source: JsonObject, paths: Iterable[Path]) -> JsonObject:
    """Return a new object with these fields alone, those that are there."""
    kept: JsonObject = {}
    for path in paths:
        value = read(source, path)
        if value is not MISSING:
            write(kept, path, value)
    return kept


def without(source: JsonObject, paths: Iterable[Path]) -> JsonObject:
    """Return a new object without these fields."""
    kept = dict(source)
    for path in paths:
        remove(kept, path)
    return kept


def included(source: JsonObject, include: str, paths: Iterable[Path]) -> JsonObject:
    """Return a new object with what `include` says: `all`, `none`, or the fields `selected`, or all `except` them."""
    match include:
        case "all":
            return dict(source)
        case "selected":
            return only(source, paths)
        case "except":
            return without(source, paths)
        case _:
            return {}


def problems_of(names: Iterable[tuple[str, Any]], *, dots: bool = True) -> list[Problem]:
    """Find the paths with an empty name between their dots; `names` are (field of the config, path)."""
    return [
        Problem("path_empty", f"the path {name!r} has an empty name between its dots", field)
        for field, name in names
        if isinstance(name, str) and "" in path_of(name, dots=dots)
    ]


FIELD_SCHEMA: Final[JsonObject] = {"type": "string", "minLength": 1, "maxLength": FIELD_CHARS_MAX}
"""The JSON Schema of one path in a config."""

FIELDS_SCHEMA: Final[JsonObject] = {"type": "array", "items": FIELD_SCHEMA, "minItems": 1, "maxItems": 1_000}
"""The JSON Schema of a list of paths."""
