"""Placeholders filled in with the real engine: types, items, errors, other nodes, limits, schemas."""

import asyncio
from uuid import UUID

import pytest

from nodes.data_set import NODE_TYPE, SPEC
from nodes.sandbox.expression_syntax import expression_faults
from tests.unit.nodes.conftest import EXECUTION_ID
from tests.unit.nodes.scripting import Recorder, frame, javascript, one, resolve
from workflow.config import ConfigTemplate, NodeView, problems
from workflow.errors import NodeError
from workflow.scripts import ExpressionLimits
from workflow.spec import Binary, NodeSpec

VALUES = [
    ("{{ $json.n * 2 }}", 14),
    ("{{ $json.n / 2 }}", 3.5),
    ("{{ {a: {b: $json.n}} }}", {"a": {"b": 7}}),
    ("{{ {a: 1}}}", {"a": 1}),
    ("{{ [1, undefined, NaN] }}", [1, None, None]),
    ("{{ undefined }}", None),
    ("{{ $json.missing + 1 }}", None),
    ("{{ $json.n > 3 }}", True),
    ("{{ '}}' }}", "}}"),
    ("{{ `}}${'}}'}` }}", "}}}}"),
    ("{{ /}}/.test('}}') }}", True),
    ("{{ $json.n /* }} */ + 1 // {{ \n }}", 8),
    ("{{ (x => { return {y: x} })(1) }}", {"y": 1}),
    ("{{ $json.n + 1 }}{{ $json.n + 2 }}", "89"),
    ("<{{ $json.list.map(x => x + 1) }}>", "<[2,3]>"),
    ("<{{ null }}{{ undefined }}{{ '' }}>", "<>"),
    ("<{{ 1.0 }} {{ true }} {{ 'a' }} {{ {b: 1} }}>", '<1 true a {"b":1}>'),
    ("<{{ $now }}>", "<2023-11-14T22:13:20.000Z>"),
    ("<{{ NaN }}>", "<null>"),
    ("{{ $json.text.toUpperCase() }}", "HI"),
    ("{{ $json.text.length }}", 2),
    ("{{ $json.text.at }}!", None),
    ("{{ $execution.id.length }}", 36),
    ("{{ $runIndex }}/{{ $itemIndex + 0 }}", "3/0"),
    ("{{ $vars.k + $env.R }}", "ve"),
    ("{{ $workflow.name.split('').length }}", 6),
    ("{{ $input.all().map(i => i.json.n).join() }}", "7"),
    ("{{ $items.length + $input.items.length }}", 2),
    ("{{ $binary.f.mime_type }} {{ $binary.f.data }}", "text/plain "),
    ("{{ $json.list.push(3) }}{{ $json.list.length }}", "32"),
]


def seen(**more):
    files = {"f": Binary(data="AAAA", mime_type="text/plain", size_bytes=3)}
    item = {"json": {"n": 7, "text": "hi", "list": [1, 2]}, "binary": files}
    return frame(items=[item], run_index=3, variables={"k": "v"}, environment={"R": "e"}, **more)


@pytest.mark.parametrize(("text", "expected"), VALUES)
async def test_a_value(sandbox, text, expected):
    config = await resolve(sandbox, {"x": text}, seen())
    if text.endswith("at }}!"):
        with pytest.raises(NodeError, match="the value is a function"):
            config.of(0)
    else:
        value = config.of(0)["values"]["x"]
        assert value == expected
        assert isinstance(value, bool) == isinstance(expected, bool)


async def test_one_item_that_fails_fails_alone(sandbox):
    given = frame({"a": {"b": 1}}, {"a": None}, {"a": {"b": 3}}, {})
    config = await resolve(sandbox, {"fine": "{{ 1 }}", "deep": ["{{ $json.a?.b }}", "{{\n  $json.a.b + 1 }}"]}, given)

    assert config.of(0)["values"] == {"fine": 1, "deep": [1, 2]}
    assert config.of(2)["values"] == {"fine": 1, "deep": [3, 4]}
    with pytest.raises(NodeError) as failed:
        config.of(1)
    assert failed.value.code == "expression_failed"
    assert failed.value.message == "TypeError: cannot read property 'b' of null (values.deep[1], item 1)"
    assert failed.value.fields == {
        "item_index": 1,
        "expression": "$json.a.b + 1",
        "field": "values.deep[1]",
        "retryable": False,
        "line": 2,
        "column": 3,
    }
    with pytest.raises(NodeError) as failed:
        config.of(3)
    assert failed.value.fields["item_index"] == 3


