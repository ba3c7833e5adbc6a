"""`data.csv`: CSV text or files to items, and items to CSV."""

import base64
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from nodes.conversions import TYPES, text_of
from nodes.fields import FIELD_SCHEMA, FIELDS_SCHEMA, path_of, problems_of, write
from nodes.moments import zone_of
from nodes.sources import LITERAL, SOURCE_PROPERTIES, problems_of_places, text_in
from nodes.tables import ROWS_MAX, rows_of, text_of_rows
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

_ENCODINGS = ("utf-8", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252", "windows-1250", "shift_jis", "gb18030")

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
                "maximum": ROWS_MAX,
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
                "maximum": ROWS_MAX,
                "default": ROWS_MAX,
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
            read_rows = list(_read(item, config.of(index), zone))
            if len(results) + len(read_rows) > ROWS_MAX:
                raise NodeError(f"there would be more than {ROWS_MAX} rows", "too_many_items", {"items_max": ROWS_MAX})
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


def _read(item: Item, config: JsonObject, zone: ZoneInfo) -> Iterator[JsonObject]:
    encoding = config.get("encoding", "utf-8")
    text = text_in(item, config, encoding="utf-8-sig" if encoding == "utf-8" else encoding)
    return rows_of(text, config, zone)


def _written(items: Items, config: JsonObject) -> Item:
    text, indexes = text_of_rows([item["json"] for item in items], config), list(range(len(items)))
    if "file" in config:
        return Item(json={}, binary={config["file"]: _file(text, config)}, paired_item=indexes)
    made: JsonObject = {}
    write(made, path_of(config.get("into", "data")), text)
    return Item(json=made, paired_item=indexes)


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
