"""Dates and times written after a pattern, `dd.MM.yyyy HH:mm`, and read after one. Names of months and days are English.

A pattern is read by hand and never backtracks, so that no pattern takes long.
"""

import calendar
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from nodes.moments import at_wall, from_unix_ms, unix_ms, zone_of
from workflow.errors import NodeError

PATTERN_CHARS_MAX = 200
_YEAR_OF_TWO_DIGITS_MAX = 60
"""From here on two digits mean the twentieth century."""

_MONTHS, _DAYS = tuple(calendar.month_name)[1:], tuple(calendar.day_name)
_MONTHS_SHORT, _DAYS_SHORT = tuple(calendar.month_abbr)[1:], tuple(calendar.day_abbr)


def _offset(moment: dt.datetime, separator: str) -> str:
    minutes = (moment.utcoffset() or dt.timedelta()) // dt.timedelta(minutes=1)
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{separator}{rest:02}"


_WRITERS: Mapping[str, Callable[[dt.datetime], str]] = MappingProxyType(
    {
        "yyyy": lambda m: f"{m.year:04}",
        "yy": lambda m: f"{m.year % 100:02}",
        "q": lambda m: str((m.month + 2) // 3),
        "MMMM": lambda m: _MONTHS[m.month - 1],
        "MMM": lambda m: _MONTHS_SHORT[m.month - 1],
        "MM": lambda m: f"{m.month:02}",
        "M": lambda m: str(m.month),
        "kkkk": lambda m: f"{m.isocalendar().year:04}",
        "WW": lambda m: f"{m.isocalendar().week:02}",
        "W": lambda m: str(m.isocalendar().week),
        "ooo": lambda m: f"{m.timetuple().tm_yday:03}",
        "dd": lambda m: f"{m.day:02}",
        "d": lambda m: str(m.day),
        "EEEE": lambda m: _DAYS[m.weekday()],
        "EEE": lambda m: _DAYS_SHORT[m.weekday()],
        "E": lambda m: str(m.isoweekday()),
        "HH": lambda m: f"{m.hour:02}",
        "H": lambda m: str(m.hour),
        "hh": lambda m: f"{(m.hour + 11) % 12 + 1:02}",
        "h": lambda m: str((m.hour + 11) % 12 + 1),
        "mm": lambda m: f"{m.minute:02}",
        "m": lambda m: str(m.minute),
        "ss": lambda m: f"{m.second:02}",
        "s": lambda m: str(m.second),
        "SSS": lambda m: f"{m.microsecond // 1000:03}",
        "a": lambda m: "PM" if m.hour >= 12 else "AM",
        "ZZZ": lambda m: _offset(m, ""),
        "ZZ": lambda m: _offset(m, ":"),
        "z": lambda m: str(m.tzinfo) if isinstance(m.tzinfo, ZoneInfo) else _offset(m, ":"),
        "X": lambda m: str(unix_ms(m) // 1000),
        "x": lambda m: str(unix_ms(m)),
    }
)
_NUMBERS: Mapping[str, tuple[str, int, int]] = MappingProxyType(
    {
        "yyyy": ("year", 4, 4),
        "yy": ("year_short", 2, 2),
        "MM": ("month", 2, 2),
        "M": ("month", 1, 2),
        "dd": ("day", 2, 2),
        "d": ("day", 1, 2),
        "HH": ("hour", 2, 2),
        "H": ("hour", 1, 2),
        "hh": ("hour_half", 2, 2),
        "h": ("hour_half", 1, 2),
        "mm": ("minute", 2, 2),
        "m": ("minute", 1, 2),
        "ss": ("second", 2, 2),
        "s": ("second", 1, 2),
        "SSS": ("millisecond", 3, 3),
        "X": ("unix_s", 1, 12),
        "x": ("unix_ms", 1, 15),
    }
)
"""What is read as a number: its name, and the fewest and most digits."""
_WORDS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "MMMM": ("month", _MONTHS),
        "MMM": ("month", _MONTHS_SHORT),
        "EEEE": ("weekday", _DAYS),
        "EEE": ("weekday", _DAYS_SHORT),
        "a": ("half", ("AM", "PM")),
    }
)
_ZONES = frozenset({"ZZZ", "ZZ", "z"})
HELP = (
    "Written with yyyy, yy (year), MMMM, MMM, MM, M (month), dd, d (day), EEEE, EEE (day of the week), HH, H (hour), hh, h, a "
    "(of 12, AM or PM), mm, m (minute), ss, s (second), SSS (millisecond), ZZ (+01:00), ZZZ (+0100), z (time zone), X (seconds "
    "since 1970), x (milliseconds); what stands in 'quotes' is taken as it is."
)


@lru_cache(maxsize=256)
def parts_of(pattern: str) -> tuple[tuple[bool, str], ...]:
    """Split a pattern into (is a token, text). Raises `NodeError` (`pattern_invalid`)."""
    parts: list[tuple[bool, str]] = []
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == "'":
            end = pattern.find("'", place + 1)
            if end < 0:
                raise _bad_pattern(pattern, "a quote is not closed")
            parts.append((False, pattern[place + 1 : end] or "'"))
            place = end + 1
            continue
        end = place + 1
        if letter.isalpha():
            while pattern[end : end + 1] == letter:
                end += 1
            if pattern[place:end] not in _WRITERS:
                raise _bad_pattern(pattern, f"{pattern[place:end]!r} means nothing; letters stand in 'quotes'")
        parts.append((letter.isalpha(), pattern[place:end]))
        place = end
    return tuple(parts)


