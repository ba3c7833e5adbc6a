import calendar
import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes import calendars, timepatterns
from nodes.data_datetime import NODE_TYPE
from nodes.moments import iso, moment_of
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

VIENNA = ZoneInfo("Europe/Vienna")
ZONES = [
    ZoneInfo(name) for name in ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
]


def at(text, zone=VIENNA):
    moment = moment_of(text, zone)
    assert moment is not None
    return moment.astimezone(zone)


async def result(run_node, config, item=None):
    outputs = await run_node(NODE_TYPE, {**config, "keep_input": False}, [item or {}])
    return outputs["main"][0]["json"]["result"]


CASES = [
    ({"operation": "now"}, "2023-11-14T22:13:20.000Z"),
    ({"operation": "now", "zone": "Asia/Tokyo", "format": "yyyy-MM-dd"}, "2023-11-15"),
    ({"operation": "convert", "value": 0}, "1970-01-01T00:00:00.000Z"),
    ({"operation": "convert", "value": "2026-07-01T12:00", "zone": "Europe/Vienna"}, "2026-07-01T12:00:00.000+02:00"),
    ({"operation": "convert", "value": "2026-07-01T12:00Z", "format": "x"}, "1782907200000"),
    ({"operation": "convert", "value": 1782907200, "input_format": "X"}, "2026-07-01T12:00:00.000Z"),
    ({"operation": "convert", "value": "3 Feb 26", "input_format": "d MMM yy", "format": "EEEE"}, "Tuesday"),
    ({"operation": "convert", "value": "07:30 pm", "input_format": "hh:mm a"}, "2023-11-14T19:30:00.000Z"),
    ({"operation": "convert", "value": "12:00 AM", "input_format": "h:mm a", "format": "H:m"}, "0:0"),
    ({"operation": "convert", "value": "5.6.", "input_format": "d.M."}, "2023-06-05T00:00:00.000Z"),
    (
        {"operation": "convert", "value": "2026-01-01 +0530", "input_format": "yyyy-MM-dd ZZZ"},
        "2025-12-31T18:30:00.000Z",
    ),
    (
        {"operation": "convert", "value": "2026-07-01 Europe/Vienna", "input_format": "yyyy-MM-dd z"},
        "2026-06-30T22:00:00.000Z",
    ),
    ({"operation": "add", "value": "2026-01-31", "amount": 1, "unit": "months"}, "2026-02-28T00:00:00.000Z"),
    ({"operation": "add", "value": "2024-02-29", "amount": 1, "unit": "years"}, "2025-02-28T00:00:00.000Z"),
    ({"operation": "subtract", "value": "2026-03-31", "amount": 1, "unit": "quarters"}, "2025-12-31T00:00:00.000Z"),
    ({"operation": "add", "value": "2026-01-01", "amount": 1.5, "unit": "hours"}, "2026-01-01T01:30:00.000Z"),
    (
        {"operation": "difference", "value": "2026-01-31", "until": "2026-03-30", "units": ["days", "months"]},
        {"months": 1, "days": 30},
    ),
    ({"operation": "difference", "value": "2026-01-01", "until": "2026-01-16T12:00", "units": ["weeks"]}, 15.5 / 7),
    ({"operation": "difference", "value": "2026-01-02", "until": "2026-01-01", "units": ["hours"]}, -24),
    (
        {"operation": "extract", "value": "2027-01-01T05:06:07.089", "parts": ["week_year", "week", "millisecond"]},
        {"week_year": 2026, "week": 53, "millisecond": 89},
    ),
    ({"operation": "extract", "value": "2026-11-22", "parts": ["weekday"]}, 7),
    ({"operation": "round", "value": "2026-11-22", "unit": "weeks"}, "2026-11-16T00:00:00.000Z"),
    ({"operation": "round", "value": "2026-11-22", "unit": "quarters", "direction": "up"}, "2027-01-01T00:00:00.000Z"),
    (
        {"operation": "round", "value": "2026-11-22T12:30", "unit": "hours", "direction": "nearest"},
        "2026-11-22T13:00:00.000Z",
    ),
    (
        {"operation": "round", "value": "2026-11-22T12:30", "unit": "hours", "direction": "up"},
        "2026-11-22T13:00:00.000Z",
    ),
    (
        {"operation": "round", "value": "2026-11-22T12:00", "unit": "hours", "direction": "up"},
        "2026-11-22T12:00:00.000Z",
    ),
]


