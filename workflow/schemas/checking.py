"""Whether a user's schema can be used: it is one, its references stay in it and arrive, and judging by it ends."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from workflow.schemas.patterns import COMPILING_US_MAX, BadPattern, pattern_of
from workflow.schemas.references import REFERENCES, Unresolvable, anchors_in, schemas_below, target_of
from workflow.schemas.shape import SHAPE
from workflow.schemas.trial import Stopped, Trial

SUBSCHEMAS_MAX = 5_000
"""How many schemas may be in a schema."""

Path: TypeAlias = tuple[str | int, ...]


class Refused(Exception):
    """A schema that cannot be used: why, and where in it."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class _Part(NamedTuple):
    """A schema in the schema, and those that judge the same value as it."""

    path: Path
    same_value: list[Any]


def check(schema: Any) -> None:
    """Raise `Refused` with the first reason why a schema cannot be used."""
    if schema == {}:
        return
    _check_shape(schema, ())
    _check_circles(_Walk(schema).parts())


class _Walk:
    """Looks at each schema in a schema once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._anchors = anchors_in(root)
        self._parts: dict[int, _Part] = {}  # by the identity of schemas, which the root keeps
        self._targets: list[tuple[Path, Any]] = []
        self._compiling_left_us = COMPILING_US_MAX

    def parts(self) -> dict[int, _Part]:
        """Return all schemas that there are. Raises `Refused`."""
        self._descend(self._root, ())
        while self._targets:
            path, target = self._targets.pop()
            if id(target) not in self._parts:  # it is where no keyword expects a schema, and may be anything
                _check_shape(target, path)
                self._descend(target, path)
        return self._parts

    def _descend(self, schema: Any, path: Path) -> None:
        pending = [(path, schema)]
        while pending:
            at, each = pending.pop()
            if not isinstance(each, dict) or id(each) in self._parts:
                continue
            if len(self._parts) >= SUBSCHEMAS_MAX:
                raise Refused(f"the schema has more than {SUBSCHEMAS_MAX} schemas in it", ())
            part = self._parts[id(each)] = _Part(at, [])
            self._check_patterns(each, at)
            self._follow(each, part)
            for below in schemas_below(each):
                pending.append(((*at, *below.steps), below.schema))
                if below.same_value:
                    part.same_value.append(below.schema)

    def _check_patterns(self, schema: dict[str, Any], path: Path) -> None:
        places = [((*path, "pattern"), schema["pattern"])] if "pattern" in schema else []
        places += [((*path, "patternProperties", each), each) for each in schema.get("patternProperties", ())]
        for place, source in places:
            try:
                self._compiling_left_us -= pattern_of(source).compiling_us
            except BadPattern as error:
                raise Refused(f"the pattern {source[:100]!r} cannot be used: {error}", place) from None
            if self._compiling_left_us < 0:
                raise Refused("the patterns of the schema are too large together", place)

    def _follow(self, schema: dict[str, Any], part: _Part) -> None:
        if part.path and "$id" in schema:
            raise Refused("`$id` stands at the root of a schema only", (*part.path, "$id"))
        for keyword in (*REFERENCES, "$recursiveRef"):
            if keyword not in schema:
                continue
            place = (*part.path, keyword)
            try:
                target = target_of(self._root, schema[keyword], self._anchors)
            except Unresolvable as error:
                raise Refused(str(error), place) from None
            part.same_value.append(target)
            self._targets.append((place, target))


def _check_shape(schema: Any, path: Path) -> None:
    try:
        wrong = Trial(dict(SHAPE)).wrong(schema)
    except Stopped:
        raise Refused("the schema is too large", path) from None
    if wrong:
        raise Refused(f"not a JSON Schema: {wrong[0].message}", (*path, *wrong[0].path))


def _check_circles(parts: dict[int, _Part]) -> None:
    """Refuse schemas that come back to themselves with the same value: judging would not end."""
    done: set[int] = set()
    for first in parts:
        if first in done:
            continue
        under_way, stack = {first}, [(first, _next_of(parts, first))]
        while stack:
            here, ahead = stack[-1]
            following = next(ahead, None)
            if following is None:
                stack.pop()
                under_way.discard(here)
                done.add(here)
            elif following in under_way:
                raise Refused("the schema refers to itself without end", parts[here].path)
            elif following not in done:
                under_way.add(following)
                stack.append((following, _next_of(parts, following)))


def _next_of(parts: dict[int, _Part], part: int) -> Iterator[int]:
    return (id(each) for each in parts[part].same_value if id(each) in parts)
