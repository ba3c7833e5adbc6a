"""The port to the JavaScript engine: all expressions of a node that are more than plain paths, for all its items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ExpressionLimits:
    """Limits of one evaluation: all expressions of a node over all its items. The engine's stack is always 512 KiB."""

    timeout_ms: int = 20_000
    memory_bytes: int = 512 * 2**20
    output_chars_max: int = 32 * 2**20
    """How large all results may be together, as JSON."""

    def within(self, timeout_ms: int) -> "ExpressionLimits":
        """Return these limits with no more time than that."""
        return self if timeout_ms >= self.timeout_ms else replace(self, timeout_ms=timeout_ms)


@dataclass(frozen=True, slots=True)
class Script:
    """One expression. `fields` are the fields of `$json` that it is given, None for all of it."""

    source: str
    as_text: bool
    fields: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTask:
    """What is evaluated and all that it sees. Everything but the sources is data."""

    scripts: Sequence[Script]
    rows: Sequence[Any]
    """`$json` of each item that the scripts are evaluated for."""
    scope: Mapping[str, Any]
    """The rest of what they see, as JSON."""
    zones: frozenset[str]
    """Time zones that they name."""


@dataclass(frozen=True, slots=True)
class ScriptError:
    """Why a script has no value for an item. `line` and `column` are from 1, in its source."""

    script: int
    item: int
    message: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class ScriptResults:
    """The values by script and item, as they are in JSON (undefined is None), and the errors in that order."""

    values: Sequence[Sequence[Any]]
    errors: Sequence[ScriptError] = field(default=())


class Scripts(Protocol):
    """Evaluates expressions away from everything: they see what they are given and nothing else."""

    async def evaluate(self, task: ScriptTask, limits: ExpressionLimits) -> ScriptResults:
        """Evaluate every script for every row, each independent of the others.

        Raises `NodeError` with code `expression_timeout`, `expression_memory`, `expression_output_too_large`, or, worth
        another attempt, `sandbox_crashed` or `sandbox_closed`. Cancelling stops the work.
        """
        ...
