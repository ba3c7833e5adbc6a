"""What changed between two documents, and whether it matters to what they do."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workflow.diff import Change, compare
from workflow.document import Document, parse_document


def document(*nodes: dict[str, Any], connections: tuple[tuple[str, str], ...] = (), **fields: Any) -> Document:
    joined = [dict(zip(("source", "target"), pair, strict=True)) for pair in connections]
    return parse_document({"name": "w", "nodes": list(nodes), "connections": joined, **fields})


def node(identity: str, **fields: Any) -> dict[str, Any]:
    return {"id": identity, "type": "data.set", **fields}


def test_a_document_does_not_differ_from_itself():
    one = document(node("a"), node("b"), connections=(("a", "b"), ("a", "b")))

    found = compare(one, one)

    assert not found.functional
    assert not any(value for name, value in found.as_dict().items() if name != "functional")


def test_looks_are_no_functional_change():
    before = document(node("a", name="old", position={"x": 1, "y": 1}), viewport={"zoom": 1})
    after = document(node("a", name="new", position={"x": 2, "y": 1}), viewport={"zoom": 2}, name="other")

    found = compare(before, after)

    assert not found.functional
    assert [change.field for change in found.nodes_changed[0].fields] == ["name", "position"]
    assert found.fields_changed[0] == Change("name", "w", "other")


def test_nodes_and_connections_that_came_went_and_changed():
    before = document(node("a", config={"v": 1}), node("b"), connections=(("a", "b"),))
    after = document(node("a", config={"v": True}), node("c"), connections=(("a", "c"),))

    found = compare(before, after)

    assert found.functional
    assert [one["id"] for one in found.nodes_added] == ["c"]
    assert [one["id"] for one in found.nodes_removed] == ["b"]
    assert found.nodes_changed[0].fields == [Change("config", {"v": 1}, {"v": True})]
    assert [one["target"] for one in found.connections_added] == ["c"]
    assert [one["target"] for one in found.connections_removed] == ["b"]


def test_settings_and_input_schema_are_functional():
    before = document(node("a"))
    after = document(node("a"), settings={"isolation": "dedicated"}, input_schema={"type": "object"})

    found = compare(before, after)

    assert found.functional
    assert {change.field for change in found.fields_changed} == {"settings.isolation", "input_schema"}


def test_a_connection_made_twice_counts_twice_and_another_order_is_told():
    twice = document(node("a"), node("b"), connections=(("a", "b"), ("a", "b")))
    once = document(node("a"), node("b"), connections=(("a", "b"),))
    turned = document(node("b"), node("a"), connections=(("a", "b"),))

    assert len(compare(once, twice).connections_added) == 1
    assert compare(once, turned).order_changed
    assert compare(once, turned).functional


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_what_was_added_one_way_was_removed_the_other_way(these: set[str], those: set[str]):
    one, other = document(*map(node, sorted(these))), document(*map(node, sorted(those)))

    there, back = compare(one, other), compare(other, one)

    assert there.nodes_added == back.nodes_removed
    assert there.nodes_removed == back.nodes_added
    assert there.functional == (these != those)
