"""Plain paths, answered in Python: `$json.a["b c"][0]`, `$("A").first().json.x`, `$vars.key`.

They give what JavaScript would give. Where that takes more than looking something up (a method, something inherited,
half of a surrogate pair) they raise `NeedsEngine`. One difference is on purpose: integers beyond 2^53 stay exact.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import orjson

from workflow.expression.scope import Scope, ScriptFailure, all_items, item_of, node_of
from workflow.expression.tokens import Kind, Token
from workflow.spec import Items


class NeedsEngine(Exception):
    """Only the engine can answer this."""


class Undefined:
    """The one value of JavaScript that JSON has no word for; only the class itself is used."""


Key: TypeAlias = str | int
Start: TypeAlias = Callable[[Scope], Any]

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_PLAIN_NUMBER_MAX = 1e21
# Names that are inherited; whether data has such a field is looked at first.
_OBJECT = frozenset(
    """__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ __proto__ constructor hasOwnProperty
    isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf""".split()  # noqa: SIM905
)
_OTHERS = _OBJECT | frozenset(
    """anchor at big blink bold charAt charCodeAt codePointAt concat copyWithin description endsWith entries every fill
    filter find findIndex findLast findLastIndex fixed flat flatMap fontcolor fontsize forEach includes indexOf
    isWellFormed italics join keys lastIndexOf link localeCompare map match matchAll normalize padEnd padStart pop push
    reduce reduceRight repeat replace replaceAll reverse search shift slice small some sort splice split startsWith
    strike sub substr substring sup toExponential toFixed toLocaleLowerCase toLocaleUpperCase toLowerCase toPrecision
    toReversed toSorted toSpliced toUpperCase toWellFormed trim trimEnd trimLeft trimRight trimStart unshift values
    with""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Step:
    """One property access; `optional` is `?.`."""

    key: Key
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """Where to start, and which properties to follow from there."""

    start: Start
    steps: tuple[Step, ...]

    def evaluate(self, scope: Scope) -> Any:
        """Return the value, or the class `Undefined`. Raises `ScriptFailure` and `NeedsEngine`."""
        value = self.start(scope)
        for step in self.steps:
            key = step.key
            if type(value) is dict and key in value:
                value = value[key]
                continue
            if value is None or value is Undefined:
                if step.optional:
                    return Undefined
                kind = "null" if value is None else "undefined"
                raise ScriptFailure(f"TypeError: cannot read property '{key}' of {kind}")
            value = _look_up(value, key)
        return value


def parse_path(tokens: tuple[Token, ...]) -> Path | None:
    """Return the path that the tokens of a placeholder are, or None where they are more than a plain path."""
    if len(tokens) == 1 and tokens[0].kind is Kind.STRING:
        constant = string_value(tokens[0])
        return None if constant is None else Path(lambda _scope: constant, ())
    found = _start(tokens)
    if found is None:
        return None
    start, position = found
    steps = []
    while position < len(tokens):
        step = access(tokens, position)
        if step is None:
            return None
        key, optional, position = step
        steps.append(Step(key, optional))
    return Path(start, tuple(steps))


def access(tokens: tuple[Token, ...], position: int) -> tuple[Key, bool, int] | None:
    """Read `.name`, `["key"]`, `[0]` or their `?.` forms; return the key, whether it is optional, and what is next."""
    texts = [token.text for token in tokens[position : position + 4]]
    optional = bool(texts) and texts[0] == "?."
    if len(texts) > 1 and texts[0] in (".", "?.") and tokens[position + 1].kind is Kind.NAME:
        return None if texts[1].startswith("#") else (texts[1], optional, position + 2)
    if optional:
        position += 1
        texts = texts[1:]
    if len(texts) < 3 or texts[0] != "[" or texts[2] != "]":
        return None
    inner = tokens[position + 1]
    if inner.kind is Kind.NUMBER and _INDEX.fullmatch(inner.text):
        return int(inner.text), optional, position + 3
    key = string_value(inner) if inner.kind is Kind.STRING else None
    return None if key is None else (key, optional, position + 3)


def string_value(token: Token) -> str | None:
    """Return the value of a string literal, or None where JSON would not read it the same way."""
    text = token.text
    if "\\" not in text:
        return text[1:-1]
    if text[0] != '"':
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, str) else None


def as_text(value: Any) -> str:
    """Return what stands for a value in mixed text. Raises `NeedsEngine` where JSON of Python's would look different."""
    if isinstance(value, str):
        return value
    if value is None or value is Undefined:
        return ""
    if isinstance(value, float):
        return _number_text(value)
    if isinstance(value, dict | list) and not _same_json(value):
        raise NeedsEngine
    return orjson.dumps(value).decode()


