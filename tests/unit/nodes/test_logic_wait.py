"""`logic.wait`: until when it waits, what it gives then, and what comes of requests and forms."""

from typing import Any

import pytest

from nodes.logic_wait import NODE_TYPE
from tests.unit.nodes.asking import OneRequest
from tests.unit.nodes.conftest import NOW_MS, RunNode, findings
from workflow.errors import NodeError
from workflow.spec import NodeContext
from workflow.waiting import NewRequest, RequestStatus, RequestType, Suspend, Wake

HOUR = {"amount": 1, "unit": "hours"}
ITEMS = [{"n": 1}, {"n": 2}]
PASSED = {"main": [{"json": {"n": 1}, "paired_item": 0}, {"json": {"n": 2}, "paired_item": 1}]}


@pytest.fixture
def request_of(context: NodeContext) -> OneRequest:
    context.requests = OneRequest(NOW_MS)
    return context.requests


@pytest.mark.parametrize(
    ("duration", "until_ms"),
    [
        ({"amount": 30}, NOW_MS + 30_000),
        ({"amount": 1, "unit": "milliseconds"}, NOW_MS + 1),
        ({"amount": 1.5, "unit": "minutes"}, NOW_MS + 90_000),
        ({"amount": 2, "unit": "weeks"}, NOW_MS + 1_209_600_000),
        ({"amount": 400, "unit": "days"}, NOW_MS + 366 * 86_400_000),
        ({"amount": 1e308, "unit": "weeks"}, NOW_MS + 366 * 86_400_000),
    ],
)
async def test_a_duration_counts_from_now_and_is_at_most_a_year(run_node: RunNode, duration: Any, until_ms: int):
    assert await run_node(NODE_TYPE, {"duration": duration}, ITEMS) == Suspend(until_ms)


async def test_less_than_a_millisecond_is_no_wait(run_node: RunNode):
    config = {"duration": {"amount": 0.9, "unit": "milliseconds"}}
    assert await run_node(NODE_TYPE, config, ITEMS) == PASSED


async def test_when_its_time_has_come_it_passes_items_on_with_their_files(run_node: RunNode, context: NodeContext):
    context.woken = Wake.TIME
    assert await run_node(NODE_TYPE, {"duration": HOUR}, ITEMS) == PASSED
    file = {"f": {"mime": "a/b", "data": "x"}}
    assert (await NODE_TYPE.run(context, {"duration": HOUR}, [{"json": {}, "binary": file}]))["main"] == [
        {"json": {}, "paired_item": 0, "binary": file}
    ]


@pytest.mark.parametrize(
    ("until", "until_ms"),
    [
        (NOW_MS + 1, NOW_MS + 1),
        ("2023-11-14T22:13:21Z", NOW_MS + 1_000),
        ("2023-11-15T00:13:21+02:00", NOW_MS + 1_000),
        ("2023-11-15T07:13:21", NOW_MS + 1_000),
        ("2023-11-16", 1_700_060_400_000),
    ],
)
async def test_until_a_time_in_the_zone_of_the_workflow(
    run_node: RunNode, context: NodeContext, until: Any, until_ms: int
):
    context.timezone = "Asia/Tokyo" if until == "2023-11-16" else "Etc/GMT-9"
    assert await run_node(NODE_TYPE, {"mode": "until", "until": until}, ITEMS) == Suspend(until_ms)


@pytest.mark.parametrize("until", [NOW_MS, NOW_MS - 1, 0, "2020-01-01", "{{ $json.n }}"])
async def test_a_time_that_is_not_to_come_is_no_wait(run_node: RunNode, until: Any):
    assert await run_node(NODE_TYPE, {"mode": "until", "until": until}, ITEMS) == PASSED


@pytest.mark.parametrize("until", ["soon", "", "2023-02-30", 1e18])
async def test_what_is_no_time_fails_for_good(run_node: RunNode, until: Any):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "until", "until": until}, ITEMS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("time_invalid", False)


@pytest.mark.parametrize("mode", ["webhook", "form"])
async def test_it_asks_once_and_waits_for_the_answer(run_node: RunNode, request_of: OneRequest, mode: str):
    schema = {"type": "object"}
    config = {"mode": mode, "title": "T", "message": "M", "form_schema": schema, "timeout": HOUR}
    first = await run_node(NODE_TYPE, config, ITEMS)
    again = await run_node(NODE_TYPE, config, ITEMS)
    assert first == again == Suspend(NOW_MS + 3_600_000)
    wanted = NewRequest(type=RequestType(mode), title="T", message="M", form_schema=schema, timeout_ms=3_600_000)
    assert request_of.opened == [wanted]
    assert request_of.looks == [False, False]


