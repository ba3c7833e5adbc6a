"""`hitl.request`: what is asked, which way the items go by what was decided, and what they are told of it."""

from typing import Any

import pytest

from nodes.hitl_request import NODE_TYPE
from tests.unit.nodes.asking import USER_ID, OneRequest
from tests.unit.nodes.conftest import NOW_MS, RunNode, findings
from workflow.errors import NodeError
from workflow.spec import NodeContext
from workflow.waiting import NewRequest, RequestStatus, RequestType, Suspend, Wake

HOUR, DAY = {"amount": 1, "unit": "hours"}, {"amount": 1, "unit": "days"}
ITEMS = [{"n": 1}, {"n": 2}]
ASKING: dict[str, Any] = {"title": "Pay {{ $json.n }}?"}
OPTIONS = [{"id": "a", "label": "A"}, {"id": "b"}]


@pytest.fixture(autouse=True)
def request_of(context: NodeContext) -> OneRequest:
    context.requests = OneRequest(NOW_MS)
    return context.requests


async def test_all_that_is_asked(run_node: RunNode, request_of: OneRequest):
    schema = {"type": "object"}
    config = {
        **ASKING,
        "type": "clarification",
        "message": "M",
        "options": OPTIONS,
        "form_schema": schema,
        "allowed_roles": ["admin"],
        "timeout": DAY,
        "auto_action": "a",
        "remind_after": HOUR,
        "escalate_after": {"amount": 90, "unit": "minutes"},
        "escalate_to": "owner",
    }
    assert await run_node(NODE_TYPE, config, ITEMS) == Suspend(NOW_MS + 86_400_000)
    assert request_of.opened == [
        NewRequest(
            type=RequestType.CLARIFICATION,
            title="Pay 1?",
            message="M",
            options=OPTIONS,
            form_schema=schema,
            allowed_roles=["admin"],
            timeout_ms=86_400_000,
            auto_action="a",
            remind_after_ms=3_600_000,
            escalate_after_ms=5_400_000,
            escalate_to="owner",
        )
    ]


async def test_a_title_is_enough(run_node: RunNode, request_of: OneRequest):
    assert await run_node(NODE_TYPE, {"title": "Really?"}, ITEMS) == Suspend(None)
    assert request_of.opened == [NewRequest(type=RequestType.APPROVAL, title="Really?")]


async def test_as_many_approvals_as_are_wanted_are_asked_for(run_node: RunNode, request_of: OneRequest):
    await run_node(NODE_TYPE, {**ASKING, "approvals": 2}, ITEMS)
    assert request_of.opened == [NewRequest(type=RequestType.APPROVAL, title="Pay 1?", approvals_required=2)]


async def test_a_signal_without_a_decision_makes_it_wait_on(
    run_node: RunNode, request_of: OneRequest, context: NodeContext
):
    config = {**ASKING, "timeout": HOUR}
    await run_node(NODE_TYPE, config, ITEMS)
    context.woken = Wake.SIGNAL
    assert await run_node(NODE_TYPE, config, ITEMS) == Suspend(NOW_MS + 3_600_000)
    assert (len(request_of.opened), request_of.looks) == (1, [False, False])


@pytest.mark.parametrize(
    ("kind", "status", "action", "handle"),
    [
        ("approval", RequestStatus.APPROVED, "approve", "approved"),
        ("approval", RequestStatus.REJECTED, "reject", "rejected"),
        ("clarification", RequestStatus.ANSWERED, "b", "answered"),
    ],
)
async def test_the_items_go_where_it_was_decided_and_know_of_it(
    run_node: RunNode, request_of: OneRequest, kind: str, status: RequestStatus, action: str, handle: str
):
    request_of.settled(status, {"action": action, "comment": "fine", "data": {"x": 1}}, by=USER_ID)
    outputs = await run_node(NODE_TYPE, {**ASKING, "type": kind}, ITEMS)
    told = {
        "status": status.value,
        "action": action,
        "comment": "fine",
        "data": {"x": 1},
        "by": str(USER_ID),
        "responded_ms": 5,
    }
    assert outputs == {
        handle: [{"json": {**item, "hitl": told}, "paired_item": index} for index, item in enumerate(ITEMS)]
    }


async def test_whoever_came_by_the_link_is_nobody(run_node: RunNode, request_of: OneRequest):
    request_of.settled(RequestStatus.APPROVED, {"action": "approve"})
    outputs = await run_node(NODE_TYPE, ASKING, [{}])
    assert outputs["approved"][0]["json"]["hitl"] == {
        "status": "approved",
        "action": "approve",
        "comment": None,
        "data": None,
        "by": None,
        "responded_ms": 5,
    }


@pytest.mark.parametrize(
    ("kind", "auto_action", "handle"),
    [
        ("approval", "", "timeout"),
        ("approval", "approve", "approved"),
        ("approval", "reject", "rejected"),
        ("clarification", "", "timeout"),
        ("clarification", "a", "answered"),
    ],
)
async def test_when_nobody_answers_the_auto_action_decides_or_the_time_being_over(
    run_node: RunNode, request_of: OneRequest, context: NodeContext, kind: str, auto_action: str, handle: str
):
    config = {**ASKING, "type": kind, "timeout": HOUR, **({"auto_action": auto_action} if auto_action else {})}
    config |= {"options": OPTIONS} if kind == "clarification" else {}
    await run_node(NODE_TYPE, config, ITEMS)
    request_of.expiry = (RequestStatus.TIMEOUT, {"action": auto_action} if auto_action else None)
    context.woken = Wake.TIME
    outputs = await run_node(NODE_TYPE, config, ITEMS)
    assert list(outputs) == [handle]
    assert handle in NODE_TYPE.outputs(config)
    assert outputs[handle][1]["json"]["hitl"]["status"] == "timeout"
    assert request_of.looks == [False, True]


