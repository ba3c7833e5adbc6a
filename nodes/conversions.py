"""Values of one JSON type made of another, where nothing is guessed: what does not clearly spell the type is refused."""

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from nodes.equality import number_in, type_of
from nodes.moments import iso, moment_of
from workflow.errors import BadInput, NodeError
from workflow.values import decode, encode

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


class _Refused(Exception):
    """The value does not spell the type."""


def convert(value: Any, to: str, zone: ZoneInfo) -> Any:
    """Make a string, number, boolean, array, object or date of a value; null stays null.

    A date is ISO 8601 text, in `zone` where the value names no offset. Raises `NodeError` (`cannot_convert`).
    """
    if value is None:
        return None
    try:
        return _CONVERSIONS[to](value, zone)
    except _Refused:
        message = f"{shown(value)} cannot be made a value of type {to}"
        raise NodeError(message, "cannot_convert", {"from": type_of(value), "to": to}) from None


def text_of(value: Any) -> str:
    """Return a value as text: strings as they are, null as nothing, the others as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value).decode()


def shown(value: Any) -> str:
    """Return a value as an error message shows it: its type, and how it begins."""
    text = orjson.dumps(value).decode() if not isinstance(value, str) else repr(value)
    return f"{type_of(value)} {text if len(text) <= 80 else text[:80] + '…'}"


def boolean_in(value: Any) -> bool | None:
    """Return the boolean that a value spells (true, yes, on, 1 and their opposites), or None."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in {0, 1} else None
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return None


def _string(value: Any, _zone: ZoneInfo) -> str:
    return text_of(value)


def _number(value: Any, _zone: ZoneInfo) -> int | float:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    found = number_in(value) if isinstance(value, str) else None
    if found is None:
        raise _Refused
    return found


def _boolean(value: Any, _zone: ZoneInfo) -> bool:
    found = boolean_in(value)
    if found is None:
        raise _Refused
    return found


def _array(value: Any, _zone: ZoneInfo) -> list[Any]:
    found = _parsed(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise _Refused
    return found


def _object(value: Any, _zone: ZoneInfo) -> dict[str, Any]:
    found = _parsed(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise _Refused
    return found


def _date(value: Any, zone: ZoneInfo) -> str:
    found: dt.datetime | None = moment_of(value, zone)
    if found is None:
        raise _Refused
    return iso(found)


def _parsed(text: str) -> Any:
    try:
        return decode(text.encode())
    except (BadInput, UnicodeEncodeError):
        raise _Refused from None


_CONVERSIONS: Mapping[str, Callable[[Any, ZoneInfo], Any]] = MappingProxyType(
    {"string": _string, "number": _number, "boolean": _boolean, "array": _array, "object": _object, "date": _date}
)
TYPES = tuple(_CONVERSIONS)
"""The names of the types."""
