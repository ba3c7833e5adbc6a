"""Forms that people fill in: JSON Schemas that a node's config holds."""

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from workflow.spec import JsonObject, Problem


def form_problems(config: JsonObject) -> list[Problem]:
    """Find what makes `form_schema` no JSON Schema of an object."""
    schema = config.get("form_schema")
    if not isinstance(schema, dict) or not schema:
        return []
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as refused:
        place = ".".join(["form_schema", *(str(part) for part in refused.absolute_path)])
        return [Problem("invalid_form_schema", f"not a JSON Schema: {refused.message[:300]}", place)]
    return []
