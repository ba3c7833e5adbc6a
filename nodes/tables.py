"""Rows of text, values separated by a character: read as objects, and written. The options are those of `data.csv`."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from nodes.conversions import convert, text_of
from nodes.equality import number_in
from nodes.fields import MISSING, path_of, read
from nodes.options import whole_number
from workflow.errors import NodeError
from workflow.spec import JsonObject

ROWS_MAX: Final = 1_000_000
_DIGITS_EXACT_MAX = 15
"""Longer numbers are mostly ids; as numbers, other programs would not read them exactly."""
_LINE_END = "\r\n"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _dialect(config: JsonObject) -> JsonObject:
    quote = config.get("quote", '"')
    return {
        "delimiter": config.get("delimiter", ","),
        "quotechar": quote or None,
        "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    }


def rows_of(text: str, config: JsonObject, zone: ZoneInfo) -> Iterator[JsonObject]:
    """Read the rows of a text as objects. Raises `NodeError`: `csv_invalid`, `cannot_convert`."""
    source = io.StringIO(text.removeprefix("\ufeff"), newline="")
    for _ in range(whole_number(config, "skip_lines", 0, 0, ROWS_MAX)):
        source.readline()
    limit = whole_number(config, "limit", ROWS_MAX, 0, ROWS_MAX)
    skip_empty, ragged = config.get("skip_empty", True), config.get("ragged", "error")
    names: list[str] | None = config.get("columns")
    header = config.get("header", True)
    count = 0
    for line, values in _lines(source, config):
        if skip_empty and not any(values):
            continue
        if header:
            header = False
            names = names or _names(values)
            continue
        names = names or _names([""] * len(values))
        if len(values) != len(names) and ragged != "pad":
            if ragged == "skip":
                continue
            message = f"line {line} has {len(values)} values, not {len(names)}"
            raise NodeError(message, "csv_invalid", {"line": line})
        if count == limit:
            return
        count += 1
        yield _object(names, values, config, zone, line)


def _lines(source: io.StringIO, config: JsonObject) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(source, strict=True, **_dialect(config))
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise NodeError(f"line {reader.line_num}: {error}", "csv_invalid", {"line": reader.line_num}) from None
        if values is None:
            return
        yield reader.line_num, values


def _names(header: list[str]) -> list[str]:
    """Name all columns, and none twice."""
    names: list[str] = []
    taken = set(header)
    seen: set[str] = set()
    for number, given in enumerate(header, start=1):
        name = given or f"column_{number}"
        if name in seen or (not given and name in taken):
            again = 2
            while f"{name}_{again}" in taken:
                again += 1
            name = f"{name}_{again}"
        taken.add(name)
        seen.add(name)
        names.append(name)
    return names


def _object(names: list[str], values: list[str], config: JsonObject, zone: ZoneInfo, line: int) -> JsonObject:
    types, auto = config.get("types", {}), config.get("values", "text") == "auto"
    row: JsonObject = {}
    for place, value in enumerate(values):
        name = names[place] if place < len(names) else f"column_{place + 1}"
        if name in types:
            try:
                row[name] = convert(value or None, types[name], zone)
            except NodeError as error:
                message = f"line {line}, {name}: {error.message}"
                raise NodeError(message, error.code, {**error.fields, "line": line, "column": name}) from None
        else:
            row[name] = _guessed(value) if auto else value
    for name in names[len(values) :]:
        row[name] = None
    return row


def _guessed(value: str) -> Any:
    if not value:
        return None
    if value in {"true", "false"}:
        return value == "true"
    digits = value.lstrip("-")
    plain = digits[:1].isdecimal() and value[-1:].isdecimal() and (digits[0] != "0" or digits[1:2] in {"", "."})
    if not plain or sum(map(str.isdecimal, value)) > _DIGITS_EXACT_MAX:
        return value
    number = number_in(value)
    return value if number is None else number


def text_of_rows(objects: Sequence[JsonObject], config: JsonObject) -> str:
    """Write objects as rows. Raises `NodeError` (`csv_invalid`)."""
    columns = config.get("columns")
    names = columns or list(dict.fromkeys(name for each in objects for name in each))
    paths = [path_of(name) if columns else (name,) for name in names]
    escape = config.get("escape_formulas", False)
    target = _Lines(config.get("line_end", "\n"))
    writer = csv.writer(target, lineterminator=_LINE_END, **_dialect(config))
    rows = [[_cell(name, escape=escape) for name in names]] if config.get("header", True) else []
    rows += [[_cell(read(each, path), escape=escape) for path in paths] for each in objects]
    try:
        writer.writerows(rows)
    except csv.Error as error:
        raise NodeError(f"a value cannot be written without quotes: {error}", "csv_invalid") from None
    return "".join(target.lines)


class _Lines:
    """What the writer writes to. It quotes line ends of its own kind only, so it always writes both characters."""

    def __init__(self, line_end: str) -> None:
        self.lines: list[str] = []
        self._line_end = line_end

    def write(self, line: str) -> None:
        self.lines.append(line.removesuffix(_LINE_END) + self._line_end)


def _cell(value: Any, *, escape: bool) -> str:
    text = "" if value is MISSING else text_of(value)
    return f"'{text}" if escape and isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text