async def test_a_plain_path_fails_with_the_same_fields(sandbox):
    config = await resolve(sandbox, {"a": "{{ $json.x.y }}"}, frame({}))
    with pytest.raises(NodeError) as failed:
        config.of(0)
    assert failed.value.message == "TypeError: cannot read property 'y' of undefined (values.a, item 0)"
    assert failed.value.fields == {
        "item_index": 0,
        "expression": "$json.x.y",
        "field": "values.a",
        "retryable": False,
    }


async def test_the_engine_is_asked_once_for_all_and_only_when_needed(sandbox):
    recorder = Recorder(sandbox)
    given = frame(*({"n": i, "rest": "x" * 100} for i in range(5)))

    await resolve(recorder, {"a": "{{ $json.n }}", "b": "{{ 'x' }}"}, given)
    assert recorder.tasks == []

    await resolve(recorder, {"a": "{{ $json.n }}", "b": "{{ $json.n + 1 }}", "c": "{{ $json['n'] - 1 }}"}, given)
    [task] = recorder.tasks
    assert [script.source.strip() for script in task.scripts] == ["$json.n + 1", "$json['n'] - 1"]
    assert [script.fields for script in task.scripts] == [("n",), ("n",)]
    assert task.scope["items"] is None


async def test_a_path_that_only_the_engine_can_answer_gets_there(sandbox):
    recorder = Recorder(sandbox)
    values = {"a": "{{ $json.t[1] }}|{{ $json.o }}", "b": "{{ $json.t.length }}"}
    config = await resolve(recorder, values, frame({"t": "x", "o": {}}, {"t": "a😀", "o": {"1": 0.1, "0": 1e21}}))

    assert config.of(0)["values"]["a"] == "|{}"
    with pytest.raises(NodeError, match="half of a surrogate pair"):
        config.of(1)
    assert len(recorder.tasks) <= 2


async def test_a_config_that_is_filled_in_once_sees_the_first_item(sandbox):
    spec = NodeSpec(type="t", title="t", category="t", description="", config_schema={}, literal=frozenset({"code"}))
    template = ConfigTemplate({"a": "{{ $json.n + 1 }}", "all": "{{ $items.length }}", "code": "{{ 1 + 1 }}"}, spec)

    config = await template.resolve(frame({"n": 1}, {"n": 2}), sandbox)

    assert config.whole == {"a": 2, "all": 2, "code": "{{ 1 + 1 }}"}
    assert (await template.resolve(frame(), sandbox)).whole["all"] == 0


OTHER = NodeView(
    outputs={
        "true": [{"json": {"v": "t0"}}, {"json": {"v": "t1"}}],
        "false": [{"json": {"v": "f0"}, "binary": {"f": Binary(data="x", mime_type="a/b", size_bytes=1)}}],
    },
    paired=[("false", 0), ("true", 1), None],
)
ONE = NodeView(outputs={"main": [{"json": {"v": 1}}]})
NODES = [
    ("$('Other').item.json.v + ''", ["f0", "t1", 'Error: the node "Other" gave 3 items']),
    ("$('Other').itemMatching(1).json.v", ["t1"] * 3),
    ("$node.Other.json.v + ''", ["f0", "t1", 'Error: the node "Other" gave 3 items']),
    ("$('Other').all().map(i => i.json.v).join()", ["t0,t1,f0"] * 3),
    ("$('Other').all('true').length", [2] * 3),
    ("$('Other').all('nope').length", [0] * 3),
    ("$('Other').first('false').json.v", ["f0"] * 3),
    ("$node['Other'].last().json.v + ''", ["f0"] * 3),
    ("$node['Other'].items.length", [3] * 3),
    ("$('Other').last().binary.f", [{"mime_type": "a/b", "size_bytes": 1}] * 3),
    ("$('One').item.json.v + 1", [2] * 3),
    ("$('Absent').isExecuted", [False] * 3),
    ("$('Other').isExecuted && $node.One.isExecuted", [True] * 3),
    ("$('Absent').first()", ['Error: the node "Absent" has not been executed'] * 3),
    ("$('Absent').all()", ['Error: the node "Absent" has not been executed'] * 3),
    ("$node.Absent.json", ['Error: the node "Absent" has not been executed'] * 3),
    ("$('Absent').isExecuted ? $('Absent').first() : 'none'", ["none"] * 3),
    ("$('Other').all().reverse().length + $('Other').all()[0].json.v", ["3t0"] * 3),
]


