"""What is answered about requests to people, and what is read of their answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.bodies import parse_object
from serve_app.views import iso
from store.inbox import Asked
from workflow.answers import actions_of, link_is_enough, may_answer
from workflow.errors import Unprocessable

ACTION_CHARS_MAX = 100


class RespondBody(BaseModel):
    """An answer to a request."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    action: str = Field(default="", max_length=ACTION_CHARS_MAX)
    """one of the request's `actions`; may be left out where it has none"""
    data: Any = None
    """what was filled in, as the request's `form_schema` wants it; for `replace`, the objects that the node gives instead"""
    comment: str = ""
    """words that go with it"""


RESPOND_FIELDS = frozenset(RespondBody.model_fields)


def read_answer(body: bytes) -> RespondBody:
    """Return the answer in a body. Raises `BadInput`, `Unprocessable`."""
    asked = parse_object(body, RESPOND_FIELDS)
    try:
        return RespondBody.model_validate(asked)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        message = f"{'.'.join(map(str, found['loc'])) or 'the body'}: {found['msg']}"
    raise Unprocessable(message, "invalid_fields")


def request_view(asked: Asked, role: str = "", link: str = "") -> dict[str, Any]:
    """Return a request as it is shown to somebody of this role; the link only to who may answer, where it is enough."""
    may = bool(role) and may_answer(asked.open, role)
    return {
        "id": str(asked.id),
        "execution_id": str(asked.execution_id),
        "workflow_id": None if asked.workflow_id is None else str(asked.workflow_id),
        "node_id": asked.node_id,
        "run_index": asked.run_index,
        **public_view(asked),
        "context": asked.context,
        "allowed_roles": list(asked.open.roles),
        "may_answer": may,
        "approvals_required": asked.open.approvals_required,
        "answers": list(asked.open.answers),
        "response": asked.response,
        "responded_by": None if asked.user_id is None else str(asked.user_id),
        "auto_action": asked.auto_action,
        "escalated": asked.escalated,
        "reminded": asked.reminded,
        "created_at": iso(asked.created_ms),
        "responded_at": iso(asked.responded_ms),
        "response_time_ms": None if asked.responded_ms is None else asked.responded_ms - asked.created_ms,
        "link": link if may and link_is_enough(asked.open) else None,
    }


def public_view(asked: Asked) -> dict[str, Any]:
    """Return what whoever has the link may know."""
    return {
        "type": asked.open.type.value,
        "status": asked.open.status.value,
        "title": asked.title,
        "message": asked.message,
        "options": list(asked.open.options),
        "actions": actions_of(asked.open),
        "form_schema": dict(asked.open.form_schema),
        "expires_at": iso(asked.expires_ms),
    }
