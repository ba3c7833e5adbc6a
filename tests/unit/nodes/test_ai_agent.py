"""The agent: turns, calls as executions below it, approvals, bounds; what a crash or a wait in between must not repeat."""

from dataclasses import dataclass, field

import orjson
import pytest

from nodes.ai_agent import NODE_TYPE
from nodes.toolbox import CALLS_MAX, child_of, document_of, place_of
from tests.models import WordModels
from tests.unit.nodes.asking import OneRequest, SomeChildren, child_id
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.models import Role, ToolCall
from workflow.spec import Suspend
from workflow.states import ExecutionStatus
from workflow.waiting import ChildState, RequestStatus, RequestType, Wake

WORKFLOW = "0190a3c2-0000-7000-8000-000000000001"
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
DOUBLE = {
    "name": "double",
    "description": "Doubles a number.",
    "parameters": NUMBER,
    "node": {"type": "data.set", "config": {"values": {"doubled": "{{ $json.n * 2 }}"}}},
}
ORDERS = {"name": "orders", "description": "Finds orders.", "parameters": NUMBER, "workflow_id": WORKFLOW}
BOOK = {"name": "book", "description": "Looks into the handbook.", "collection": "handbook", "top_k": 3}
CONFIG = {"prompt": "{{ $json.p }}", "tools": [DOUBLE, ORDERS, BOOK]}


class Kept:
    def __init__(self):
        self.results = {}

    async def recall(self, name=""):
        return self.results.get(name)

    async def keep(self, result, name=""):
        return self.results.setdefault(name, result)


@dataclass
class ManyRequests:
    by_place: dict[int, OneRequest] = field(default_factory=dict)

    def at(self, place):
        return self.by_place.setdefault(place, OneRequest(0))


def turn_of(request):
    return sum(message.role is Role.ASSISTANT for message in request.messages)


def scripted(*turns, says="done"):
    """Call in each turn what it lists, while there are tools, then answer."""

    def calls(request):
        turn = turn_of(request)
        if not request.tools or turn >= len(turns):
            return ()
        return [
            ToolCall(
                id=f"c{turn}{number}",
                name=name,
                arguments=told if isinstance(told, str) else orjson.dumps(told).decode(),
            )
            for number, (name, told) in enumerate(turns[turn])
        ]

    return WordModels(says=lambda _: says, calls=calls)


@pytest.fixture
def agent(run_node, context):
    """Run the node again and again, each time with what has happened meanwhile."""
    context.effects, context.children, context.requests = Kept(), SomeChildren(), ManyRequests()

    async def run(config, *prompts, woken=None):
        context.woken = woken
        return await run_node(NODE_TYPE, config, [{"p": prompt} for prompt in prompts or ("go",)])

    return run


def end(context, outputs):
    """Let children come to their ends: outputs by place."""
    known = {state.place: state for state in context.children.known}
    for place, output in outputs.items():
        failed = isinstance(output, tuple)
        known[place] = ChildState(
            id=child_id(place),
            place=place,
            status=ExecutionStatus.FAILED if failed else ExecutionStatus.COMPLETED,
            output=None if failed else orjson.dumps(output),
            error_code=output[0] if failed else "",
            error_message=output[1] if failed else "",
        )
    context.children.known = list(known.values())


async def test_without_a_call_the_first_answer_is_the_answer(agent, context):
    context.models = scripted(says="hello there")

    given = await agent({**CONFIG, "system": "Be kind."})

    found = given["main"][0]["json"]
    assert (found["content"], found["turns"], found["steps"]) == ("hello there", 1, [])
    (asked,) = context.models.asked
    assert [message.role for message in asked.messages] == [Role.SYSTEM, Role.USER]
    assert [tool.name for tool in asked.tools] == ["double", "orders", "book"]
    assert asked.tools[2].parameters["required"] == ["query"]


