"""Points in time: read from text and numbers, with IANA time zones and their changes of the clock."""

import datetime as dt
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from workflow.errors import NodeError

_UNIX_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999."""


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name. Raises `NodeError` (`zone_unknown`)."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise NodeError(f"there is no time zone {name!r}", "zone_unknown", {"zone": name}) from None


def moment_of(value: Any, zone: ZoneInfo) -> dt.datetime | None:
    """Return the time that a value names, in its own offset or in `zone` where it has none; None where it names none.

    Text is ISO 8601: a date, or a date and a time. A number is milliseconds since 1970.
    """
    if isinstance(value, str):
        try:
            found = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return at_wall(found, zone) if found.tzinfo is None else found
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_unix_ms(value, zone)
    return None


def from_unix_ms(value: float, zone: ZoneInfo) -> dt.datetime | None:
    """Return the time so many milliseconds after 1970, or None outside the years 1 to 9999."""
    if not -62_135_596_800_000 <= value <= _UNIX_MS_MAX:
        return None
    start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    try:
        return (start + dt.timedelta(milliseconds=value)).astimezone(zone)
    except OverflowError:
        return None


def unix_ms(moment: dt.datetime) -> int:
    """Return the milliseconds since 1970."""
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def at_wall(wall: dt.datetime, zone: dt.tzinfo, fold: int = 0) -> dt.datetime:
    """Return when the clocks of a zone show a time; one that they leap over is moved on by as much as they leap.

    Of a time that they show twice, it is the first, or the second with `fold` 1.
    """
    first = _through_utc(wall.replace(tzinfo=zone, fold=0))
    if first.replace(tzinfo=None, fold=0) != wall.replace(tzinfo=None, fold=0):
        return first
    return _through_utc(wall.replace(tzinfo=zone, fold=fold))


def _through_utc(moment: dt.datetime) -> dt.datetime:
    try:
        return moment.astimezone(dt.UTC).astimezone(moment.tzinfo)
    except OverflowError:
        raise out_of_range() from None


def out_of_range() -> NodeError:
    """Return the error for a time that cannot be written."""
    return NodeError("times are in the years 1 to 9999", "time_out_of_range")


def iso(moment: dt.datetime) -> str:
    """Write a time in ISO 8601, to the millisecond, with its offset."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
