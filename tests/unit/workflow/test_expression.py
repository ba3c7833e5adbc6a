import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import BadInput
from workflow.expression import Frame, NeedsEngine, NodeView, Scope, ScriptFailure, Stuck, compile_value, problems

DATA = {
    "n": 7,
    "text": "hi",
    "yes": True,
    "none": None,
    "list": [1, [2, {"x": "deep"}], "three"],
    "a": {"b": [{"c d": "found"}], "é": 1, "$x": 2, "0": "zero"},
    "odd key": {"}}": 3, 'q"': 4, "it's": 5},
    "evil": "{{ $json.n }}",
    "constructor": "own",
    "half": 0.5,
    "whole": 3.0,
    "emoji": "a😀b",
}
OTHER = NodeView(
    outputs={"true": [{"json": {"v": "t0"}}, {"json": {"v": "t1"}}], "false": [{"json": {"v": "f0"}}]},
    paired=[("true", 1), None, None, ("false", 0)],
)
ONE = NodeView(outputs={"main": [{"json": {"v": "only"}}]})
NONE = NodeView(outputs={"main": []})


def view(items):
    return Frame(
        items=items,
        run_index=2,
        execution_id="e-1",
        workflow_id="w-1",
        workflow_name="Orders",
        variables={"k": {"deep": [1]}},
        environment={"REGION": "eu"},
        nodes={"Other": OTHER, "One": ONE, "None": NONE},
    )


