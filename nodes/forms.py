"""JSON Schemas that a node's config holds: forms that people fill in, answers that models give."""

from workflow.schemas import schema_refusal
from workflow.spec import JsonObject, Problem


def form_problems(config: JsonObject) -> list[Problem]:
    """Find what makes the field `form_schema` no JSON Schema."""
    return schema_problems(config, "form_schema", "invalid_form_schema")


def schema_problems(config: JsonObject, name: str, code: str) -> list[Problem]:
    """Find what makes a field no JSON Schema."""
    schema = config.get(name)
    if not isinstance(schema, dict) or not schema:
        return []
    refused = schema_refusal(schema, name)
    return [] if refused is None else [Problem(code, *refused)]
