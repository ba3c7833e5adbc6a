"""Reading what a provider sends: each field of an event is what its reference says, or the event is malformed."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflow.values import storable

COUNT_MAX = 1_000_000_000
"""More tokens than this are in no answer."""


class Malformed(ValueError):
    """An event is not as the provider's own reference says."""


def text_of(part: Mapping[str, Any], name: str) -> str:
    """Return a text as it can be kept, empty where there is none. Raises `Malformed`."""
    value = part.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name!r} is not a text")
    return storable(value)


def count_of(part: Mapping[str, Any], name: str) -> int:
    """Return a number of something, 0 where there is none. Raises `Malformed`."""
    value = part.get(name)
    if value is None:
        return 0
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 <= value <= COUNT_MAX:
        raise Malformed(f"{name!r} is not a number of anything")
    return int(value)


def object_at(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object, an empty one where there is none. Raises `Malformed`."""
    value = part.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Malformed(f"{name!r} is not an object")
    return value


def objects_at(part: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """Return a list of objects, an empty one where there is none. Raises `Malformed`."""
    value = part.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise Malformed(f"{name!r} is not a list of objects")
    return value
