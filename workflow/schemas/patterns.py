"""Regular expressions in users' schemas, searched in time that grows with the text and no faster.

Python's `re` tries every way to match: `^(a+)+$` and thirty letters hold a process for minutes. Rust's engine, which
comes with pydantic, follows all ways at once. It knows neither look-around nor back-references, which are refused.
Patterns are JavaScript's, as JSON Schema says, so what Rust writes another way is rewritten.
"""

import re
from dataclasses import dataclass, field

from pydantic_core import SchemaError, SchemaValidator, core_schema

COMPILING_US_MAX = 200_000
"""What all patterns of a schema may take to compile, by estimate. They take about half a byte of memory for a nanosecond."""

_COUNT = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")
_GROUP = re.compile(r"\(\?(?:[:=!<P]|[ims-]{1,6}[:)])")
_BRACED = re.compile(r"\\[pPux]\{[^}]*\}")
_TIMES_MAX = 1_000_000
_DIGITS_MAX = 8  # of a number of repetitions: any that has as many is too large
_SETS = frozenset("\\" + letter for letter in "dDwWsSpP")

# What an atom takes to compile, in microseconds, measured: the sets of Unicode are large.
_LETTER_US, _ANY_US, _DIGIT_US, _SET_US = 1, 4, 17, 170
_ESCAPE_US = {"d": _DIGIT_US, "D": _DIGIT_US, "s": _ANY_US, "S": _ANY_US} | dict.fromkeys("wWpP", _SET_US)


class BadPattern(ValueError):
    """A pattern that is none, or that cannot be searched in linear time; the message says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression. `width` is how many of its atoms may be waited for at once, written out."""

    width: int
    compiling_us: int
    _search: SchemaValidator = field(repr=False)

    def found_in(self, text: str) -> bool:
        """Whether it matches somewhere in the text."""
        return self._search.isinstance_python(text)

    def search_us(self, text: str) -> int:
        """Return the most that a search may take, in microseconds: 4 ns were measured for an atom and a character."""
        return 1 + self.width * len(text) // 250


def pattern_of(source: str) -> Pattern:
    """Return a pattern. Raises `BadPattern`."""
    reading = _Reading(source)
    rewritten = reading.rewritten()
    width, compiling_us = reading.sizes
    if compiling_us > COMPILING_US_MAX:
        raise BadPattern("it is too large")
    try:
        search = SchemaValidator(core_schema.str_schema(pattern=rewritten, regex_engine="rust-regex"))
    except SchemaError as error:
        why = str(error).strip().rsplit("\n", 1)[-1].strip().removeprefix("error: ")
        raise BadPattern("it is too large" if "size limit" in why else why) from None
    return Pattern(width, compiling_us, search)


class _Reading:
    """Reads a pattern once: rewrites it for Rust and counts how large it is with all repetitions written out."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._whole: list[tuple[int, int]] = [(0, 0)]  # of each open group: its size up to its last atom
        self._last: list[tuple[int, int]] = [(0, 0)]  # and the last atom, which may be repeated yet

    @property
    def sizes(self) -> tuple[int, int]:
        """How many atoms there are, and what they take to compile in microseconds."""
        while len(self._whole) > 1:
            self._close()
        return _sum(self._whole[0], self._last[0])

    def rewritten(self) -> str:
        """Return the pattern as Rust writes it. Raises `BadPattern`."""
        parts = []
        while self._at < len(self._source):
            parts.append(self._next())
        return "".join(parts)

    def _next(self) -> str:
        char = self._source[self._at]
        if char == "\\":
            text, cost_us = self._escape()
            self._atom(cost_us)
            return text
        if char == "[":
            return self._set()
        if char == "(":
            return self._open()
        if char == "{":
            return self._repeat()
        self._at += 1
        if char == ")":
            self._close()
        elif char not in "*+?|":
            self._atom(_ANY_US if char == "." else _LETTER_US)
        return char

    def _escape(self) -> tuple[str, int]:
        braced = _BRACED.match(self._source, self._at)
        text = braced[0] if braced else self._source[self._at : self._at + 2]
        self._at += len(text)
        return text, _ESCAPE_US.get(text[1:2], _LETTER_US)

    def _set(self) -> str:
        """Rewrite `[…]`: Rust nests sets, joins them with `&&`, and takes a `]` that comes first for a letter."""
        self._at += 1
        negated = self._source.startswith("^", self._at)
        self._at += negated
        parts, cost_us, before = [], _ANY_US if negated else _LETTER_US, ""
        while not self._source.startswith("]", self._at):
            if self._at >= len(self._source):
                raise BadPattern("unclosed character class")
            if self._source[self._at] == "\\":
                text, escape_us = self._escape()
                cost_us = max(cost_us, escape_us)
            else:
                text = self._source[self._at]
                self._at += 1
                beside_set = text == "-" and _SETS & {before, self._source[self._at : self._at + 2]}
                if text == "[" or (text in "&~-" and text == before) or beside_set:
                    text = "\\" + text
            parts.append(text)
            before = text[:2]
        self._at += 1
        self._atom(cost_us)
        if not parts:
            return r"[\s\S]" if negated else r"[^\s\S]"
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _open(self) -> str:
        opened = "("
        if self._source.startswith("(?", self._at):
            found = _GROUP.match(self._source, self._at)
            if found is None:
                raise BadPattern("unrecognized kind of group")
            opened = found[0]
        self._at += len(opened)
        if not opened.endswith(")"):  # flags for what follows are no group
            self._whole.append((0, 0))
            self._last.append((0, 0))
        return opened

    def _close(self) -> None:
        if len(self._whole) > 1:
            group = _sum(self._whole.pop(), self._last.pop())
            self._whole[-1] = _sum(self._whole[-1], self._last[-1])
            self._last[-1] = group

    def _repeat(self) -> str:
        found = _COUNT.match(self._source, self._at)
        if found is None:  # JavaScript takes any other brace for a letter
            self._at += 1
            self._atom(_LETTER_US)
            return "\\{"
        self._at += len(found[0])
        times = max(int(digits[:_DIGITS_MAX]) for digits in (found[1], found[2] or "0", "1"))
        atoms, cost_us = self._last[-1]
        self._last[-1] = (min(atoms * times, _TIMES_MAX), min(cost_us * times, _TIMES_MAX))
        return found[0]

    def _atom(self, cost_us: int) -> None:
        self._whole[-1] = _sum(self._whole[-1], self._last[-1])
        self._last[-1] = (1, cost_us)


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