async def test_other_nodes(sandbox):
    found = await javascript(
        sandbox, [source for source, _ in NODES], frame({}, {}, {}, nodes={"Other": OTHER, "One": ONE})
    )
    for (source, expected), values in zip(NODES, found, strict=True):
        for value, wanted in zip(values, expected, strict=True):
            if hasattr(value, "message"):
                assert wanted in value.message, (source, value)
            else:
                assert value == wanted, source


async def test_only_the_nodes_that_are_named_are_passed(sandbox):
    recorder = Recorder(sandbox)
    template = ConfigTemplate({"values": {"a": "{{ $('One').first().json.v + $('No').isExecuted }}"}}, SPEC)
    assert template.references == {"One": "values.a", "No": "values.a"}

    await template.resolve(frame({}, nodes={"One": ONE, "Other": OTHER}), recorder)

    assert list(recorder.tasks[0].scope["nodes"]) == ["No", "One"]


async def test_limits(sandbox):
    with pytest.raises(NodeError) as failed:
        await one(sandbox, "(() => { while (true); })()", limits=ExpressionLimits(timeout_ms=100))
    assert (failed.value.code, failed.value.fields) == ("expression_timeout", {"timeout_ms": 100})
    with pytest.raises(NodeError) as failed:
        await one(sandbox, "new Array(1e8).fill(1)", limits=ExpressionLimits(memory_bytes=32 * 2**20))
    assert failed.value.code == "expression_memory"
    with pytest.raises(NodeError) as failed:
        await one(sandbox, "'x'.repeat(100)", limits=ExpressionLimits(output_chars_max=100))
    assert failed.value.code == "expression_output_too_large"


async def test_ten_thousand_items_are_within_the_limits(sandbox):
    given = frame(*({"n": i, "text": "x" * 500} for i in range(10_000)))
    config = await resolve(sandbox, {"a": "{{ $json.n * 2 }}", "b": "{{ Object.keys($json).length }}"}, given)
    assert config.of(9_999)["values"] == {"a": 19_998, "b": 2}


async def test_cancelling_stops_the_work(sandbox):
    task = asyncio.create_task(one(sandbox, "(() => { while (true); })()"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await one(sandbox, "1") == 1


async def test_a_killed_worker_is_an_error_worth_another_attempt(sandbox):
    pool = sandbox._engines.expressions._pool
    task = asyncio.create_task(one(sandbox, "(() => { while (true); })()"))
    while not pool._busy:
        await asyncio.sleep(0.01)
    while not (worker := next(iter(pool._busy)))._child:
        await asyncio.sleep(0.01)
    worker._child.kill()
    with pytest.raises(NodeError) as failed:
        await task
    assert (failed.value.code, failed.value.retryable) == ("sandbox_crashed", True)


SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1, "description": "x"},
        "name": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "any": {"title": "anything"},
        "kind": {"enum": ["a", "b"]},
        "list": {"type": "array", "items": {"type": "number"}},
        "by": {"additionalProperties": {"type": "boolean"}},
        "either": {"oneOf": [{"properties": {"x": {"type": "string"}}}, {"properties": {"x": {"type": "null"}}}]},
        "open": {"anyOf": [{"properties": {"x": {"type": "string"}}}, {"type": "object"}]},
        "ref": {"$ref": "#/$defs/small"},
    },
    "$defs": {"small": {"type": "integer", "maximum": 3}},
}
CHECKED = [
    ({"count": "{{ $json.v }}"}, 5, None),
    ({"count": "{{ $json.v }}"}, "5", "count: '5' does not fit: '5' is not of type 'integer'"),
    ({"count": "{{ $json.v }}"}, 0, "count: 0 does not fit: 0 is less than the minimum of 1"),
    ({"count": "{{ Number($json.v) }}"}, "5", None),
    ({"count": "{{ $json.v }} "}, 5, "count: '5 ' does not fit"),
    ({"name": "{{ $json.v }}"}, 5, "name: 5 is not of type string"),
    ({"name": "{{ $json.v }}"}, None, "name: null is not of type string"),
    ({"name": "<{{ $json.v }}>"}, 5, None),
    ({"code": "a{{ $json.v }}"}, "b", None),
    ({"code": "a{{ $json.v }}"}, "B", "code: 'aB' does not fit"),
    ({"any": "{{ $json.v }}"}, {"x": 1}, None),
    ({"kind": "{{ $json.v }}"}, "b", None),
    ({"kind": "{{ $json.v }}"}, "c", "kind: 'c' does not fit"),
    ({"list": [1, "{{ $json.v }}"]}, 1.5, None),
    ({"list": [1, "{{ $json.v }}"]}, True, "list[1]: true is not of type number"),
    ({"list": "{{ $json.v }}"}, [1, "x"], "list: a list does not fit: 'x' is not of type 'number'"),
    ({"by": {"x": "{{ $json.v }}"}}, 1, "by.x: 1 is not of type boolean"),
    ({"either": {"x": "{{ $json.v }}"}}, None, None),
    ({"either": {"x": "{{ $json.v }}"}}, 1, "either.x: 1 does not fit"),
    ({"open": {"x": "{{ $json.v }}"}}, 1, None),
    ({"ref": "{{ $json.v }}"}, 4, "ref: 4 does not fit"),
    ({"unknown": "{{ $json.v }}"}, 4, None),
]