async def test_calls_are_executions_that_it_waits_for_and_hears_of(agent, context):
    context.models = scripted([("double", {"n": 4}), ("orders", {"n": 1})])

    assert await agent(CONFIG) == Suspend()
    first, second = context.children.started
    assert (first.workflow_id, orjson.loads(first.input), first.place) == (None, {"n": 4}, 0)
    assert orjson.loads(first.definition) == document_of(DOUBLE)
    assert (str(second.workflow_id), second.definition, second.place) == (WORKFLOW, None, 1)

    end(context, {0: {"tool": [{"doubled": 8}]}})
    assert await agent(CONFIG, woken=Wake.SIGNAL) == Suspend()
    end(context, {1: {"end": [{"id": 1}, {"id": 2}]}})
    given = await agent(CONFIG, woken=Wake.SIGNAL)

    found = given["main"][0]["json"]
    assert (found["content"], found["turns"]) == ("done", 2)
    assert [(step["tool"], step["status"], step["result"]) for step in found["steps"]] == [
        ("double", "completed", '{"doubled":8}'),
        ("orders", "completed", '[{"id":1},{"id":2}]'),
    ]
    assert found["steps"][0]["execution_id"] == str(child_id(0))
    assert len(context.models.asked) == 2, "no turn is asked for twice"
    assert len(context.children.started) == 2, "no call is made twice"
    told = context.models.asked[1].messages
    assert [(message.role, message.tool_call_id) for message in told[-2:]] == [(Role.TOOL, "c00"), (Role.TOOL, "c01")]
    assert told[-3].tool_calls[0].name == "double"
    total = sum(request.messages[0].content.count("go") for request in context.models.asked)
    assert found["usage"]["completion"] == 2
    assert total == 2


async def test_a_search_is_an_execution_of_its_own(agent, context):
    context.models = scripted([("book", {"query": "warranty"})])
    await agent(CONFIG)
    (child,) = context.children.started
    node = orjson.loads(child.definition)["nodes"][1]
    assert (node["type"], node["config"]["collection"], node["config"]["top_k"]) == ("ai.retrieve", "handbook", 3)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("nobody", {}, "there is no tool"),
        ("double", "{oops", "not JSON"),
        ("double", "[1]", "not a JSON object"),
        ("double", {"n": "four"}, "do not fit"),
    ],
)
async def test_a_call_that_is_none_is_told_and_nothing_is_executed(agent, context, name, arguments, told):
    context.models = scripted([(name, arguments)])

    given = await agent(CONFIG)

    (step,) = given["main"][0]["json"]["steps"]
    assert step["status"] == "refused"
    assert told in step["result"]
    assert told in context.models.asked[1].messages[-1].content
    assert context.children.started == []


async def test_a_call_that_fails_is_told_and_the_agent_goes_on(agent, context):
    context.models = scripted([("double", {"n": 1})])
    await agent(CONFIG)
    end(context, {0: ("http_500", "it broke")})

    given = await agent(CONFIG, woken=Wake.SIGNAL)

    (step,) = given["main"][0]["json"]["steps"]
    assert (step["status"], step["result"]) == ("failed", "the call failed: http_500: it broke")


async def test_an_execution_that_must_not_be_is_told(agent, context):
    context.children = SomeChildren(refuses="workflow_circular")
    context.models = scripted([("orders", {"n": 1})])
    given = await agent(CONFIG)
    assert given["main"][0]["json"]["steps"][0]["result"].startswith("workflow_circular")


async def test_more_calls_than_may_be_at_once(agent, context):
    context.models = scripted([[("double", {"n": n})][0] for n in range(CALLS_MAX + 1)])
    await agent(CONFIG)
    assert len(context.children.started) == CALLS_MAX


