"""`hitl.request`: asks people, and goes on with what they decide."""

from typing import Any

from nodes.asking import asked
from nodes.forms import form_problems
from nodes.lineage import carried
from nodes.spans import span_ms, span_schema
from workflow.answers import APPROVE, REJECT, ROLES
from workflow.errors import NodeError
from workflow.spec import (
    Config,
    Effect,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)
from workflow.waiting import NewRequest, Request, RequestStatus, RequestType, Suspend

APPROVED, REJECTED, ANSWERED, TIMEOUT = "approved", "rejected", "answered", "timeout"
HANDLE_BY_ACTION = {APPROVE: APPROVED, REJECT: REJECTED}
PLACEHOLDER = "{{"

SPEC = NodeSpec(
    type="hitl.request",
    title="Ask somebody",
    category="hitl",
    description=(
        "Asks the members of the workspace, or whoever has the link, and waits without needing any process. The first decision "
        "counts, or as many approvals of different members as are wanted; when the time is over no answer does. Its items go on with "
        "the decision in `hitl`: `status`, `action`, `comment`, `data` (what was filled in), `by`, `responded_ms`. Reminding and "
        "escalating are not events and wake nothing: whoever looks at the request (`GET hitl`) sees `reminded` and `escalated`, by "
        "the database's clock, and an answer is judged by it. So neither can be lost or come late. Nothing is sent to anybody: a "
        "program that notifies people asks for `GET hitl?status=pending`."
    ),
    effect=Effect.EFFECT,
    suspends=True,
    asks=True,
    outputs=(APPROVED, REJECTED, TIMEOUT),
    timeout_ms=3_600_000,
    aliases=("human_approval", "hitl", "approval"),
    examples=(
        Example(
            title="Two approvals within a day, else it counts as rejected",
            config={
                "type": "approval",
                "title": "Pay {{ $json.amount }}?",
                "approvals": 2,
                "allowed_roles": ["owner", "admin"],
                "timeout": {"amount": 1, "unit": "days"},
                "auto_action": "reject",
            },
            items=[{"amount": 120}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "type": {
                "enum": ["approval", "clarification"],
                "default": "approval",
                "title": "Kind",
                "description": (
                    "`approval`: approve or reject; the items go to `approved` or `rejected`. `clarification`: answer, with one of "
                    "the options or by the form; the items go to `answered`."
                ),
            },
            "title": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "title": "Title",
                "description": "What it is about, in a line.",
            },
            "message": {
                "type": "string",
                "maxLength": 10_000,
                "default": "",
                "title": "Message",
                "description": "What is asked, with all that is needed to decide.",
            },
            "options": {
                "type": "array",
                "maxItems": 50,
                "title": "Options",
                "description": "What a clarification gives to choose from; `action` of the answer is the `id` of one.",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "minLength": 1, "maxLength": 100},
                        "label": {"type": "string", "maxLength": 200},
                    },
                    "required": ["id"],
                    "additionalProperties": False,
                },
            },
            "form_schema": {"type": "object", "title": "Form", "description": "JSON Schema of the answer's `data`."},
            "approvals": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 1,
                "title": "Approvals",
                "description": (
                    "So many different members must approve; one who rejects decides. With more than one, answers by the link are "
                    "refused: nobody can tell who has it."
                ),
            },
            "allowed_roles": {
                "type": "array",
                "items": {"enum": list(ROLES)},
                "uniqueItems": True,
                "title": "Who may answer",
                "description": (
                    "Roles; without any, every member who may edit. Whoever has the link may answer, too, where one approval is enough."
                ),
            },
            "timeout": span_schema("At most", "How long it waits."),
            "auto_action": {
                "type": "string",
                "maxLength": 100,
                "title": "When nobody answers",
                "description": (
                    "Decided when the time is over: `approve` or `reject`; of a clarification one of its options. Without it the items go "
                    "to `timeout`."
                ),
            },
            "remind_after": span_schema(
                "Remind after", "From then on the request is shown as `reminded`, until somebody decides."
            ),
            "escalate_after": span_schema(
                "Escalate after",
                "From then on `escalate_to` may answer, too, beside those of `allowed_roles` or the editors.",
            ),
            "escalate_to": {"enum": list(ROLES), "title": "Escalate to", "description": "A role."},
        },
        "required": ["title"],
        "additionalProperties": False,
        "dependentRequired": {
            "auto_action": ["timeout"],
            "escalate_after": ["escalate_to"],
            "escalate_to": ["escalate_after"],
        },
    },
    literal=frozenset({"form_schema"}),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    """Ask, and route the items by what was decided."""
    request = await asked(context, lambda: _new(config))
    if isinstance(request, Suspend):
        return request
    if request.status is RequestStatus.CANCELLED:
        raise NodeError("what was asked here was withdrawn", "request_cancelled", {"retryable": False})
    told = _told(request)
    return {
        _handle(request, config): [carried(item, i, {**item["json"], "hitl": told}) for i, item in enumerate(items)]
    }


