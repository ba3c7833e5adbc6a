"""`ai.agent`: lets a language model work on a task with tools, in bounded turns, until it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from nodes.asking import asked
from nodes.chats import MODEL_PROPERTIES, Answer, ask, request_of
from nodes.forms import schema_problems
from nodes.lineage import carried
from nodes.toolbox import (
    CALLS_MAX,
    TOOL_SCHEMA,
    TURNS_MAX,
    Called,
    child_of,
    place_of,
    tool_documents,
    tool_of,
    tool_problems,
    understood,
)
from workflow.answers import ROLES
from workflow.errors import NodeError
from workflow.models import ChatRequest, Message, Role, Usage
from workflow.spec import (
    MAIN,
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
from workflow.states import ExecutionStatus
from workflow.waiting import ChildState, NewRequest, Request, RequestStatus, RequestType, Suspend

MODEL_TIMEOUT_MS = 300_000
RESULT_CHARS_MAX = 20_000
"""What a model is told of a tool's result at most."""
STEP_CHARS_MAX = 2_000

LAST_TURN = "Answer now, with what you know; there are no more calls of tools."
TOO_MANY_CALLS = f"no more than {CALLS_MAX} calls at once: make this one later"

SPEC = NodeSpec(
    type="ai.agent",
    title="Agent",
    category="ai",
    description=(
        "Gives a language model a task and tools: nodes, workflows, collections of documents. What it calls is executed, several calls at "
        "once, and it is told the results, turn by turn, until it answers; in its last turn it has no tools. Every call is an execution of "
        "its own below this one, every answer is kept, and nothing is held in a process while it waits: a crash repeats no turn. A tool "
        "with `approval` is called when somebody has approved. Gives what `ai.llm` gives, with the tokens of all turns, and `steps`: what "
        "was called, with which arguments, in which execution, and what came of it."
    ),
    effect=Effect.EFFECT,
    suspends=True,
    each_item=True,
    timeout_ms=3_600_000,
    aliases=("agent", "aiagent"),
    literal=frozenset({"tools", "schema"}),
    examples=(
        Example(
            title="A question about an order, with a service and a handbook",
            config={
                "prompt": "{{ $json.question }}",
                "system": "You help customers of a shop.",
                "tools": [
                    {
                        "name": "order_status",
                        "description": "Tells where an order is.",
                        "parameters": {
                            "type": "object",
                            "properties": {"number": {"type": "integer"}},
                            "required": ["number"],
                        },
                        "node": {
                            "type": "action.http",
                            "config": {"url": "https://shop.example/orders/{{ $json.number }}"},
                        },
                    },
                    {"name": "handbook", "description": "Looks into the handbook.", "collection": "handbook"},
                ],
            },
            items=[{"question": "Where is order 7, and how long is its warranty?"}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "title": "Task", "description": "What is to be done."},
            "system": {
                "type": "string",
                "default": "",
                "title": "System",
                "description": "What the model is told before.",
            },
            "tools": {
                "type": "array",
                "maxItems": 64,
                "items": TOOL_SCHEMA,
                "title": "Tools",
                "description": "What it may call.",
            },
            "max_turns": {
                "type": "integer",
                "minimum": 1,
                "maximum": TURNS_MAX,
                "default": 10,
                "title": "Turns",
                "description": "How often the model is asked at most, for an item.",
            },
            "max_total_tokens": {
                "type": ["integer", "null"],
                "minimum": 1,
                "title": "Tokens in all",
                "description": "Once the turns of an item have taken so many tokens, no other one is begun and it fails.",
            },
            "schema": {
                "type": ["object", "null"],
                "title": "Schema",
                "description": "JSON Schema of the answer; `data` holds it. The answer is asked for once more, without tools.",
            },
            "approvers": {
                "type": "array",
                "items": {"enum": list(ROLES)},
                "uniqueItems": True,
                "title": "Who may approve",
                "description": "Roles; without any, every member who may edit.",
            },
            **MODEL_PROPERTIES,
        },
        "required": ["prompt"],
        "additionalProperties": False,
    },
)


@dataclass(slots=True)
class _Work:
    """What has been done for an item so far."""

    messages: list[Message]
    usage: Usage = field(default_factory=Usage)
    steps: list[JsonObject] = field(default_factory=list)
    waits: bool = False
    """Whether a call of this turn has not come to its end."""


async def run(context: NodeContext, config: Config, items: Items) -> Outputs | Suspend:
    """Work on every item; wait while calls are under way or nobody has approved."""
    children = {state.place: state for state in await context.children.states()}
    given: Items = []
    waits = False
    for index, item in enumerate(items):
        with context.item(index):
            done = await _Agent(context, config.of(index), index, children).work()
            waits = waits or done is None
            if done is not None:
                given.append(carried(item, index, done))
    return Suspend() if waits else {MAIN: given}