@pytest.mark.parametrize(("config", "expected"), CASES, ids=str)
async def test_operations(run_node, config, expected):
    assert await result(run_node, config) == expected


CLOCK_CHANGES = [
    # In Vienna the clocks leap from 02:00 to 03:00 on 2026-03-29 and show 02:00 to 03:00 twice on 2026-10-25.
    ("2026-03-28T12:00", 1, "days", "2026-03-29T12:00:00.000+02:00"),
    ("2026-03-28T12:00", 24, "hours", "2026-03-29T13:00:00.000+02:00"),
    ("2026-03-28T02:30", 1, "days", "2026-03-29T03:30:00.000+02:00"),
    ("2026-02-28T02:30", 1, "months", "2026-03-28T02:30:00.000+01:00"),
    ("2026-10-24T02:30", 1, "days", "2026-10-25T02:30:00.000+02:00"),
    ("2026-10-25T02:30+02:00", 1, "hours", "2026-10-25T02:30:00.000+01:00"),
    ("2026-10-25T02:30+01:00", 0, "days", "2026-10-25T02:30:00.000+01:00"),
    ("2026-10-25T02:30+01:00", 1, "days", "2026-10-26T02:30:00.000+01:00"),
    ("2026-03-29T02:30", 0, "days", "2026-03-29T03:30:00.000+02:00"),
]


@pytest.mark.parametrize(("start", "amount", "unit", "expected"), CLOCK_CHANGES)
def test_clock_changes(start, amount, unit, expected):
    assert iso(calendars.added(at(start), amount, unit)) == expected


@pytest.mark.parametrize(
    ("start", "end", "unit", "expected"),
    [
        ("2026-03-28T12:00", "2026-03-29T12:00", "days", 1),
        ("2026-03-28T12:00", "2026-03-29T12:00", "hours", 23),
        ("2026-10-24T12:00", "2026-10-25T12:00", "hours", 25),
        ("2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "minutes", 60),
    ],
)
def test_differences_over_clock_changes(start, end, unit, expected):
    assert calendars.difference(at(start), at(end), [unit]) == {unit: expected}


def test_the_second_of_two_equal_hours_is_rounded_within_itself():
    assert iso(calendars.floored(at("2026-10-25T02:40+01:00"), "hours")) == "2026-10-25T02:00:00.000+01:00"
    assert iso(calendars.rounded(at("2026-10-25T02:40+02:00"), "hours", "up")) == "2026-10-25T02:00:00.000+01:00"


MOMENTS = st.builds(
    lambda ms, zone: (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)).astimezone(zone),
    st.integers(0, 4_000_000_000_000),
    st.sampled_from(ZONES),
)


@settings(max_examples=200, deadline=None)
@given(moment=MOMENTS, months=st.integers(-500, 500))
def test_months_are_those_of_the_calendar(moment, months):
    year, month = moment.year, moment.month
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month in (0, 13):
            year, month = (year - 1, 12) if month == 0 else (year + 1, 1)
    day = min(moment.day, calendar.monthrange(year, month)[1])
    wall = moment.replace(year=year, month=month, day=day)
    if wall.astimezone(dt.UTC).astimezone(wall.tzinfo).replace(tzinfo=None) != wall.replace(tzinfo=None):
        wall = wall.replace(fold=0)  # a time of day that the clocks leap over: PEP 495 reads it by the offset before
    assert calendars.added(moment, months, "months").astimezone(dt.UTC) == wall.astimezone(dt.UTC)


@settings(max_examples=200, deadline=None)
@given(first=MOMENTS, second=MOMENTS, units=st.sets(st.sampled_from(calendars.UNITS[:-1])))
def test_a_difference_added_again_gives_the_end(first, second, units):
    start, end = sorted([first, second.astimezone(first.tzinfo)], key=lambda moment: moment.timestamp())
    place = start
    for unit, amount in calendars.difference(start, end, [*units, "milliseconds"]).items():
        assert amount >= 0
        place = calendars.added(place, amount, unit)
    assert place.astimezone(dt.UTC) == end.astimezone(dt.UTC)


