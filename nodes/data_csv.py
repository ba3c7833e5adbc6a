"""`data.csv`: CSV text or files to items, and items to CSV."""

import base64
import csv
import io
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from nodes.conversions import TYPES, convert, text_of
from nodes.equality import number_in
from nodes.fields import FIELD_SCHEMA, FIELDS_SCHEMA, MISSING, path_of, problems_of, read, write
from nodes.moments import zone_of
from nodes.options import whole_number
from nodes.sources import LITERAL, SOURCE_PROPERTIES, problems_of_places, text_in
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Binary,
    Config,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

_ROWS_MAX = 1_000_000
_DIGITS_EXACT_MAX = 15
"""Longer numbers are mostly ids; as numbers, other programs would not read them exactly."""
_ENCODINGS = ("utf-8", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252", "windows-1250", "shift_jis", "gb18030")
_LINE_END = "\r\n"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

SPEC = NodeSpec(
    type="data.csv",
    title="CSV",
    category="data",
    description="Reads CSV as items, one for each row, or writes all items as one CSV text or file.",
    each_item=True,
    may_move=True,
    aliases=("csv",),
    literal=(LITERAL - {"keep_input"})
    | {"operation", "delimiter", "quote", "header", "encoding", "values", "types", "ragged", "skip_empty", "columns"}
    | {"file", "line_end", "byte_order_mark", "escape_formulas"},
    examples=(
        Example(
            title="Rows with typed values",
            config={"operation": "parse", "delimiter": ";", "values": "auto"},
            items=[{"data": 'name;age;zip\nAda;36;01010\n"Bob; jr";;\n'}],
            outputs={
                "main": [{"name": "Ada", "age": 36, "zip": "01010"}, {"name": "Bob; jr", "age": None, "zip": None}]
            },
        ),
        Example(
            title="Items as text, safe to open in a spreadsheet",
            config={"operation": "write", "columns": ["name", "user.age"], "escape_formulas": True},
            items=[{"name": "=1+1", "user": {"age": 36}}, {"name": 'A "B"'}],
            outputs={"main": [{"data": 'name,user.age\n\'=1+1,36\n"A ""B""",\n'}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {
                "enum": ["parse", "write"],
                "title": "Operation",
                "description": "`parse`: every row becomes an item. `write`: all items become the rows of one text or file.",
            },
            **SOURCE_PROPERTIES,
            "delimiter": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1,
                "default": ",",
                "title": "Delimiter",
                "description": "The character between values.",
            },
            "quote": {
                "type": "string",
                "maxLength": 1,
                "default": '"',
                "title": "Quote",
                "description": "The character around values that hold a delimiter or a line end; empty for none.",
            },
            "header": {
                "type": "boolean",
                "default": True,
                "title": "Header",
                "description": "Whether the first row has the names of the columns; without, they are `column_1` and so on.",
            },
            "columns": {
                **FIELDS_SCHEMA,
                "uniqueItems": True,
                "title": "Columns",
                "description": (
                    "`parse`: names in place of those in the header. `write`: which fields, dotted, in which order; "
                    "without it all fields of all items, in the order in which they first appear."
                ),
            },
            "encoding": {
                "enum": list(_ENCODINGS),
                "default": "utf-8",
                "title": "Encoding",
                "description": "How files are encoded. A byte order mark at their beginning is left out.",
            },
            "values": {
                "enum": ["text", "auto"],
                "default": "text",
                "title": "Values",
                "description": (
                    "For `parse`. `text`: as they stand. `auto`: numbers, true and false become what they spell, and nothing "
                    "becomes null; numbers with leading zeros or more than 15 digits stay text."
                ),
            },
            "types": {
                "type": "object",
                "additionalProperties": {"enum": list(TYPES)},
                "default": {},
                "title": "Types",
                "description": "For `parse`: what to make of columns, by name; an empty value becomes null.",
            },
            "ragged": {
                "enum": ["error", "pad", "skip"],
                "default": "error",
                "title": "Rows of another length",
                "description": (
                    "They are an error; or short ones are padded with null and what is too much gets columns of its own "
                    "(`column_4`); or they are left out."
                ),
            },
            "skip_lines": {
                "type": "integer",
                "minimum": 0,
                "maximum": _ROWS_MAX,
                "default": 0,
                "title": "Skip lines",
                "description": "How many lines before the header are left out.",
            },
            "skip_empty": {
                "type": "boolean",
                "default": True,
                "title": "Skip empty lines",
                "description": "Whether lines without any value are left out.",
            },
            "limit": {
                "type": "integer",
                "minimum": 0,
                "maximum": _ROWS_MAX,
                "default": _ROWS_MAX,
                "title": "Limit",
                "description": "How many rows are read of each text.",
            },
            "into": {
                **FIELD_SCHEMA,
                "default": "data",
                "title": "Into",
                "description": "For `write`: the field that gets the text, dotted.",
            },
            "file": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "title": "Into a file",
                "description": "For `write`: the name of the item's file that is made, in place of `into`.",
            },
            "file_name": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "default": "items.csv",
                "title": "File name",
                "description": "What the file is called where it is stored or sent.",
            },
            "line_end": {
                "enum": ["\n", "\r\n"],
                "default": "\n",
                "title": "Line end",
                "description": "For `write`: what stands at the end of a row.",
            },
            "byte_order_mark": {
                "type": "boolean",
                "default": False,
                "title": "Byte order mark",
                "description": "For files in UTF-8: whether they begin with one, which Excel wants.",
            },
            "escape_formulas": {
                "type": "boolean",
                "default": False,
                "title": "Escape formulas",
                "description": (
                    "For `write`: whether text that a spreadsheet would run as a formula (it begins with = + - @ or a tab) "
                    "gets a `'` before it. Turn it on for text that others wrote."
                ),
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Read or write. Raises `NodeError`: `csv_invalid`, `cannot_convert`, `too_many_items`, and those of reading text."""
    if config["operation"] == "write":
        return {MAIN: [_written(items, config.whole)]}
    zone = zone_of(context.timezone)
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            read_rows = list(_rows(item, config.of(index), zone))
            if len(results) + len(read_rows) > _ROWS_MAX:
                raise NodeError(
                    f"there would be more than {_ROWS_MAX} rows", "too_many_items", {"items_max": _ROWS_MAX}
                )
            results += [Item(json=row, paired_item=index) for row in read_rows]
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths, and the characters that separate values."""
    found = problems_of_places(config)
    if config["operation"] == "write":
        found += problems_of((f"columns[{index}]", name) for index, name in enumerate(config.get("columns", [])))
    if config.get("delimiter", ",") in {config.get("quote", '"'), "\n", "\r", "\0"}:
        found.append(Problem("invalid_config", "this character cannot separate values", "delimiter"))
    if config.get("quote", '"') in {"\n", "\r", "\0"}:
        found.append(Problem("invalid_config", "this character cannot be a quote", "quote"))
    return found


def _dialect(config: JsonObject) -> JsonObject:
    quote = config.get("quote", '"')
    return {
        "delimiter": config.get("delimiter", ","),
        "quotechar": quote or None,
        "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    }


def _rows(item: Item, config: JsonObject, zone: ZoneInfo) -> Iterator[JsonObject]:
    encoding = config.get("encoding", "utf-8")
    text = text_in(item, config, encoding="utf-8-sig" if encoding == "utf-8" else encoding).removeprefix("\ufeff")
    source = io.StringIO(text, newline="")
    for _ in range(whole_number(config, "skip_lines", 0, 0, _ROWS_MAX)):
        source.readline()
    limit = whole_number(config, "limit", _ROWS_MAX, 0, _ROWS_MAX)
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


def _written(items: Items, config: JsonObject) -> Item:
    columns = config.get("columns")
    names = columns or list(dict.fromkeys(name for item in items for name in item["json"]))
    paths = [path_of(name) if columns else (name,) for name in names]
    escape = config.get("escape_formulas", False)
    target = _Lines(config.get("line_end", "\n"))
    writer = csv.writer(target, lineterminator=_LINE_END, **_dialect(config))
    rows = [[_cell(name, escape=escape) for name in names]] if config.get("header", True) else []
    rows += [[_cell(read(item["json"], path), escape=escape) for path in paths] for item in items]
    try:
        writer.writerows(rows)
    except csv.Error as error:
        raise NodeError(f"a value cannot be written without quotes: {error}", "csv_invalid") from None
    text, indexes = "".join(target.lines), list(range(len(items)))
    if "file" in config:
        return Item(json={}, binary={config["file"]: _file(text, config)}, paired_item=indexes)
    made: JsonObject = {}
    write(made, path_of(config.get("into", "data")), text)
    return Item(json=made, paired_item=indexes)


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


def _file(text: str, config: JsonObject) -> Binary:
    encoding = config.get("encoding", "utf-8")
    if encoding == "utf-8" and config.get("byte_order_mark", False):
        encoding = "utf-8-sig"
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError as error:
        message = f"{error.object[error.start]!r} cannot be written in {encoding}"
        raise NodeError(message, "encoding_invalid", {"encoding": encoding}) from None
    return Binary(
        data=base64.b64encode(data).decode(),
        mime_type="text/csv",
        size_bytes=len(data),
        file_name=text_of(config.get("file_name", "items.csv")),
    )


NODE_TYPE = NodeType(SPEC, run, check)
