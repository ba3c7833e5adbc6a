"""`logic.switch`: sends every item to one of several ways, or to all that fit."""

from typing import Any

from nodes import conditions
from nodes.conversions import shown
from nodes.lineage import carried
from workflow.errors import NodeError
from workflow.spec import Config, Example, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs, Problem

_CASES_MAX = 100
_DEFAULT = "default"

SPEC = NodeSpec(
    type="logic.switch",
    title="Switch",
    category="logic",
    description=(
        "Sends every item to one of several outputs, `case:0`, `case:1` and so on: by the conditions of the cases, or "
        "by a value that names the case."
    ),
    outputs=("case:0", _DEFAULT),
    each_item=True,
    aliases=("switch",),
    literal=frozenset({"mode", "cases", "all_matches", "fallback", "case_sensitive", "types"}),
    examples=(
        Example(
            title="By conditions, what fits nowhere goes to default",
            config={
                "rules": [
                    {"conditions": [{"left": "{{ $json.status }}", "operator": "equals", "right": "paid"}]},
                    {"conditions": [{"left": "{{ $json.total }}", "operator": "greater_than", "right": 100}]},
                ]
            },
            items=[{"status": "paid", "total": 500}, {"status": "open", "total": 500}, {"status": "open", "total": 5}],
            outputs={
                "case:0": [{"status": "paid", "total": 500}],
                "case:1": [{"status": "open", "total": 500}],
                "default": [{"status": "open", "total": 5}],
            },
        ),
        Example(
            title="By a value that names the case",
            config={"mode": "expression", "case": "{{ $json.kind }}", "cases": ["order", "refund"], "fallback": "drop"},
            items=[{"kind": "refund"}, {"kind": "order"}, {"kind": "test"}, {"kind": 1}],
            outputs={"case:0": [{"kind": "order"}], "case:1": [{"kind": "refund"}, {"kind": 1}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": conditions.DEFINITIONS,
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["rules", "expression"],
                "default": "rules",
                "title": "Mode",
                "description": "`rules`: every case has conditions. `expression`: `case` says which case it is.",
            },
            "rules": {
                "type": "array",
                "minItems": 1,
                "maxItems": _CASES_MAX,
                "title": "Rules",
                "description": "The cases of mode `rules`, in order: the first whose conditions hold takes the item.",
                "items": {
                    "type": "object",
                    "required": ["conditions"],
                    "properties": {
                        "name": {"type": "string", "title": "Name", "description": "What the case is called."},
                        "conditions": conditions.CONDITIONS,
                        "combine": conditions.COMBINE,
                    },
                    "additionalProperties": False,
                },
            },
            "all_matches": {
                "type": "boolean",
                "default": False,
                "title": "All matches",
                "description": "Whether an item goes to every case whose conditions hold, not just to the first.",
            },
            "case": {
                "title": "Case",
                "description": "In mode `expression`: the number of the case, from 0, or its name in `cases`.",
            },
            "cases": {
                "type": "array",
                "minItems": 1,
                "maxItems": _CASES_MAX,
                "uniqueItems": True,
                "items": {"type": "string", "minLength": 1},
                "title": "Cases",
                "description": "In mode `expression`: the names of the cases, in the order of the outputs.",
            },
            "fallback": {
                "enum": ["default", "drop", "error"],
                "default": "default",
                "title": "Fallback",
                "description": (
                    "What happens to an item that fits no case: it goes to the output `default`, it is dropped, or it "
                    "is an error (`no_case`)."
                ),
            },
            "case_sensitive": conditions.CASE_SENSITIVE,
            "types": conditions.TYPES,
        },
        "additionalProperties": False,
        "if": {"properties": {"mode": {"const": "expression"}}, "required": ["mode"]},
        "then": {"required": ["case", "cases"]},
        "else": {"required": ["rules"]},
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Route the items. Raises `NodeError`: `no_case`, and those of conditions."""
    reading = await conditions.reading_of(context, config, items, lambda filled: _list(filled, "rules"))
    outputs: Outputs = {}
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            if filled.get("mode", "rules") == "expression":
                handles = _named(filled)
            else:
                handles = []
                for number, rule in enumerate(_list(filled, "rules")):
                    if conditions.met(rule, reading, index):
                        handles.append(f"case:{number}")
                        if not filled.get("all_matches", False):
                            break
            for handle in handles or _fallback(filled):
                outputs.setdefault(handle, []).append(carried(item, index))
    return outputs


def outputs_of(config: JsonObject) -> tuple[str, ...]:
    """Return a handle for every case, and the one for items that fit none."""
    cases = _list(config, "cases" if config.get("mode", "rules") == "expression" else "rules")
    handles = tuple(f"case:{number}" for number in range(len(cases)))
    return (*handles, _DEFAULT) if config.get("fallback", "default") == "default" else handles


def check(config: JsonObject) -> list[Problem]:
    """Check that the cases are written out, since the outputs depend on how many there are."""
    name = "cases" if config.get("mode", "rules") == "expression" else "rules"
    if isinstance(config[name], list):
        return []
    return [Problem("invalid_config", "the cases must be written out: the outputs depend on them", name)]


def _named(config: JsonObject) -> list[str]:
    case, cases = config["case"], config["cases"]
    if isinstance(case, str):
        return [f"case:{cases.index(case)}"] if case in cases else []
    if isinstance(case, int | float) and not isinstance(case, bool) and case in range(len(cases)):
        return [f"case:{int(case)}"]
    return []


def _fallback(config: JsonObject) -> list[str]:
    match config.get("fallback", "default"):
        case "default":
            return [_DEFAULT]
        case "drop":
            return []
        case _:
            value = f": {shown(config['case'])}" if "case" in config else ""
            raise NodeError(f"the item fits no case{value}", "no_case")


def _list(config: JsonObject, name: str) -> list[Any]:
    value = config.get(name, [])
    return value if isinstance(value, list) else []


NODE_TYPE = NodeType(SPEC, run, check, outputs_of)