@settings(max_examples=200, deadline=None)
@given(moment=MOMENTS, unit=st.sampled_from(calendars.UNITS[:-1]))
def test_rounding_brackets_a_time(moment, unit):
    below, above = (calendars.rounded(moment, unit, way).timestamp() for way in ("down", "up"))
    assert below <= moment.timestamp() <= above
    assert calendars.rounded(moment, unit, "nearest").timestamp() in {below, above}


@settings(max_examples=200, deadline=None)
@given(moment=MOMENTS)
@pytest.mark.parametrize("pattern", ["yyyy-MM-dd'T'HH:mm:ss.SSSZZ", "EEE, d. MMMM yyyy, h:m:s.SSS a ZZZ", "x"])
def test_what_is_written_can_be_read(moment, pattern):
    text = timepatterns.written(moment, pattern)
    assert timepatterns.parsed(text, pattern, ZONES[0], moment).timestamp() == moment.timestamp()


@settings(max_examples=200, deadline=None)
@given(moment=MOMENTS)
def test_patterns_say_what_strftime_says(moment):
    ours = timepatterns.written(moment, "yyyy|yy|MMMM|MMM|MM|dd|EEEE|EEE|HH|hh|a|mm|ss|ooo|kkkk|WW|ZZZ")
    assert ours == moment.strftime("%Y|%y|%B|%b|%m|%d|%A|%a|%H|%I|%p|%M|%S|%j|%G|%V|%z")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"operation": "convert", "value": "2026-02-30"}, "time_invalid"),
        ({"operation": "convert", "value": None}, "time_invalid"),
        ({"operation": "convert", "value": True}, "time_invalid"),
        ({"operation": "convert", "value": 1e300}, "time_invalid"),
        ({"operation": "convert", "value": "1.1.26", "input_format": "dd.MM.yyyy"}, "time_invalid"),
        ({"operation": "convert", "value": "31.02.2026", "input_format": "dd.MM.yyyy"}, "time_invalid"),
        ({"operation": "convert", "value": "01.01.2026x", "input_format": "dd.MM.yyyy"}, "time_invalid"),
        ({"operation": "convert", "value": "13:00 AM", "input_format": "hh:mm a"}, "time_invalid"),
        ({"operation": "convert", "value": "1", "input_format": "W"}, "pattern_invalid"),
        ({"operation": "convert", "value": 0, "zone": "{{ $json.zone }}"}, "zone_unknown"),
        ({"operation": "convert", "value": 0, "format": "{{ $json.format }}"}, "pattern_invalid"),
        ({"operation": "add", "value": 0, "amount": 9000, "unit": "years"}, "time_out_of_range"),
        ({"operation": "add", "value": "9999-12-31T23:59", "amount": 1, "unit": "days"}, "time_out_of_range"),
        ({"operation": "add", "value": 0, "amount": 0.5, "unit": "days"}, "invalid_option"),
        ({"operation": "add", "value": 0, "amount": "{{ $json.zone }}", "unit": "days"}, "config_value_invalid"),
        ({"operation": "convert", "value": "0001-01-01T00:00", "zone": "Asia/Tokyo"}, "time_out_of_range"),
    ],
    ids=str,
)
async def test_errors(run_node, config, code):
    with pytest.raises(NodeError) as caught:
        await result(run_node, config, {"zone": "Mars/Base", "format": "bb"})
    assert caught.value.code == code
    assert caught.value.fields["item_index"] == 0


async def test_the_zone_is_that_of_the_workflow(run_node, context):
    context.timezone = "Asia/Kathmandu"
    assert await result(run_node, {"operation": "now"}) == "2023-11-15T03:58:20.000+05:45"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"operation": "convert"},
        {"operation": "add", "value": 0},
        {"operation": "difference", "value": 0, "until": 1, "units": []},
        {"operation": "round", "value": 0, "unit": "milliseconds"},
        {"operation": "now", "zone": "Mars/Base"},
        {"operation": "now", "zone": "../etc/passwd"},
        {"operation": "now", "format": "foo"},
        {"operation": "now", "format": "'open"},
        {"operation": "now", "into": "a..b"},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
