"""Schemas of users: which are refused and why, and what they make of data, without reaching outside and in bounded time."""

import socket
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workflow.schemas import VIOLATIONS_MAX, schema_refusal, violations
from workflow.schemas.checking import SUBSCHEMAS_MAX

TREE = {"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}}
CPU_S_MAX = 6.0
"""Far more than the two seconds of work that are allowed: machines differ."""

OUTSIDE = [
    "http://127.0.0.1:9/x",
    "https://json-schema.org/draft/2020-12/schema",
    "file:///etc/passwd",
    "other.json",
    "other.json#/a",
    "//host/x",
    "urn:x",
    "",
]
CIRCLES: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"$dynamicRef": "#"},
    {"allOf": [{"$ref": "#"}]},
    {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
    {"oneOf": [{"$ref": "#/oneOf/0"}]},
    {"not": {"$ref": "#"}},
    {"if": {"$ref": "#"}},
    {"if": True, "then": {"$ref": "#"}},
    {"if": False, "else": {"$ref": "#"}},
    {"dependentSchemas": {"a": {"$ref": "#"}}},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"properties": {"a": {"$anchor": "x", "allOf": [{"$ref": "#x"}]}}},
    {"x": {"$ref": "#/x"}, "$ref": "#/x"},
]
NOWHERE: list[dict[str, Any]] = [
    {"$ref": "#/definitions/nope"},
    {"$dynamicRef": "#x"},
    {"$ref": "#x"},
    {"$ref": "#/allOf/7", "allOf": [True]},
    {"$ref": "#/allOf/x", "allOf": [True]},
    {"$ref": "#/title", "title": "no schema"},
    {"$ref": "#/required", "required": ["a"]},
]
DATA: list[Any] = [None, True, 0, 1.5, "a", [], [1, [2]], {}, {"a": {"a": 1}, "child": {"n": 1}}]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something reaches outside")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