def _new(config: Config) -> NewRequest:
    if "auto_action" in config.whole:
        _check_auto_action(config, config["auto_action"])
    return NewRequest(
        type=RequestType(config.get("type", "approval")),
        title=config["title"],
        message=config.get("message", ""),
        options=config.get("options", ()),
        form_schema=config.get("form_schema", {}),
        allowed_roles=config.get("allowed_roles", ()),
        approvals_required=config.get("approvals", 1),
        timeout_ms=span_ms(config.get("timeout")),
        auto_action=config.get("auto_action", ""),
        remind_after_ms=span_ms(config.get("remind_after")),
        escalate_after_ms=span_ms(config.get("escalate_after")),
        escalate_to=config.get("escalate_to", ""),
    )


def _handle(request: Request, config: Config) -> str:
    action = (request.response or {}).get("action", "")
    if request.status is not RequestStatus.TIMEOUT:
        return request.status.value
    if "auto_action" in config.whole:  # also of requests that were made before this was checked
        _check_auto_action(config, action)
    return HANDLE_BY_ACTION.get(action, ANSWERED) if action else TIMEOUT


def _check_auto_action(config: Config, action: str) -> None:
    """Raise `NodeError` where an expression gave what cannot be decided: no item may leave by a decision that nobody meant."""
    actions = _actions(config.whole)
    if action not in actions:
        message = (
            f"`auto_action` is {action!r}, which is none of what can be decided here: {', '.join(actions) or 'nothing'}"
        )
        raise NodeError(message, "invalid_auto_action", {"actions": actions, "retryable": False})


def _told(request: Request) -> JsonObject:
    response = request.response or {}
    told: dict[str, Any] = {"status": request.status.value}
    told.update({name: response.get(name) for name in ("action", "comment", "data")})
    told["by"] = None if request.user_id is None else str(request.user_id)
    told["responded_ms"] = request.responded_ms
    return told


def outputs_of(config: JsonObject) -> tuple[str, ...]:
    """Return the handles: those of its kind, and `timeout` where nothing else is decided by then."""
    decided = (ANSWERED,) if config.get("type") == "clarification" else (APPROVED, REJECTED)
    return (*decided, TIMEOUT) if "timeout" in config and "auto_action" not in config else decided


def problems(config: JsonObject) -> list[Problem]:
    """Find options that do not go together, and decisions that there are not; what expressions make of it is judged when asked."""
    kind, found = config.get("type", "approval"), form_problems(config)
    options = _list(config.get("options"))
    ids = [option["id"] for option in options if isinstance(option, dict) and isinstance(option.get("id"), str)]
    repeated = sorted({each for each in ids if ids.count(each) > 1 and _written(each)})
    found += [Problem("duplicate_option", f"two options have the id {each!r}", "options") for each in repeated]
    if kind == "approval" and options:
        found.append(Problem("option_not_used", "an approval is approved or rejected: it has no options", "options"))
    if kind == "clarification" and config.get("approvals", 1) != 1:
        found.append(
            Problem("option_not_used", "a clarification is answered once, whatever `approvals` says", "approvals")
        )
    action, actions = config.get("auto_action"), _actions(config)
    known = action is not None and all(map(_written, (kind, action, config.get("options"), *options, *actions)))
    if known and action not in actions:
        can = f"one of {', '.join(actions)}" if actions else "nothing: there are no options"
        found.append(Problem("invalid_auto_action", f"{action!r} cannot be decided here, only {can}", "auto_action"))
    return found


def _actions(config: JsonObject) -> list[str]:
    """Return what can be decided where somebody has to choose."""
    if config.get("type", "approval") == "approval":
        return [APPROVE, REJECT]
    return [str(option.get("id")) for option in _list(config.get("options")) if isinstance(option, dict)]


def _written(value: Any) -> bool:
    """Whether it is written out, and no expression."""
    return not (isinstance(value, str) and PLACEHOLDER in value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


NODE_TYPE = NodeType(SPEC, run, problems, outputs_of=outputs_of)
