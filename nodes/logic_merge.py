"""`logic.merge`: brings branches together again."""

import math
from collections.abc import Iterator, Sequence
from itertools import product, zip_longest

from nodes.inputs import Pair, by_input, handles_of, two_inputs
from nodes.lineage import carried, joined
from nodes.matching import KEYS_SCHEMA, TYPES_SCHEMA, by_key, key_in, problems_of_keys, sides_of
from nodes.objects import Clash, combined
from workflow.errors import NodeError
from workflow.spec import MAIN, Config, Example, Items, JsonObject, NodeContext, NodeSpec, NodeType, Outputs, Problem

_INPUTS = 2
_INPUTS_MAX = 10
_ITEMS_MAX = 250_000

_MODE_HELP = (
    "`append`: the items of one input after those of the other. `by_position`: the first with the first, the second with "
    "the second. `by_key`: those of two inputs whose `keys` are the same. `all_combinations`: every one with every other. "
    "`choose_branch`: the items of one input. `wait`: one empty item, when all that was taken has arrived."
)
_JOIN_HELP = (
    "For `by_key`. `inner`: what matches. `left`: all items of input 1, with what matches. `right`: all of input 2. `outer`: "
    "all of both. `anti`: what matches nothing."
)

SPEC = NodeSpec(
    type="logic.merge",
    title="Merge",
    category="logic",
    description="Waits for all branches that lead here and were taken, and brings their items together.",
    inputs=handles_of(_INPUTS),
    aliases=("merge", "mergeData"),
    may_move=True,
    examples=(
        Example(
            title="One after the other",
            config={},
            inputs={"input:1": [{"from": "a"}], "input:2": [{"from": "b"}]},
            outputs={"main": [{"from": "a"}, {"from": "b"}]},
        ),
        Example(
            title="Orders with their customers",
            config={"mode": "by_key", "keys": [{"first": "customer.id", "second": "id"}], "join": "left"}
            | {"clash": "suffix"},
            inputs={
                "input:1": [{"id": 10, "customer": {"id": 1}}, {"id": 11, "customer": {"id": 3}}],
                "input:2": [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}],
            },
            outputs={
                "main": [
                    {"id_1": 10, "id_2": 1, "customer": {"id": 1}, "name": "Ada"},
                    {"id": 11, "customer": {"id": 3}},
                ]
            },
        ),
        Example(
            title="Side by side",
            config={"mode": "by_position", "include_unpaired": True},
            inputs={"input:1": [{"a": 1}, {"a": 2}], "input:2": [{"b": 1}]},
            outputs={"main": [{"a": 1, "b": 1}, {"a": 2}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["append", "by_position", "by_key", "all_combinations", "choose_branch", "wait"],
                "default": "append",
                "title": "Mode",
                "description": _MODE_HELP,
            },
            "inputs": {
                "type": "integer",
                "minimum": 2,
                "maximum": _INPUTS_MAX,
                "default": _INPUTS,
                "title": "Inputs",
                "description": "How many inputs there are. Each connection to `main` is one of them, too, in order.",
            },
            "include_unpaired": {
                "type": "boolean",
                "default": False,
                "title": "Include unpaired",
                "description": "For `by_position`: whether items go on where another input has none in that place.",
            },
            "keys": KEYS_SCHEMA,
            "types": TYPES_SCHEMA,
            "join": {
                "enum": ["inner", "left", "right", "outer", "anti"],
                "default": "inner",
                "title": "Join",
                "description": _JOIN_HELP,
            },
            "output_from": {
                "enum": ["both", "input:1", "input:2"],
                "default": "both",
                "title": "Output from",
                "description": "For `inner` and `anti`: of which input the items go on; of one, each of them once.",
            },
            "multiple": {
                "enum": ["all", "first"],
                "default": "all",
                "title": "Several matches",
                "description": "For `by_key`: whether an item goes with all that match or with the first.",
            },
            "clash": {
                "enum": ["prefer_last", "prefer_first", "suffix"],
                "default": "prefer_last",
                "title": "Same fields",
                "description": (
                    "Where fields of the same name have different values: that of the last or of the first input, or "
                    "all of them as `name_1`, `name_2`."
                ),
            },
            "deep": {
                "type": "boolean",
                "default": False,
                "title": "Merge inner objects",
                "description": "Whether objects inside of the items are merged field by field, too.",
            },
            "input": {
                "type": "integer",
                "minimum": 1,
                "maximum": _INPUTS_MAX,
                "default": 1,
                "title": "Input",
                "description": "For `choose_branch`: the input whose items go on.",
            },
        },
        "additionalProperties": False,
        "if": {"properties": {"mode": {"const": "by_key"}}, "required": ["mode"]},
        "then": {"required": ["keys"]},
    },
    literal=frozenset(
        {
            "mode",
            "inputs",
            "include_unpaired",
            "keys",
            "types",
            "join",
            "output_from",
            "multiple",
            "clash",
            "deep",
            "input",
        }
    ),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Bring the items together. Raises `NodeError`: `too_many_items`, `too_many_inputs`."""
    options = config.whole
    inputs = by_input(context, items, options.get("inputs", _INPUTS))
    match options.get("mode", "append"):
        case "by_position":
            return {MAIN: _made(_by_position(inputs, options), options)}
        case "by_key":
            return {MAIN: _made(_by_key(*two_inputs(context, items), options), options)}
        case "all_combinations":
            count = math.prod(map(len, inputs))
            if count > _ITEMS_MAX:
                raise _too_many(f"{count} combinations")
            return {MAIN: _made((list(enumerate(row)) for row in product(*inputs)), options)}
        case "choose_branch":
            number = options.get("input", 1)
            chosen = inputs[number - 1] if number <= len(inputs) else []
            return {MAIN: [carried(item, index) for item, index in chosen]}
        case "wait":
            return {MAIN: [{"json": {}, "paired_item": [pairs[0][1] for pairs in inputs if pairs]}]}
        case _:
            return {MAIN: [carried(item, index) for pairs in inputs for item, index in pairs]}


def inputs_of(config: JsonObject) -> tuple[str, ...]:
    """Return a handle for every input, and `main`."""
    return handles_of(config.get("inputs", _INPUTS))


def check(config: JsonObject) -> list[Problem]:
    """Check the keys, and that a number names an input there is."""
    found = problems_of_keys(config.get("keys"))
    inputs = config.get("inputs", _INPUTS)
    if config.get("mode") == "by_key" and inputs != 2:
        found.append(Problem("too_many_inputs", "`by_key` brings two inputs together", "inputs"))
    if config.get("mode") == "choose_branch" and config.get("input", 1) > inputs:
        found.append(Problem("no_such_input", f"there are {inputs} inputs only", "input"))
    return found


Row = list[tuple[int, Pair]]
"""The parts of one item that goes out: from which input (from 0), and what."""


def _made(rows: Iterator[Row], options: JsonObject) -> Items:
    clash, deep = Clash(options.get("clash", Clash.PREFER_LAST)), options.get("deep", False)
    made: Items = []
    for row in rows:
        if len(made) == _ITEMS_MAX:
            raise _too_many("what is brought together")
        json = combined([(number + 1, item["json"]) for number, (item, _) in row], clash, deep=deep)
        made.append(joined(json, [pair for _, pair in row]))
    return made


def _by_position(inputs: Sequence[list[Pair]], options: JsonObject) -> Iterator[Row]:
    if not options.get("include_unpaired", False):
        for row in zip(*inputs, strict=False):
            yield list(enumerate(row))
        return
    for padded in zip_longest(*inputs):
        yield [(number, pair) for number, pair in enumerate(padded) if pair is not None]


def _by_key(first: list[Pair], second: list[Pair], options: JsonObject) -> Iterator[Row]:
    """Go through one side in its order, with what matches on the other; then through what is left of the other."""
    paths = sides_of(options["keys"])
    loose, join = options.get("types", "strict") == "loose", options.get("join", "inner")
    source = options.get("output_from", "both") if join in {"inner", "anti"} else "both"
    here = 1 if join == "right" or source == "input:2" else 0
    there = 1 - here
    sides = (first, second)
    found = by_key(sides[there], paths[there], loose=loose)
    found.pop(None, None)
    most = 1 if options.get("multiple", "all") == "first" else None
    for pair in sides[here]:
        matches = found.get(key_in(pair[0]["json"], paths[here], loose=loose), [])
        if source != "both":
            if bool(matches) is (join == "inner"):
                yield [(here, pair)]
        elif matches and join != "anti":
            yield from (sorted([(here, pair), (there, match)], key=_number) for match in matches[:most])
        elif not matches and join != "inner":
            yield [(here, pair)]
    if source == "both" and join in {"outer", "anti"}:
        known = by_key(sides[here], paths[here], loose=loose)
        known.pop(None, None)
        for pair in sides[there]:
            if key_in(pair[0]["json"], paths[there], loose=loose) not in known:
                yield [(there, pair)]


def _number(part: tuple[int, Pair]) -> int:
    return part[0]


def _too_many(what: str) -> NodeError:
    return NodeError(f"{what} would be more than {_ITEMS_MAX} items", "too_many_items", {"items_max": _ITEMS_MAX})


NODE_TYPE = NodeType(SPEC, run, check, inputs_of=inputs_of)
