"""`data.xml`: XML text to JSON and back."""

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import xmltodict

from nodes.fields import FIELD_SCHEMA, MISSING, path_of, read
from nodes.sources import (
    LITERAL,
    SOURCE_PROPERTIES,
    TARGET_PROPERTIES,
    file_in,
    problems_of_places,
    text_in,
    with_result,
)
from workflow.errors import NodeError
from workflow.spec import MAIN, Config, Example, Item, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs

_CHARS_MAX = 20_000_000
_DEPTH_MAX = 90
"""How deep elements may nest: the JSON of it must stay below what a value may nest."""

SPEC = NodeSpec(
    type="data.xml",
    title="XML",
    category="data",
    description="Reads XML as JSON, or writes JSON as XML.",
    each_item=True,
    may_move=True,
    aliases=("xml",),
    literal=LITERAL
    | {"operation", "attributes", "prefix", "text_name", "lists", "trim", "namespaces", "root"}
    | {"indent", "declaration"},
    examples=(
        Example(
            title="XML as JSON; `line` is a list even where there is one",
            config={"operation": "parse", "field": "xml", "into": "order", "lists": ["line"], "keep_input": False},
            items=[{"xml": '<order id="7"><line>A</line><note/></order>'}],
            outputs={"main": [{"order": {"order": {"@id": "7", "line": ["A"], "note": None}}}]},
        ),
        Example(
            title="JSON as XML",
            config={"operation": "write", "field": "order", "root": "order", "into": "xml", "declaration": False}
            | {"keep_input": False},
            items=[{"order": {"@id": 7, "line": [{"#text": "A & B", "@n": 1}, "C"]}}],
            outputs={"main": [{"xml": '<order id="7"><line n="1">A &amp; B</line><line>C</line></order>'}]},
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
                "description": (
                    "`parse`: XML text becomes an object; an element that is there several times becomes a list, one with "
                    "neither attributes nor elements its text, an empty one null. `write`: an object becomes XML text. "
                    "Documents that declare entities are refused, and nothing is ever loaded."
                ),
            },
            **SOURCE_PROPERTIES,
            "field": {
                **SOURCE_PROPERTIES["field"],
                "description": "The field that is read, dotted. Without it, `write` takes the whole item.",
            },
            "attributes": {
                "type": "boolean",
                "default": True,
                "title": "Attributes",
                "description": "For `parse`: whether attributes are read, too.",
            },
            "prefix": {
                "type": "string",
                "minLength": 1,
                "maxLength": 10,
                "default": "@",
                "title": "Prefix of attributes",
                "description": "What stands before the names of attributes in JSON.",
            },
            "text_name": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "default": "#text",
                "title": "Name of the text",
                "description": "The field for the text of an element that has attributes or elements, too.",
            },
            "lists": {
                "oneOf": [
                    {"const": "all"},
                    {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
                ],
                "default": [],
                "title": "Lists",
                "description": "For `parse`: names of elements that are lists even where there is one of them; or `all`.",
            },
            "trim": {
                "type": "boolean",
                "default": True,
                "title": "Trim",
                "description": "For `parse`: whether space around texts is removed.",
            },
            "namespaces": {
                "enum": ["keep", "strip"],
                "default": "keep",
                "title": "Namespaces",
                "description": "For `parse`: whether names keep their prefixes (`soap:Body`).",
            },
            "root": {
                **FIELD_SCHEMA,
                "title": "Root element",
                "description": "For `write`: the element around all. Without it, the object must have one field, which is the root.",
            },
            "indent": {
                "type": "boolean",
                "default": False,
                "title": "Indent",
                "description": "For `write`: whether the text is set out on many lines.",
            },
            "declaration": {
                "type": "boolean",
                "default": True,
                "title": "Declaration",
                "description": 'For `write`: whether it begins with `<?xml version="1.0" encoding="utf-8"?>`.',
            },
            **TARGET_PROPERTIES,
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Work on every item. Raises `NodeError`: `xml_invalid`, `xml_entities`, `too_deep`, and those of reading text."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            value = _parsed(item, filled) if filled["operation"] == "parse" else _written(item, filled)
            results.append(with_result(item, index, filled, value))
    return {MAIN: results}


def _parsed(item: Item, config: JsonObject) -> Any:
    # The bytes of a file say themselves how they are encoded; text is no longer encoded, whatever it says.
    from_file = "binary" in config and "text" not in config
    source = file_in(item, config["binary"]) if from_file else text_in(item, config, chars_max=_CHARS_MAX).encode()
    if len(source) > 4 * _CHARS_MAX:
        raise NodeError(f"XML of {len(source)} bytes is too long", "text_too_long", {"chars_max": _CHARS_MAX})
    lists = config.get("lists", [])
    try:
        return xmltodict.parse(
            source,
            encoding=None if from_file else "utf-8",
            disable_entities=True,
            xml_attribs=config.get("attributes", True),
            attr_prefix=config.get("prefix", "@"),
            cdata_key=config.get("text_name", "#text"),
            strip_whitespace=config.get("trim", True),
            force_list=True if lists == "all" else tuple(lists),
            postprocessor=_postprocessor(config),
        )
    except expat.ExpatError as error:
        fields = {"line": error.lineno, "column": error.offset}
        raise NodeError(f"not XML: {error}", "xml_invalid", fields) from None
    except (ValueError, LookupError) as error:
        if "entities" in str(error):
            raise NodeError("the document declares entities, which is refused", "xml_entities") from None
        raise NodeError(f"not XML: {error}", "xml_invalid") from None


def _postprocessor(config: JsonObject) -> Callable[[list[Any], str, Any], tuple[str, Any] | None]:
    strip, prefix = config.get("namespaces", "keep") == "strip", config.get("prefix", "@")

    def processed(path: list[Any], name: str, value: Any) -> tuple[str, Any] | None:
        if len(path) > _DEPTH_MAX:
            raise NodeError(f"elements may nest at most {_DEPTH_MAX} deep", "too_deep", {"depth_max": _DEPTH_MAX})
        if not strip:
            return name, value
        mark = prefix if name.startswith(prefix) else ""
        bare = name[len(mark) :]
        if mark and (bare == "xmlns" or bare.startswith("xmlns:")):
            return None
        return mark + bare.rpartition(":")[2], value

    return processed


def _written(item: Item, config: JsonObject) -> str:
    value = read(item["json"], path_of(config["field"])) if "field" in config else item["json"]
    if value is MISSING:
        raise NodeError(f"the item has no field {config['field']!r}", "field_missing", {"field": config["field"]})
    document = {config["root"]: value} if "root" in config else value
    if not isinstance(document, dict) or len(document) != 1 or isinstance(next(iter(document.values())), list):
        raise NodeError("XML has one root element: an object with one field, or `root`, is wanted", "xml_invalid")
    prefix = config.get("prefix", "@")
    _check_attributes(document, prefix)
    try:
        text: str = xmltodict.unparse(
            document,
            full_document=config.get("declaration", True),
            pretty=config.get("indent", False),
            indent="  ",
            attr_prefix=prefix,
            cdata_key=config.get("text_name", "#text"),
        )
        # Not every name and character that is written is one of XML's; a parser knows them all.
        expat.ParserCreate().Parse(text, True)
    except (ValueError, TypeError, AttributeError, expat.ExpatError) as error:
        raise NodeError(f"this cannot be written as XML: {error}", "xml_invalid") from None
    return text


def _check_attributes(value: Any, prefix: str) -> None:
    if isinstance(value, list):
        for part in value:
            _check_attributes(part, prefix)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name.startswith(prefix) and isinstance(part, dict | list):
                raise NodeError(f"the attribute {name!r} must be a single value", "xml_invalid", {"name": name})
            _check_attributes(part, prefix)


NODE_TYPE = NodeType(SPEC, run, problems_of_places)
