"""What the schema of a config demands of the values that placeholders stand for.

Only where a placeholder stands under constraints is its value checked when it is known. Nothing is converted: a string
is not a number, and the message says which was wanted.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator

from workflow.spec import JsonObject

Check: TypeAlias = Callable[[Any], str | None]
"""Says what is wrong with a value, or None."""

_NOTES = frozenset(
    "$comment $defs $id $schema default deprecated description examples format readOnly title writeOnly".split()  # noqa: SIM905
)
_TYPES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "string": lambda value: isinstance(value, str),
        "boolean": lambda value: isinstance(value, bool),
        "object": lambda value: isinstance(value, dict),
        "array": lambda value: isinstance(value, list),
        "null": lambda value: value is None,
        "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "integer": lambda value: (
            not isinstance(value, bool)
            and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
        ),
    }
)


def check_for(schema: JsonObject, place: tuple[str | int, ...], *, mixed: bool) -> Check | None:
    """Return the check of the value at a place of a config, or None where nothing is demanded.

    `mixed` says that the value is a string in any case. Under `oneOf` and `anyOf` the value must suit any of the
    alternatives that know the place; conditions (`if`) are not followed.
    """
    demanded = _demanded(schema, schema, place)
    if demanded is None or (mixed and demanded.get("type") == "string" and not _keywords(demanded) - {"type"}):
        return None
    kind = demanded.get("type")
    if demanded.get("x-secret"):
        judge = Draft202012Validator(demanded)
        return lambda value: None if judge.is_valid(value) else f"the value is not what is wanted: {kind}"
    if isinstance(kind, str) and _keywords(demanded) == {"type"}:
        fits = _TYPES[kind]
        return lambda value: None if fits(value) else f"{_shown(value)} is not of type {kind}"
    validator = Draft202012Validator({**demanded, "$defs": schema.get("$defs", {})})
    return lambda value: _first(validator, value)


def _first(validator: Draft202012Validator, value: Any) -> str | None:
    error = next(validator.iter_errors(value), None)
    return None if error is None else f"{_shown(value)} does not fit: {error.message[:300]}"


def _keywords(schema: JsonObject) -> set[str]:
    return set(schema) - _NOTES


def _demanded(root: JsonObject, schema: Any, place: tuple[str | int, ...]) -> JsonObject | None:
    """Return a schema that says what is demanded at the place, or None for nothing."""
    schema = followed(root, schema)
    if not isinstance(schema, dict):
        return None
    if not place:
        return schema if _keywords(schema) else None
    found = [_demanded(root, below, place[1:]) for below in below(schema, place[0])]
    found += [_demanded(root, each, place) for each in schema.get("allOf", [])]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            ways = [_demanded(root, each, place) for each in schema[word]]
            known = [each for each in ways if each is not None]
            found.append({"anyOf": known} if known and len(known) == len(ways) else None)
    demands = [each for each in found if each is not None]
    if not demands:
        return None
    return demands[0] if len(demands) == 1 else {"allOf": demands}


def followed(root: JsonObject, schema: Any) -> Any:
    """Return the schema that another stands for by references within the root; None where they do not end."""
    for _ in range(20):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        schema = root
        for name in reference[2:].split("/"):
            schema = schema.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(schema, dict) else {}
    return None


def below(schema: JsonObject, step: str | int) -> list[Any]:
    """Return what a schema itself, without what it is combined of, says of a field or an element."""
    if isinstance(step, int):
        first = schema.get("prefixItems", [])
        return [first[step]] if step < len(first) else [schema["items"]] if "items" in schema else []
    found = [schema["properties"][step]] if step in schema.get("properties", {}) else []
    found += [each for pattern, each in schema.get("patternProperties", {}).items() if re.search(pattern, step)]
    if not found and "additionalProperties" in schema:
        found.append(schema["additionalProperties"])
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 60 else text[:60] + "…"
