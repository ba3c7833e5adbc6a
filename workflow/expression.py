"""Expressions in the config of a node: `{{ $json.a.b[0]["c d"] }}` inside any string.

This slice knows plain paths only: `$json` and what is in it, `$itemIndex`, `$execution.id`, `$workflow.id` and
`$workflow.name`. Config is parsed once and evaluated once per item; what came in as data is only ever looked up in,
never parsed. A string that is exactly one placeholder keeps the type of what it names; in mixed text a string stands as
it is, null and missing values as nothing, other values as JSON. A path that leads nowhere is null.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, TypeAlias

import orjson

from workflow.errors import BadInput
from workflow.spec import JsonObject, Problem
from workflow.values import encode

_OPEN = "{{"
_ROOTS: Mapping[str, tuple[str, ...] | None] = MappingProxyType(
    {"$json": None, "$itemIndex": (), "$execution": ("id",), "$workflow": ("id", "name")}
)
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_INDEX = re.compile(r"\[\s*([0-9]{1,9})\s*\]")
_KEY_DOUBLE = re.compile(r'\[\s*("(?:[^"\\\n]|\\.)*+")\s*\]')
_KEY_SINGLE = re.compile(r"\[\s*'([^'\\\n]*+)'\s*\]")

_Step: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Scope:
    """What the expressions of one item see."""

    json: JsonObject
    item_index: int
    execution_id: str
    workflow_id: str | None
    workflow_name: str


class _Failure(NamedTuple):
    """Why a text is not a template, and where (0-based)."""

    code: str
    message: str
    position: int


class _Refused(Exception):
    def __init__(self, failure: _Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class _Path:
    root: str
    steps: tuple[_Step, ...]

    def evaluate(self, scope: Scope) -> Any:
        if self.root == "$json":
            value: Any = scope.json
            for step in self.steps:
                value = _look_up(value, step)
                if value is None:
                    return None
            return value
        if self.root == "$itemIndex":
            return scope.item_index
        if self.root == "$execution":
            return scope.execution_id
        return scope.workflow_id if self.steps == ("id",) else scope.workflow_name


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed string: literal text and paths in turn."""

    text: str
    parts: tuple[str | _Path, ...]

    def evaluate(self, scope: Scope) -> Any:
        """Return the value for one item; shared with the item where it is a container, so do not change it.

        Raises `BadInput` where a value in mixed text cannot be written as JSON.
        """
        if len(self.parts) == 1:
            only = self.parts[0]
            return only if isinstance(only, str) else only.evaluate(scope)
        return "".join(part if isinstance(part, str) else _as_text(part.evaluate(scope)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, Any], ...]

    def evaluate(self, scope: Scope) -> JsonObject:
        return {key: _evaluate(part, scope) for key, part in self.members}


@dataclass(frozen=True, slots=True)
class _Array:
    elements: tuple[Any, ...]

    def evaluate(self, scope: Scope) -> list[Any]:
        return [_evaluate(part, scope) for part in self.elements]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A config value whose strings are parsed. Parts without placeholders are kept as they are and shared."""

    root: Any

    def evaluate(self, scope: Scope) -> Any:
        """Return the value for one item; do not change it, parts of it belong to the config or to the item."""
        return _evaluate(self.root, scope)


def parse(text: str) -> Template:
    """Parse one string.

    Raises `BadInput` with code `expression_unclosed` or `expression_unsupported` and `fields["position"]` (from 0).
    """
    try:
        return Template(text, _parts(text))
    except _Refused as refused:
        failure = refused.failure
        raise BadInput(failure.message, failure.code, {"position": failure.position, "text": text[:200]}) from None


def compile_value(value: Any) -> Compiled:
    """Parse every string in a config value once; object keys are taken literally. Raises `BadInput` as `parse` does."""
    return Compiled(_compile(value))


def problems(value: Any, field: str = "") -> list[Problem]:
    """Find every string in a config value that does not parse; `field` is put before their paths (`values.a[0]`)."""
    return list(_problems(value, field))


def _problems(value: Any, field: str) -> Iterator[Problem]:
    if isinstance(value, str):
        if _OPEN in value:
            try:
                _parts(value)
            except _Refused as refused:
                yield Problem(refused.failure.code, refused.failure.message, field)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _problems(part, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _problems(part, f"{field}[{index}]")


def _compile(value: Any) -> Any:
    if isinstance(value, str):
        return parse(value) if _OPEN in value else value
    if isinstance(value, dict):
        members = tuple((key, _compile(part)) for key, part in value.items())
        return _Object(members) if any(_varies(part) for _, part in members) else value
    if isinstance(value, list):
        elements = tuple(_compile(part) for part in value)
        return _Array(elements) if any(_varies(part) for part in elements) else value
    return value


_VARYING = (Template, _Object, _Array)  # a tuple: a union would be built anew at every call


def _varies(part: Any) -> bool:
    return isinstance(part, _VARYING)


def _evaluate(part: Any, scope: Scope) -> Any:
    return part.evaluate(scope) if _varies(part) else part


def _look_up(value: Any, step: _Step) -> Any:
    if isinstance(value, dict):
        return value.get(step if isinstance(step, str) else str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value).decode()


def _parts(text: str) -> tuple[str | _Path, ...]:
    parts: list[str | _Path] = []
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        if start > position:
            parts.append(text[position:start])
        path, position = _path(text, start)
        parts.append(path)
    if position < len(text) or not parts:
        parts.append(text[position:])
    return tuple(parts)


def _path(text: str, start: int) -> tuple[_Path, int]:
    """Parse the placeholder that opens at `start`; return the path and the position behind its end."""
    position = _skip_space(text, start + len(_OPEN))
    root = _NAME.match(text, position)
    if root is None or root[0] not in _ROOTS:
        _refuse(text, start, position)
    position = root.end()
    steps: list[_Step] = []
    while (found := _step(text, start, position)) is not None:
        step, position = found
        steps.append(step)
    end = _skip_space(text, position)
    allowed = _ROOTS[root[0]]
    complete = allowed is None or (not steps if not allowed else len(steps) == 1 and steps[0] in allowed)
    if not text.startswith("}}", end) or not complete:
        _refuse(text, start, end)
    return _Path(root[0], tuple(steps)), end + 2


def _step(text: str, start: int, position: int) -> tuple[_Step, int] | None:
    if text.startswith(".", position):
        name = _NAME.match(text, position + 1)
        return (name[0], name.end()) if name else None
    if index := _INDEX.match(text, position):
        return int(index[1]), index.end()
    if key := _KEY_SINGLE.match(text, position):
        return key[1], key.end()
    if key := _KEY_DOUBLE.match(text, position):
        try:
            return orjson.loads(key[1]), key.end()
        except orjson.JSONDecodeError:
            _refuse(text, start, position)
    return None


def _skip_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _refuse(text: str, start: int, position: int) -> NoReturn:
    end = text.find("}}", start)
    if end < 0:
        message = f"position {start}: this {{{{ is never closed by }}}}"
        raise _Refused(_Failure("expression_unclosed", message, start))
    source = text[start : end + 2] if end - start < 80 else text[start : start + 80] + "…"
    message = (
        f"position {position}: only plain paths are supported here, such as {{{{ $json.name }}}}, "
        f'{{{{ $json.list[0]["a key"] }}}}, {{{{ $itemIndex }}}}, {{{{ $execution.id }}}}, {{{{ $workflow.id }}}} or '
        f"{{{{ $workflow.name }}}}; not {source}"
    )
    raise _Refused(_Failure("expression_unsupported", message, position))