SCOPE = Scope(view([{"json": {"i": 0}}, {"json": {"i": 1}}, {"json": {"i": 2}}, {"json": DATA}]), 3, {})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)
CONFIG = st.recursive(
    st.none() | st.integers() | st.sampled_from(["x", "{{ $json.n }}", "{{ $json.list }}!"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)

VALUES = [
    ("{{ $json }}", DATA),
    ("{{$json.n}}", 7),
    ("{{\n $json.n\t}}", 7),
    ("{{ $json.yes }}", True),
    ("{{ $json.none }}", None),
    ('{{ $json.a.b[0]["c d"] }}', "found"),
    ("{{ $json.a.b[0]['c d'] }}", "found"),
    ('{{ $json["a"]["b"][0] }}', {"c d": "found"}),
    ("{{ $json[ 'a' ].b[ 0 ] }}", {"c d": "found"}),
    ("{{ $json.list[1][1].x }}", "deep"),
    ("{{ $json.list[99] }}", None),
    ("{{ $json.list.x }}", None),
    ("{{ $json.list.length }}", 3),
    ("{{ $json.a[0] }}", "zero"),
    ("{{ $json.a.é }}", 1),
    ("{{ $json.a.$x }}", 2),
    ('{{ $json["odd key"]["}}"] }}', 3),
    ('{{ $json["odd key"]["q\\""] }}', 4),
    ('{{ $json["odd key"]["it\'s"] }}', 5),
    ('{{ $json.a["\\u00e9"] }}', 1),
    ("{{ $json.text.x }}", None),
    ("{{ $json.text[0] }}", "h"),
    ("{{ $json.text[9] }}", None),
    ("{{ $json.text.length }}", 2),
    ("{{ $json.emoji.length }}", 4),
    ("{{ $json.missing }}", None),
    ("{{ $json.missing?.x[0].y }}", None),
    ("{{ $json.none?.[0] }}", None),
    ("{{ $json.a?.b?.[0]?.['c d'] }}", "found"),
    ("{{ $json.constructor }}", "own"),
    ("{{ $json // a note\n.n }}", 7),
    ("{{ /* }} */ $json.n }}", 7),
    ("{{ $itemIndex }}", 3),
    ("{{ $runIndex }}", 2),
    ("{{ $execution.id }}", "e-1"),
    ("{{ $execution }}", {"id": "e-1", "runIndex": 2}),
    ("{{ $execution.name }}", None),
    ("{{ $workflow.id }}", "w-1"),
    ("{{ $workflow.name }}", "Orders"),
    ("{{ $vars.k.deep[0] }}", 1),
    ("{{ $env.REGION }}", "eu"),
    ("{{ $env.HOME }}", None),
    ("{{ $input.item.json.n }}", 7),
    ("{{ $input.first().json.i }}", 0),
    ("{{ $input.last().json.n }}", 7),
    ("{{ $items[1].json.i }}", 1),
    ("{{ $items.length }}", 4),
    ('{{ $("Other").item.json.v }}', "f0"),
    ('{{ $node["Other"].json.v }}', "f0"),
    ("{{ $node.Other.first().json.v }}", "t0"),
    ("{{ $('Other').last().json.v }}", "f0"),
    ("{{ $('One').item.json.v }}", "only"),
    ("{{ $('One').isExecuted }}", True),
    ("{{ $('Absent').isExecuted }}", False),
    ("{{ $json.evil }}", "{{ $json.n }}"),
    ("<{{ $json.evil }}>", "<{{ $json.n }}>"),
    ('{{ "{{" }}', "{{"),
    ('write {{ "{{ x }}" }} so', "write {{ x }} so"),
    ("", ""),
    ("plain } }} text {", "plain } }} text {"),
    (" {{ $json.n }}", " 7"),
    ("{{ $json.n }}{{ $json.n }}", "77"),
    ("a {{ $json.text }} b {{ $json.missing }}|{{ $json.none }}.", "a hi b |."),
    ("{{ $json.yes }} {{ $json.list }}", 'true [1,[2,{"x":"deep"}],"three"]'),
    ("{{ $json.half }} {{ $json.whole }}", "0.5 3"),
    ("{{ $json.n }}\n", "7\n"),
]
FAILURES = [
    ("{{ $json.missing.x }}", "TypeError: cannot read property 'x' of undefined"),
    ("{{ $json.none.x }}", "TypeError: cannot read property 'x' of null"),
    ("{{ $json.list[7][0] }}", "TypeError: cannot read property '0' of undefined"),
    ("{{ $items[9].json }}", "TypeError: cannot read property 'json' of undefined"),
    ("{{ $('None').first().json }}", "TypeError: cannot read property 'json' of undefined"),
    ("{{ $('Absent').first().json }}", 'Error: the node "Absent" has not been executed'),
    ("{{ $node.Absent.json }}", 'Error: the node "Absent" has not been executed'),
    (
        "{{ $('None').item.json }}",
        'Error: the node "None" gave 0 items and it is not known which of them this item comes from',
    ),
]
ENGINE = [
    "{{ $json.text.toUpperCase }}",
    "{{ $json.a.toString }}",
    "{{ $json.a.__proto__ }}",
    "{{ $json.list.map }}",
    "{{ $json.n.toFixed }}",
    "{{ $json.emoji[1] }}",
    "x {{ $json }}",
]
UNCLOSED = [
    ("{{ $json.a", 0),
    ("x {{ $json.a }", 2),
    ("ok {{ $json.n }} {{", 17),
    ("{{ '}}'", 0),
    ("{{ `}}`", 0),
    ("{{ /}}/", 0),
    ("{{ 1 // }}", 0),
]
MALFORMED = [
    ("{{}}", 0),
    ("{{ {a: 1}}", 9),
    ("{{ /* nothing */ }}", 0),
    ("{{ a] }}", 4),
    ("{{ (a} }}", 5),
    ("{{ 'a\n' }}", 3),
    ("{{ `a }}", 3),
    ("{{ \\u0024json }}", 3),
    ("{{ 1 <!-- 2 }}", 5),
    ("{{ 1\n--> 2 }}", 5),
    ("{{ /a }}", 3),
    ("{{ a § b }}", 5),
]
WHOLE = [
    "{a: {b: 1}}",
    "{a: {b: {}}}",
    "'}}'",
    '"}}" + "\\"}}"',
    "`}} ${ {a: `}}${1}}}`} } }}`",
    "/}}/.test(x)",
    "/[/}}]/.test(x)",
    "a / b / c",
    "(a) / b + '/}}'",
    "x => { return {y: 1} }",
    "/* }} */ 1",
    "1 // }} \n",
    "a ?.5 : 1",
    "[{}, {}]",
    "(() => { if (a) /}}/.test(b); return 1 })()",
]


def evaluate(text, scope=SCOPE):
    return compile_value(text).evaluate(scope)


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_a_plain_path_is_answered_in_python(text, expected):
    value = evaluate(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("text", "message"), FAILURES)
def test_a_path_fails_as_javascript_does(text, message):
    with pytest.raises(Stuck) as caught:
        evaluate(text)
    assert isinstance(caught.value.cause, ScriptFailure)
    assert str(caught.value.cause) == message


@pytest.mark.parametrize("text", ENGINE)
def test_what_is_more_than_looking_up_goes_to_the_engine(text):
    with pytest.raises(Stuck) as caught:
        evaluate(text)
    assert isinstance(caught.value.cause, NeedsEngine)


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [(text, "expression_unclosed", at) for text, at in UNCLOSED]
    + [(text, "expression_syntax", at) for text, at in MALFORMED],
)
def test_refuses_with_a_place(text, code, position):
    with pytest.raises(BadInput) as caught:
        compile_value({"k": ["fine", text]})
    assert (caught.value.code, caught.value.fields) == (code, {"field": "k[1]", "position": position})
    [problem] = problems({"k": ["fine", text]})
    assert (problem.code, problem.field) == (code, "k[1]")
    assert f"position {position}" in problem.message


@pytest.mark.parametrize("source", WHOLE)
def test_a_placeholder_ends_where_the_expression_does(source):
    compiled = compile_value(f"<{{{{{source}}}}}>")
    [placeholder] = compiled.placeholders
    assert (placeholder.source, placeholder.position, placeholder.mixed) == (source, 3, True)
    [alone] = compile_value(f"{{{{ {source} }}}}").placeholders
    assert (alone.source, alone.mixed) == (f" {source} ", False)


@pytest.mark.parametrize(
    ("source", "nodes", "fields", "items", "binary"),
    [
        ("$json.a + $json['b c'].d + $json?.e", [], {"a", "b c", "e"}, False, False),
        ("1 + 1", [], set(), False, False),
        ("$json", [], None, False, False),
        ("$json[x]", [], None, False, False),
        ("$json.hasOwnProperty('a')", [], None, False, False),
        ("($json.f)('a')", [], None, False, False),
        ("$json.f?.('a')", [], None, False, False),
        ("$json.f`a`", [], None, False, False),
        ("$json.__proto__", [], None, False, False),
        ("f($json.a) + `${$json.b}`", [], {"a", "b"}, False, False),
        ("({$json})", [], None, False, False),
        ("x.$json.a + $json.b", [], {"b"}, False, False),
        ("$input.item.json.a + 1", [], None, False, True),
        ("$input.all().length + 1", [], None, True, True),
        ("$items.map(i => i)", [], set(), True, False),
        ("$binary.file.size_bytes + 1", [], set(), False, True),
        ("$node['A b'].json.x + $('C').item.json.y + $node.D.json", ["A b", "C", "D"], set(), False, False),
        ("`${`${$('In').json}`}`", ["In"], set(), False, False),
    ],
)
def test_what_an_expression_uses(source, nodes, fields, items, binary):
    [placeholder] = compile_value(f"{{{{ {source} }}}}").placeholders
    uses = placeholder.uses
    assert uses.dynamic_at is None
    assert (uses.nodes, uses.items, uses.binary) == (frozenset(nodes), items, binary)
    assert uses.fields == (None if fields is None else frozenset(fields))


@pytest.mark.parametrize("source", ["$node[x].json", "$(x).item", "$node", "f($)", "$('a' + 'b')", "$node?.A"])
def test_a_node_is_named_by_a_string(source):
    [problem] = problems({"v": f"{{{{ {source} }}}}"})
    assert (problem.code, problem.field) == ("dynamic_reference", "v")


@given(JSON)
def test_a_single_placeholder_gives_the_very_value(value):
    assert evaluate("{{ $json.v }}", Scope(view([{"json": {"v": value}}]), 0, {})) is value


@given(st.text())
def test_any_text_is_a_template_or_refused(text):
    found = [each for each in problems(text) if each.code != "dynamic_reference"]
    try:
        compile_value(text)
    except BadInput as error:
        assert [each.message for each in found] == [error.message]  # noqa: PT017
    else:
        assert found == []


@given(st.text().filter(lambda text: "{{" not in text), st.text())
def test_data_is_never_parsed(around, data):
    scope = Scope(view([{"json": {"v": data}}]), 0, {})
    assert evaluate("{{ $json.v }}", scope) == data
    assert evaluate(f"<{{{{ $json.v }}}}>{around}", scope) == f"<{data}>{around}"


@given(st.lists(st.text(min_size=1) | st.integers(0, 3), max_size=6), JSON)
def test_any_key_can_be_reached(path, leaf):
    value = leaf
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    text = "{{ $json.root" + "".join(f"[{json.dumps(step)}]" for step in path) + " }}"
    assert evaluate(text, Scope(view([{"json": {"root": value}}]), 0, {})) == leaf


@given(CONFIG)
def test_a_compiled_value_is_every_string_evaluated(value):
    scope = Scope(view([{"json": {"n": 7, "list": DATA["list"]}}]), 0, {})

    def expected(part):
        if isinstance(part, str):
            return evaluate(part, scope)
        if isinstance(part, dict):
            return {key: expected(each) for key, each in part.items()}
        return [expected(each) for each in part] if isinstance(part, list) else part

    before = json.dumps(value)
    compiled = compile_value(value)
    assert compiled.evaluate(scope) == expected(value)
    assert json.dumps(value) == before


def test_what_holds_no_placeholder_is_not_copied():
    value = {"a": {"b": [1, "x"]}, "c": "{{ $json.n }}"}
    compiled = compile_value(value)
    assert compiled.evaluate(SCOPE)["a"] is value["a"]
    assert compile_value(value["a"]).evaluate(SCOPE) is value["a"]


def test_keys_are_not_templates():
    assert compile_value({"{{ x }}": "{{ $json.n }}"}).evaluate(SCOPE) == {"{{ x }}": 7}


HOSTILE = [
    "/*",
    "/* ",
    "'",
    '"',
    "`",
    "${",
    "`${",
    "--",
    "-->",
    "\n-->",
    "/",
    "/[",
    "/(",
    "\\",
    "{{",
    "}}",
    "{",
    "}",
    "(",
    "[",
    "0x",
    "1_",
]
HOSTILE += [
    "1e",
    ".",
    "...",
    "?.",
    "$json.",
    "$json)",
    "$('a')",
    "\ufeff",
    "{{ $json.a }}",
    "{{ 1 + 1 }}",
    "$node[",
    "a /b/ c",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_hostile_text_is_parsed_in_no_time(piece):
    for text in ("{{" + piece * (50_000 // len(piece)), "{{" + piece * (50_000 // len(piece)) + " }}"):
        began = time.process_time()
        problems({"a": text})
        assert time.process_time() - began < 1.0
