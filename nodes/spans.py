"""Spans of time as configs write them: `{"amount": 5, "unit": "minutes"}`."""

from typing import Any

from workflow.spec import JsonObject

MS_BY_UNIT = {
    "milliseconds": 1,
    "seconds": 1_000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
    "weeks": 604_800_000,
}
SPAN_MS_MAX = 366 * 86_400_000
SCHEMA_BY_PART = {
    "amount": {"type": "number", "exclusiveMinimum": 0, "title": "Amount"},
    "unit": {"enum": list(MS_BY_UNIT), "default": "seconds", "title": "Unit"},
}


def span_schema(title: str, description: str) -> JsonObject:
    """Return the JSON Schema of a span."""
    return {
        "type": "object",
        "title": title,
        "description": f"{description} `amount` counts `unit`s; at most 366 days.",
        "properties": SCHEMA_BY_PART,
        "required": ["amount"],
        "additionalProperties": False,
    }


def span_ms(span: dict[str, Any] | None) -> int | None:
    """Return the milliseconds of a span that its schema accepts, at most 366 days; None of None."""
    if span is None:
        return None
    return int(min(span["amount"] * MS_BY_UNIT[span.get("unit", "seconds")], SPAN_MS_MAX))
