"""A plain path answered in Python is what the engine makes of the same path."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.sandbox import LocalSandbox
from tests.unit.nodes.scripting import frame, javascript, resolve
from workflow.config import NodeView
from workflow.expression import NeedsEngine, Scope, Stuck, compile_value
from workflow.scripts import ScriptError

NAMES = ["a", "b c", "0", "1", "length", "x", "constructor", "__proto__", "toString", "keys", "é", "at", "size"]
TEXT = st.text(alphabet="ab0é😀 \n\"'\\{}", max_size=5)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), DATA, max_size=6)
STEPS = st.builds(
    lambda key, optional, dotted: (
        f"{'?' if optional else ''}.{key}"
        if dotted and key.isidentifier()
        else f"{'?.' if optional else ''}[{key if key in ('0', '1') and dotted else json.dumps(key)}]"
    ),
    st.sampled_from(NAMES),
    st.booleans(),
    st.booleans(),
)
ROOTS = st.sampled_from(
    [
        "$json",
        "$input.item.json",
        "$input.first().json",
        "$input.last().json",
        "$items[0].json",
        "$items[2].json",
        "$items.length",
        "$itemIndex",
        "$runIndex",
        "$execution",
        "$workflow",
        "$vars",
        "$env",
        "$('A').first().json",
        "$('A').last().json",
        "$('A').item.json",
        "$node.A.json",
        '$node["B"].json',
        "$('B').isExecuted",
        "$('A').isExecuted",
    ]
)
PATHS = st.builds(lambda root, steps: root + "".join(steps), ROOTS, st.lists(STEPS, max_size=4))


def in_python(text, scope):
    """Return what Python makes of it, or None where it leaves that to the engine."""
    try:
        return {"value": compile_value(text).evaluate(scope)}
    except Stuck as stuck:
        return None if isinstance(stuck.cause, NeedsEngine) else {"error": str(stuck.cause)}


def in_engine(value):
    return {"error": value.message} if isinstance(value, ScriptError) else {"value": value}


def same(plain, engine):
    """Whether they are equal, numbers as the doubles that they are in JavaScript."""
    return plain is None or _doubles(plain) == _doubles(engine)


def _doubles(value):
    return json.loads(json.dumps(value), parse_int=float)


@pytest.mark.timeout(300)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(OBJECTS, min_size=1, max_size=3),
    st.lists(OBJECTS, max_size=3),
    OBJECTS,
    st.lists(PATHS, min_size=40, max_size=80),
)
async def test_paths_in_python_and_in_the_engine_agree(objects, others, variables, paths):
    other = NodeView(outputs={"main": [{"json": each} for each in others]}, paired=[("main", 0), None, ("main", 1)])
    seen = frame(*objects, nodes={"A": other}, variables=variables, environment={"a": "b"}, run_index=1)
    sources = [*paths, *(f"`<${{written({path})}}>`" for path in paths)]
    prefix = "((v) => v === null || v === undefined ? '' : typeof v === 'string' ? v : JSON.stringify(v))"
    sources = [source.replace("written", prefix) for source in sources]
    async with LocalSandbox(1) as sandbox:
        engine = await javascript(sandbox, sources, seen)
    for index in range(len(objects)):
        scope = Scope(seen, index, {})
        for number, path in enumerate(paths):
            plain = in_python(f"{{{{ {path} }}}}", scope)
            mixed = in_python(f"<{{{{ {path} }}}}>", scope)
            assert same(plain, in_engine(engine[number][index])), path
            assert same(mixed, in_engine(engine[len(paths) + number][index])), path


async def test_integers_that_are_no_doubles_stay_exact_in_plain_paths(sandbox):
    exact = 2**63 - 1
    config = await resolve(sandbox, ["{{ $json.n }}", "{{ $json.n }}!", "{{ $json.n + 0 }}"], frame({"n": exact}))
    assert config.of(0)["values"][:2] == [exact, f"{exact}!"]
    assert float(config.of(0)["values"][2]) == 2**63
