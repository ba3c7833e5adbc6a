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
        return settled(found.replace(tzinfo=zone)) if found.tzinfo is None else found
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


def settled(moment: dt.datetime) -> dt.datetime:
    """Return a time that the clocks of its zone show: one that they leap over is moved on by as much as they leap."""
    return moment.astimezone(dt.UTC).astimezone(moment.tzinfo)


def iso(moment: dt.datetime) -> str:
    """Write a time in ISO 8601, to the millisecond, with its offset."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
