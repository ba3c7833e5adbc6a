"""The keywords of JSON Schema that look at one value and at no schema below: each says what is wrong with it."""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

from workflow.schemas.comparing import is_one_of, listed, shown, size_of, spelled


class Assertion(NamedTuple):
    """A keyword: of which values it speaks, what its own value must be, what it finds wrong, how much work that is."""

    of: Callable[[Any], bool]
    wants: Callable[[Any], bool]
    wrong: Callable[[Any, Any], Iterator[str]]
    work_us: Callable[[Any, Any], int] = lambda _value, _wanted: 1


def is_number(value: Any) -> bool:
    """Whether it is a number to JSON, to which true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether it is a string."""
    return isinstance(value, str)


def is_list(value: Any) -> bool:
    """Whether it is an array."""
    return isinstance(value, list)


def is_object(value: Any) -> bool:
    """Whether it is an object."""
    return isinstance(value, dict)


def is_any(_value: Any) -> bool:
    """Whether it is a value at all."""
    return True


_TYPES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "string": is_text,
        "boolean": lambda value: isinstance(value, bool),
        "object": is_object,
        "array": is_list,
        "null": lambda value: value is None,
        "number": is_number,
        "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    }
)


def _type(value: Any, wanted: str | list[Any]) -> Iterator[str]:
    names = wanted if isinstance(wanted, list) else [wanted]
    if not any(name in _TYPES and _TYPES[name](value) for name in names if isinstance(name, str)):
        yield f"{shown(value)} is not of type {listed(names)}"


def _enum(value: Any, choices: list[Any]) -> Iterator[str]:
    if not is_one_of(value, choices):
        yield f"{shown(value)} is not one of [{listed(choices)}]"


def _const(value: Any, wanted: Any) -> Iterator[str]:
    if not is_one_of(value, [wanted]):
        yield f"{shown(wanted)} was expected"


def _required(value: dict[str, Any], names: list[Any]) -> Iterator[str]:
    for name in names:
        if isinstance(name, str) and name not in value:
            yield f"{shown(name)} is a required property"


def _dependent(value: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for name, others in wanted.items():
        for other in others if name in value and isinstance(others, list) else ():
            if isinstance(other, str) and other not in value:
                yield f"{shown(other)} is a dependency of {shown(name)}"


def _minimum(value: float, least: float) -> Iterator[str]:
    if value < least:
        yield f"{value} is less than the minimum of {least}"


def _maximum(value: float, most: float) -> Iterator[str]:
    if value > most:
        yield f"{value} is greater than the maximum of {most}"


def _above(value: float, bound: float) -> Iterator[str]:
    if value <= bound:
        yield f"{value} is less than or equal to the minimum of {bound}"


def _below(value: float, bound: float) -> Iterator[str]:
    if value >= bound:
        yield f"{value} is greater than or equal to the maximum of {bound}"


def _multiple(value: float, of: float) -> Iterator[str]:
    if not isfinite(value) or of <= 0 or (Fraction(repr(value)) / Fraction(repr(of))).denominator != 1:
        yield f"{value} is not a multiple of {of}"


def _least(value: Any, least: float) -> Iterator[str]:
    if len(value) < least:
        yield f"{shown(value)} is too short: it has {len(value)}, and {least} are wanted"


def _most(value: Any, most: float) -> Iterator[str]:
    if len(value) > most:
        yield f"{shown(value)} is too long: it has {len(value)}, and {most} are allowed"


def _unique(value: list[Any], wanted: bool) -> Iterator[str]:
    if wanted and len({spelled(item) for item in value}) < len(value):
        yield f"{shown(value)} has equal items"


def _enum_us(value: Any, choices: list[Any]) -> int:
    return 1 + (size_of(value) + size_of(choices) if isinstance(value, dict | list) else len(choices) // 10)


def _const_us(value: Any, wanted: Any) -> int:
    return 1 + (size_of(value) + size_of(wanted) if isinstance(value, dict | list) else 0)


def _names_us(_value: Any, names: Any) -> int:
    return 1 + size_of(names) // 10


ASSERTIONS: Mapping[str, Assertion] = MappingProxyType(
    {
        "type": Assertion(is_any, lambda wanted: isinstance(wanted, str | list), _type),
        "enum": Assertion(is_any, is_list, _enum, _enum_us),
        "const": Assertion(is_any, is_any, _const, _const_us),
        "required": Assertion(is_object, is_list, _required, _names_us),
        "dependentRequired": Assertion(is_object, is_object, _dependent, _names_us),
        "minimum": Assertion(is_number, is_number, _minimum),
        "maximum": Assertion(is_number, is_number, _maximum),
        "exclusiveMinimum": Assertion(is_number, is_number, _above),
        "exclusiveMaximum": Assertion(is_number, is_number, _below),
        "multipleOf": Assertion(is_number, is_number, _multiple, lambda _value, _of: 10),
        "minLength": Assertion(is_text, is_number, _least),
        "maxLength": Assertion(is_text, is_number, _most),
        "minItems": Assertion(is_list, is_number, _least),
        "maxItems": Assertion(is_list, is_number, _most),
        "minProperties": Assertion(is_object, is_number, _least),
        "maxProperties": Assertion(is_object, is_number, _most),
        "uniqueItems": Assertion(
            is_list,
            lambda wanted: isinstance(wanted, bool),
            _unique,
            lambda value, _wanted: size_of(value),
        ),
    }
)
