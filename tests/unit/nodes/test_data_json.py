import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_json import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, indent=st.booleans())
async def test_there_and_back(run_node, value, indent):
    text = await run_node(NODE_TYPE, {"operation": "stringify", "field": "v", "indent": indent}, [{"v": value}])
    assert json.loads(text["main"][0]["json"]["data"]) == value
    again = await run_node(
        NODE_TYPE, {"operation": "parse", "into": "v", "keep_input": False}, [text["main"][0]["json"]]
    )
    assert again["main"] == [{"json": {"v": value}, "paired_item": 0}]


RFC_7396 = [
    # target                              patch                                      result
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), RFC_7396)
async def test_patches_as_the_standard_says(run_node, target, patch, expected):
    whole = await run_node(NODE_TYPE, {"operation": "patch", "patch": patch}, [target])
    assert whole["main"][0]["json"] == expected
    inner = await run_node(
        NODE_TYPE, {"operation": "patch", "patch": patch, "field": "o.p"}, [{"o": {"p": target, "q": 1}}]
    )
    assert inner["main"][0]["json"] == {"o": {"p": expected, "q": 1}}


async def test_lines(run_node):
    parsed = await run_node(NODE_TYPE, {"operation": "parse", "lines": True}, [{"data": '{"a":1}\r\n\n[2]\n'}])
    assert parsed["main"][0]["json"] == {"data": [{"a": 1}, [2]]}
    config = {"operation": "stringify", "lines": True, "field": "v", "keep_input": False, "indent": True}
    text = await run_node(NODE_TYPE, config, [{"v": [{"a": 1}, [2]]}])
    assert text["main"][0]["json"] == {"data": '{"a":1}\n[2]\n'}


@pytest.mark.parametrize(
    ("config", "item", "code"),
    [
        ({"operation": "parse"}, {"data": "{"}, "json_invalid"),
        ({"operation": "parse"}, {"data": "NaN"}, "json_invalid"),
        ({"operation": "parse"}, {"data": "[" * 200 + "]" * 200}, "json_invalid"),
        ({"operation": "parse", "lines": True}, {"data": "1\n{"}, "json_invalid"),
        ({"operation": "parse"}, {}, "text_missing"),
        ({"operation": "parse"}, {"data": 5}, "text_missing"),
        ({"operation": "parse", "binary": "f"}, {}, "file_missing"),
        ({"operation": "stringify", "field": "x"}, {}, "field_missing"),
        ({"operation": "stringify", "lines": True}, {}, "type_mismatch"),
        ({"operation": "patch", "patch": "{{ $json.data }}"}, {"data": 5}, "config_value_invalid"),
    ],
)
async def test_errors(run_node, config, item, code):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [item])
    assert caught.value.code == code
    assert caught.value.fields["item_index"] == 0


@pytest.mark.parametrize(
    "config", [{}, {"operation": "patch"}, {"operation": "query"}, {"operation": "parse", "into": "."}]
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