@pytest.mark.parametrize(("config", "value", "problem"), CHECKED)
async def test_what_is_filled_in_is_checked_where_the_schema_says_something(sandbox, config, value, problem):
    spec = NodeSpec(type="t", title="t", category="t", description="", config_schema=SCHEMA, each_item=True)
    filled = await ConfigTemplate(config, spec).resolve(frame({"v": value}), sandbox)
    if problem is None:
        filled.of(0)
        return
    with pytest.raises(NodeError) as failed:
        filled.of(0)
    assert failed.value.code == "config_value_invalid"
    assert failed.value.fields["item_index"] == 0
    assert failed.value.message.startswith(problem)


def test_what_demands_nothing_costs_nothing():
    assert ConfigTemplate({"values": {"a": "{{ $json.x }}", "b": "{{ 1 + 1 }}"}}, SPEC)._checks == ()


SYNTAX = [
    ("{{ 1 + }}", "position 7: "),
    ("x {{ $json.a }} {{ a b }}", "position "),
    ("{{\n\n 1 + * 2 }}", "position 9: "),
    ("{{ ...a }}", "position "),
    ("{{ if (1) 2 }}", "position "),
    ("{{ return 1 }}", "position "),
    ("{{ 1; 2 }}", "position "),
    ("{{ await x }}", "position "),
    ("{{ 1) + (1 }}", "position "),
    ("{{ [1, 2 }}", "position "),
    ("{{ a => { }}", "position "),
    ("{{ /(/ }}", "position "),
    ("{{ with }}", "position "),
    ("{{ 08 }}", "position "),
    ("{{ $json.1a }}", "position "),
    ("{{ $json..a }}", "position "),
]


@pytest.mark.parametrize(("text", "place"), SYNTAX)
def test_what_is_not_javascript_is_found_when_compiling(text, place):
    found = problems({"values": {"a": [text]}}, SPEC, expression_faults)
    assert [(each.code, each.field) for each in found] in (
        [("expression_syntax", "values.a[0]")],
        [("expression_unclosed", "values.a[0]")],
    )
    assert found[0].message.startswith(place)
    assert NODE_TYPE.check({"values": {}}) == []


async def test_an_engine_serves_one_execution_again_and_again_and_never_another_one(sandbox):
    """What an expression could leave behind is frozen; what the engine itself keeps must not tell one execution of another."""
    other = UUID(int=7)
    leave = "{{ (() => { try { globalThis.left = 1 } catch {} return typeof left + $execution.id })() }}"
    for _ in range(3):
        for execution_id in (EXECUTION_ID, other):
            config = await resolve(sandbox, {"x": leave}, frame({}, execution_id=execution_id))
            assert config.of(0)["values"]["x"] == f"undefined{execution_id}"
            endless_loop = "{{ (() => { while (true); })() }}"
            with pytest.raises(NodeError) as endless:
                await resolve(
                    sandbox, endless_loop, frame({}, execution_id=execution_id), ExpressionLimits(timeout_ms=50)
                )
            assert endless.value.code == "expression_timeout"
            zone = "{{ $now.setZone($json.z).zoneName }}"
            config = await resolve(sandbox, {"x": zone}, frame({"z": "Asia/Kolkata"}, execution_id=execution_id))
            assert config.of(0)["values"]["x"] == "Asia/Kolkata"