def took_s(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef"])
@pytest.mark.parametrize("reference", OUTSIDE)
def test_a_reference_that_leads_outside_is_refused_and_never_followed(keyword: str, reference: str):
    schema = {"properties": {"a": {keyword: reference}}}
    refusal = schema_refusal(schema, "form_schema")
    assert refusal is not None
    assert refusal.field == f"form_schema.properties.a.{keyword}"
    assert "leads out of the schema" in refusal.message
    found = violations({"a": 1}, schema)
    assert [each["field"] for each in found] == ([] if keyword == "$recursiveRef" else [""])


@pytest.mark.usefixtures("no_network")
def test_the_id_of_a_schema_names_no_place_to_fetch_from():
    assert schema_refusal({"$id": "http://127.0.0.1:9/", "$ref": "#/$defs/a", "$defs": {"a": {}}}, "s") is None
    assert violations(1, {"$id": "http://127.0.0.1:9/", "$ref": "#/$defs/a", "$defs": {"a": False}})
    inner = {"properties": {"a": {"$id": "http://127.0.0.1:9/", "$ref": "#/$defs/b"}}, "$defs": {"b": {}}}
    refusal = schema_refusal(inner, "s")
    assert refusal is not None
    assert refusal.field == "s.properties.a.$id"
    assert violations({"a": 1}, inner) == []
    assert schema_refusal({"properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}}, "s") is None


@pytest.mark.usefixtures("no_network")
def test_the_dialect_of_a_schema_changes_nothing_of_how_it_is_judged():
    for dialect in (
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2020-12/schema",
        "http://x/y",
    ):
        schema = {"$schema": dialect, "pattern": "^(a+)+$", "properties": {"a": {"$schema": dialect, "$ref": "#"}}}
        assert schema_refusal(schema, "s") is None
        assert took_s(lambda schema=schema: violations({"a": "a" * 40 + "b"}, schema)) < CPU_S_MAX
        assert [each["field"] for each in violations({"a": "a" * 40 + "b"}, schema)] == ["a"]


@pytest.mark.parametrize("schema", CIRCLES)
def test_a_schema_that_comes_back_to_itself_with_the_same_value_is_refused(schema: dict[str, Any]):
    refusal = schema_refusal(schema, "s")
    assert refusal is not None
    assert refusal.message == "the schema refers to itself without end"
    for value in DATA:
        assert isinstance(violations(value, schema), list)


@pytest.mark.parametrize("schema", NOWHERE)
def test_a_reference_that_arrives_nowhere_is_refused(schema: dict[str, Any]):
    refusal = schema_refusal(schema, "s")
    assert refusal is not None
    assert refusal.field.endswith(("$ref", "$dynamicRef"))
    found = violations({"a": 1}, schema)
    assert [each["field"] for each in found] == [""]
    assert found[0]["message"] in refusal.message


def test_a_reference_to_what_only_looks_like_a_place_is_held_against_the_form_of_schemas():
    assert schema_refusal({"$ref": "#/x", "x": {"type": "string"}}, "s") is None
    refusal = schema_refusal({"$ref": "#/x", "x": {"properties": 5}}, "s")
    assert refusal is not None
    assert refusal.field == "s.$ref.properties"


@pytest.mark.parametrize("levels", [1, 40, 95, 1_000])
def test_a_schema_that_is_a_tree_judges_trees_of_any_depth(levels: int):
    assert schema_refusal(TREE, "s") is None
    right: dict[str, Any] = {"n": 1}
    wrong: dict[str, Any] = {"n": "x"}
    for _ in range(levels - 1):
        right, wrong = {"child": right}, {"child": wrong}
    assert violations(right, TREE) == []
    assert violations(wrong, TREE)[0]["field"] == ".".join(["child"] * (levels - 1) + ["n"])


def test_schemas_of_lists_and_names_may_refer_to_themselves_where_they_go_deeper():
    schema = {"$anchor": "top", "items": {"$ref": "#top"}, "propertyNames": {"$ref": "#"}, "contains": {"$ref": "#"}}
    assert schema_refusal(schema, "s") is None
    assert violations([[[]]], schema) != [], "the innermost list contains nothing"
    assert violations({"a": 1}, schema) == []


PATTERNS = [
    {"pattern": "^(a+)+$"},
    {"patternProperties": {"^(a+)+$": {"type": "integer"}}},
    {"patternProperties": {"^(a+)+$": True}, "additionalProperties": False},
    {"patternProperties": {"^(a+)+$": True}, "unevaluatedProperties": False},
    {"propertyNames": {"pattern": "^(a+)+$"}},
    {"anyOf": [{"pattern": "(a*)*b"}, {"pattern": "(a|a)*c"}]},
    {"pattern": "(x+x+)+y"},
    {"format": "regex"},
]


@pytest.mark.parametrize("schema", PATTERNS)
def test_no_pattern_takes_more_time_than_the_text_is_long(schema: dict[str, Any]):
    assert schema_refusal(schema, "s") is None
    for text in ("a" * 50_000 + "!", "x" * 50_000, "(" * 5_000, "(a+)+" * 5_000):
        assert took_s(lambda text=text: violations(text, schema)) < CPU_S_MAX
        assert took_s(lambda text=text: violations({text: 1}, schema)) < CPU_S_MAX


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"pattern": "("}, "s.pattern"),
        ({"pattern": "(" * 5_000}, "s.pattern"),
        ({"pattern": "^(?=.*[A-Z]).{8,}$"}, "s.pattern"),
        ({"pattern": r"(a)\1"}, "s.pattern"),
        ({"pattern": "(a{1000}){1000}"}, "s.pattern"),
        ({"pattern": r"(\w{100}){10}"}, "s.pattern"),
        ({"properties": {"a": {"pattern": "["}}}, "s.properties.a.pattern"),
        ({"patternProperties": {"(": True}}, "s.patternProperties.("),
        ({"allOf": [{"pattern": rf"\w{{200}}{number}"} for number in range(20)]}, None),
    ],
)
def test_a_pattern_that_cannot_be_searched_is_refused(schema: dict[str, Any], field: str | None):
    refusal = schema_refusal(schema, "s")
    assert refusal is not None
    assert field is None or refusal.field == field
    for value in ("a", {"a": "a"}):
        assert all(each["field"] == "" for each in violations(value, schema)), "and never crashes what holds it"


def doubled(levels: int) -> dict[str, Any]:
    """Return a schema that judges a value 2^levels times."""
    names = [f"a{level}" for level in range(levels)]
    twice = {name: {"allOf": [{"$ref": f"#/$defs/{after}"}] * 2} for name, after in pairwise(names)}
    return {"$ref": "#/$defs/a0", "$defs": {**twice, names[-1]: {"type": "string"}}}


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"child": value}
    return value


ROWS = [{"n": number} for number in range(100_000)]
COSTLY: list[tuple[dict[str, Any], Any]] = [
    (doubled(60), "a"),
    ({"properties": {"child": {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]}}}, nested(1, 90)),
    ({"properties": {"child": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}, nested(1, 90)),
    ({"items": {"enum": [{"x": number} for number in range(5_000)]}}, ROWS),
    ({"items": {"enum": [f"x{number}" for number in range(5_000)]}}, ["x4999"] * 100_000),
    ({"items": {"anyOf": [{"minLength": 2, "maxLength": 1}] * 4_000}}, ["a" * 1_000_000] * 1_000),
    ({"items": {"pattern": "[ab]*a[ab]{5000}c"}}, ["ab" * 10_000] * 100),
    ({"patternProperties": {f"{number}$": True for number in range(2_000)}}, {f"a{n}": 1 for n in range(10_000)}),
    (
        {"allOf": [{"properties": {"a": True}, "unevaluatedProperties": True}] * 2_000},
        {f"a{n}": 1 for n in range(10_000)},
    ),
    ({"properties": {f"p{number}": True for number in range(4_000)}, "items": {"$ref": "#"}}, [{}] * 200_000),
]


