"""Where a node that reads text takes it from, and where it puts what it makes: the same options in all of them."""

import base64
import binascii
from typing import Any, Final

from nodes.equality import type_of
from nodes.fields import FIELD_SCHEMA, MISSING, path_of, problems_of, read, write
from nodes.lineage import carried
from workflow.errors import NodeError
from workflow.spec import Item, JsonObject, Problem

CHARS_MAX: Final = 50_000_000

SOURCE_PROPERTIES: Final[JsonObject] = {
    "text": {
        "type": "string",
        "title": "Text",
        "description": "What is read, with `{{ }}`; in place of `field` or `binary`.",
    },
    "field": {
        **FIELD_SCHEMA,
        "default": "data",
        "title": "Field",
        "description": "The field that is read, dotted.",
    },
    "binary": {
        "type": "string",
        "minLength": 1,
        "title": "File",
        "description": "The name of the item's file that is read, in place of `field`.",
    },
}


def target_properties(into: str) -> JsonObject:
    """Return the options of where a result goes; `into` is the field that gets it by default."""
    return {
        "into": {
            **FIELD_SCHEMA,
            "default": into,
            "title": "Into",
            "description": "The field that gets the result, dotted.",
        },
        "keep_input": {
            "type": "boolean",
            "default": True,
            "title": "Keep input",
            "description": "Whether the other fields of the item are kept.",
        },
    }


TARGET_PROPERTIES: Final[JsonObject] = target_properties("data")
LITERAL: Final = frozenset({"field", "binary", "into", "keep_input"})


def with_result(item: Item, index: int, config: JsonObject, result: Any, into: str = "data") -> Item:
    """Return the item with a result where the options say, `into` being their default; what came in is left as it is."""
    target = dict(item["json"]) if config.get("keep_input", True) else {}
    write(target, path_of(config.get("into", into)), result)
    return carried(item, index, target)


def text_in(item: Item, config: JsonObject, *, chars_max: int = CHARS_MAX, encoding: str = "utf-8-sig") -> str:
    """Return the text that the options name.

    Raises `NodeError`: `file_missing`, `file_invalid`, `text_missing`, `text_too_long`, `encoding_invalid`.
    """
    if "text" not in config and "binary" in config:
        data = file_in(item, config["binary"])
        try:
            text: object = data.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            message = f"the file {config['binary']!r} is not {encoding} text: {error}"
            raise NodeError(message, "encoding_invalid", {"encoding": encoding}) from None
        place = f"the file {config['binary']!r}"
    elif "text" in config:
        text, place = config["text"], "text"
    else:
        name = config.get("field", "data")
        text, place = read(item["json"], path_of(name)), f"the field {name!r}"
    if not isinstance(text, str):
        found = "nothing" if text is MISSING else type_of(text)
        raise NodeError(f"{place} holds {found}, not text", "text_missing", {"found": found})
    if len(text) > chars_max:
        message = f"{place} is {len(text)} characters long, more than the {chars_max} that are possible"
        raise NodeError(message, "text_too_long", {"chars_max": chars_max})
    return text


def file_in(item: Item, name: str) -> bytes:
    """Return the content of an item's file. Raises `NodeError`: `file_missing`, `file_invalid`."""
    file = item.get("binary", {}).get(name)
    if file is None:
        raise NodeError(f"the item has no file {name!r}", "file_missing", {"name": name})
    try:
        return base64.b64decode(file["data"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise NodeError(f"the file {name!r} is not base64: {error}", "file_invalid", {"name": name}) from None


def problems_of_places(config: JsonObject) -> list[Problem]:
    """Find the paths of these options with an empty name."""
    return problems_of((name, config[name]) for name in ("field", "into") if name in config)
