"""JSON Schemas that came with a document, and data held against them: what is wrong, with its place."""

from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

MESSAGE_CHARS_MAX = 300
VIOLATIONS_MAX = 20


class Refusal(NamedTuple):
    """Why something is no JSON Schema; `field` is the place in it, behind the name it was given."""

    message: str
    field: str


def schema_refusal(schema: Any, name: str) -> Refusal | None:
    """Return what makes the value of the field `name` no JSON Schema (draft 2020-12); None where it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as refused:
        return Refusal(f"not a JSON Schema: {refused.message[:MESSAGE_CHARS_MAX]}", _place(refused, name))
    return None


def violations(value: Any, schema: dict[str, Any]) -> list[dict[str, str]]:
    """Return the first places where a value does not satisfy a schema, each as `{"field": …, "message": …}`."""
    found = sorted(
        Draft202012Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path))
    )
    return [{"field": _place(error), "message": error.message[:MESSAGE_CHARS_MAX]} for error in found[:VIOLATIONS_MAX]]


def _place(error: SchemaError | ValidationError, *before: str) -> str:
    return ".".join([*before, *map(str, error.absolute_path)])