@pytest.mark.parametrize(("schema", "value"), COSTLY)
def test_what_would_take_too_long_is_broken_off(schema: dict[str, Any], value: Any):
    assert schema_refusal(schema, "s") is None
    found: list[Any] = []
    assert took_s(lambda: found.extend(violations(value, schema))) < CPU_S_MAX
    assert found == [{"field": "", "message": "it takes too long to hold this value against the schema"}]


def test_large_data_with_plain_schemas_are_judged_to_the_end():
    row = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}
    schema = {"type": "array", "items": row, "uniqueItems": True}
    assert violations(ROWS, schema) == []
    assert violations([*ROWS, ROWS[7]], schema) == [{"field": "", "message": "a list has equal items"}]
    assert violations([*ROWS[:-1], {"n": -1}], schema)[0]["field"] == "99999.n"
    assert len(violations([{}] * 100_000, {"items": row})) == VIOLATIONS_MAX


def test_a_schema_may_hold_many_schemas_but_not_any_number():
    many = {"properties": {f"p{number}": {"type": "string"} for number in range(SUBSCHEMAS_MAX - 1)}}
    assert schema_refusal(many, "s") is None
    refusal = schema_refusal({"properties": {**many["properties"], "one": {}, "more": {}}}, "s")
    assert refusal is not None
    assert "more than" in refusal.message
    deep: Any = {}
    for _ in range(95):
        deep = {"not": deep}
    assert schema_refusal(deep, "s") is None


def test_equal_is_what_json_says():
    unique = {"uniqueItems": True}
    assert violations([1, 1.0], unique)
    assert violations([1, True, 0, False, "1", [1], [[1]], {"a": 1}, {"b": 1}, None, "", {}, []], unique) == []
    assert violations([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], unique)
    assert violations([{"a": "1;"}, {"a": "1"}, ["1;", "1"], ["1", ";1"]], unique) == []
    assert violations(True, {"enum": [1, "true"]})
    assert violations(1.0, {"const": 1}) == []
    assert violations([1, {"a": [True]}], {"const": [1.0, {"a": [1]}]})


@pytest.mark.parametrize(
    ("value", "of", "fits"), [(0.3, 0.1, True), (19.99, 0.01, True), (1e308, 1e-308, True), (7, 2, False)]
)
def test_multiples_are_those_of_the_numbers_as_they_are_written(value: float, of: float, fits: bool):
    assert (violations(value, {"multipleOf": of}) == []) is fits


def test_a_message_shows_no_more_than_can_be_read():
    assert violations({"a": "x" * 10_000}, {"properties": {"a": {"type": "integer"}}})[0]["message"].endswith(
        "of type 'integer'"
    )
    assert len(violations("x" * 10_000, {"enum": ["y" * 10_000] * 100})[0]["message"]) <= 300
    assert violations({}, {"required": ["a", "b"]}) == [
        {"field": "", "message": "'a' is a required property"},
        {"field": "", "message": "'b' is a required property"},
    ]


NAMES = st.sampled_from(["a", "b", "ab"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ab", "b"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
COUNTS = st.integers(0, 3)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=3)
    types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
    found: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("not", "if", "then", "else", "items", "contains", "propertyNames"), inner),
        **dict.fromkeys(("additionalProperties", "unevaluatedProperties", "unevaluatedItems"), inner),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        **dict.fromkeys(("properties", "dependentSchemas"), named),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), COUNTS),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 2)),
        "multipleOf": st.integers(1, 3),
        "minContains": COUNTS,
        "maxContains": COUNTS,
        "pattern": st.sampled_from(["^a", "b$", "^$"]),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "enum": st.lists(VALUES, max_size=3),
        "const": VALUES,
        "uniqueItems": st.booleans(),
        "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
        "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
    }
    return st.lists(st.sampled_from(sorted(found)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: found[name] for name in names})
    )


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=8)


@settings(max_examples=400, deadline=None)
@given(schema=keywords(SCHEMAS), definitions=st.tuples(SCHEMAS, SCHEMAS), value=VALUES)
def test_the_verdict_is_that_of_the_reference(schema: dict[str, Any], definitions: tuple[Any, Any], value: Any):
    whole = {**schema, "$defs": dict(zip("ab", definitions, strict=True))}
    Draft202012Validator.check_schema(whole)
    assume(schema_refusal(whole, "s") is None)
    theirs = [error.absolute_path for error in Draft202012Validator(whole).iter_errors(value)]
    assert (violations(value, whole) == []) is (theirs == [])


JSON = st.recursive(
    SCALARS | st.sampled_from(["#", "#/a", "http://x", "(", "string"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Draft202012Validator.VALIDATORS, "$defs", "$anchor", "$id", "a"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=600, deadline=None)
@given(schema=JSON, value=VALUES)
def test_whatever_stands_there_as_a_schema_nothing_crashes(schema: Any, value: Any):
    refusal = schema_refusal(schema, "s")
    assert refusal is None or refusal.message
    assert isinstance(violations(value, schema), list)