def _look_up(value: Any, key: Key) -> Any:
    if isinstance(value, dict):
        name = str(key)
        if name in value:
            return value[name]
        if name in _OBJECT:
            raise NeedsEngine
        return Undefined
    if isinstance(value, list | str):
        if isinstance(key, str) and _INDEX.fullmatch(key):
            key = int(key)
        if isinstance(key, int):
            if isinstance(value, str) and not value.isascii() and max(value) > "\uffff":
                raise NeedsEngine
            return value[key] if key < len(value) else Undefined
        if key == "length":
            return len(value) if isinstance(value, list) else len(value.encode("utf-16-le")) // 2
    if key in _OTHERS:
        raise NeedsEngine
    return Undefined


def _number_text(value: float) -> str:
    if not value:
        return "0"
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    digits, _, exponent = repr(abs(value)).partition("e")
    if exponent or abs(value) >= 1e16:
        raise NeedsEngine
    if abs(value) < 1e-6:
        raise NeedsEngine
    return f"-{digits}" if value < 0 else digits


def _same_json(value: Any) -> bool:
    """Whether JSON.stringify would write this as orjson does: no floats, no keys that it would sort to the front."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if len(current) > 1 and any(key[:1].isdigit() for key in current):
                return False
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
        elif isinstance(current, float):
            return False
    return True


def _start(tokens: tuple[Token, ...]) -> tuple[Start, int] | None:
    texts = tuple(token.text for token in tokens[:8])
    if not texts:
        return None
    if texts[0] in _SIMPLE:
        return _SIMPLE[texts[0]], 1
    if texts[0] == "$input":
        return _input_start(texts)
    if texts[0] in ("$node", "$"):
        return _node_start(tokens, texts)
    if texts[0] == "$items":
        return _items_start(tokens, texts)
    return None


def _input_start(texts: tuple[str, ...]) -> tuple[Start, int] | None:
    if texts[1:5] == (".", "item", ".", "json"):
        return (lambda scope: scope.json), 5
    if texts[1:7] == (".", "first", "(", ")", ".", "json"):
        return (lambda scope: _json_at(scope.frame.items, 0)), 7
    if texts[1:7] == (".", "last", "(", ")", ".", "json"):
        return (lambda scope: _json_at(scope.frame.items, -1)), 7
    return None


def _items_start(tokens: tuple[Token, ...], texts: tuple[str, ...]) -> tuple[Start, int] | None:
    if texts[1:3] == (".", "length"):
        return (lambda scope: len(scope.frame.items)), 3
    step = access(tokens, 1)
    if step is None or not isinstance(step[0], int) or step[1] or texts[4:6] != (".", "json"):
        return None
    index = step[0]
    return (lambda scope: _json_at(scope.frame.items, index)), 6


def _node_start(tokens: tuple[Token, ...], texts: tuple[str, ...]) -> tuple[Start, int] | None:
    named = node_name(tokens, 0)
    if named is None:
        return None
    name, position = named
    rest = tuple(token.text for token in tokens[position : position + 6])
    if rest[:2] == (".", "isExecuted"):
        return (lambda scope: name in scope.frame.nodes), position + 2
    if texts[0] == "$node" and rest[:2] == (".", "json"):
        return (lambda scope: item_of(scope.frame, name, scope.index)["json"]), position + 2
    if rest[:4] == (".", "item", ".", "json"):
        return (lambda scope: item_of(scope.frame, name, scope.index)["json"]), position + 4
    if rest[:6] == (".", "first", "(", ")", ".", "json"):
        return (lambda scope: _json_at(all_items(node_of(scope.frame, name).outputs), 0)), position + 6
    if rest[:6] == (".", "last", "(", ")", ".", "json"):
        return (lambda scope: _json_at(all_items(node_of(scope.frame, name).outputs), -1)), position + 6
    return None


def node_name(tokens: tuple[Token, ...], position: int) -> tuple[str, int] | None:
    """Read `$node.X`, `$node["X"]` or `$("X")`; return the name and the position behind it."""
    if tokens[position].text == "$node":
        step = access(tokens, position + 1)
        if step is None or step[1] or not isinstance(step[0], str):
            return None
        return step[0], step[2]
    texts = [token.text for token in tokens[position : position + 4]]
    if len(texts) < 4 or texts[1] != "(" or texts[3] != ")" or tokens[position + 2].kind is not Kind.STRING:
        return None
    name = string_value(tokens[position + 2])
    return None if name is None else (name, position + 4)


def _json_at(items: Items, index: int) -> Any:
    if -len(items) <= index < len(items):
        return items[index]["json"]
    raise ScriptFailure("TypeError: cannot read property 'json' of undefined")


_SIMPLE: Mapping[str, Start] = MappingProxyType(
    {
        "$json": lambda scope: scope.json,
        "$itemIndex": lambda scope: scope.index,
        "$runIndex": lambda scope: scope.frame.run_index,
        "$execution": lambda scope: scope.frame.execution,
        "$workflow": lambda scope: scope.frame.workflow,
        "$vars": lambda scope: scope.frame.variables,
        "$env": lambda scope: scope.frame.environment,
    }
)
