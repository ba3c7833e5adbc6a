import time
import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_xml import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


async def parsed(run_node, text, **options):
    outputs = await run_node(NODE_TYPE, {"operation": "parse", "keep_input": False, **options}, [{"data": text}])
    return outputs["main"][0]["json"]["data"]


CASES = [
    ("<a/>", {}, {"a": None}),
    ("<a> x </a>", {}, {"a": "x"}),
    ("<a> x </a>", {"trim": False}, {"a": " x "}),
    ("<a k='1'>x<b/></a>", {}, {"a": {"@k": "1", "b": None, "#text": "x"}}),
    ("<a k='1'>x<b/></a>", {"attributes": False}, {"a": {"b": None, "#text": "x"}}),
    ("<a k='1'>x</a>", {"prefix": "$", "text_name": "_"}, {"a": {"$k": "1", "_": "x"}}),
    ("<a><b>1</b><b>2</b></a>", {}, {"a": {"b": ["1", "2"]}}),
    ("<a><b>1</b></a>", {"lists": ["b"]}, {"a": {"b": ["1"]}}),
    ("<a><b>1</b></a>", {"lists": "all"}, {"a": [{"b": ["1"]}]}),
    ("<s:a xmlns:s='u' s:k='1'><s:b/></s:a>", {"namespaces": "strip"}, {"a": {"@k": "1", "b": None}}),
    ("<s:a xmlns:s='u'><s:b/></s:a>", {}, {"s:a": {"@xmlns:s": "u", "s:b": None}}),
    ("<a><![CDATA[<x>]]>&amp;&#228;</a>", {}, {"a": "<x>&ä"}),
    ("<?xml version='1.0' encoding='iso-8859-1'?><a>ä</a>", {}, {"a": "ä"}),
    ("<!DOCTYPE a SYSTEM 'http://x/y.dtd'><a/>", {}, {"a": None}),
]


@pytest.mark.parametrize(("text", "options", "expected"), CASES)
async def test_reads(run_node, text, options, expected):
    assert await parsed(run_node, text, **options) == expected


LAUGHS = (
    "<!DOCTYPE l [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
    + "]><l>&a9;</l>"
)
ATTACKS = [
    (LAUGHS, "xml_entities"),
    ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "xml_entities"),
    ("<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://127.0.0.1/x'>%x;]><a/>", "xml_entities"),
    ("<!DOCTYPE a [<!ENTITY x '" + "x" * 100_000 + "'>]><a>" + "&x;" * 1000 + "</a>", "xml_entities"),
    ("<a>" * 100_000, "xml_invalid"),
    ("<a>" * 200 + "</a>" * 200, "too_deep"),
    ("<a>" * 100_000 + "</a>" * 100_000, "too_deep"),
    ("<a>&unknown;</a>", "xml_invalid"),
    ("<a>", "xml_invalid"),
    ("", "xml_invalid"),
    ("<a></b>", "xml_invalid"),
    ("<a/><b/>", "xml_invalid"),
    ("<a " + " ".join(f"k{n}='1'" for n in range(20_000)) + "/>", None),
]


@pytest.mark.parametrize(("text", "code"), ATTACKS, ids=lambda value: (value or "")[:30])
async def test_attacks_end_soon(run_node, text, code):
    began_s = time.process_time()
    if code is None:
        await parsed(run_node, text)
    else:
        with pytest.raises(NodeError) as caught:
            await parsed(run_node, text)
        assert caught.value.code == code
    assert time.process_time() - began_s < 2


NAMES = st.sampled_from(["a", "b", "c-d", "e.f", "ü"])
TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff\x85\u2028"), min_size=1, max_size=8
).filter(lambda text: text.strip() == text)
ELEMENTS = st.recursive(
    TEXTS | st.none(),
    lambda inner: st.dictionaries(NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=3),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ELEMENTS, attribute=TEXTS)
async def test_there_and_back_and_the_standard_library_reads_it(run_node, value, attribute):
    root = {**value, "@k": attribute} if isinstance(value, dict) else value
    outputs = await run_node(NODE_TYPE, {"operation": "write", "field": "o", "root": "r", "into": "xml"}, [{"o": root}])
    text = outputs["main"][0]["json"]["xml"]
    element = ET.fromstring(text)
    assert element.tag == "r"
    if isinstance(value, dict):
        assert element.get("k") == attribute
        assert {child.tag for child in element} == set(value)
    assert await parsed(run_node, text) == {"r": root}


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"a": 1, "b": 2},
        {"a": [1, 2]},
        {"a><b": 1},
        {"a": {"@k v": 1}},
        {"a": {"": 1}},
        {"a b": 1},
        {"a": {"1x": 1}},
        {"a": "\x01"},
        {"a": {"@k": {"x": 1}}},
    ],
)
async def test_what_is_no_xml_is_not_written(run_node, item):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"operation": "write"}, [item])
    assert caught.value.code == "xml_invalid"


@pytest.mark.parametrize("config", [{}, {"operation": "parse", "lists": "some"}, {"operation": "write", "root": ""}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
