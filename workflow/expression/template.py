"""Config values with placeholders: parsed once, evaluated once per item.

A string that is exactly one placeholder keeps the type of its value. In mixed text a string stands as it is, null and
undefined as nothing, everything else as JSON. Keys of objects are taken as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from workflow.errors import BadInput
from workflow.expression.analysis import Uses, uses_of
from workflow.expression.paths import NeedsEngine, Path, Undefined, as_text, parse_path
from workflow.expression.scope import Scope, ScriptFailure
from workflow.expression.tokens import CLOSE, Refused, scan
from workflow.spec import JsonObject, Problem

OPEN = "{{"

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """What a parser of JavaScript says against a source: a message, and where in it (line and column from 1)."""

    message: str
    line: int | None = None
    column: int | None = None


SyntaxCheck: TypeAlias = Callable[[Sequence[str]], Sequence[SyntaxFault | None]]
"""Says of each source whether it is one JavaScript expression; runs nothing."""


class Stuck(Exception):
    """A placeholder could not be evaluated for an item; the cause is a `ScriptFailure` or a `NeedsEngine`."""

    def __init__(self, placeholder: "Placeholder", cause: ScriptFailure | NeedsEngine) -> None:
        super().__init__(str(cause))
        self.placeholder = placeholder
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{{ … }}`: its number in the config, its source, and where it stands."""

    number: int
    source: str
    place: Place
    """The keys and indexes that lead to its string."""
    position: int
    """Where its source begins in the string, from 0."""
    mixed: bool
    """Whether there is more in the string, so that it stands for text."""
    path: Path | None
    uses: Uses

    @property
    def field(self) -> str:
        """The field of the config, as in `values.a[0]`."""
        return field_of(self.place)

    def evaluate(self, scope: Scope) -> Any:
        """Return its value for one item, or its text where it is in mixed text. Raises `Stuck`."""
        if self.path is None or (scope.columns and self.number in scope.columns):
            return scope.columns[self.number][scope.index]
        try:
            value = self.path.evaluate(scope)
            if self.mixed:
                return as_text(value)
        except (ScriptFailure, NeedsEngine) as error:
            raise Stuck(self, error) from None
        return None if value is Undefined else value


@dataclass(frozen=True, slots=True)
class _Mixed:
    parts: tuple[str | Placeholder, ...]

    def evaluate(self, scope: Scope) -> str:
        return "".join([part if isinstance(part, str) else part.evaluate(scope) for part in self.parts])


@dataclass(frozen=True, slots=True)
class _Object:
    whole: JsonObject
    varying: tuple[tuple[str, Any], ...]

    def evaluate(self, scope: Scope) -> JsonObject:
        filled = self.whole.copy()
        for key, part in self.varying:
            filled[key] = part.evaluate(scope)
        return filled


@dataclass(frozen=True, slots=True)
class _Array:
    whole: list[Any]
    varying: tuple[tuple[int, Any], ...]

    def evaluate(self, scope: Scope) -> list[Any]:
        filled = self.whole.copy()
        for index, part in self.varying:
            filled[index] = part.evaluate(scope)
        return filled


@dataclass(frozen=True, slots=True)
class Compiled:
    """A config value whose strings are parsed. Parts without placeholders are kept as they are and shared."""

    root: Any
    placeholders: tuple[Placeholder, ...]

    def evaluate(self, scope: Scope) -> Any:
        """Return the value for one item; do not change it, parts of it belong to the config or to the item.

        Raises `Stuck`.
        """
        return self.root.evaluate(scope) if isinstance(self.root, _VARYING) else self.root


def compile_value(value: Any) -> Compiled:
    """Parse every string in a config value once.

    Raises `BadInput` with code `expression_unclosed` or `expression_syntax`; its fields are `field` (`values.a[0]`) and
    `position` (from 0 in the string).
    """
    placeholders: list[Placeholder] = []
    try:
        return Compiled(_compile(value, (), placeholders), tuple(placeholders))
    except _Misplaced as error:
        refused = error.refused
        raise BadInput(refused.message, refused.code, {"field": error.field, "position": refused.position}) from None


