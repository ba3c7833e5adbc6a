"""JSON values held against one another, and shown in messages: in time that grows with their size, however deep."""

from typing import Any

SHOWN_CHARS_MAX = 100
"""How much of a text is shown in a message."""
SHOWN_VALUES_MAX = 10
"""How many of a list of values."""
_CHARS_OF_A_VALUE = 100  # so many characters of a text are as much work as one value


class _Written(str):
    """What is part of the spelling, and no value."""

    __slots__ = ()


def spelled(value: Any) -> str:
    """Return a text that equal values share and no others: 1 is 1.0 and not true; the order of fields is none."""
    parts: list[str] = []
    pending: list[Any] = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, _Written):
            parts.append(part)
        elif isinstance(part, str):
            parts.append(f"{len(part)}:{part};")
        elif isinstance(part, list):
            parts.append("[")
            pending.append(_Written("]"))
            pending += part[::-1]
        elif isinstance(part, dict):
            parts.append("{")
            pending.append(_Written("}"))
            for name in sorted(part):
                pending += (part[name], _Written(f"{len(name)}:{name}="))
        else:
            whole = isinstance(part, float) and part.is_integer()
            parts.append(f"{int(part) if whole else part};")
    return "".join(parts)


def is_one_of(value: Any, choices: list[Any]) -> bool:
    """Whether a value equals one of several."""
    if not isinstance(value, dict | list):
        kind = _kind(value)
        return any(choice == value for choice in choices if _kind(choice) is kind)
    written = spelled(value)
    return any(spelled(choice) == written for choice in choices if type(choice) is type(value))


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def size_of(value: Any) -> int:
    """Return how many values there are in a value, with itself; long texts count for several."""
    size, pending = 0, [value]
    while pending:
        part = pending.pop()
        size += 1
        if isinstance(part, str):
            size += len(part) // _CHARS_OF_A_VALUE
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            pending += part.values()
    return size


def shown(value: Any) -> str:
    """Return a value for a message: as it is where it is short, what it is where it holds others."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str) and len(value) > SHOWN_CHARS_MAX:
        return repr(value[:SHOWN_CHARS_MAX] + "…")
    return repr(value)


def listed(values: list[Any]) -> str:
    """Return the first of some values for a message."""
    more = ", …" if len(values) > SHOWN_VALUES_MAX else ""
    return ", ".join(shown(value) for value in values[:SHOWN_VALUES_MAX]) + more
