"""`logic.wait`: goes on later: after a while, at a time, or when a request or a form has come from outside."""

from nodes.asking import asked
from nodes.forms import form_problems
from nodes.lineage import carried
from nodes.moments import moment_of, unix_ms, zone_of
from nodes.spans import span_ms, span_schema
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
)
from workflow.waiting import NewRequest, RequestStatus, RequestType, Suspend

TIMEOUT = "timeout"
ASKING = ("webhook", "form")

SPEC = NodeSpec(
    type="logic.wait",
    title="Wait",
    category="logic",
    description=(
        "Goes on after a while, at a time, or when a request comes to the node's own link. While it waits it needs no process and "
        "survives every restart. The link of a node that waits for a request stands in its request (`GET hitl`), and in "
        "`$execution.resume_url` under the node's name, so that an earlier node can send it to somebody."
    ),
    effect=Effect.EFFECT,
    suspends=True,
    asks=True,
    outputs=(MAIN, TIMEOUT),
    timeout_ms=3_600_000,
    aliases=("wait", "delay"),
    examples=(
        Example(
            title="Half an hour",
            config={"mode": "duration", "duration": {"amount": 30, "unit": "minutes"}},
            items=[{"order": 7}],
        ),
        Example(
            title="A time that has passed already",
            config={"mode": "until", "until": "2020-01-01T08:00:00Z"},
            items=[{"order": 7}],
            outputs={"main": [{"order": 7}]},
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "mode": {
                "enum": ["duration", "until", "webhook", "form"],
                "default": "duration",
                "title": "Goes on",
                "description": (
                    "`duration`: after a while. `until`: at a time. `webhook`: when a POST comes to the link; its one item then "
                    "holds `body`. `form`: when somebody has filled in a form; its one item is what was filled in."
                ),
            },
            "duration": span_schema("After", "How long `duration` waits."),
            "until": {
                "type": ["string", "number"],
                "title": "At",
                "description": "ISO 8601, in the workflow's time zone where it has none, or milliseconds since 1970.",
            },
            "timeout": span_schema("At most", "How long `webhook` and `form` wait; then the items go to `timeout`."),
            "title": {"type": "string", "maxLength": 200, "title": "Title", "description": "Shown above the form."},
            "message": {
                "type": "string",
                "maxLength": 10_000,
                "title": "Message",
                "description": "Shown with the form.",
            },
            "form_schema": {
                "type": "object",
                "title": "Form",
                "description": "JSON Schema of what `form` takes, or of the body that `webhook` takes.",
            },
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"not": {"properties": {"mode": {"enum": ["until", "webhook", "form"]}}, "required": ["mode"]}},
                "then": {"required": ["duration"]},
            },
            {
                "if": {"properties": {"mode": {"const": "until"}}, "required": ["mode"]},
                "then": {"required": ["until"]},
            },
        ],
    },
    literal=frozenset({"form_schema"}),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    """Wait, then pass the items on, or give what has come."""
    if config.get("mode", "duration") in ASKING:
        return await _asked(context, config, items)
    if context.woken is None:
        until_ms = _until_ms(context, config)
        if until_ms > context.now_ms:
            return Suspend(until_ms)
    return {MAIN: [carried(item, index) for index, item in enumerate(items)]}


async def _asked(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    request = await asked(context, lambda: _new(config))
    if isinstance(request, Suspend):
        return request
    if request.status is RequestStatus.TIMEOUT:
        return {TIMEOUT: [carried(item, index) for index, item in enumerate(items)]}
    if request.status is not RequestStatus.ANSWERED:
        raise NodeError("what this node waited for was withdrawn", "request_cancelled", {"retryable": False})
    given = {} if request.response is None else request.response
    if not isinstance(given, dict):
        raise NodeError("what was filled in is not an object", "answer_invalid", {"retryable": False})
    return {MAIN: [Item(json=given, paired_item=list(range(len(items))))]}


def _new(config: Config) -> NewRequest:
    return NewRequest(
        type=RequestType(config["mode"]),
        title=config.get("title", ""),
        message=config.get("message", ""),
        form_schema=config.get("form_schema", {}),
        timeout_ms=span_ms(config.get("timeout")),
    )


def _until_ms(context: NodeContext, config: Config) -> int:
    if config.get("mode") != "until":
        return context.now_ms + (span_ms(config["duration"]) or 0)
    found = moment_of(config["until"], zone_of(context.timezone))
    if found is None:
        raise NodeError(f"{config['until']!r} is not a time", "time_invalid", {"retryable": False})
    return unix_ms(found)


def outputs_of(config: JsonObject) -> tuple[str, ...]:
    """Return the handles: `timeout` only where it may come to that."""
    return (MAIN, TIMEOUT) if config.get("mode") in ASKING and "timeout" in config else (MAIN,)


NODE_TYPE = NodeType(SPEC, run, form_problems, outputs_of=outputs_of)
