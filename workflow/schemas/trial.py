"""One value held against one schema, within bounds: of work, not of depth, and nothing is fetched.

A schema is judged by a generator that yields the judging of each schema below it, and a loop drives them, so that depth
costs memory and no stack. What is done is counted in microseconds, as measured, and ends at a limit: schemas of a few
lines can ask for more than any machine can do.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from workflow.schemas.assertions import ASSERTIONS, Assertion, is_any, is_list, is_object, is_text
from workflow.schemas.comparing import listed, shown
from workflow.schemas.patterns import COMPILING_US_MAX, BadPattern, Pattern, pattern_of
from workflow.schemas.references import REFERENCES, Unresolvable, anchors_in, target_of

WORK_US_MAX = 2_000_000
DEPTH_MAX = 5_000
"""How many schemas may be in judgement within one another."""
WRONG_MAX = 1_000
"""After so many things that are wrong no more are looked for."""

_QUICK_STEPS = 20  # of the inner loops, which judge nothing, for a microsecond

Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where a value is: the place of what holds it, and the step from there."""


class Wrong(NamedTuple):
    """What is wrong, and where."""

    path: tuple[str | int, ...]
    message: str


class Stopped(Exception):
    """The trial came to no end; the message says why."""


class _Enough(Exception):
    """So much is wrong that no more need be known."""


@dataclass(slots=True)
class _Found:
    """What a schema made of a value: whether it is right, and which of its fields and items were judged (if that is asked)."""

    right: bool = True
    names: set[str] = field(default_factory=set)
    indexes: set[int] = field(default_factory=set)

    def note(self, step: str | int) -> None:
        """Note that a field or an item was judged."""
        if isinstance(step, str):
            self.names.add(step)
        else:
            self.indexes.add(step)


class _At(NamedTuple):
    """The value in judgement. `asks` is whether only right or wrong counts; `notes` whether what was judged is noted."""

    value: Any
    place: Place
    asks: bool
    notes: bool


_Steps: TypeAlias = "Generator[_Steps, _Found, _Found]"
_Part: TypeAlias = Generator[_Steps, _Found, None]


