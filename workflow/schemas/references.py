"""Where the schemas are in a schema, and which of them its references mean: they never lead out of the document."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

REFERENCES = ("$ref", "$dynamicRef")
"""The keywords that name another schema; in a document of one piece they mean the same."""

Holds = Literal["one", "list", "named"]


class Applied(NamedTuple):
    """How a keyword holds schemas, and whether they judge the same value as the schema that they are in."""

    holds: Holds
    same_value: bool


APPLIED: Mapping[str, Applied] = MappingProxyType(
    {
        **dict.fromkeys(("not", "if", "then", "else"), Applied("one", True)),
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), Applied("list", True)),
        "dependentSchemas": Applied("named", True),
        **dict.fromkeys(("items", "contains", "propertyNames", "contentSchema"), Applied("one", False)),
        **dict.fromkeys(("additionalProperties", "unevaluatedItems", "unevaluatedProperties"), Applied("one", False)),
        "prefixItems": Applied("list", False),
        **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), Applied("named", False)),
    }
)


class Unresolvable(ValueError):
    """A reference that leads nowhere, or out of the document; the message says so."""


class Below(NamedTuple):
    """A schema in another one: the steps to it, and whether it judges the same value."""

    steps: tuple[str | int, ...]
    schema: Any
    same_value: bool


def schemas_below(schema: Any) -> Iterator[Below]:
    """Find the schemas that a schema holds itself."""
    for keyword, held in schema.items() if isinstance(schema, dict) else ():
        applied = APPLIED.get(keyword)
        if applied is None:
            continue
        if applied.holds == "one":
            yield Below((keyword,), held, applied.same_value)
        elif applied.holds == "list" and isinstance(held, list):
            for number, each in enumerate(held):
                yield Below((keyword, number), each, applied.same_value)
        elif applied.holds == "named" and isinstance(held, dict):
            for name, each in held.items():
                yield Below((keyword, name), each, applied.same_value)


def anchors_in(root: Any) -> dict[str, Any]:
    """Return the schemas of a document that have names (`$anchor`, `$dynamicAnchor`); of equal names the first counts."""
    found: dict[str, Any] = {}
    pending = [root]
    while pending:
        schema = pending.pop()
        if isinstance(schema, dict):
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(schema.get(keyword), str):
                    found.setdefault(schema[keyword], schema)
            pending += reversed([below.schema for below in schemas_below(schema)])
    return found


def target_of(root: Any, reference: Any, anchors: Mapping[str, Any]) -> Any:
    """Return the schema that a reference means. Raises `Unresolvable`."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise Unresolvable(f"the reference {reference!r} leads out of the schema, and nothing is fetched")
    found = root
    if reference.startswith("#/"):
        for step in unquote(reference[2:]).split("/"):
            found = _stepped(found, step.replace("~1", "/").replace("~0", "~"), reference)
    elif reference != "#":
        name = unquote(reference[1:])
        if name not in anchors:
            raise Unresolvable(f"there is no {reference!r} in the schema")
        found = anchors[name]
    if not isinstance(found, dict | bool):
        raise Unresolvable(f"{reference!r} is no schema")
    return found


def _stepped(found: Any, step: str, reference: str) -> Any:
    if isinstance(found, dict) and step in found:
        return found[step]
    if isinstance(found, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(found):
        return found[int(step[:9])]
    raise Unresolvable(f"there is no {reference!r} in the schema")
