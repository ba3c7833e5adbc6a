"""Items of two inputs that belong together because fields of theirs are the same."""

from collections.abc import Hashable, Sequence
from typing import Any

from nodes.equality import key_of, loose_key_of
from nodes.fields import FIELD_SCHEMA, MISSING, Path, path_of, problems_of, read
from nodes.inputs import Pair
from workflow.spec import JsonObject, Problem

KEYS_SCHEMA: JsonObject = {
    "type": "array",
    "minItems": 1,
    "maxItems": 20,
    "items": {
        "type": ["string", "object"],
        "minLength": 1,
        "required": ["first", "second"],
        "properties": {"first": FIELD_SCHEMA, "second": FIELD_SCHEMA},
        "additionalProperties": False,
    },
    "title": "Keys",
    "description": (
        "The fields that must be the same on both sides, dotted: a name, or `{first, second}` where they have different "
        "names. An item that lacks one of them, or where it is null, belongs to no other."
    ),
}
TYPES_SCHEMA: JsonObject = {
    "enum": ["strict", "loose"],
    "default": "strict",
    "title": "Types",
    "description": 'Whether text that spells a number or a boolean is the same as one (`loose`: "5" and 5).',
}


def sides_of(keys: Sequence[Any]) -> tuple[list[Path], list[Path]]:
    """Return the key fields of the first and of the second input."""
    pairs = [(key, key) if isinstance(key, str) else (key["first"], key["second"]) for key in keys]
    return [path_of(first) for first, _ in pairs], [path_of(second) for _, second in pairs]


def key_in(source: JsonObject, paths: Sequence[Path], *, loose: bool) -> Hashable:
    """Return the key of an object, or None where a field is missing or null."""
    parts = []
    for path in paths:
        value = read(source, path)
        if value is MISSING or value is None:
            return None
        parts.append(loose_key_of(value) if loose else key_of(value))
    return tuple(parts)


def by_key(pairs: Sequence[Pair], paths: Sequence[Path], *, loose: bool) -> dict[Hashable, list[Pair]]:
    """Return the items under their keys, in order; those without a key under None."""
    found: dict[Hashable, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(key_in(pair[0]["json"], paths, loose=loose), []).append(pair)
    return found


def problems_of_keys(keys: Any) -> list[Problem]:
    """Find the key fields whose paths have an empty name."""
    names = []
    for index, key in enumerate(keys if isinstance(keys, list) else ()):
        if isinstance(key, dict):
            names += [(f"keys[{index}].{side}", name) for side, name in key.items()]
        else:
            names.append((f"keys[{index}]", key))
    return problems_of(names)
