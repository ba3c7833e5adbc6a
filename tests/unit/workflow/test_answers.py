"""What an answer decides: each kind of request, each reason to refuse, who may answer."""

from typing import Any
from uuid import UUID

import pytest

from workflow.answers import COMMENT_CHARS_MAX, Answer, Decision, Open, actions_of, judge, may_answer, roles_asked
from workflow.errors import Conflict, Forbidden, RayloomError, Unprocessable
from workflow.waiting import RequestStatus, RequestType

ADA, BOB, EVE = UUID(int=1), UUID(int=2), UUID(int=3)
OPTIONS = [{"id": "a", "label": "A"}, {"id": "b"}]
RECOVERIES = [{"id": action} for action in ("retry", "skip", "replace", "abort")]
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ROLES = ("viewer", "member", "admin", "owner")


def opened(kind: str = "approval", **changes: Any) -> Open:
    fields: dict[str, Any] = {
        "type": RequestType(kind),
        "status": RequestStatus.PENDING,
        "options": (),
        "form_schema": {},
        "roles": (),
        "approvals_required": 1,
        "answers": (),
    }
    return Open(**fields | changes)


def refused(request: Open, answer: Answer) -> RayloomError:
    with pytest.raises(RayloomError) as caught:
        judge(request, answer)
    return caught.value


def decided(request: Open, action: str = "", data: Any = None, **more: Any) -> Decision:
    return judge(request, Answer(action=action, data=data, **more))


@pytest.mark.parametrize(
    ("kind", "action", "data", "status", "response"),
    [
        ("approval", "approve", {"x": 1}, "approved", {"action": "approve", "comment": "c", "data": {"x": 1}}),
        ("approval", "reject", None, "rejected", {"action": "reject", "comment": "c", "data": None}),
        ("clarification", "", [1], "answered", {"action": "", "comment": "c", "data": [1]}),
        ("form", "", {"n": 1}, "answered", {"n": 1}),
        ("webhook", "", [1], "answered", {"body": [1]}),
        ("webhook", "", None, "answered", {"body": None}),
        ("error_recovery", "retry", None, "answered", {"action": "retry", "output": None, "comment": "c"}),
        ("error_recovery", "replace", [{}], "answered", {"action": "replace", "output": [{}], "comment": "c"}),
        ("error_recovery", "replace", {}, "answered", {"action": "replace", "output": {}, "comment": "c"}),
    ],
)
def test_what_each_kind_makes_of_an_answer(kind: str, action: str, data: Any, status: str, response: Any):
    request = opened(kind, options=RECOVERIES if kind == "error_recovery" else ())
    decision = decided(request, action, data, comment="c", user_id=ADA, role="member", at_ms=7)
    given = {"by": str(ADA), "action": action, "comment": "c", "data": data, "at_ms": 7}
    assert decision == Decision(status=RequestStatus(status), response=response, answers=[given])


@pytest.mark.parametrize("status", sorted(set(RequestStatus) - {RequestStatus.PENDING}))
def test_a_request_that_is_closed_takes_no_answer(status: RequestStatus):
    error = refused(opened(status=status), Answer(action="approve", role="owner"))
    assert (type(error), error.code, error.fields) == (Conflict, "request_closed", {"state": status.value})


@pytest.mark.parametrize(
    ("roles", "may"),
    [
        ((), {"member", "admin", "owner"}),
        (("admin",), {"admin", "owner"}),
        (("viewer",), {"viewer", "owner"}),
        (("member", "viewer"), {"member", "viewer", "owner"}),
    ],
)
def test_who_may_answer(roles: tuple[str, ...], may: set[str]):
    request = opened(roles=roles)
    assert {role for role in ROLES if may_answer(request, role)} == may
    for role in ROLES:
        answer = Answer(action="approve", role=role, user_id=ADA)
        if role in may:
            assert judge(request, answer).status is RequestStatus.APPROVED
        else:
            error = refused(request, answer)
            assert (type(error), error.code) == (Forbidden, "role_not_asked")
            assert error.fields["roles"] == sorted(roles or ("member", "admin", "owner"))


def test_whoever_has_the_link_needs_no_role():
    decision = decided(opened(roles=("admin",)), "approve")
    assert (decision.status, decision.answers[0]["by"]) == (RequestStatus.APPROVED, None)


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_the_link_does_not_count_where_different_people_are_to_approve(action: str):
    one = judge(opened(approvals_required=2), Answer(action="approve", user_id=ADA, role="owner"))
    for answers in ((), one.answers):
        error = refused(opened(approvals_required=2, answers=answers), Answer(action=action))
        assert (type(error), error.code, error.fields) == (Forbidden, "link_not_enough", {"approvals_required": 2})
    assert decided(opened("clarification", approvals_required=2), "").status is RequestStatus.ANSWERED


@pytest.mark.parametrize(
    ("named", "to", "roles"),
    [
        ((), "", []),
        (("admin",), "", ["admin"]),
        (("admin",), "viewer", ["admin", "viewer"]),
        ((), "viewer", ["member", "admin", "owner", "viewer"]),
        ((), "admin", ["member", "admin", "owner"]),
    ],
)
def test_who_is_asked_once_it_is_escalated(named: tuple[str, ...], to: str, roles: list[str]):
    assert roles_asked(named, to) == roles


