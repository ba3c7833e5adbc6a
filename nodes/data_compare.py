"""`data.compare`: what two lists of items have in common, and where they differ."""

from collections.abc import Hashable
from typing import Any

from nodes.equality import key_of, loose_key_of
from nodes.fields import FIELDS_SCHEMA, path_of, problems_of, read, without
from nodes.inputs import Pair, handles_of, two_inputs
from nodes.lineage import carried, joined
from nodes.matching import KEYS_SCHEMA, TYPES_SCHEMA, by_key, key_in, problems_of_keys, sides_of
from workflow.spec import (
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

_ONLY_A, _SAME, _DIFFERENT, _ONLY_B = "only_a", "same", "different", "only_b"

SPEC = NodeSpec(
    type="data.compare",
    title="Compare",
    category="data",
    description=(
        "Compares the items of two inputs by key: those of A alone, those that are the same, those that differ, and those "
        "of B alone. `input:1` is A and `input:2` is B."
    ),
    inputs=handles_of(2),
    outputs=(_ONLY_A, _SAME, _DIFFERENT, _ONLY_B),
    aliases=("compare", "compare_datasets"),
    may_move=True,
    literal=frozenset({"keys", "types", "ignore", "deep", "on_difference"}),
    examples=(
        Example(
            title="What changed between two lists",
            config={"keys": ["id"], "ignore": ["seen"]},
            inputs={
                "input:1": [{"id": 1, "n": "a", "seen": 1}, {"id": 2, "n": "b"}, {"id": 3, "n": "c"}],
                "input:2": [{"id": 1, "n": "a", "seen": 2}, {"id": 2, "n": "B"}, {"id": 4, "n": "d"}],
            },
            outputs={
                "only_a": [{"id": 3, "n": "c"}],
                "same": [{"id": 1, "n": "a", "seen": 1}],
                "different": [{"key": {"id": 2}, "same": {"id": 2}, "different": {"n": {"a": "b", "b": "B"}}}],
                "only_b": [{"id": 4, "n": "d"}],
            },
        ),
        Example(
            title="The newer state of what changed",
            config={"keys": [{"first": "id", "second": "nr"}], "ignore": ["id", "nr"], "on_difference": "b"},
            inputs={"input:1": [{"id": 1, "n": "a"}], "input:2": [{"nr": 1, "n": "A"}]},
            outputs={"different": [{"nr": 1, "n": "A"}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["keys"],
        "properties": {
            "keys": {
                **KEYS_SCHEMA,
                "description": KEYS_SCHEMA["description"]
                + " Of several items with one key, the first is compared with the first, the second with the second.",
            },
            "types": TYPES_SCHEMA,
            "ignore": {
                **FIELDS_SCHEMA,
                "minItems": 0,
                "default": [],
                "title": "Ignore",
                "description": "Fields that may differ, dotted.",
            },
            "deep": {
                "type": "boolean",
                "default": False,
                "title": "Inner objects",
                "description": "Whether differences inside of objects are named by themselves (`user.name`).",
            },
            "on_difference": {
                "enum": ["report", "a", "b"],
                "default": "report",
                "title": "Where items differ",
                "description": (
                    "What goes to `different`: `key`, `same` and `different` with the values of both sides (a missing one is "
                    "left out), or the item of A or of B."
                ),
            },
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Compare the items. Raises `NodeError` (`too_many_inputs`)."""
    first, second = two_inputs(context, items)
    first_paths, second_paths = sides_of(config["keys"])
    loose = config.get("types", "strict") == "loose"
    waiting = {key: iter(pairs) for key, pairs in by_key(second, second_paths, loose=loose).items() if key is not None}
    outputs: Outputs = {_ONLY_A: [], _SAME: [], _DIFFERENT: [], _ONLY_B: []}
    compared: set[int] = set()
    ignored = [path_of(name) for name in config.get("ignore", [])]
    for a in first:
        key = key_in(a[0]["json"], first_paths, loose=loose)
        b = next(waiting[key], None) if key in waiting else None
        if b is None:
            outputs[_ONLY_A].append(carried(*a))
            continue
        compared.add(b[1])
        left, right = (without(pair[0]["json"], ignored) if ignored else pair[0]["json"] for pair in (a, b))
        same, different = _differences(left, right, loose=loose, deep=config.get("deep", False))
        if different:
            report: JsonObject = {"key": _key(config["keys"], a), "same": same, "different": different}
            made = {"report": report, "a": a[0]["json"], "b": b[0]["json"]}[config.get("on_difference", "report")]
            outputs[_DIFFERENT].append(joined(made, [a, b]))
        else:
            outputs[_SAME].append(joined(a[0]["json"], [a, b]))
    outputs[_ONLY_B] = [carried(*b) for b in second if b[1] not in compared]
    return outputs


def check(config: JsonObject) -> list[Problem]:
    """Check the paths."""
    ignored = problems_of((f"ignore[{index}]", name) for index, name in enumerate(config.get("ignore", [])))
    return [*problems_of_keys(config["keys"]), *ignored]


def _key(keys: list[Any], a: Pair) -> JsonObject:
    names = [key if isinstance(key, str) else key["first"] for key in keys]
    return {name: read(a[0]["json"], path_of(name)) for name in names}


def _differences(
    left: JsonObject, right: JsonObject, *, loose: bool, deep: bool, place: str = ""
) -> tuple[JsonObject, JsonObject]:
    same: JsonObject = {}
    different: JsonObject = {}
    for name in dict.fromkeys((*left, *right)):
        here = f"{place}{name}"
        if name not in left or name not in right:
            different[here] = {side: part[name] for side, part in (("a", left), ("b", right)) if name in part}
        elif _standing_for(left[name], loose=loose) == _standing_for(right[name], loose=loose):
            same[here] = left[name]
        elif deep and isinstance(left[name], dict) and isinstance(right[name], dict):
            inner = _differences(left[name], right[name], loose=loose, deep=True, place=f"{here}.")
            same.update(inner[0])
            different.update(inner[1])
        else:
            different[here] = {"a": left[name], "b": right[name]}
    return same, different


def _standing_for(value: Any, *, loose: bool) -> Hashable:
    return loose_key_of(value) if loose else key_of(value)


NODE_TYPE = NodeType(SPEC, run, check)
