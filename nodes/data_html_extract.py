"""`data.html_extract`: values out of HTML, by CSS selectors."""

from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from nodes.fields import FIELD_SCHEMA, path_of, problems_of, write
from nodes.lineage import carried
from nodes.markup import CHARS_MAX, check_markup
from nodes.sources import LITERAL, SOURCE_PROPERTIES, TARGET_PROPERTIES, problems_of_places, text_in
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

_SELECTOR_CHARS_MAX = 1_000
_PAGE = "<ul class='people'><li><a href='/ada'>Ada</a> <i>36</i></li><li><a href='/bob'>Bob</a></li></ul>"

SPEC = NodeSpec(
    type="data.html_extract",
    title="Extract from HTML",
    category="data",
    description="Takes values out of HTML: the text, the HTML or an attribute of what CSS selectors find.",
    each_item=True,
    may_move=True,
    aliases=("html_extract", "html"),
    literal=(LITERAL - {"into"}) | {"values"},
    examples=(
        Example(
            title="One value, and a list",
            config={
                "values": [
                    {"into": "first", "selector": ".people a"},
                    {"into": "links", "selector": ".people a", "take": "attribute", "attribute": "href", "list": True},
                ],
                "keep_input": False,
            },
            items=[{"data": _PAGE}],
            outputs={"main": [{"first": "Ada", "links": ["/ada", "/bob"]}]},
        ),
        Example(
            title="A list of objects: one for every element that is found",
            config={
                "values": [
                    {
                        "into": "people",
                        "selector": "li",
                        "list": True,
                        "take": "object",
                        "values": [
                            {"into": "name", "selector": "a"},
                            {"into": "age", "selector": "i"},
                        ],
                    }
                ],
                "keep_input": False,
            },
            items=[{"data": _PAGE}],
            outputs={"main": [{"people": [{"name": "Ada", "age": "36"}, {"name": "Bob", "age": None}]}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {
            "value": {
                "type": "object",
                "required": ["into", "selector"],
                "properties": {
                    "into": {**FIELD_SCHEMA, "title": "Into", "description": "The field that gets the value, dotted."},
                    "selector": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": _SELECTOR_CHARS_MAX,
                        "title": "Selector",
                        "description": "A CSS selector.",
                    },
                    "take": {
                        "enum": ["text", "html", "inner_html", "attribute", "object"],
                        "default": "text",
                        "title": "Take",
                        "description": (
                            "What of an element: its text, its HTML with or without itself, an attribute, or an object "
                            "with `values` that are looked for inside of it."
                        ),
                    },
                    "attribute": {
                        "type": "string",
                        "minLength": 1,
                        "title": "Attribute",
                        "description": "The name of the attribute.",
                    },
                    "list": {
                        "type": "boolean",
                        "default": False,
                        "title": "List",
                        "description": "Whether all that is found makes a list; else it is the first, or null.",
                    },
                    "trim": {
                        "type": "boolean",
                        "default": True,
                        "title": "Trim",
                        "description": "Whether a text is without space around it, and each space inside is one blank.",
                    },
                    "skip": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": _SELECTOR_CHARS_MAX,
                        "title": "Skip",
                        "description": "A CSS selector of elements inside of it whose text does not count.",
                    },
                    "values": {"$ref": "#/$defs/values"},
                },
                "additionalProperties": False,
                "allOf": [
                    {
                        "if": {"properties": {"take": {"const": "attribute"}}, "required": ["take"]},
                        "then": {"required": ["attribute"]},
                    },
                    {
                        "if": {"properties": {"take": {"const": "object"}}, "required": ["take"]},
                        "then": {"required": ["values"]},
                    },
                ],
            },
            "values": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"$ref": "#/$defs/value"}},
        },
        "type": "object",
        "required": ["values"],
        "properties": {
            **SOURCE_PROPERTIES,
            "values": {
                "$ref": "#/$defs/values",
                "title": "Values",
                "description": "What is taken, and which fields get it.",
            },
            "keep_input": TARGET_PROPERTIES["keep_input"],
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Extract from every item. Raises `NodeError`: `selector_invalid`, `html_too_complex`, and those of reading text."""
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            html = text_in(item, filled, chars_max=CHARS_MAX)
            check_markup(html)
            root = LexborHTMLParser(html).root
            target = dict(item["json"]) if filled.get("keep_input", True) else {}
            _extract(root, filled["values"], target)
            results.append(carried(item, index, target))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the paths and the selectors."""
    return [*problems_of_places(config), *_problems(config["values"], "values")]


def _problems(values: list[JsonObject], place: str) -> list[Problem]:
    found: list[Problem] = []
    page = LexborHTMLParser("<p>").root
    for index, each in enumerate(values):
        here = f"{place}[{index}]"
        found += problems_of([(f"{here}.into", each["into"])])
        for name in ("selector", "skip"):
            if name in each and page is not None:
                try:
                    _select(page, each[name])
                except NodeError as error:
                    found.append(Problem(error.code, error.message, f"{here}.{name}"))
        found += _problems(each.get("values", []), f"{here}.values")
    return found


def _extract(root: LexborNode | None, values: list[JsonObject], target: JsonObject) -> None:
    for each in values:
        found = _select(root, each["selector"]) if root is not None else []
        if each.get("list", False):
            value: Any = [_taken(node, each) for node in found]
        else:
            value = _taken(found[0], each) if found else None
        write(target, path_of(each["into"]), value)


def _select(root: LexborNode, selector: str) -> list[LexborNode]:
    try:
        return root.css(selector)
    except (SelectolaxError, ValueError):
        raise NodeError(f"{selector!r} is no CSS selector", "selector_invalid", {"selector": selector}) from None


def _taken(node: LexborNode, each: JsonObject) -> Any:
    match each.get("take", "text"):
        case "html":
            return node.html
        case "inner_html":
            return node.inner_html
        case "attribute":
            return node.attributes.get(each["attribute"])
        case "object":
            made: JsonObject = {}
            _extract(node, each["values"], made)
            return made
        case _:
            return _text(node, each)


def _text(node: LexborNode, each: JsonObject) -> str:
    skip = f"{each['skip']}, script, style" if "skip" in each else "script, style"
    if _select(node, f"{skip}, br"):
        # A copy: other values of this item still look at the page.
        copy = LexborHTMLParser(node.html or "").root
        if copy is None:
            return ""
        for unwanted in _select(copy, skip):
            unwanted.decompose()
        for line_break in copy.css("br"):
            line_break.replace_with("\n")
        node = copy
    text = node.text()
    return " ".join(text.split()) if each.get("trim", True) else text


NODE_TYPE = NodeType(SPEC, run, check)
