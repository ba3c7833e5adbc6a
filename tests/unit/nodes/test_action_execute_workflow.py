"""`action.execute_workflow`: what it starts, what it gives of what came back, and what is the matter when one of them failed."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from nodes.action_execute_workflow import CHILDREN_MAX, NODE_TYPE
from tests.unit.nodes.asking import SomeChildren, child_id
from tests.unit.nodes.conftest import RunNode, findings
from workflow.errors import NodeError
from workflow.spec import NodeContext
from workflow.states import TERMINAL, ExecutionStatus
from workflow.waiting import Child, ChildState, Suspend, Wake

OTHER = UUID(int=9)
CALLING: dict[str, Any] = {"workflow_id": str(OTHER)}
EACH: dict[str, Any] = {**CALLING, "mode": "each_item"}
ITEMS = [{"n": 1}, {"n": 2}]


@pytest.fixture(autouse=True)
def children(context: NodeContext) -> SomeChildren:
    context.children = SomeChildren()
    return context.children


def child(data: Any, place: int = 0, version: int | None = None, *, awaited: bool = True) -> Child:
    return Child(workflow_id=OTHER, input=orjson.dumps(data), place=place, version=version, awaited=awaited)


async def test_once_gets_all_items_and_is_waited_for(run_node: RunNode, children: SomeChildren):
    assert await run_node(NODE_TYPE, CALLING, ITEMS) == Suspend()
    assert children.started == [child(ITEMS)]


async def test_without_items_it_is_executed_all_the_same(run_node: RunNode, children: SomeChildren):
    assert await run_node(NODE_TYPE, CALLING, []) == Suspend()
    assert children.started == [child([])]
    children.started.clear()
    assert await run_node(NODE_TYPE, {**EACH, "wait": False}, []) == {"main": []}
    assert children.started == []


async def test_every_item_gets_one_of_its_own_with_its_input(run_node: RunNode, children: SomeChildren):
    assert await run_node(NODE_TYPE, EACH, ITEMS) == Suspend()
    assert children.started == [child({"n": 1}), child({"n": 2}, 1)]
    children.started.clear()
    chosen = {**EACH, "input": {"order": "{{ $json.n }}"}, "version": "{{ $json.n }}"}
    await run_node(NODE_TYPE, chosen, ITEMS)
    assert children.started == [child({"order": 1}, 0, 1), child({"order": 2}, 1, 2)]


async def test_input_and_version_of_the_one(run_node: RunNode, children: SomeChildren):
    await run_node(NODE_TYPE, {**CALLING, "input": {}, "version": 3}, ITEMS)
    assert children.started == [child({}, 0, 3)]


async def test_a_whole_number_with_a_point_is_a_version_too(run_node: RunNode, children: SomeChildren):
    await run_node(NODE_TYPE, {**CALLING, "version": 3.0}, ITEMS)
    assert repr(children.started[0].version) == "3"


async def test_without_waiting_it_gives_what_it_has_started(run_node: RunNode, children: SomeChildren):
    outputs = await run_node(NODE_TYPE, {**EACH, "wait": False}, ITEMS)
    assert outputs == {
        "main": [{"json": {"execution_id": str(child_id(place))}, "paired_item": place} for place in range(2)]
    }
    assert [one.awaited for one in children.started] == [False, False]
    once = await run_node(NODE_TYPE, {**CALLING, "wait": False}, ITEMS)
    assert once == {"main": [{"json": {"execution_id": str(child_id(0))}, "paired_item": [0, 1]}]}


async def test_woken_it_looks_and_starts_nothing_again(run_node: RunNode, children: SomeChildren, context: NodeContext):
    await run_node(NODE_TYPE, EACH, ITEMS)
    context.woken = Wake.SIGNAL
    children.started.clear()
    for status in set(ExecutionStatus) - TERMINAL:
        done = ChildState(id=child_id(0), place=0, status=ExecutionStatus.COMPLETED, output=b"{}")
        children.known = [done, ChildState(id=child_id(1), place=1, status=status)]
        assert await run_node(NODE_TYPE, EACH, ITEMS) == Suspend(), status
    assert children.started == []


async def test_a_child_that_ended_at_once_is_not_waited_for(run_node: RunNode, children: SomeChildren):
    class Quick(SomeChildren):
        async def states(self) -> list[ChildState]:
            self.ended(b'{"end": [{"x": 1}]}')
            return self.known

    children.__class__ = Quick
    assert await run_node(NODE_TYPE, CALLING, ITEMS) == {"main": [{"json": {"x": 1}, "paired_item": [0, 1]}]}


@pytest.mark.parametrize(
    ("output", "objects"),
    [
        (b'{"end": [{"x": 1}, {"x": 2}], "other": [{"y": 1}]}', [{"x": 1}, {"x": 2}, {"y": 1}]),
        (b'[{"x": 1}]', [{"x": 1}]),
        (b"[]", []),
        (b"{}", []),
        (b'{"end": []}', []),
        (b'{"x": 1}', [{"x": 1}]),
        (b'{"end": [{"x": 1}], "n": 1}', [{"end": [{"x": 1}], "n": 1}]),
        (b'{"end": [1]}', [{"end": [1]}]),
        (b"[1]", [{"value": [1]}]),
        (b"7", [{"value": 7}]),
        (b"null", [{"value": None}]),
        (None, [{"value": None}]),
    ],
)
async def test_what_it_gives_of_an_output(
    run_node: RunNode, children: SomeChildren, context: NodeContext, output: bytes | None, objects: list[Any]
):
    context.woken = Wake.SIGNAL
    children.ended(output)
    assert await run_node(NODE_TYPE, CALLING, ITEMS) == {
        "main": [{"json": each, "paired_item": [0, 1]} for each in objects]
    }


async def test_what_each_gave_comes_from_its_item(run_node: RunNode, children: SomeChildren, context: NodeContext):
    context.woken = Wake.SIGNAL
    children.ended(b'[{"x": 1}, {"x": 2}]', b'[{"x": 3}]')
    outputs = await run_node(NODE_TYPE, EACH, ITEMS)
    assert [(item["json"]["x"], item["paired_item"]) for item in outputs["main"]] == [(1, 0), (2, 0), (3, 1)]


@pytest.mark.parametrize("status", sorted(TERMINAL - {ExecutionStatus.COMPLETED}))
async def test_one_that_did_not_complete_fails_the_node_or_its_item(
    run_node: RunNode, children: SomeChildren, context: NodeContext, status: ExecutionStatus
):
    context.woken = Wake.SIGNAL
    bad = ChildState(id=child_id(0), place=0, status=status, error_code="broken", error_message="it broke")
    children.ended(None, b'[{"x": 3}]')
    children.known[0] = bad
    with pytest.raises(NodeError, match=f"is {status.value}: it broke") as caught:
        await run_node(NODE_TYPE, EACH, ITEMS)
    assert (caught.value.code, caught.value.fields) == (
        "child_failed",
        {"execution_id": str(child_id(0)), "child_code": "broken", "retryable": False, "item_index": 0},
    )
    outputs = await run_node(NODE_TYPE, EACH, ITEMS, keep_going=True)
    assert [item["paired_item"] for item in outputs["main"]] == [1]
    assert list(context.failed) == [0]


async def test_one_that_says_nothing_of_its_failure_is_named_by_its_status(
    run_node: RunNode, children: SomeChildren, context: NodeContext
):
    context.woken = Wake.SIGNAL
    children.known = [ChildState(id=child_id(0), place=0, status=ExecutionStatus.CANCELLED)]
    with pytest.raises(NodeError, match=r"is cancelled: cancelled$"):
        await run_node(NODE_TYPE, CALLING, ITEMS)


async def test_what_must_not_be_started_fails_with_its_reason(run_node: RunNode, children: SomeChildren):
    children.refuses = "workflow_circular"
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, CALLING, ITEMS)
    assert caught.value.code == "workflow_circular"


@pytest.mark.parametrize("named", ["none", "", "x{{ $json.n }}"])
async def test_what_is_no_id_is_no_workflow(
    run_node: RunNode, children: SomeChildren, named: str, context: NodeContext
):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {**CALLING, "workflow_id": named}, ITEMS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("workflow_not_found", False)
    assert children.started == []


async def test_an_item_that_names_no_workflow_fails_alone(
    run_node: RunNode, children: SomeChildren, context: NodeContext
):
    items = [{"id": "none"}, {"id": str(OTHER)}]
    await run_node(NODE_TYPE, {**EACH, "workflow_id": "{{ $json.id }}"}, items, keep_going=True)
    assert [one.place for one in children.started] == [1]
    assert [(place, error.code) for place, error in context.failed.items()] == [(0, "workflow_not_found")]


async def test_where_one_does_not_fit_nothing_is_started(run_node: RunNode, children: SomeChildren):
    children.misfit = {1}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, EACH, ITEMS)
    assert (caught.value.code, caught.value.fields["item_index"]) == ("input_schema_violated", 1)
    assert children.started == []


async def test_an_item_that_does_not_fit_fails_alone_and_is_not_forgotten_by_the_wait(
    run_node: RunNode, children: SomeChildren, context: NodeContext
):
    children.misfit = {0}
    assert await run_node(NODE_TYPE, EACH, ITEMS, keep_going=True) == Suspend()
    context.woken = Wake.SIGNAL
    context.failed.clear()
    children.known = [ChildState(id=child_id(1), place=1, status=ExecutionStatus.COMPLETED, output=b"{}")]
    await run_node(NODE_TYPE, EACH, ITEMS, keep_going=True)

    assert [one.place for one in children.started] == [1]
    assert [(place, error.code) for place, error in context.failed.items()] == [(0, "input_schema_violated")]


async def test_so_many_at_once_and_no_more(run_node: RunNode, children: SomeChildren):
    assert await run_node(NODE_TYPE, EACH, [{}] * CHILDREN_MAX) == Suspend()
    assert len(children.started) == CHILDREN_MAX
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, EACH, [{}] * (CHILDREN_MAX + 1))
    assert (caught.value.code, caught.value.fields) == ("too_many_children", {"retryable": False})
    await run_node(NODE_TYPE, CALLING, [{}] * (CHILDREN_MAX + 1))


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, ("missing_config", "config")),
        ({"workflow_id": 7}, ("invalid_config", "workflow_id")),
        ({**CALLING, "version": 0}, ("invalid_config", "version")),
        ({**CALLING, "version": 10**12}, ("invalid_config", "version")),
        ({**CALLING, "version": 1.5}, ("invalid_config", "version")),
        ({**CALLING, "mode": "all"}, ("invalid_config", "mode")),
        ({**CALLING, "wait": "yes"}, ("invalid_config", "wait")),
        ({**CALLING, "input": []}, ("invalid_config", "input")),
    ],
)
def test_a_config_that_names_nothing_to_execute_is_found(config: Any, found: tuple[str, str]):
    assert findings(NODE_TYPE, config) == [found]
    assert findings(NODE_TYPE, {**CALLING, "version": None}) == []
