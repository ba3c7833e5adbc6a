"""Parts of documents: what is in them, and that they can be executed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import document, drawing_catalog
from tests.strategies import cyclic_plans, plans
from workflow.document import Connection, Document, Node
from workflow.errors import Unprocessable
from workflow.parts import sources, until
from workflow.plan import Plan, make_plan
from workflow.references import ancestors


def names(part: Document) -> set[str]:
    return {node.id for node in part.nodes}


def test_the_part_up_to_a_node_is_it_and_what_comes_before_it():
    whole = document("a -> b -> d; a -> c -> d -> e; x -> c", max_parallel_nodes=3)
    part = until(whole, "c")

    assert names(part) == {"a", "c", "x"}
    assert [(c.source, c.target) for c in part.connections] == [("a", "c"), ("x", "c")]
    assert part.settings.max_parallel_nodes == 3
    assert sources(whole, "d") == ["b", "c"]


def test_a_loop_is_part_of_what_leads_to_its_body_but_what_is_behind_it_is_not():
    whole = document("start -> loop; loop:loop -> a -> b -> loop; loop:done -> end; a -> aside")

    assert names(until(whole, "a")) == {"start", "loop", "a", "b"}
    assert names(until(whole, "aside")) == {"start", "loop", "a", "b", "aside"}


def test_a_part_ends_without_an_error_workflow():
    whole = document("a -> b", error_workflow="0190b5a8-1111-7000-8000-000000000001")

    assert until(whole, "b").settings.error_workflow is None


def test_there_is_no_part_up_to_a_node_that_is_not_there():
    with pytest.raises(Unprocessable) as refused:
        until(document("a -> b"), "c")
    assert refused.value.code == "no_such_node"


@given(plans() | cyclic_plans(), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_part_has_the_same_ancestors_and_regions_as_the_whole(plan: Plan, data: st.DataObject):
    index = data.draw(st.sampled_from([n.index for n in plan.nodes if plan.regions.region_of[n.index] >= 0]))
    nodes = [
        Node(id=n.id, type=n.type.spec.type, on_error=n.on_error, disabled=n.idle == "disabled") for n in plan.nodes
    ]
    edges = [
        Connection(source=plan.nodes[e.source].id, target=plan.nodes[e.target].id, sourceHandle=e.source_handle)
        for e in plan.edges
    ]
    whole = Document(name="random", nodes=nodes, connections=edges, settings={"cycles": "allow"})
    part = make_plan(until(whole, plan.nodes[index].id), drawing_catalog())

    assert part.regions.region_of[part.by_id[plan.nodes[index].id]] >= 0
    before = {plan.nodes[i].id for i in ancestors(plan, index)}
    assert before <= set(part.by_id)
    for name in before:
        ours = {plan.nodes[i].id for i in ancestors(plan, plan.by_id[name])}
        assert {part.nodes[i].id for i in ancestors(part, part.by_id[name])} == ours
