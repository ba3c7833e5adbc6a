"""`action.code`: runs the user's Python or JavaScript in the sandbox."""

from typing import Any

from nodes.sandbox import javascript, python_program
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    CodeLimits,
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

_TIMEOUT_MS = 10_000
_TIMEOUT_MS_MAX = 300_000
_MEMORY_MB = 128
_CODE_CHARS_MAX = 65_536

SPEC = NodeSpec(
    type="action.code",
    title="Code",
    category="action",
    description=(
        "Runs Python or JavaScript on the items. The code has no files, no network and no packages beyond the "
        "language's own."
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["code"],
        "properties": {
            "language": {
                "enum": ["python", "javascript"],
                "default": "python",
                "title": "Language",
                "description": "Python is Monty's: no inheritance, and a part of the standard library.",
            },
            "mode": {
                "enum": ["all_items", "each_item"],
                "default": "all_items",
                "title": "Mode",
                "description": (
                    "`all_items`: the code sees `items`, a list of objects, and returns a list of objects, or one "
                    "object for one item. `each_item`: it runs for every item, sees `item`, an object, and returns an "
                    "object, or null (None) to drop the item."
                ),
            },
            "code": {
                "type": "string",
                "minLength": 1,
                "maxLength": _CODE_CHARS_MAX,
                "title": "Code",
                "description": "The body of a function: it ends with `return`. It is taken as it is, without `{{ }}`.",
            },
            "timeout_ms": {
                "type": "integer",
                "minimum": 1,
                "maximum": _TIMEOUT_MS_MAX,
                "default": _TIMEOUT_MS,
                "title": "Time limit (ms)",
                "description": "How long the code may run, for all items together; the node's own limit holds as well.",
            },
            "memory_mb": {
                "type": "integer",
                "minimum": 8,
                "maximum": 1024,
                "default": _MEMORY_MB,
                "title": "Memory limit (MiB)",
                "description": "How much memory the code may use, its input and its result included.",
            },
        },
        "additionalProperties": False,
    },
    literal=frozenset({"code"}),
    aliases=("code",),
    may_move=True,
    yields=True,
    timeout_ms=_TIMEOUT_MS_MAX + 5_000,
    examples=(
        Example(
            title="Python, once for all items",
            config={"code": "return [{'total': sum(item['price'] for item in items)}]"},
            items=[{"price": 3}, {"price": 4}],
            outputs={"main": [{"total": 7}]},
        ),
        Example(
            title="JavaScript, once for every item; null drops it",
            config={
                "language": "javascript",
                "mode": "each_item",
                "code": "return item.price > 3 ? {...item, label: item.name.toUpperCase()} : null",
            },
            items=[{"name": "pen", "price": 3}, {"name": "book", "price": 4}],
            outputs={"main": [{"name": "book", "price": 4, "label": "BOOK"}]},
        ),
    ),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Run the code. Raises the sandbox's `NodeError`s, and `code_result_invalid` for a result of the wrong shape."""
    limits = CodeLimits(
        timeout_ms=min(config.get("timeout_ms", _TIMEOUT_MS), context.timeout_ms),
        memory_bytes=config.get("memory_mb", _MEMORY_MB) * 2**20,
    )
    each = config.get("mode", "all_items") == "each_item"
    name = "item" if each else "items"
    python = config.get("language", "python") == "python"
    evaluate = context.sandbox.python if python else context.sandbox.javascript
    arguments = {name: [item["json"] for item in items]}
    try:
        result = await evaluate(config["code"], arguments, limits, each="item" if each else "")
    except NodeError as error:
        _keep_logs(context, error.fields.pop("logs", ""))
        raise
    _keep_logs(context, result.logs)
    return {MAIN: _each_result(result.value) if each else _all_result(result.value)}


def check(config: JsonObject) -> list[Problem]:
    """Check the syntax of the code, which is parsed and not run."""
    code = config.get("code")
    if not isinstance(code, str):
        return []
    if config.get("language", "python") == "python":
        name = "item" if config.get("mode") == "each_item" else "items"
        error = python_program.syntax_error(code, [name])
    else:
        error = javascript.syntax_error(code)
    return [Problem("code_syntax", error.sentence(), "code")] if error else []


def _keep_logs(context: NodeContext, logs: str) -> None:
    if logs:
        context.logs.append(logs)


def _all_result(value: Any) -> Items:
    if isinstance(value, dict):
        return [Item(json=value)]
    if not isinstance(value, list):
        raise _wrong(f"return a list of objects, or one object, not {_shown(value)}")
    for index, element in enumerate(value):
        if not isinstance(element, dict):
            raise _wrong(f"every element of the returned list must be an object; element {index} is {_shown(element)}")
    return [Item(json=element) for element in value]


def _each_result(value: Any) -> Items:
    results: Items = []
    for index, element in enumerate(value):
        if isinstance(element, dict):
            results.append(Item(json=element, paired_item=index))
        elif element is not None:
            message = f"return an object, or null to drop the item, not {_shown(element)} (item {index})"
            raise _wrong(message, item_index=index)
    return results


def _wrong(message: str, **fields: int) -> NodeError:
    return NodeError(message, "code_result_invalid", fields)


def _shown(value: Any) -> str:
    if value is None:
        return "null (is there a `return`?)"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


NODE_TYPE = NodeType(SPEC, run, check)
