"""Other spellings of the document mean the same, and what is not understood is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.document import parse_document
from workflow.errors import InvalidDefinition
from workflow.spelling import respell

PLAIN = {
    "name": "w",
    "nodes": [
        {"id": "a", "type": "trigger.manual"},
        {"id": "b", "type": "data.set", "name": "Set", "config": {"values": {"x": 1}}, "position": {"x": 1, "y": 2}},
    ],
    "connections": [{"source": "a", "target": "b", "sourceHandle": "main", "targetHandle": "main"}],
}


def node(**fields: object) -> dict:
    return {**PLAIN, "nodes": [PLAIN["nodes"][0], {"id": "b", "type": "data.set", **fields}]}


@pytest.mark.parametrize(
    "connection",
    [
        {"source": "a", "target": "b"},
        {"id": "e1", "source": "a", "target": "b", "sourceHandle": None, "targetHandle": None},
        {"source_node_id": "a", "target_node_id": "b", "source_handle": "main"},
        {"sourceNodeId": "a", "targetNodeId": "b", "target_handle": "main"},
    ],
)
@pytest.mark.parametrize("name", ["connections", "edges"])
def test_connections(connection: dict, name: str):
    written = {"name": "w", "nodes": PLAIN["nodes"], name: [connection]}
    assert parse_document(written) == parse_document(PLAIN)


@pytest.mark.parametrize(
    "written",
    [
        {"name": "Set", "parameters": {"values": {"x": 1}}, "position": [1, 2]},
        {"label": "Set", "config": {"values": {"x": 1}}, "position": {"x": 1, "y": 2}},
        {"data": {"label": "Set", "config": {"values": {"x": 1}}}, "position": {"x": 1, "y": 2}},
        {"type": "custom", "data": {"nodeType": "data.set", "label": "Set", "values": {"x": 1}}, "position": [1, 2]},
    ],
)
def test_nodes(written: dict):
    assert parse_document(node(**written)) == parse_document(PLAIN)


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ({"continueOnFail": True}, {"on_error": "continue"}),
        ({"continueOnFail": False}, {"on_error": "stop"}),
        ({"timeout": 500}, {"timeout_ms": 500}),
        ({"retryOnFail": True, "maxRetries": 4}, {"retry": {"max_attempts": 5}}),
        ({"retryOnFail": True}, {"retry": {"max_attempts": 4}}),
        ({"retryOnFail": False, "maxRetries": 4}, {"retry": None}),
    ],
)
def test_failing(written: dict, ours: dict):
    assert parse_document(node(**written)) == parse_document(node(**ours))


def test_where_both_spellings_stand_the_other_one_is_refused():
    with pytest.raises(InvalidDefinition) as caught:
        parse_document({**PLAIN, "edges": []})
    assert [f["code"] for f in caught.value.fields["findings"]] == ["unknown_field"]


def test_a_stored_document_reads_as_itself():
    document = parse_document(PLAIN)
    assert parse_document(document.model_dump(mode="json")) == document


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "nodes",
                    "edges",
                    "connections",
                    "id",
                    "type",
                    "data",
                    "config",
                    "parameters",
                    "label",
                    "position",
                    "source",
                    "source_node_id",
                    "retryOnFail",
                    "maxRetries",
                    "continueOnFail",
                    "sourceHandle",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_whatever_is_sent_is_a_document_or_refused(value: object):
    respell(value)
    try:
        parse_document(value)
    except InvalidDefinition as refused:
        found = refused.fields["findings"]
    else:
        return
    assert found
