"""JSON Schemas that came with a document, and data held against them: what is wrong, with its place.

Both are users': nothing is fetched, no pattern is searched by `re`, and work is bounded. `references` finds the schemas
in a schema, `checking` says which cannot be used, `trial` holds a value against one, `shape` is the schema of schemas.
"""

from typing import Any, NamedTuple

from workflow.schemas.checking import Refused, check
from workflow.schemas.trial import Stopped, Trial

MESSAGE_CHARS_MAX = 300
VIOLATIONS_MAX = 20


class Refusal(NamedTuple):
    """Why something is no JSON Schema that can be used; `field` is the place in it, behind the name it was given."""

    message: str
    field: str


def schema_refusal(schema: Any, name: str) -> Refusal | None:
    """Return why the value of the field `name` is no JSON Schema (draft 2020-12) that can be used; None where it is one."""
    try:
        check(schema)
    except Refused as refused:
        return Refusal(refused.message[:MESSAGE_CHARS_MAX], ".".join([name, *map(str, refused.path)]))
    return None


def violations(value: Any, schema: dict[str, Any]) -> list[dict[str, str]]:
    """Return the first places where a value does not satisfy a schema, each as `{"field": …, "message": …}`.

    Where the schema cannot be used, or takes too long with this value, the one place is the whole.
    """
    try:
        found = sorted(Trial(schema).wrong(value), key=lambda wrong: [str(step) for step in wrong.path])
    except Stopped as stopped:
        return [{"field": "", "message": str(stopped)[:MESSAGE_CHARS_MAX]}]
    return [
        {"field": ".".join(map(str, wrong.path)), "message": wrong.message[:MESSAGE_CHARS_MAX]}
        for wrong in found[:VIOLATIONS_MAX]
    ]