def problems(value: Any, syntax: SyntaxCheck | None = None) -> list[Problem]:
    """Find every string in a config value that does not parse, and with `syntax` what is not JavaScript."""
    found: list[Problem] = []
    placeholders: list[Placeholder] = []
    for text, place in _strings(value, ()):
        try:
            _parts(text, place, placeholders)
        except Refused as refused:
            found.append(Problem(refused.code, refused.message, field_of(place)))
    for each in placeholders:
        if each.uses.dynamic_at is not None:
            message = f"position {each.uses.dynamic_at}: write the name of the node as a string here"
            found.append(Problem("dynamic_reference", message, each.field))
    scripts = [each for each in placeholders if each.path is None]
    if syntax is not None and scripts:
        faults = syntax([each.source for each in scripts])
        found += [_problem(each, fault) for each, fault in zip(scripts, faults, strict=True) if fault is not None]
    return found


def position_of(source: str, line: int, column: int) -> int:
    """Return the position (from 0) of a line and a column (from 1) in a source."""
    lines = source.split("\n")
    return sum(len(each) + 1 for each in lines[: line - 1]) + min(column - 1, len(lines[line - 1]))


class _Misplaced(Exception):
    def __init__(self, refused: Refused, field: str) -> None:
        super().__init__(refused.message)
        self.refused = refused
        self.field = field


def _problem(placeholder: Placeholder, fault: SyntaxFault) -> Problem:
    position = placeholder.position
    if fault.line is not None and fault.column is not None:
        position += position_of(placeholder.source, fault.line, fault.column)
    return Problem("expression_syntax", f"position {position}: {fault.message}", placeholder.field)


def _strings(value: Any, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(value, str):
        if OPEN in value:
            yield value, place
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _strings(part, (*place, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _strings(part, (*place, index))


def field_of(place: Place) -> str:
    """Return the path of a place as people read it: `values.a[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def _compile(value: Any, place: Place, placeholders: list[Placeholder]) -> Any:
    if isinstance(value, str):
        if OPEN not in value:
            return value
        try:
            parts = _parts(value, place, placeholders)
        except Refused as refused:
            raise _Misplaced(refused, field_of(place)) from None
        return parts[0] if len(parts) == 1 else _Mixed(parts)
    if isinstance(value, dict):
        members = [(key, _compile(part, (*place, key), placeholders)) for key, part in value.items()]
        varying = tuple((key, part) for key, part in members if isinstance(part, _VARYING))
        return _Object(value, varying) if varying else value
    if isinstance(value, list):
        elements = [_compile(part, (*place, index), placeholders) for index, part in enumerate(value)]
        changing = tuple((index, part) for index, part in enumerate(elements) if isinstance(part, _VARYING))
        return _Array(value, changing) if changing else value
    return value


_VARYING = (Placeholder, _Mixed, _Object, _Array)


@lru_cache(maxsize=4_096)
def _read(text: str, start: int) -> tuple[int, Path | None, Uses]:
    """Read the placeholder that opens at `start`; kept, because a config is checked first and compiled then."""
    tokens, end = scan(text, start)
    if not tokens:
        raise Refused("expression_syntax", f"position {start}: there is nothing between {{{{ and }}}}", start)
    return end, parse_path(tokens), uses_of(tokens)


def _parts(text: str, place: Place, placeholders: list[Placeholder]) -> tuple[str | Placeholder, ...]:
    parts: list[str | Placeholder] = []
    position = 0
    while (start := text.find(OPEN, position)) >= 0:
        if start > position:
            parts.append(text[position:start])
        end, path, uses = _read(text, start)
        source = text[start + len(OPEN) : end]
        mixed = start > 0 or end + len(CLOSE) < len(text)
        number = len(placeholders)
        each = Placeholder(number, source, place, start + len(OPEN), mixed, path, uses)
        placeholders.append(each)
        parts.append(each)
        position = end + len(CLOSE)
    if position < len(text) or not parts:
        parts.append(text[position:])
    return tuple(parts)