def written(moment: dt.datetime, pattern: str) -> str:
    """Write a time after a pattern. Raises `NodeError` (`pattern_invalid`)."""
    return "".join(_WRITERS[text](moment) if token else text for token, text in parts_of(pattern))


def parsed(text: str, pattern: str, zone: ZoneInfo, now: dt.datetime) -> dt.datetime:
    """Read a time after a pattern; what the pattern leaves out is today's date, this year, or the beginning.

    Raises `NodeError`: `pattern_invalid`, `time_invalid`.
    """
    reader = _Reader(text, pattern)
    for token, part in parts_of(pattern):
        if token:
            reader.token(part)
        else:
            reader.literal(part)
    if reader.place != len(text):
        raise reader.wrong("the text goes on")
    return reader.moment(zone, now)


@dataclass(slots=True)
class _Reader:
    """Where reading stands, and what was read."""

    text: str
    pattern: str
    place: int = 0
    found: dict[str, int] = field(default_factory=dict)
    zone: dt.tzinfo | None = None

    def wrong(self, why: str) -> NodeError:
        shown = self.text if len(self.text) <= 80 else self.text[:80] + "…"
        message = f"{shown!r} is not written as {self.pattern!r}: {why} (position {self.place})"
        return NodeError(message, "time_invalid", {"position": self.place})

    def literal(self, wanted: str) -> None:
        if not self.text.startswith(wanted, self.place):
            raise self.wrong(f"{wanted!r} is missing")
        self.place += len(wanted)

    def token(self, token: str) -> None:
        if token in _NUMBERS:
            self._number(*_NUMBERS[token])
        elif token in _WORDS:
            self._word(*_WORDS[token])
        elif token in _ZONES:
            self._zone()
        else:
            raise _bad_pattern(self.pattern, f"{token!r} can be written but not read")

    def _number(self, name: str, fewest: int, most: int) -> None:
        end = self.place
        negative = name.startswith("unix") and self.text.startswith("-", end)
        end += negative
        start = end
        while end < start + most and self.text[end : end + 1].isdecimal() and self.text[end].isascii():
            end += 1
        if end - start < fewest:
            raise self.wrong(f"a number of {fewest if fewest == most else f'{fewest} to {most}'} digits is missing")
        self.found[name] = int(self.text[start:end]) * (-1 if negative else 1)
        self.place = end

    def _word(self, name: str, words: tuple[str, ...]) -> None:
        rest = self.text[self.place : self.place + 12].lower()
        for number, word in enumerate(words):
            if rest.startswith(word.lower()):
                self.found[name] = number + 1
                self.place += len(word)
                return
        raise self.wrong(f"one of {words[0]} … {words[-1]} is missing")

    def _zone(self) -> None:
        end = self.place
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] in "+-:/_"):
            end += 1
        name = self.text[self.place : end]
        if name[:1] in {"+", "-"}:
            digits = name[1:].replace(":", "")
            if not (digits.isascii() and digits.isdecimal() and len(digits) == 4 and int(digits[:2]) < 24):
                raise self.wrong("an offset such as +01:00 is missing")
            ahead = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            self.zone = dt.timezone(-ahead if name[0] == "-" else ahead)
        else:
            self.zone = dt.UTC if name in {"Z", "z"} else zone_of(name)
        self.place = end

    def moment(self, zone: ZoneInfo, now: dt.datetime) -> dt.datetime:
        found = self.found
        if "unix_ms" in found or "unix_s" in found:
            moment = from_unix_ms(found.get("unix_ms", found.get("unix_s", 0) * 1000), zone)
            if moment is None:
                raise self.wrong("the years 1 to 9999 are possible")
            return moment
        if "year_short" in found:
            found["year"] = found["year_short"] + (2000 if found["year_short"] <= _YEAR_OF_TWO_DIGITS_MAX else 1900)
        if "hour_half" in found:
            if not 1 <= found["hour_half"] <= 12:
                raise self.wrong("the hour is from 1 to 12")
            found["hour"] = found["hour_half"] % 12 + (12 if found.get("half") == 2 else 0)
        today = {"year": now.year, "month": now.month, "day": now.day}
        defaults = {"year": now.year, "month": 1, "day": 1} if found.keys() & today.keys() else today
        date = [found.get(name, default) for name, default in defaults.items()]
        clock = [found.get(name, 0) for name in ("hour", "minute", "second")]
        try:
            wall = dt.datetime(*date, *clock, found.get("millisecond", 0) * 1000)  # type: ignore[call-arg,arg-type] # noqa: DTZ001
        except ValueError as error:
            raise self.wrong(str(error)) from None
        return at_wall(wall, self.zone or zone)


def _bad_pattern(pattern: str, why: str) -> NodeError:
    return NodeError(f"the pattern {pattern!r} does not work: {why}", "pattern_invalid", {"pattern": pattern})