def test_as_many_different_people_as_are_wanted_approve():
    request, answers = opened(approvals_required=3), list[Any]()
    for number, person in enumerate((ADA, BOB, EVE), 1):
        decision = judge(
            opened(approvals_required=3, answers=answers),
            Answer(action="approve", user_id=person, role="member", comment=str(number)),
        )
        answers = list(decision.answers)
        assert decision.status is (RequestStatus.APPROVED if number == 3 else RequestStatus.PENDING)
        assert (decision.response is None) is (number < 3)
    assert [given["by"] for given in answers] == [str(ADA), str(BOB), str(EVE)]
    assert decision.response == {"action": "approve", "comment": "3", "data": None}
    assert request.answers == (), "what was asked is not changed"


def test_nobody_approves_twice_and_one_who_rejects_decides():
    one = judge(opened(approvals_required=3), Answer(action="approve", user_id=ADA, role="member"))
    asked = opened(approvals_required=3, answers=one.answers)
    for action in ("approve", "reject"):
        error = refused(asked, Answer(action=action, user_id=ADA, role="member"))
        assert (type(error), error.code) == (Conflict, "answered_already")
    rejected = judge(asked, Answer(action="reject", user_id=BOB, role="member"))
    assert (rejected.status, len(rejected.answers)) == (RequestStatus.REJECTED, 2)


@pytest.mark.parametrize(
    ("request_", "actions"),
    [
        (opened("approval", options=OPTIONS), ["approve", "reject"]),
        (opened("clarification", options=OPTIONS), ["a", "b"]),
        (opened("clarification"), []),
        (opened("error_recovery", options=OPTIONS), ["a", "b"]),
        (opened("form"), []),
        (opened("clarification", options=[{"id": 7}]), ["7"]),
    ],
)
def test_what_there_is_to_choose_from(request_: Open, actions: list[str]):
    assert actions_of(request_) == actions
    if actions:
        error = refused(request_, Answer(action="other"))
        assert (type(error), error.code, error.fields) == (Unprocessable, "action_invalid", {"actions": actions})
        assert judge(request_, Answer(action=actions[0])).answers[0]["action"] == actions[0]


@pytest.mark.parametrize("kind", ["approval", "clarification", "form", "webhook"])
def test_data_fit_the_form(kind: str):
    action = "approve" if kind == "approval" else ""
    request = opened(kind, form_schema=FORM)
    assert decided(request, action, {"n": 1}).answers[0]["data"] == {"n": 1}
    error = refused(request, Answer(action=action, data={"n": "1"}))
    assert (type(error), error.code) == (Unprocessable, "data_invalid")
    assert [each["field"] for each in error.fields["errors"]] == ["n"]
    assert refused(request, Answer(action=action, data={})).code == "data_invalid"


def test_whoever_rejects_or_recovers_fills_in_no_form():
    assert decided(opened(form_schema=FORM), "reject").status is RequestStatus.REJECTED
    recovery = opened("error_recovery", options=RECOVERIES, form_schema=FORM)
    assert decided(recovery, "skip").status is RequestStatus.ANSWERED


@pytest.mark.parametrize("kind", ["clarification", "form", "webhook"])
@pytest.mark.parametrize("action", ["reject", "approve", "said"])
def test_where_there_is_nothing_to_choose_an_action_is_refused(kind: str, action: str):
    for data in (None, {"n": 1}, "abc", [1, 2], 7):
        error = refused(opened(kind, form_schema=FORM), Answer(action=action, data=data))
        assert (type(error), error.code, error.fields) == (Unprocessable, "action_invalid", {"actions": []})


def test_only_an_approval_that_is_rejected_needs_no_form():
    choices = opened("clarification", options=[{"id": "reject"}], form_schema=FORM)
    assert refused(choices, Answer(action="reject", data={})).code == "data_invalid"
    assert decided(choices, "reject", {"n": 1}).status is RequestStatus.ANSWERED


@pytest.mark.parametrize("data", [None, [], [{"n": 1}], "text", 1])
def test_a_form_gives_an_object(data: Any):
    assert refused(opened("form"), Answer(action="", data=data)).code == "data_invalid"


@pytest.mark.parametrize("data", [None, 1, "text", [1], [{}, None]])
def test_what_replaces_an_output_is_objects(data: Any):
    request = opened("error_recovery", options=RECOVERIES)
    error = refused(request, Answer(action="replace", data=data))
    assert (type(error), error.code) == (Unprocessable, "data_invalid")
    assert decided(request, "skip", data).status is RequestStatus.ANSWERED


def test_a_comment_has_an_end():
    assert decided(opened(), "approve", comment="c" * COMMENT_CHARS_MAX).status is RequestStatus.APPROVED
    error = refused(opened(), Answer(action="approve", comment="c" * (COMMENT_CHARS_MAX + 1)))
    assert (type(error), error.code) == (Unprocessable, "comment_too_long")
