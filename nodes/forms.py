"""Forms that people fill in: JSON Schemas that a node's config holds."""

from workflow.schemas import schema_refusal
from workflow.spec import JsonObject, Problem


def form_problems(config: JsonObject) -> list[Problem]:
    """Find what makes `form_schema` no JSON Schema of an object."""
    schema = config.get("form_schema")
    if not isinstance(schema, dict) or not schema:
        return []
    refused = schema_refusal(schema, "form_schema")
    return [] if refused is None else [Problem("invalid_form_schema", *refused)]