MISSPELT = [
    ({}, "rejected"),
    ({}, "Reject"),
    ({}, ""),
    ({}, "a"),
    ({"type": "clarification", "options": OPTIONS}, "approve"),
    ({"type": "clarification"}, "approve"),
]


@pytest.mark.parametrize(("config", "action"), MISSPELT)
def test_a_decision_that_there_is_not_is_found_when_it_is_written_out(config: Any, action: str):
    asking = {**ASKING, "timeout": HOUR, **config, "auto_action": action}
    assert findings(NODE_TYPE, asking) == [("invalid_auto_action", "auto_action")]


@pytest.mark.parametrize(("config", "action"), MISSPELT)
async def test_one_that_an_expression_gives_fails_before_anybody_is_asked(
    run_node: RunNode, request_of: OneRequest, config: Any, action: str
):
    asking = {**ASKING, "timeout": HOUR, **config, "auto_action": "{{ $json.then }}"}
    assert findings(NODE_TYPE, asking) == []
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, asking, [{"n": 1, "then": action}])
    assert (caught.value.code, caught.value.fields["retryable"]) == ("invalid_auto_action", False)
    assert request_of.opened == []


@pytest.mark.parametrize(("config", "action"), MISSPELT)
async def test_one_that_was_asked_with_already_decides_nothing(
    run_node: RunNode, request_of: OneRequest, config: Any, action: str
):
    request_of.settled(RequestStatus.TIMEOUT, {"action": action} if action else None)
    with pytest.raises(NodeError) as caught:
        await run_node(
            NODE_TYPE, {**ASKING, "timeout": HOUR, **config, "auto_action": "{{ $json.then }}"}, [{"then": action}]
        )
    assert caught.value.code == "invalid_auto_action"


@pytest.mark.parametrize(
    "config",
    [
        {"auto_action": "reject"},
        {"type": "clarification", "options": OPTIONS, "auto_action": "b"},
        {"type": "clarification", "options": [{"id": "{{ $json.n }}"}], "auto_action": "1"},
        {"type": "clarification", "options": "{{ $json.options }}", "auto_action": "1"},
        {"type": "clarification", "options": ["{{ $json.option }}"], "auto_action": "1"},
        {"type": "{{ $json.kind }}", "options": OPTIONS, "auto_action": "b"},
    ],
)
def test_what_may_be_decided_is_no_finding(config: Any):
    assert findings(NODE_TYPE, {**ASKING, "timeout": HOUR, **config}) == []


async def test_what_was_withdrawn_fails_for_good(run_node: RunNode, request_of: OneRequest):
    request_of.settled(RequestStatus.CANCELLED)
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, ASKING, ITEMS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("request_cancelled", False)


@pytest.mark.parametrize(
    ("config", "handles"),
    [
        ({}, ("approved", "rejected")),
        ({"timeout": DAY}, ("approved", "rejected", "timeout")),
        ({"timeout": DAY, "auto_action": "reject"}, ("approved", "rejected")),
        ({"type": "clarification"}, ("answered",)),
        ({"type": "clarification", "timeout": DAY}, ("answered", "timeout")),
    ],
)
def test_the_ways_out(config: Any, handles: tuple[str, ...]):
    assert NODE_TYPE.outputs({**ASKING, **config}) == handles


@pytest.mark.parametrize(
    ("config", "code", "field"),
    [
        ({"title": ""}, "invalid_config", "title"),
        ({"approvals": 0}, "invalid_config", "approvals"),
        ({"approvals": 101}, "invalid_config", "approvals"),
        ({"allowed_roles": ["boss"]}, "invalid_config", "allowed_roles.0"),
        ({"allowed_roles": ["admin", "admin"]}, "invalid_config", "allowed_roles"),
        ({"options": [{"label": "no id"}]}, "missing_config", "options.0"),
        ({"auto_action": "reject"}, "invalid_config", "config"),
        ({"escalate_to": "admin"}, "invalid_config", "config"),
        ({"escalate_after": HOUR}, "invalid_config", "config"),
        ({"form_schema": {"required": 1}}, "invalid_form_schema", "form_schema.required"),
        ({"options": OPTIONS}, "option_not_used", "options"),
        ({"type": "clarification", "approvals": 2}, "option_not_used", "approvals"),
        ({"type": "clarification", "options": [*OPTIONS, {"id": "a"}]}, "duplicate_option", "options"),
    ],
)
def test_a_config_that_cannot_be_meant_is_found(config: Any, code: str, field: str):
    assert findings(NODE_TYPE, {**ASKING, **config}) == [(code, field)]
    assert findings(NODE_TYPE, ASKING) == []


def test_what_changes_nothing_is_no_finding():
    assert findings(NODE_TYPE, {**ASKING, "options": []}) == []
    assert findings(NODE_TYPE, {**ASKING, "type": "clarification", "approvals": 1}) == []
