"""Another engine as the oracle: what node.js makes of an expression, we make of it, too."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from nodes.sandbox.expression_syntax import expression_faults
from tests.unit.nodes.scripting import frame, javascript
from workflow.expression import compile_value
from workflow.scripts import ScriptError

EXPRESSIONS = (Path(__file__).parents[2] / "data" / "javascript_expressions.txt").read_text().splitlines()
ITEM = {
    "name": "Ada",
    "tags": ["c", "a", "b"],
    "price": 12.345,
    "qty": 3,
    "nested": {"list": [{"id": 1, "ok": True}, {"id": 2, "ok": False}, {"id": 3, "ok": True}], "x": {"1": 1, "b": 2}},
    "odd key": "found",
    "nothing": None,
    "text": "  two\nlines ",
    "emoji": "a😀b",
    "when": "2024-05-06T07:08:09Z",
    "big": 9007199254740991,
    "n1": 10,
    "n2": 4,
    "flag": False,
    "numeric": "41",
    "list2d": [[3, 1], [2]],
}
PROGRAM = """
const [item, sources] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const out = sources.map((source) => {
  try {
    const run = new Function('"use strict"; return ($json) => (\\n' + source + '\\n)')();
    const text = JSON.stringify(run(JSON.parse(item)));
    return { value: text === undefined ? null : JSON.parse(text) };
  } catch (error) { return { error: error.name }; }
});
process.stdout.write(JSON.stringify(out));
"""


def by_node(node):
    answer = subprocess.run(
        [node, "-e", PROGRAM],
        input=json.dumps([json.dumps(ITEM), EXPRESSIONS]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"TZ": "UTC"},
    )
    return json.loads(answer.stdout, parse_int=float)


async def test_values_are_those_of_node(sandbox):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node.js is not installed, and it is the oracle here")
    assert len(EXPRESSIONS) >= 300
    theirs = by_node(node)

    ours = await javascript(sandbox, EXPRESSIONS, frame(ITEM))

    different = []
    for source, expected, [value] in zip(EXPRESSIONS, theirs, ours, strict=True):
        if isinstance(value, ScriptError):
            if "error" not in expected or value.message.partition(":")[0] != expected["error"]:
                different.append((source, value.message, expected))
        elif "value" not in expected or expected["value"] != value:
            different.append((source, value, expected))
    assert different == [], "\n".join(map(str, different))


def test_where_they_end_is_found_and_all_are_expressions():
    """The scanner and the engine's parser agree about every one of them."""
    for source in EXPRESSIONS:
        [first, second] = compile_value(f"a {{{{ {source} }}}} b {{{{{source}\n}}}} c").placeholders
        assert (first.source, second.source) == (f" {source} ", f"{source}\n")
    faults = expression_faults(EXPRESSIONS)
    assert [source for source, fault in zip(EXPRESSIONS, faults, strict=True) if fault is not None] == []


async def test_what_an_expression_is_given_is_enough(sandbox):
    """An expression that gets only the fields that it names has the value that it has with the whole object."""
    narrow = [source for source in EXPRESSIONS if "$json" in source]
    assert len(narrow) >= 30
    whole = [f"($json, {source})" for source in narrow]
    assert all(
        each.uses.fields is None for source in whole for each in compile_value(f"{{{{ {source} }}}}").placeholders
    )
    given_fields = await javascript(sandbox, narrow, frame(ITEM))
    given_all = await javascript(sandbox, whole, frame(ITEM))
    for source, [value], [other] in zip(narrow, given_fields, given_all, strict=True):
        assert getattr(value, "message", value) == getattr(other, "message", other), source
