import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import BadInput
from workflow.expression import Scope, compile_value, parse, problems

DATA = {
    "n": 7,
    "text": "hi",
    "yes": True,
    "none": None,
    "list": [1, [2, {"x": "deep"}], "three"],
    "a": {"b": [{"c d": "found"}], "é": 1, "$x": 2, "0": "zero"},
    "odd key": {"}}": 3, 'q"': 4, "it's": 5},
    "evil": "{{ $json.n }}",
}
SCOPE = Scope(DATA, 3, "e-1", "w-1", "Orders")
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
    ("{{ $json.a[0] }}", "zero"),
    ("{{ $json.a.é }}", 1),
    ("{{ $json.a.$x }}", 2),
    ('{{ $json["odd key"]["}}"] }}', 3),
    ('{{ $json["odd key"]["q\\""] }}', 4),
    ('{{ $json["odd key"]["it\'s"] }}', 5),
    ('{{ $json.a["\\u00e9"] }}', 1),
    ("{{ $json.text.x }}", None),
    ("{{ $json.text[0] }}", None),
    ("{{ $json.missing.x[0].y }}", None),
    ("{{ $itemIndex }}", 3),
    ("{{ $execution.id }}", "e-1"),
    ("{{ $workflow.id }}", "w-1"),
    ("{{ $workflow.name }}", "Orders"),
    ("{{ $json.evil }}", "{{ $json.n }}"),
    ("<{{ $json.evil }}>", "<{{ $json.n }}>"),
    ("", ""),
    ("plain } }} text {", "plain } }} text {"),
    (" {{ $json.n }}", " 7"),
    ("{{ $json.n }}{{ $json.n }}", "77"),
    ("a {{ $json.text }} b {{ $json.missing }}|{{ $json.none }}.", "a hi b |."),
    ("{{ $json.yes }} {{ $json.list }}", 'true [1,[2,{"x":"deep"}],"three"]'),
    ("{{ $json.n }}\n", "7\n"),
]
BAD = [
    ("{{ $json.a", "expression_unclosed", 0),
    ("x {{ $json.a }", "expression_unclosed", 2),
    ("ok {{ $json.n }} {{", "expression_unclosed", 17),
    ("{{ $json.a + 1 }}", "expression_unsupported", 11),
    ("{{ 1 }}", "expression_unsupported", 3),
    ("{{ json.a }}", "expression_unsupported", 3),
    ("{{ $node.a }}", "expression_unsupported", 3),
    ("{{ $jsonx }}", "expression_unsupported", 3),
    ("{{}}", "expression_unsupported", 2),
    ("{{ $json. }}", "expression_unsupported", 8),
    ("{{ $json..a }}", "expression_unsupported", 8),
    ("{{ $json.1a }}", "expression_unsupported", 8),
    ("{{ $json.a() }}", "expression_unsupported", 10),
    ("{{ $json[-1] }}", "expression_unsupported", 8),
    ("{{ $json[a] }}", "expression_unsupported", 8),
    ('{{ $json["a\\x"] }}', "expression_unsupported", 8),
    ("{{ $json.a?.b }}", "expression_unsupported", 10),
    ("{{ $json.a }} {{ $json.b | upper }}", "expression_unsupported", 25),
    ("{{ $execution }}", "expression_unsupported", 14),
    ("{{ $execution.name }}", "expression_unsupported", 19),
    ("{{ $workflow.id.x }}", "expression_unsupported", 18),
    ("{{ $workflow[0] }}", "expression_unsupported", 16),
    ("{{ $itemIndex.x }}", "expression_unsupported", 16),
    ("{{ {{ $json.a }} }}", "expression_unsupported", 3),
    ("{{ $json.__class__.__init__() }}", "expression_unsupported", 27),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_evaluates(text, expected):
    value = parse(text).evaluate(SCOPE)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("text", "code", "position"), BAD)
def test_refuses_with_a_place(text, code, position):
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert (caught.value.code, caught.value.fields["position"]) == (code, position)
    assert f"position {position}" in caught.value.message
    [problem] = problems({"k": ["fine", text]}, "config")
    assert (problem.code, problem.field) == (code, "config.k[1]")
    if code == "expression_unsupported":
        assert "only plain paths are supported" in problem.message


def test_python_attributes_are_out_of_reach():
    assert parse("{{ $json.__class__ }}").evaluate(SCOPE) is None
    assert parse("{{ $json.keys }}").evaluate(SCOPE) is None


@given(JSON)
def test_a_single_placeholder_gives_the_very_value(value):
    assert parse("{{ $json.v }}").evaluate(Scope({"v": value}, 0, "", None, "")) is value


@given(st.text())
def test_any_text_is_a_template_or_refused(text):
    found = problems(text)
    try:
        template = parse(text)
    except BadInput as error:
        assert [each.message for each in found] == [error.message]  # noqa: PT017
    else:
        assert found == []
        assert template.text == text


@given(st.text().filter(lambda text: "{{" not in text), st.text())
def test_data_is_never_parsed(around, data):
    scope = Scope({"v": data}, 0, "", None, "")
    assert parse("{{ $json.v }}").evaluate(scope) == data
    assert parse(f"<{{{{ $json.v }}}}>{around}").evaluate(scope) == f"<{data}>{around}"


@given(st.lists(st.text(min_size=1) | st.integers(0, 3), max_size=6), JSON)
def test_any_key_can_be_reached(path, leaf):
    value = leaf
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    text = "{{ $json.root" + "".join(f"[{json.dumps(step)}]" for step in path) + " }}"
    assert parse(text).evaluate(Scope({"root": value}, 0, "", None, "")) == leaf


@given(CONFIG)
def test_a_compiled_value_is_every_string_evaluated(value):
    def expected(part):
        if isinstance(part, str):
            return parse(part).evaluate(SCOPE)
        if isinstance(part, dict):
            return {key: expected(each) for key, each in part.items()}
        return [expected(each) for each in part] if isinstance(part, list) else part

    before = json.dumps(value)
    compiled = compile_value(value)
    assert compiled.evaluate(SCOPE) == expected(value)
    assert json.dumps(value) == before


def test_what_holds_no_placeholder_is_not_copied():
    value = {"a": {"b": [1, "x"]}, "c": "{{ $json.n }}"}
    compiled = compile_value(value)
    assert compiled.evaluate(SCOPE)["a"] is value["a"]
    assert compile_value(value["a"]).evaluate(SCOPE) is value["a"]


def test_keys_are_not_templates():
    assert compile_value({"{{ x }}": "{{ $json.n }}"}).evaluate(SCOPE) == {"{{ x }}": 7}
