"""Counting with dates. Years to days go by the calendar and the clock on the wall, hours and less by the time that passes.

So a day after noon is noon, also where the clocks change in between; 24 hours after it may be 11 or 13 o'clock.
"""

import calendar
import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from nodes.moments import at_wall, out_of_range

_MONTHS: Mapping[str, int] = MappingProxyType({"years": 12, "quarters": 3, "months": 1})
_DAYS: Mapping[str, int] = MappingProxyType({"weeks": 7, "days": 1})
_EXACT: Mapping[str, dt.timedelta] = MappingProxyType(
    {
        "hours": dt.timedelta(hours=1),
        "minutes": dt.timedelta(minutes=1),
        "seconds": dt.timedelta(seconds=1),
        "milliseconds": dt.timedelta(milliseconds=1),
    }
)
CALENDAR_UNITS = (*_MONTHS, *_DAYS)
UNITS = (*CALENDAR_UNITS, *_EXACT)
"""The units, the largest first."""


def added(moment: dt.datetime, amount: float, unit: str) -> dt.datetime:
    """Return a time so much later, in the same zone; the 31st of a shorter month is its last day.

    Of calendar units `amount` is a whole number. Raises `NodeError` (`time_out_of_range`).
    """
    zone = moment.tzinfo or dt.UTC
    try:
        if unit in _EXACT:
            return (moment.astimezone(dt.UTC) + amount * _EXACT[unit]).astimezone(zone)
        wall = moment.replace(tzinfo=None)
        if unit in _DAYS:
            return at_wall(wall + dt.timedelta(days=int(amount) * _DAYS[unit]), zone, moment.fold)
        year, month = divmod(wall.year * 12 + wall.month - 1 + int(amount) * _MONTHS[unit], 12)
        day = min(wall.day, calendar.monthrange(year, month + 1)[1])
        return at_wall(wall.replace(year=year, month=month + 1, day=day), zone, moment.fold)
    except (OverflowError, ValueError):
        raise out_of_range() from None


def difference(start: dt.datetime, end: dt.datetime, units: Sequence[str]) -> dict[str, int | float]:
    """Return the time between two, both in one zone, in these units: whole ones, and the last with its fraction."""
    if _before(end, start):
        return {unit: -amount for unit, amount in difference(end, start, units).items()}
    ordered = [unit for unit in UNITS if unit in units]
    found: dict[str, int | float] = {}
    place = start
    for unit in ordered:
        count = _whole(place, end, unit)
        place = added(place, count, unit)
        found[unit] = count
    last = ordered[-1]
    length = _passed(place, added(place, 1, last))
    fraction = _passed(place, end) / length
    if fraction:
        found[last] += fraction
    return found


def floored(moment: dt.datetime, unit: str) -> dt.datetime:
    """Return the beginning of the year, quarter, month, week (from Monday), day, hour, minute or second."""
    wall = moment.replace(tzinfo=None, microsecond=moment.microsecond // 1000 * 1000)
    zeros: dict[str, int] = {}
    for name, small in (("seconds", "microsecond"), ("minutes", "second"), ("hours", "minute"), ("days", "hour")):
        if UNITS.index(unit) <= UNITS.index(name):
            zeros[small] = 0
    wall = wall.replace(**zeros)  # type: ignore[arg-type]
    if unit == "weeks":
        wall -= dt.timedelta(days=wall.weekday())
    elif unit in _MONTHS:
        month = {"years": 1, "quarters": (wall.month - 1) // 3 * 3 + 1, "months": wall.month}[unit]
        wall = wall.replace(month=month, day=1)
    return at_wall(wall, moment.tzinfo or dt.UTC, moment.fold)


def rounded(moment: dt.datetime, unit: str, direction: str) -> dt.datetime:
    """Return the beginning of a unit before (`down`), after (`up`) or nearest to a time, which stays if it is one."""
    below = floored(moment, unit)
    if direction == "down" or not _before(below, moment):
        return below
    above = added(below, 1, unit)
    if direction == "up":
        return above
    return below if _passed(below, moment) < _passed(moment, above) else above


def _whole(start: dt.datetime, end: dt.datetime, unit: str) -> int:
    """Return how many whole units fit between."""
    if unit in _EXACT:
        return _passed(start, end) // _EXACT[unit]
    if unit in _DAYS:
        estimate = (end.date() - start.date()).days // _DAYS[unit]
    else:
        estimate = ((end.year - start.year) * 12 + end.month - start.month) // _MONTHS[unit]
    while estimate > 0 and _before(end, added(start, estimate, unit)):
        estimate -= 1
    return max(estimate, 0)


def _passed(start: dt.datetime, end: dt.datetime) -> dt.timedelta:
    """Return the time that passes; two times of one zone would else be subtracted as their clocks show them."""
    return end.astimezone(dt.UTC) - start.astimezone(dt.UTC)


def _before(first: dt.datetime, second: dt.datetime) -> bool:
    return first.astimezone(dt.UTC) < second.astimezone(dt.UTC)
