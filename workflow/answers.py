"""What an answer to a request means: whether it may be given, and what it decides. Pure; whoever calls holds the request's lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from workflow.errors import Conflict, Forbidden, Unprocessable
from workflow.schemas import violations
from workflow.waiting import Recovery, RequestStatus, RequestType

OWNER = "owner"
ROLES = (OWNER, "admin", "member", "viewer")
"""What members of a workspace are."""
EDITORS = ("member", "admin", "owner")
"""Who may answer where a request names no roles."""
APPROVE, REJECT = "approve", "reject"
COMMENT_CHARS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What must be known of a request to answer it. `roles` are those that may, with the one it was escalated to."""

    type: RequestType
    status: RequestStatus
    options: Sequence[Mapping[str, Any]]
    form_schema: Mapping[str, Any]
    roles: Sequence[str]
    approvals_required: int
    answers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answers; `user_id` and `role` are empty for whoever came by the link."""

    action: str
    data: Any = None
    comment: str = ""
    user_id: UUID | None = None
    role: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of the request. `response` is set once it is decided."""

    status: RequestStatus
    response: Mapping[str, Any] | None
    answers: Sequence[Mapping[str, Any]]


def judge(request: Open, answer: Answer) -> Decision:
    """Return what the answer decides.

    Raises `Conflict` for a request that is closed or that this person has answered, `Forbidden` for a role that may not
    answer and for the link where it is not enough, `Unprocessable` for an answer that does not fit.
    """
    if request.status is not RequestStatus.PENDING:
        raise closed(request.status)
    if answer.user_id is None and not link_is_enough(request):
        message = f"this wants {request.approvals_required} approvals of different members: each answers it in the API"
        raise Forbidden(message, "link_not_enough", {"approvals_required": request.approvals_required})
    if answer.role:
        _check_role(request, answer.role)
    if len(answer.comment) > COMMENT_CHARS_MAX:
        raise Unprocessable(f"`comment` has at most {COMMENT_CHARS_MAX} characters", "comment_too_long")
    by = None if answer.user_id is None else str(answer.user_id)
    if any(given.get("by") == by for given in request.answers):
        raise Conflict("this request was answered by you already", "answered_already")
    status = _status(request, answer)
    given = {"by": by, "action": answer.action, "comment": answer.comment, "data": answer.data, "at_ms": answer.at_ms}
    answers = [*request.answers, given]
    if status is RequestStatus.APPROVED and len(answers) < request.approvals_required:
        return Decision(status=RequestStatus.PENDING, response=None, answers=answers)
    if request.type in (RequestType.FORM, RequestType.WEBHOOK):
        response = answer.data if request.type is RequestType.FORM else {"body": answer.data}
    elif request.type is RequestType.ERROR_RECOVERY:
        response = {"action": answer.action, "output": answer.data, "comment": answer.comment}
    else:
        response = {"action": answer.action, "comment": answer.comment, "data": answer.data}
    return Decision(status=status, response=response, answers=answers)


def closed(status: RequestStatus) -> Conflict:
    """Return the error of an answer to a request that is decided, over or withdrawn."""
    return Conflict(f"the request is {status.value} already", "request_closed", {"state": status.value})


def link_is_enough(request: Open) -> bool:
    """Whether whoever has the link may answer: not where different people are to approve, for nobody can tell who has it."""
    return request.type is not RequestType.APPROVAL or request.approvals_required <= 1


def roles_asked(named: Sequence[str], escalated_to: str) -> list[str]:
    """Return the roles that may answer: those that are named, and the one it was escalated to, if any, beside them or the editors."""
    if not escalated_to:
        return list(named)
    roles = list(named or EDITORS)
    return roles if escalated_to in roles else [*roles, escalated_to]


def may_answer(request: Open, role: str) -> bool:
    """Whether somebody of this role may answer; owners always may."""
    return role == OWNER or role in (request.roles or EDITORS)


def _check_role(request: Open, role: str) -> None:
    if not may_answer(request, role):
        wanted = sorted(request.roles or EDITORS)
        raise Forbidden(
            f"this request is for {', '.join(wanted)}; yours is {role}", "role_not_asked", {"roles": wanted}
        )


def _status(request: Open, answer: Answer) -> RequestStatus:
    actions = actions_of(request)
    if answer.action not in (actions or [""]):
        message = f"`action` is one of {', '.join(actions)}" if actions else "there is no `action` to choose here"
        raise Unprocessable(message, "action_invalid", {"actions": actions})
    if request.type is RequestType.ERROR_RECOVERY:
        objects = answer.data if isinstance(answer.data, list) else [answer.data]
        if answer.action == Recovery.REPLACE and not all(isinstance(each, dict) for each in objects):
            raise Unprocessable("`data` is what the node gives instead: a list of objects", "data_invalid")
        return RequestStatus.ANSWERED
    if request.type is RequestType.APPROVAL and answer.action == REJECT:
        return RequestStatus.REJECTED
    _check_data(request, answer.data)
    return RequestStatus.APPROVED if request.type is RequestType.APPROVAL else RequestStatus.ANSWERED


def actions_of(request: Open) -> list[str]:
    """Return the actions to choose from; none where only data are asked for."""
    options = [str(option["id"]) for option in request.options]
    if request.type is RequestType.APPROVAL:
        return [APPROVE, REJECT]
    return options


def _check_data(request: Open, data: Any) -> None:
    if request.type is RequestType.FORM and not isinstance(data, dict):
        raise Unprocessable("`data` is an object: what was filled in", "data_invalid")
    errors = violations(data, dict(request.form_schema)) if request.form_schema else []
    if errors:
        message = f"`data` does not fit the form: {errors[0]['message']}"
        raise Unprocessable(message, "data_invalid", {"errors": errors})