class _Agent:
    """The work on one item. It is gone through from its beginning each time: what was answered and called before is known."""

    def __init__(
        self, context: NodeContext, config: Mapping[str, Any], index: int, children: Mapping[int, ChildState]
    ) -> None:
        self._context = context
        self._config = config
        self._index = index
        self._children = children
        self._tools: dict[str, JsonObject] = {tool["name"]: tool for tool in config.get("tools") or ()}

    async def work(self) -> JsonObject | None:
        """Return what is given for the item, or None while it waits."""
        if not self._config["prompt"].strip():
            raise NodeError("there is no task", "no_prompt", {"retryable": False})
        system = self._config.get("system")
        work = _Work([Message(role=Role.SYSTEM, content=system)] if system else [])
        work.messages.append(Message(role=Role.USER, content=self._config["prompt"]))
        turns_max = int(self._config.get("max_turns", 10))
        for turn in range(turns_max):
            self._check_budget(work)
            answer = await self._turn(work, turn, last=turn + 1 == turns_max)
            if not answer.result.tool_calls or turn + 1 == turns_max:
                return await self._given(work, answer, turn + 1)
            work.messages.append(
                Message(role=Role.ASSISTANT, content=answer.result.content, tool_calls=answer.result.tool_calls)
            )
            for number, call in enumerate(answer.result.tool_calls):
                result = await self._call(work, turn, number, understood(self._tools, call), call.name)
                work.messages.append(Message(role=Role.TOOL, content=result, tool_call_id=call.id))
            if work.waits:
                return None
        return None

    async def _turn(self, work: _Work, turn: int, *, last: bool) -> Answer:
        messages, tools = work.messages, [] if last else [tool_of(tool) for tool in self._tools.values()]
        if last and turn:
            messages = [*messages, Message(role=Role.USER, content=LAST_TURN)]
        request = self._request(messages, tools=tools)
        answer = await ask(self._context, request, f"{self._index}:{turn}", self._index, again=turn > 0)
        work.usage += answer.result.usage
        return answer

    def _request(self, messages: list[Message], **more: Any) -> ChatRequest:
        request = request_of(self._config, messages, self._context, **more)
        return replace(request, timeout_ms=min(request.timeout_ms, MODEL_TIMEOUT_MS))

    def _check_budget(self, work: _Work) -> None:
        limit = self._config.get("max_total_tokens")
        if limit is not None and work.usage.total >= limit:
            fields = {"tokens": work.usage.total, "max_total_tokens": limit, "retryable": False}
            message = f"the agent has taken {work.usage.total} tokens; {limit} are allowed"
            raise NodeError(message, "agent_over_budget", fields)

    async def _call(self, work: _Work, turn: int, number: int, called: Called, name: str) -> str:
        """Return what the model is told of a call: its result, what was wrong with it, or nothing while it is under way."""
        step: JsonObject = {"turn": turn + 1, "tool": name, "arguments": called.arguments, "status": "refused"}
        work.steps.append(step)
        tool = called.tool
        if tool is None or called.wrong or number >= CALLS_MAX:
            return _end(step, "refused", called.wrong or TOO_MANY_CALLS)
        place = place_of(self._index, turn, number)
        if tool.get("approval"):
            decided = await self._approval(tool, called.arguments, place)
            if isinstance(decided, Suspend):
                work.waits = True
                return ""
            if decided.status is not RequestStatus.APPROVED:
                comment = (decided.response or {}).get("comment") or "no reason given"
                return _end(step, "not_approved", f"somebody has refused this call: {comment}")
        state = self._children.get(place)
        if state is None:
            refusal = await self._start(tool, called.arguments, place)
            work.waits = work.waits or not refusal
            return _end(step, "refused", refusal) if refusal else ""
        step["execution_id"] = str(state.id)
        if not state.status.terminal:
            work.waits = True
            return ""
        if state.status is ExecutionStatus.COMPLETED:
            return _end(step, "completed", _result(state))
        what = f"{state.error_code}: {state.error_message}" if state.error_code else state.status.value
        return _end(step, state.status.value, f"the call failed: {what}")

    async def _start(self, tool: JsonObject, arguments: JsonObject, place: int) -> str:
        """Start the execution that a call is; why it must not be, where it must not."""
        try:
            await self._context.children.start([child_of(tool, arguments, place)])
        except ValueError:
            return f"{tool.get('workflow_id')!r} is not the id of a workflow"
        except NodeError as error:
            if error.retryable or error.code == "needs_instance":
                raise
            return f"{error.code}: {error.message}"
        return ""

    async def _approval(self, tool: JsonObject, arguments: JsonObject, place: int) -> Request | Suspend:
        new = NewRequest(
            type=RequestType.APPROVAL,
            title=f"May the agent {self._context.node_id} call {tool['name']}?"[:200],
            message=tool["description"],
            context={"tool": tool["name"], "arguments": arguments},
            allowed_roles=self._config.get("approvers") or (),
        )
        return await asked(self._context, lambda: new, self._context.requests.at(place))

    async def _given(self, work: _Work, answer: Answer, turns: int) -> JsonObject:
        if self._config.get("schema"):
            said = Message(role=Role.ASSISTANT, content=answer.result.content)
            wish = Message(role=Role.USER, content="Give that answer as JSON.")
            request = self._request([*work.messages, said, wish], schema=self._config["schema"])
            answer = await ask(self._context, request, f"{self._index}:data", self._index, again=True)
            work.usage += answer.result.usage
        result = replace(answer.result, usage=work.usage, tool_calls=())
        return {**replace(answer, result=result).as_json(), "turns": turns, "steps": work.steps}


def _end(step: JsonObject, status: str, told: str) -> str:
    step.update(status=status, result=told[:STEP_CHARS_MAX])
    return told


def _result(state: ChildState) -> str:
    """Return a call's result as text: what its last nodes gave, as JSON; text as it is."""
    output = None if state.output is None else orjson.loads(state.output)
    if isinstance(output, dict) and len(output) == 1:
        (output,) = output.values()
    if isinstance(output, list) and len(output) == 1:
        (output,) = output
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return text if len(text) <= RESULT_CHARS_MAX else text[:RESULT_CHARS_MAX] + " … (cut)"


def check(config: JsonObject) -> list[Problem]:
    """Find what is wrong with the tools and with the schema of the answer."""
    return [*tool_problems(config), *schema_problems(config, "schema", "invalid_answer_schema")]


NODE_TYPE = NodeType(SPEC, run, check, workflows_of=tool_documents)