@pytest.mark.parametrize(
    ("status", "response", "made"),
    [(RequestStatus.APPROVED, {"action": "approve"}, 1), (RequestStatus.REJECTED, {"comment": "too dear"}, 0)],
)
async def test_a_call_that_somebody_must_approve(agent, context, status, response, made):
    config = {**CONFIG, "tools": [{**DOUBLE, "approval": True}], "approvers": ["admin"]}
    context.models = scripted([("double", {"n": 4})])

    assert await agent(config) == Suspend()
    request = context.requests.by_place[0]
    (opened,) = request.opened
    assert (opened.type, opened.allowed_roles) == (RequestType.APPROVAL, ["admin"])
    assert opened.context == {"tool": "double", "arguments": {"n": 4}}
    assert context.children.started == []

    request.settled(status, response)
    given = await agent(config, woken=Wake.SIGNAL)
    assert len(context.children.started) == made
    if not made:
        (step,) = given["main"][0]["json"]["steps"]
        assert (step["status"], "too dear" in step["result"]) == ("not_approved", True)


async def test_its_last_turn_has_no_tools(agent, context):
    context.models = scripted(*[[("double", {"n": n})] for n in range(9)])
    config = {**CONFIG, "max_turns": 3}

    for turn in range(2):
        assert await agent(config, woken=Wake.SIGNAL if turn else None) == Suspend()
        end(context, {place_of(0, turn, 0): {"tool": [{"x": turn}]}})
    given = await agent(config, woken=Wake.SIGNAL)

    assert given["main"][0]["json"]["turns"] == 3
    assert context.models.asked[-1].tools == []
    assert "Answer now" in context.models.asked[-1].messages[-1].content


async def test_an_agent_that_has_taken_its_tokens_fails(agent, context):
    context.models = scripted([("double", {"n": 1})], says="many words are said here")
    config = {**CONFIG, "max_total_tokens": 5}
    await agent(config)
    end(context, {0: {"tool": [{}]}})

    with pytest.raises(NodeError) as caught:
        await agent(config, woken=Wake.SIGNAL)

    assert (caught.value.code, caught.value.retryable) == ("agent_over_budget", False)


async def test_every_item_has_its_own_turns_and_calls(agent, context):
    context.models = scripted([("double", {"n": 1})])
    assert await agent(CONFIG, "a", "b") == Suspend()
    places = [child.place for child in context.children.started]
    assert places == [place_of(0, 0, 0), place_of(1, 0, 0)]
    end(context, {places[1]: {"tool": [{"x": 1}]}})
    assert await agent(CONFIG, "a", "b", woken=Wake.SIGNAL) == Suspend()
    end(context, {places[0]: {"tool": [{"x": 0}]}})
    given = await agent(CONFIG, "a", "b", woken=Wake.SIGNAL)
    assert [item["paired_item"] for item in given["main"]] == [0, 1]


async def test_an_answer_by_a_schema(agent, context):
    context.models = WordModels(says=lambda request: '{"x": 1}' if request.schema else "one")
    given = await agent({**CONFIG, "schema": {"type": "object", "required": ["x"]}})
    assert given["main"][0]["json"]["data"] == {"x": 1}


@pytest.mark.parametrize(
    ("tools", "code"),
    [
        ([{"name": "a", "description": "d"}], "invalid_tool"),
        ([{**DOUBLE, "workflow_id": WORKFLOW}], "invalid_tool"),
        ([DOUBLE, DOUBLE], "duplicate_tool"),
        ([{**DOUBLE, "parameters": {"type": "nonsense"}}], "invalid_tool_parameters"),
        ([{**DOUBLE, "parameters": {"type": "array"}}], "invalid_tool_parameters"),
        ([{**DOUBLE, "node": {"type": "no.such"}}], "invalid_node_type"),
        ([{**DOUBLE, "node": {"type": "data.set", "config": {"nonsense": 1}}}], "invalid_config"),
        ([{**DOUBLE, "name": "a b"}], "invalid_config"),
    ],
)
def test_tools_that_are_none_are_found_before(tools, code):
    assert code in [found for found, _ in findings(NODE_TYPE, {"prompt": "p", "tools": tools})]


def test_an_id_that_is_none_is_an_error_of_the_call():
    with pytest.raises(ValueError, match="badly formed"):
        child_of({**ORDERS, "workflow_id": "x"}, {}, 0)