async def test_without_a_timeout_it_waits_for_as_long_as_it_takes(run_node: RunNode, request_of: OneRequest):
    assert await run_node(NODE_TYPE, {"mode": "form"}, ITEMS) == Suspend(None)
    assert request_of.opened == [NewRequest(type=RequestType.FORM)]


async def test_the_answer_is_one_item_of_all(run_node: RunNode, request_of: OneRequest, context: NodeContext):
    context.woken = Wake.SIGNAL
    request_of.settled(RequestStatus.ANSWERED, {"body": [1]})
    outputs = await run_node(NODE_TYPE, {"mode": "webhook"}, ITEMS)
    assert outputs == {"main": [{"json": {"body": [1]}, "paired_item": [0, 1]}]}
    request_of.settled(RequestStatus.ANSWERED)
    assert (await run_node(NODE_TYPE, {"mode": "form"}, ITEMS))["main"][0]["json"] == {}
    assert request_of.looks == [False, False], "a signal does not end anybody's time"
    assert request_of.opened == []


@pytest.mark.parametrize("given", ["abc", [1, 2], [], 7, 0, True, ""])
async def test_what_was_filled_in_and_is_no_object_fails_by_name(run_node: RunNode, request_of: OneRequest, given: Any):
    request_of.settled(RequestStatus.ANSWERED, given)
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "form"}, ITEMS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("answer_invalid", False)


async def test_when_its_time_is_over_the_items_go_to_timeout(
    run_node: RunNode, request_of: OneRequest, context: NodeContext
):
    config = {"mode": "form", "timeout": HOUR}
    await run_node(NODE_TYPE, config, ITEMS)
    context.woken = Wake.TIME
    assert await run_node(NODE_TYPE, config, ITEMS) == {"timeout": PASSED["main"]}
    assert request_of.looks == [False, True]


async def test_what_was_withdrawn_fails_for_good(run_node: RunNode, request_of: OneRequest):
    request_of.settled(RequestStatus.CANCELLED)
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "form"}, ITEMS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("request_cancelled", False)


async def test_where_nobody_can_be_asked_it_says_so(run_node: RunNode):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "form"}, ITEMS)
    assert caught.value.code == "needs_instance"


@pytest.mark.parametrize(
    ("config", "handles"),
    [
        ({"duration": HOUR}, ("main",)),
        ({"duration": HOUR, "timeout": HOUR}, ("main",)),
        ({"mode": "until", "until": 0, "timeout": HOUR}, ("main",)),
        ({"mode": "webhook"}, ("main",)),
        ({"mode": "webhook", "timeout": HOUR}, ("main", "timeout")),
        ({"mode": "form", "timeout": HOUR}, ("main", "timeout")),
    ],
)
def test_there_is_a_way_out_for_the_time_being_over_only_where_it_may_be(config: Any, handles: tuple[str, ...]):
    assert NODE_TYPE.outputs(config) == handles


@pytest.mark.parametrize(
    ("config", "code", "field"),
    [
        ({}, "missing_config", ""),
        ({"mode": "duration"}, "missing_config", ""),
        ({"mode": "until"}, "missing_config", ""),
        ({"duration": {"amount": 0}}, "invalid_config", "duration.amount"),
        ({"duration": {"unit": "days"}}, "missing_config", "duration"),
        ({"duration": {"amount": 1, "unit": "years"}}, "invalid_config", "duration.unit"),
        ({"mode": "form", "form_schema": {"type": 1}}, "invalid_form_schema", "form_schema.type"),
        ({"mode": "sleep"}, "invalid_config", "mode"),
    ],
)
def test_a_config_that_says_no_time_is_found(config: Any, code: str, field: str):
    assert (code, field) in [
        (found, place.removeprefix("config").removeprefix(".")) for found, place in findings(NODE_TYPE, config)
    ]


@pytest.mark.parametrize("mode", ["webhook", "form"])
def test_asking_needs_nothing_but_its_mode(mode: str):
    assert findings(NODE_TYPE, {"mode": mode}) == []
