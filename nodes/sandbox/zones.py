"""Time zones as tables for the engine, which has none: when clocks change, and how far they are then ahead of UTC."""

import importlib.resources
import re
import struct
import zoneinfo
from calendar import monthrange
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

Table: TypeAlias = dict[str, list[int]]
"""`at`: seconds since 1970 of every change, ascending; `offsets`: seconds ahead of UTC before the first and after each."""

YEAR_MAX = 2100
"""Until when changes that follow a rule are written out."""

_HEADER = struct.Struct(">4s1s15x6I")
_NAME = re.compile(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*")
_RULE = re.compile(
    r"(?P<std><[^>]+>|[A-Za-z]+)(?P<offset>[+-]?[\d:]+)"
    r"(?:(?P<dst><[^>]+>|[A-Za-z]+)(?P<ahead>[+-]?[\d:]+)?,(?P<start>[^,]+),(?P<end>[^,]+))?"
)
_DAY = re.compile(r"M(\d+)\.(\d+)\.(\d+)(?:/([+-]?[\d:]+))?")
_HOUR_S = 3600
_NAME_CHARS_MAX = 100


class Zones:
    """Reads tables of zones, each once."""

    def __init__(self) -> None:
        self._tables: dict[str, Table | None] = {}

    def table(self, name: str) -> Table | None:
        """Return the table of a zone, or None where there is no zone of this name."""
        if name not in self._tables:
            data = _read(name)
            self._tables[name] = None if data is None else _table(data)
        return self._tables[name]

    def tables(self, names: Any) -> dict[str, Table | None]:
        """Return the tables of several zones."""
        return {name: self.table(name) for name in names if name != "UTC"}


def _read(name: str) -> bytes | None:
    """Return the file of a zone, from where Python finds it."""
    if len(name) > _NAME_CHARS_MAX or not _NAME.fullmatch(name):
        return None
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / name
        if path.is_file():
            data = path.read_bytes()
            return data if data.startswith(b"TZif") else None
    try:
        found = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        return found.read_bytes() if found.is_file() else None
    except ModuleNotFoundError:
        return None


def _table(data: bytes) -> Table:
    """Read the second part of a TZif file, which has 64-bit times, and the rule behind it."""
    _, _, *counts = _HEADER.unpack_from(data)
    start = _HEADER.size + _length(counts, 4)
    _, _, *counts = _HEADER.unpack_from(data, start)
    _, _, _, changes, types, _ = counts
    position = start + _HEADER.size
    times = list(struct.unpack_from(f">{changes}q", data, position))
    kinds = data[position + changes * 8 : position + changes * 9]
    offsets = [struct.unpack_from(">lBB", data, position + changes * 9 + i * 6)[0] for i in range(types)]
    standard = [i for i in range(types) if not struct.unpack_from(">lBB", data, position + changes * 9 + i * 6)[1]]
    table = {"at": times, "offsets": [offsets[standard[0] if standard else 0], *(offsets[kind] for kind in kinds)]}
    rule = data[start + _HEADER.size + _length(counts, 8) :].strip(b"\n").decode()
    _go_on(table, rule)
    return table


def _length(counts: list[int], time_bytes: int) -> int:
    universal, standard, leaps, changes, types, letters = counts
    return changes * (time_bytes + 1) + types * 6 + letters + leaps * (time_bytes + 4) + standard + universal


def _go_on(table: Table, rule: str) -> None:
    """Add the changes that follow from the rule, which holds after the last change that is written out."""
    found = _RULE.fullmatch(rule)
    if found is None or found["dst"] is None:
        return
    standard = -_seconds(found["offset"])
    summer = -_seconds(found["ahead"]) if found["ahead"] else standard + _HOUR_S
    last = table["at"][-1] if table["at"] else 0
    changes = []
    for year in range(datetime.fromtimestamp(max(last, 0), UTC).year, YEAR_MAX + 1):
        changes.append((_moment(year, found["start"]) - standard, summer))
        changes.append((_moment(year, found["end"]) - summer, standard))
    for at, offset in sorted(changes):
        if at > last:
            table["at"].append(at)
            table["offsets"].append(offset)


def _moment(year: int, day: str) -> int:
    """Return when the rule's day and time of a year is, in seconds of the wall clock."""
    found = _DAY.fullmatch(day)
    if found is None:
        raise ValueError(f"a day of a rule that is not known: {day}")
    month, week, weekday = int(found[1]), int(found[2]), int(found[3])
    first, days = monthrange(year, month)
    date = 1 + (weekday - (first + 1)) % 7 + (week - 1) * 7
    while date > days:
        date -= 7
    midnight = int(datetime(year, month, date, tzinfo=UTC).timestamp())
    return midnight + (_seconds(found[4]) if found[4] else 2 * _HOUR_S)


def _seconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    return sign * sum(part * scale for part, scale in zip(parts, (3600, 60, 1), strict=False))
