"""Constants of the program as a part of a statement's text; never what came from outside."""

from collections.abc import Iterable
from enum import StrEnum

from workflow.states import TERMINAL


def quoted(values: Iterable[StrEnum]) -> str:
    """Return the values as SQL literals, in order, with commas between."""
    return ", ".join(f"'{value}'" for value in sorted(values))


ENDED = quoted(TERMINAL)
"""The statuses of executions that have ended."""
