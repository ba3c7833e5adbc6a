"""Names that tell the workflows of a workspace apart: "Orders", "Orders (2)", "Orders (3)"."""

import re
from collections.abc import Container

NAME_CHARS_MAX = 255
_NUMBERED = re.compile(r"(.*\S) \((\d{1,6})\)", re.DOTALL)


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name if it is free, else with the first number from 2 that makes it free."""
    if name not in taken:
        return name
    numbered = _NUMBERED.fullmatch(name)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (name, 1)
    while True:
        number += 1
        suffix = f" ({number})"
        tried = stem[: NAME_CHARS_MAX - len(suffix)] + suffix
        if tried not in taken:
            return tried
