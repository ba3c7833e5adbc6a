"""`data.datetime`: reads, writes and counts with dates and times."""

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from nodes import calendars, options, timepatterns
from nodes.conversions import shown
from nodes.fields import problems_of
from nodes.moments import from_unix_ms, iso, moment_of, out_of_range, zone_of
from nodes.sources import target_properties, with_result
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Config,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

_PARTS: Mapping[str, Callable[[dt.datetime], int]] = MappingProxyType(
    {
        "year": lambda m: m.year,
        "quarter": lambda m: (m.month + 2) // 3,
        "month": lambda m: m.month,
        "week": lambda m: m.isocalendar().week,
        "week_year": lambda m: m.isocalendar().year,
        "day": lambda m: m.day,
        "day_of_year": lambda m: m.timetuple().tm_yday,
        "weekday": lambda m: m.isoweekday(),
        "hour": lambda m: m.hour,
        "minute": lambda m: m.minute,
        "second": lambda m: m.second,
        "millisecond": lambda m: m.microsecond // 1000,
    }
)
_ROUNDED = tuple(unit for unit in calendars.UNITS if unit != "milliseconds")
_PATTERN = {"type": "string", "minLength": 1, "maxLength": timepatterns.PATTERN_CHARS_MAX}
_AMOUNT_MAX = 10_000_000_000_000

_OPERATION_HELP = (
    "`now`: the time of this attempt. `convert`: reads `value` and writes it again, in another format or zone. `add`, "
    "`subtract`: so much later or earlier. `difference`: the time from `value` until `until`. `extract`: parts of it as "
    "numbers. `round`: the beginning of a unit."
)

SPEC = NodeSpec(
    type="data.datetime",
    title="Date and time",
    category="data",
    description="Reads and writes dates and times, adds to them, compares them and takes them apart, in any time zone.",
    each_item=True,
    aliases=("datetime", "date_time"),
    literal=frozenset({"operation", "unit", "units", "parts", "direction", "into", "keep_input"}),
    examples=(
        Example(
            title="Another format",
            config={
                "operation": "convert",
                "value": "{{ $json.day }}",
                "input_format": "dd.MM.yyyy",
                "format": "EEE, d MMM yyyy",
                "into": "day",
            },
            items=[{"day": "22.11.2026"}],
            outputs={"main": [{"day": "Sun, 22 Nov 2026"}]},
        ),
        Example(
            title="A month later, by the clocks of Vienna",
            config={
                "operation": "add",
                "value": "{{ $json.at }}",
                "amount": 1,
                "unit": "months",
                "zone": "Europe/Vienna",
            },
            items=[{"at": "2026-01-31T12:00:00+01:00"}],
            outputs={"main": [{"at": "2026-01-31T12:00:00+01:00", "result": "2026-02-28T12:00:00.000+01:00"}]},
        ),
        Example(
            title="An age in years and days",
            config={
                "operation": "difference",
                "value": "{{ $json.from }}",
                "until": "{{ $json.to }}",
                "units": ["years", "days"],
                "keep_input": False,
            },
            items=[{"from": "2000-02-29", "to": "2026-03-01"}],
            outputs={"main": [{"result": {"years": 26, "days": 1}}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {
                "enum": ["now", "convert", "add", "subtract", "difference", "extract", "round"],
                "title": "Operation",
                "description": _OPERATION_HELP,
            },
            "value": {
                "title": "Value",
                "description": "A time: ISO 8601 text, text as `input_format` says, or milliseconds since 1970.",
            },
            "input_format": {
                **_PATTERN,
                "title": "Input format",
                "description": "How `value` and `until` are written, if not in ISO 8601. " + timepatterns.HELP,
            },
            "format": {
                **_PATTERN,
                "title": "Format",
                "description": "How the result is written, if not in ISO 8601. " + timepatterns.HELP,
            },
            "zone": {
                "type": "string",
                "minLength": 1,
                "title": "Time zone",
                "description": "An IANA name such as `Europe/Vienna`; the workflow's where it is left out.",
            },
            "amount": {
                "type": "number",
                "title": "Amount",
                "description": "How much is added or subtracted; a whole number for days and larger units.",
            },
            "unit": {
                "enum": list(calendars.UNITS),
                "title": "Unit",
                "description": (
                    "Years to days go by the calendar and the clock on the wall, hours and less by the time that "
                    "passes. `round` knows no milliseconds; weeks begin on Monday."
                ),
            },
            "until": {"title": "Until", "description": "For `difference`: the other time, written as `value` is."},
            "units": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"enum": list(calendars.UNITS)},
                "title": "Units",
                "description": "For `difference`: one unit gives a number, several an object: the last has the fraction.",
            },
            "parts": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"enum": list(_PARTS)},
                "title": "Parts",
                "description": "For `extract`: one part gives a number, several an object. Weeks are ISO weeks, Monday is 1.",
            },
            "direction": {
                "enum": ["down", "up", "nearest"],
                "default": "down",
                "title": "Direction",
                "description": "For `round`: to the beginning before, after, or nearest.",
            },
            **target_properties("result"),
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"operation": {"enum": operations}}, "required": ["operation"]},
                "then": {"required": required},
            }
            for operations, required in (
                (["convert", "add", "subtract", "difference", "extract", "round"], ["value"]),
                (["add", "subtract"], ["amount", "unit"]),
                (["difference"], ["until", "units"]),
                (["extract"], ["parts"]),
                (["round"], ["unit"]),
            )
        ],
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Work on every item. Raises `NodeError`: `time_invalid`, `time_out_of_range`, `pattern_invalid`, `zone_unknown`."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            results.append(with_result(item, index, filled, _result(context, filled), "result"))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the path, the unit of `round`, the zone and the patterns."""
    found = problems_of([("into", config.get("into", "result"))])
    if config["operation"] == "round" and config["unit"] not in _ROUNDED:
        found.append(Problem("invalid_config", "times are not rounded to milliseconds", "unit"))
    tests: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("zone", zone_of),
        ("format", timepatterns.parts_of),
        ("input_format", timepatterns.parts_of),
    )
    for name, test in tests:
        if "{{" not in (text := config.get(name, "{{")):
            try:
                test(text)
            except NodeError as error:
                found.append(Problem(error.code, error.message, name))
    return found


