"""Options that placeholders may fill in, read for what they turned out to be.

The schema is checked when a workflow is saved; what a placeholder stands for is known only now.
"""

from typing import Any

from nodes.equality import type_of
from workflow.errors import NodeError
from workflow.spec import JsonObject


def whole_number(config: JsonObject, name: str, default: int, minimum: int, maximum: int) -> int:
    """Return a whole number in this range. Raises `NodeError` (`invalid_option`)."""
    value = config.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise wrong(name, f"a whole number from {minimum} to {maximum}", value)
    return value


def text(config: JsonObject, name: str, default: str = "") -> str:
    """Return a string. Raises `NodeError` (`invalid_option`)."""
    value = config.get(name, default)
    if not isinstance(value, str):
        # Only its type: the option may be a key.
        raise NodeError(f"{name} must be text, not of type {type_of(value)}", "invalid_option", {"option": name})
    return value


def wrong(name: str, wanted: str, value: Any) -> NodeError:
    """Return the error for an option that is not what is wanted."""
    shown = repr(value)
    message = f"{name} must be {wanted}, not {shown if len(shown) <= 80 else shown[:80] + '…'}"
    return NodeError(message, "invalid_option", {"option": name})
