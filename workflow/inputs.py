"""What an execution may be given: an object, a list of objects or null, as its workflow's `input_schema` wants it."""

from typing import Any

from workflow.errors import TooLarge, Unprocessable
from workflow.schemas import violations
from workflow.values import encode


def input_json(value: Any, bytes_max: int) -> bytes:
    """Return an execution's input as JSON. Raises `TooLarge`, or `Unprocessable` unless it is an object, a list of objects or null."""
    items = value if isinstance(value, list) else [value]
    if value is not None and not all(isinstance(item, dict) for item in items):
        raise Unprocessable("`input` must be a JSON object, a list of objects, or null", "input_invalid")
    data = encode(value)
    if len(data) > bytes_max:
        message = f"the input has {len(data)} bytes, more than the {bytes_max} that are allowed"
        raise TooLarge(message, "input_too_large", {"bytes": len(data), "bytes_max": bytes_max})
    return data


def check_input(value: Any, schema: dict[str, Any]) -> None:
    """Raise `Unprocessable` with the places where an input does not satisfy the workflow's `input_schema`."""
    errors = violations(value, schema) if schema else []
    if errors:
        message = f"`input` does not satisfy the workflow's input_schema: {errors[0]['message']}"
        raise Unprocessable(message, "input_schema_violated", {"errors": errors})
