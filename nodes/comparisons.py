"""How two values are compared, by operator: pure functions that know nothing of items or configs.

Each gives true or false, or None where the types do not fit the operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from nodes.conversions import boolean_in, shown
from nodes.equality import JSON_TYPES, equal, number_in, type_of
from nodes.moments import moment_of
from nodes.patterns import Answers, Question
from workflow.errors import BadInput, NodeError
from workflow.values import decode

Outcome: TypeAlias = bool | None
TYPES_TESTED = (*JSON_TYPES, "integer", "date")


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are taken: with or without case, with their types strict or loose, and in which zone times are."""

    zone: ZoneInfo
    case_sensitive: bool = True
    loose: bool = False
    answers: Answers = field(default_factory=dict)
    """What is known about regular expressions."""


Comparison: TypeAlias = Callable[[Any, Any, Reading], Outcome]


def question_of(left: Any, right: Any, reading: Reading) -> Question | None:
    """Return what `matches` asks of these values, or None where they are not texts."""
    text, pattern = _text(left, reading), _text(right, reading)
    if text is None or pattern is None:
        return None
    return Question(pattern, not reading.case_sensitive, text)


def _text(value: Any, reading: Reading) -> str | None:
    """Return a value as text, if it is text or may be taken for it."""
    if isinstance(value, str):
        return value
    if not reading.loose or isinstance(value, dict | list):
        return None
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _folded(value: Any) -> Any:
    """Return a value with the case of all its text taken out."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, list):
        return [_folded(part) for part in value]
    return {name: _folded(part) for name, part in value.items()} if isinstance(value, dict) else value


def _equal(left: Any, right: Any, reading: Reading) -> bool:
    if not reading.case_sensitive:
        left, right = _folded(left), _folded(right)
    return equal(left, right) or (reading.loose and _alike(left, right))


def _alike(left: Any, right: Any) -> bool:
    """Whether two values of different types mean the same: a number and its text, null and an empty text, and so on."""
    kinds = {type_of(left), type_of(right)}
    if "boolean" in kinds:
        word = boolean_in(left)
        return word is not None and word is boolean_in(right)
    if kinds == {"number", "string"}:
        text, number = (left, right) if isinstance(left, str) else (right, left)
        return bool(number_in(text) == number)
    if kinds == {"null", "string"}:
        return (left or "") == (right or "")
    if kinds in ({"string", "array"}, {"string", "object"}):
        text, whole = (left, right) if isinstance(left, str) else (right, left)
        try:
            return equal(decode(text.encode()), whole)
        except (BadInput, UnicodeEncodeError):
            return False
    return False


def _order(left: Any, right: Any, reading: Reading) -> int | None:
    """Return -1, 0 or 1, or None for values that have no order."""
    if reading.loose:
        numbers = _number(left), _number(right)
        left, right = (left, right) if None in numbers else numbers
    kinds = {type_of(left), type_of(right)}
    if kinds == {"string"} and not reading.case_sensitive:
        left, right = left.casefold(), right.casefold()
    return int(left > right) - int(left < right) if kinds in ({"number"}, {"string"}) else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        return number_in(value)
    return value if type_of(value) == "number" else None


def _ordered(*accepted: int) -> Comparison:
    def compare(left: Any, right: Any, reading: Reading) -> Outcome:
        order = _order(left, right, reading)
        return None if order is None else order in accepted

    return compare


def _between(left: Any, right: Any, reading: Reading) -> Outcome:
    if not isinstance(right, list) or len(right) != 2:
        return None
    low, high = _order(left, right[0], reading), _order(left, right[1], reading)
    return None if low is None or high is None else low >= 0 >= high


def _time(value: Any, reading: Reading) -> float:
    moment = moment_of(value, reading.zone)
    if moment is None:
        message = f"{shown(value)} is no time: ISO 8601 text or milliseconds since 1970 are wanted"
        raise NodeError(message, "not_a_time")
    return moment.timestamp()


def _timed(*accepted: int) -> Comparison:
    def compare(left: Any, right: Any, reading: Reading) -> Outcome:
        first, second = _time(left, reading), _time(right, reading)
        return int(first > second) - int(first < second) in accepted

    return compare


def _time_between(left: Any, right: Any, reading: Reading) -> Outcome:
    if not isinstance(right, list) or len(right) != 2:
        return None
    return _time(right[0], reading) <= _time(left, reading) <= _time(right[1], reading)


def _contains(left: Any, right: Any, reading: Reading) -> Outcome:
    if isinstance(left, list):
        return any(_equal(each, right, reading) for each in left)
    if isinstance(left, dict):
        return _has_key(left, right, reading)
    return _by_text(str.__contains__, left, right, reading)


def _by_text(test: Callable[[str, str], bool], left: Any, right: Any, reading: Reading) -> Outcome:
    whole, part = _text(left, reading), _text(right, reading)
    if whole is None or part is None:
        return None
    return test(whole, part) if reading.case_sensitive else test(whole.casefold(), part.casefold())


def _starts(left: Any, right: Any, reading: Reading) -> Outcome:
    return _by_text(str.startswith, left, right, reading)


def _ends(left: Any, right: Any, reading: Reading) -> Outcome:
    return _by_text(str.endswith, left, right, reading)


def _matches(left: Any, right: Any, reading: Reading) -> Outcome:
    question = question_of(left, right, reading)
    if question is None:
        return None
    answer = reading.answers[question]
    if isinstance(answer, str):
        raise NodeError(f"{question.pattern!r} is no regular expression: {answer}", "regex_invalid")
    return answer


def _in(left: Any, right: Any, reading: Reading) -> Outcome:
    return any(_equal(left, each, reading) for each in right) if isinstance(right, list) else None


def _has_key(left: Any, right: Any, _reading: Reading) -> Outcome:
    return right in left if isinstance(left, dict) and isinstance(right, str) else None


def _long(*accepted: int) -> Comparison:
    def compare(left: Any, right: Any, reading: Reading) -> Outcome:
        wanted = _number(right) if reading.loose else right
        if left is None and reading.loose:
            left = ""
        if not isinstance(left, str | list | dict) or not isinstance(wanted, int | float) or isinstance(wanted, bool):
            return None
        return int(len(left) > wanted) - int(len(left) < wanted) in accepted

    return compare


def _empty(left: Any, _right: Any, _reading: Reading) -> Outcome:
    return left is None or (isinstance(left, str | list | dict) and not left)


def _is(wanted: bool) -> Comparison:
    return lambda left, _right, reading: (boolean_in(left) if reading.loose else left) is wanted


def _of_type(left: Any, right: Any, reading: Reading) -> Outcome:
    match right:
        case "integer":
            return type_of(left) == "number" and float(left).is_integer()
        case "date":
            return isinstance(left, str) and moment_of(left, reading.zone) is not None
        case _:
            return type_of(left) == right if right in JSON_TYPES else None


def _not(comparison: Comparison) -> Comparison:
    def compare(left: Any, right: Any, reading: Reading) -> Outcome:
        outcome = comparison(left, right, reading)
        return None if outcome is None else not outcome

    return compare


UNARY: Mapping[str, Comparison] = MappingProxyType(
    {
        "exists": lambda left, _right, _reading: left is not None,
        "not_exists": lambda left, _right, _reading: left is None,
        "is_true": _is(True),
        "is_false": _is(False),
        "is_empty": _empty,
        "is_not_empty": _not(_empty),
    }
)
PAIRED: Mapping[str, Comparison] = MappingProxyType(
    {
        "between": _between,
        "not_between": _not(_between),
        "time_between": _time_between,
        "time_not_between": _not(_time_between),
    }
)
"""Operators whose right side is a list of two."""
MEASURED: Mapping[str, Comparison] = MappingProxyType(
    {
        "length_equals": _long(0),
        "length_not_equals": _long(-1, 1),
        "length_greater_than": _long(1),
        "length_greater_or_equal": _long(0, 1),
        "length_less_than": _long(-1),
        "length_less_or_equal": _long(-1, 0),
    }
)
"""Operators whose right side is a length."""
SEARCHED: Mapping[str, Comparison] = MappingProxyType({"matches": _matches, "not_matches": _not(_matches)})
"""Operators whose right side is a regular expression."""
LISTED: Mapping[str, Comparison] = MappingProxyType({"in": _in, "not_in": _not(_in)})
TYPED: Mapping[str, Comparison] = MappingProxyType({"is_type": _of_type, "is_not_type": _not(_of_type)})
BINARY: Mapping[str, Comparison] = MappingProxyType(
    {
        "equals": _equal,
        "not_equals": _not(_equal),
        "greater_than": _ordered(1),
        "greater_or_equal": _ordered(0, 1),
        "less_than": _ordered(-1),
        "less_or_equal": _ordered(-1, 0),
        "contains": _contains,
        "not_contains": _not(_contains),
        "starts_with": _starts,
        "not_starts_with": _not(_starts),
        "ends_with": _ends,
        "not_ends_with": _not(_ends),
        "has_key": _has_key,
        "lacks_key": _not(_has_key),
        "before": _timed(-1),
        "before_or_at": _timed(-1, 0),
        "after": _timed(1),
        "after_or_at": _timed(0, 1),
        **PAIRED,
        **MEASURED,
        **SEARCHED,
        **LISTED,
        **TYPED,
    }
)
ALL: Mapping[str, Comparison] = MappingProxyType({**BINARY, **UNARY})