class Trial:
    """Holds a value against a schema. Raises `Stopped` where that cannot be done."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left_us = WORK_US_MAX
        self._compiling_left_us = COMPILING_US_MAX
        self._wrong: list[Wrong] = []
        self._anchors: Mapping[str, Any] | None = None
        self._targets: dict[str, Any] = {}
        self._patterns: dict[str, Pattern] = {}
        self._plans: dict[int, _Plan] = {}  # by the identity of schemas, which the root keeps

    def wrong(self, value: Any) -> list[Wrong]:
        """Return what is wrong with the value, in the order in which it was found. Raises `Stopped`."""
        stack = [self.judged(self._root, _At(value, None, asks=False, notes=False))]
        found: _Found | None = None
        try:
            while stack:
                try:
                    below = stack[-1].send(found)  # type: ignore[arg-type]  # a generator is started with None
                except StopIteration as ended:
                    stack.pop()
                    found = ended.value
                else:
                    if len(stack) >= DEPTH_MAX:
                        raise Stopped("the schema does not come to an end with this value")
                    stack.append(below)
                    found = None
        except _Enough:
            pass
        except (Unresolvable, BadPattern) as error:
            raise Stopped(str(error)) from None
        return self._wrong

    def judged(self, schema: Any, at: _At) -> _Steps:
        """Judge a value by a schema; what is no schema says nothing."""
        found = _Found()
        plan = self.plan(schema)
        if plan.notes and not at.notes:
            at = at._replace(notes=True)
        self.assert_all(plan, at, found)
        for applicator, wanted in plan.applied:
            if at.asks and not found.right:
                break
            if applicator.of(at.value):
                self.spend(1)
                yield from applicator.apply(self, wanted, schema, at, found)
        return found

    def plan(self, schema: Any) -> "_Plan":
        """Return what a schema demands, read once. What has not the form of a demand is none."""
        known = self._plans.get(id(schema))
        if known is None:
            known = self._plans[id(schema)] = _plan_of(schema)
            self.spend(len(known.asserted) + len(known.applied))
        return known

    def assert_all(self, plan: "_Plan", at: _At, found: _Found) -> None:
        """Hold the value against what a schema demands of it without other schemas."""
        self.spend(1)
        if plan.never:
            self.fail(found, at, f"{shown(at.value)} is not allowed here")
        for assertion, wanted in plan.asserted:
            if assertion.of(at.value):
                self.spend(assertion.work_us(at.value, wanted))
                for message in assertion.wrong(at.value, wanted):
                    self.fail(found, at, message)
        if plan.pattern is not None and isinstance(at.value, str) and not self.matches(plan.pattern, at.value):
            self.fail(found, at, f"{shown(at.value)} does not match {shown(plan.pattern)}")

    def fail(self, found: _Found, at: _At, message: str) -> None:
        """Note that the value is wrong. Raises `_Enough` where that has been noted often enough."""
        found.right = False
        if at.asks:
            return
        path: list[str | int] = []
        place = at.place
        while place is not None:
            place, step = place
            path.append(step)
        self._wrong.append(Wrong(tuple(reversed(path)), message))
        if len(self._wrong) >= WRONG_MAX:
            raise _Enough

    def spend(self, work_us: int) -> None:
        """Count work. Raises `Stopped` where it has become too much."""
        self._left_us -= work_us
        if self._left_us < 0:
            raise Stopped("it takes too long to hold this value against the schema")

    def target(self, reference: str) -> Any:
        """Return the schema that a reference means. Raises `Unresolvable`."""
        if reference not in self._targets:
            if self._anchors is None:
                self._anchors = anchors_in(self._root)
            self._targets[reference] = target_of(self._root, reference, self._anchors)
        return self._targets[reference]

    def matches(self, source: str, text: str) -> bool:
        """Whether a pattern is found in a text. Raises `BadPattern`, `Stopped`."""
        pattern = self._patterns.get(source)
        if pattern is None:
            pattern = pattern_of(source)
            self._compiling_left_us -= pattern.compiling_us
            if self._compiling_left_us < 0:
                raise Stopped("the patterns of the schema are too large together")
            self.spend(pattern.compiling_us + len(source))
            self._patterns[source] = pattern
        self.spend(pattern.search_us(text))
        return pattern.found_in(text)


def _same(trial: Trial, schema: Any, at: _At, found: _Found) -> _Part:
    """The same value must be right by another schema too."""
    below = yield trial.judged(schema, at)
    if not below.right:
        found.right = False
    else:
        _noted(trial, below, at, found)


def _inner(trial: Trial, parts: Iterable[tuple[str | int, Any]], at: _At, found: _Found) -> _Part:
    """What the value holds at each step must be right by the schema that goes with it."""
    for step, schema in parts:
        inner = _At(at.value[step], (at.place, step), at.asks, notes=False)
        plan = trial.plan(schema)
        if plan.applied:
            below = yield trial.judged(schema, inner)
        else:
            below = _Found()
            trial.assert_all(plan, inner, below)
        if not below.right:
            found.right = False
            if at.asks:
                return
        if at.notes:
            found.note(step)


def _noted(trial: Trial, below: _Found, at: _At, found: _Found) -> None:
    """What a schema that is right has judged of the same value counts as judged."""
    if at.notes:
        trial.spend((len(below.names) + len(below.indexes)) // _QUICK_STEPS)
        found.names |= below.names
        found.indexes |= below.indexes


def _reference(trial: Trial, wanted: str, _schema: Any, at: _At, found: _Found) -> _Part:
    yield from _same(trial, trial.target(wanted), at, found)


def _all_of(trial: Trial, wanted: list[Any], _schema: Any, at: _At, found: _Found) -> _Part:
    for each in wanted:
        yield from _same(trial, each, at, found)
        if at.asks and not found.right:
            return


def _any_of(trial: Trial, wanted: list[Any], _schema: Any, at: _At, found: _Found) -> _Part:
    fits = False
    for each in wanted:
        below = yield trial.judged(each, at._replace(asks=True))
        if below.right:
            fits = True
            _noted(trial, below, at, found)
            if not at.notes:
                return
    if not fits:
        trial.fail(found, at, f"{shown(at.value)} is not valid under any of the given schemas")


def _one_of(trial: Trial, wanted: list[Any], _schema: Any, at: _At, found: _Found) -> _Part:
    fitting: list[int] = []
    for number, each in enumerate(wanted):
        below = yield trial.judged(each, at._replace(asks=True))
        if below.right:
            fitting.append(number)
            _noted(trial, below, at, found)
    if not fitting:
        trial.fail(found, at, f"{shown(at.value)} is not valid under any of the given schemas")
    elif len(fitting) > 1:
        trial.fail(found, at, f"{shown(at.value)} is valid under several of the given schemas: {listed(fitting)}")


def _not(trial: Trial, wanted: Any, _schema: Any, at: _At, found: _Found) -> _Part:
    below = yield trial.judged(wanted, at._replace(asks=True))
    if below.right:
        trial.fail(found, at, f"{shown(at.value)} is what it should not be")


def _if(trial: Trial, wanted: Any, schema: dict[str, Any], at: _At, found: _Found) -> _Part:
    below = yield trial.judged(wanted, at._replace(asks=True))
    if below.right:
        _noted(trial, below, at, found)
    follows = "then" if below.right else "else"
    if follows in schema:
        yield from _same(trial, schema[follows], at, found)


def _dependent_schemas(trial: Trial, wanted: dict[str, Any], _schema: Any, at: _At, found: _Found) -> _Part:
    for name, each in wanted.items():
        if name in at.value:
            yield from _same(trial, each, at, found)


def _properties(trial: Trial, wanted: dict[str, Any], _schema: Any, at: _At, found: _Found) -> _Part:
    trial.spend(len(wanted) // _QUICK_STEPS)
    yield from _inner(trial, ((name, each) for name, each in wanted.items() if name in at.value), at, found)


def _pattern_properties(trial: Trial, wanted: dict[str, Any], _schema: Any, at: _At, found: _Found) -> _Part:
    parts = ((name, each) for pattern, each in wanted.items() for name in at.value if trial.matches(pattern, name))
    yield from _inner(trial, parts, at, found)


def _additional(trial: Trial, wanted: Any, schema: dict[str, Any], at: _At, found: _Found) -> _Part:
    known = schema.get("properties")
    patterns = schema.get("patternProperties")
    known, patterns = (each if isinstance(each, dict) else {} for each in (known, patterns))
    others = [
        name for name in at.value if name not in known and not any(trial.matches(pattern, name) for pattern in patterns)
    ]
    yield from _others(trial, wanted, others, at, found)


def _unevaluated(trial: Trial, wanted: Any, _schema: Any, at: _At, found: _Found) -> _Part:
    yield from _others(trial, wanted, [name for name in at.value if name not in found.names], at, found)


def _others(trial: Trial, wanted: Any, names: list[str], at: _At, found: _Found) -> _Part:
    if wanted is False and names:
        verb = "was" if len(names) == 1 else "were"
        trial.fail(found, at, f"Additional properties are not allowed ({listed(names)} {verb} unexpected)")
        return
    trial.spend(len(at.value) // _QUICK_STEPS)
    yield from _inner(trial, ((name, wanted) for name in names), at, found)


def _names(trial: Trial, wanted: Any, _schema: Any, at: _At, found: _Found) -> _Part:
    for name in at.value:
        below = yield trial.judged(wanted, _At(name, at.place, at.asks, notes=False))
        if not below.right:
            found.right = False
            if at.asks:
                return


def _prefix_items(trial: Trial, wanted: list[Any], _schema: Any, at: _At, found: _Found) -> _Part:
    yield from _inner(trial, enumerate(wanted[: len(at.value)]), at, found)


def _items(trial: Trial, wanted: Any, schema: dict[str, Any], at: _At, found: _Found) -> _Part:
    first = schema.get("prefixItems")
    start = len(first) if isinstance(first, list) else 0
    yield from _rest(trial, wanted, list(range(start, len(at.value))), at, found)


def _unevaluated_items(trial: Trial, wanted: Any, _schema: Any, at: _At, found: _Found) -> _Part:
    rest = [number for number in range(len(at.value)) if number not in found.indexes]
    yield from _rest(trial, wanted, rest, at, found)


def _rest(trial: Trial, wanted: Any, indexes: list[int], at: _At, found: _Found) -> _Part:
    if wanted is False and indexes:
        trial.fail(found, at, f"{shown(at.value)} has more items than are allowed: {len(indexes)} more")
        return
    trial.spend(len(at.value) // _QUICK_STEPS)
    yield from _inner(trial, ((number, wanted) for number in indexes), at, found)


def _contains(trial: Trial, wanted: Any, schema: dict[str, Any], at: _At, found: _Found) -> _Part:
    least, most = schema.get("minContains", 1), schema.get("maxContains", len(at.value))
    matching = 0
    for number, item in enumerate(at.value):
        below = yield trial.judged(wanted, _At(item, (at.place, number), asks=True, notes=False))
        if below.right:
            matching += 1
            found.indexes.add(number)
    if matching < least:
        trial.fail(found, at, f"{shown(at.value)} contains {matching} of the items that are wanted, not {least}")
    elif matching > most:
        trial.fail(found, at, f"{shown(at.value)} contains {matching} of the items that are wanted, more than {most}")


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


class _Applicator(NamedTuple):
    """A keyword that holds schemas: of which values it speaks, what its own value must be, what it does."""

    of: Callable[[Any], bool]
    wants: Callable[[Any], bool]
    apply: Callable[[Trial, Any, Any, _At, _Found], _Part]


class _Plan(NamedTuple):
    """What a schema demands. `notes` is whether it needs to know which fields and items were judged."""

    never: bool
    asserted: list[tuple[Assertion, Any]]
    pattern: str | None
    applied: list[tuple[_Applicator, Any]]
    notes: bool


def _plan_of(schema: Any) -> _Plan:
    words = schema if isinstance(schema, dict) else {}
    asserted = [
        (assertion, wanted)
        for keyword, wanted in words.items()
        if (assertion := ASSERTIONS.get(keyword)) is not None and assertion.wants(wanted)
    ]
    late = [keyword for keyword in _LATE if keyword in words]
    applied = [
        (applicator, words[keyword])
        for keyword in [*(word for word in words if word not in late), *late]
        if (applicator := _APPLICATORS.get(keyword)) is not None and applicator.wants(words[keyword])
    ]
    pattern = words.get("pattern")
    return _Plan(schema is False, asserted, pattern if isinstance(pattern, str) else None, applied, bool(late))


_LATE = ("unevaluatedItems", "unevaluatedProperties")
"""They come after all others, for they need to know what those have judged."""

_APPLICATORS: Mapping[str, _Applicator] = MappingProxyType(
    {
        **dict.fromkeys(REFERENCES, _Applicator(is_any, is_text, _reference)),
        "allOf": _Applicator(is_any, is_list, _all_of),
        "anyOf": _Applicator(is_any, is_list, _any_of),
        "oneOf": _Applicator(is_any, is_list, _one_of),
        "not": _Applicator(is_any, _is_schema, _not),
        "if": _Applicator(is_any, _is_schema, _if),
        "dependentSchemas": _Applicator(is_object, is_object, _dependent_schemas),
        "properties": _Applicator(is_object, is_object, _properties),
        "patternProperties": _Applicator(is_object, is_object, _pattern_properties),
        "additionalProperties": _Applicator(is_object, _is_schema, _additional),
        "unevaluatedProperties": _Applicator(is_object, _is_schema, _unevaluated),
        "propertyNames": _Applicator(is_object, _is_schema, _names),
        "prefixItems": _Applicator(is_list, is_list, _prefix_items),
        "items": _Applicator(is_list, _is_schema, _items),
        "unevaluatedItems": _Applicator(is_list, _is_schema, _unevaluated_items),
        "contains": _Applicator(is_list, _is_schema, _contains),
    }
)