def _result(context: NodeContext, config: JsonObject) -> Any:
    zone = zone_of(options.text(config, "zone", context.timezone))
    now = from_unix_ms(context.now_ms, zone) or dt.datetime.fromtimestamp(0, zone)
    if config["operation"] == "now":
        return _written(now, config)
    moment = _moment(config, "value", zone, now)
    match config["operation"]:
        case "convert":
            return _written(moment, config)
        case "add" | "subtract":
            sign = 1 if config["operation"] == "add" else -1
            return _written(calendars.added(moment, sign * _amount(config), config["unit"]), config)
        case "difference":
            found = calendars.difference(moment, _moment(config, "until", zone, now), config["units"])
            return found[config["units"][0]] if len(found) == 1 else found
        case "extract":
            parts = {part: _PARTS[part](moment) for part in config["parts"]}
            return parts[config["parts"][0]] if len(parts) == 1 else parts
        case _:
            return _written(calendars.rounded(moment, config["unit"], config.get("direction", "down")), config)


def _moment(config: JsonObject, name: str, zone: ZoneInfo, now: dt.datetime) -> dt.datetime:
    value, pattern = config[name], options.text(config, "input_format")
    if pattern and isinstance(value, str | int):
        moment: dt.datetime | None = timepatterns.parsed(str(value), pattern, zone, now)
    else:
        moment = moment_of(value, zone)
    if moment is None:
        message = f"{name}: {shown(value)} is no time: ISO 8601 text or milliseconds since 1970 are wanted"
        raise NodeError(message, "time_invalid", {"option": name})
    try:
        return moment.astimezone(zone)
    except OverflowError:
        raise out_of_range() from None


def _amount(config: JsonObject) -> float:
    amount = config["amount"]
    wanted = "a whole number" if config["unit"] in calendars.CALENDAR_UNITS else "a number"
    if isinstance(amount, bool) or not isinstance(amount, int | float) or abs(amount) > _AMOUNT_MAX:
        raise options.wrong("amount", wanted, amount)
    if config["unit"] in calendars.CALENDAR_UNITS and not float(amount).is_integer():
        raise options.wrong("amount", wanted, amount)
    return amount


def _written(moment: dt.datetime, config: JsonObject) -> str:
    pattern = options.text(config, "format")
    return timepatterns.written(moment, pattern) if pattern else iso(moment)


NODE_TYPE = NodeType(SPEC, run, check)
