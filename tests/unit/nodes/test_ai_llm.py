import orjson
import pytest

from nodes.ai_llm import NODE_TYPE
from nodes.chats import Answer
from tests.models import RAN, WordModels
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.models import ChatResult, FinishReason, Role, ToolCall, Usage

PROMPT = {"prompt": "{{ $json.p }}"}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class Memory:
    """Effects that outlive an attempt, in memory."""

    def __init__(self):
        self.kept = {}

    async def recall(self, name=""):
        return self.kept.get(name)

    async def keep(self, result, name=""):
        return self.kept.setdefault(name, result)


async def test_each_item_is_asked_for_and_gives_the_common_output(run_node, context):
    given = await run_node(NODE_TYPE, PROMPT, [{"p": "one two"}, {"p": "three"}])

    assert [item["json"] for item in given["main"]] == [
        {
            "content": content,
            "model": "words",
            "provider": "words",
            "usage": {"prompt": count, "completion": count, "total": 2 * count, "estimated": False},
            "finish_reason": "stop",
        }
        for content, count in (("one two", 2), ("three", 1))
    ]
    assert [item["paired_item"] for item in given["main"]] == [0, 1]


async def test_what_was_said_before_comes_before_and_the_fields_are_passed_on(run_node, context):
    config = {
        **PROMPT,
        "system": "be short",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        "images": ["https://x/y.png"],
        "provider": "mine",
        "model": "m",
        "base_url": "https://z",
        "api_key": "sk-secret",
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["."],
        "seed": 3,
    }

    await run_node(NODE_TYPE, config, [{"p": "now"}])

    (asked,) = context.models.asked
    assert [(m.role, m.content) for m in asked.messages] == [
        (Role.SYSTEM, "be short"),
        (Role.USER, "hi"),
        (Role.ASSISTANT, "hello"),
        (Role.USER, "now"),
    ]
    assert asked.messages[-1].images == ["https://x/y.png"]
    assert (asked.provider, asked.model, asked.base_url, asked.api_key) == ("mine", "m", "https://z", "sk-secret")
    assert (asked.temperature, asked.max_tokens, asked.stop, asked.seed) == (0.5, 9, ["."], 3)
    assert "sk-secret" not in repr(asked)


@pytest.mark.parametrize("said", ['{"city": "Paris"}', '```json\n{"city": "Paris"}\n```', ' {"city":"Paris"}\n'])
async def test_an_answer_that_fits_its_schema_is_data(run_node, context, said):
    context.models = WordModels(says=lambda _: said)

    given = await run_node(NODE_TYPE, {**PROMPT, "schema": CITY}, [{"p": "where"}])

    assert given["main"][0]["json"]["data"] == {"city": "Paris"}
    assert len(context.models.asked) == 1


@pytest.mark.parametrize("wrong", ["no idea", '{"town": "Paris"}', "[1, 2", ""])
async def test_an_answer_that_does_not_fit_is_mended_once(run_node, context, wrong):
    context.models = WordModels(says=lambda request: wrong if len(request.messages) == 1 else '{"city": "Rome"}')

    given = await run_node(NODE_TYPE, {**PROMPT, "schema": CITY}, [{"p": "where"}])

    found = given["main"][0]["json"]
    assert found["data"] == {"city": "Rome"}
    first, second = context.models.asked
    assert [m.role for m in second.messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert second.messages[1].content == wrong
    assert found["usage"]["total"] > 2, "both answers are counted"
    assert first.schema == second.schema == CITY


async def test_what_cannot_be_mended_fails_with_what_was_said(run_node, context):
    context.models = WordModels(says=lambda _: "never")

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {**PROMPT, "schema": CITY}, [{"p": "where"}])

    assert (caught.value.code, caught.value.fields["content"], caught.value.retryable) == (
        "answer_invalid",
        "never",
        True,
    )
    assert len(context.models.asked) == 2


async def test_what_was_answered_once_is_not_paid_for_again(run_node, context):
    context.effects = Memory()
    first = await run_node(NODE_TYPE, PROMPT, [{"p": "one"}, {"p": "two"}])
    context.models = WordModels(failing=NodeError("it must not be asked again"))

    assert await run_node(NODE_TYPE, PROMPT, [{"p": "one"}, {"p": "two"}]) == first
    assert set(context.effects.kept) == {"0", "1"}


async def test_items_fail_one_by_one(run_node, context):
    given = await run_node(NODE_TYPE, PROMPT, [{"p": "one"}, {"p": " "}, {"p": None}, {"p": "four"}], keep_going=True)

    assert [item["json"]["content"] for item in given["main"]] == ["one", "four"]
    assert {index: error.code for index, error in context.failed.items()} == {1: "no_prompt", 2: "config_value_invalid"}


def test_what_a_model_wants_done_is_given_too():
    call = ToolCall(id="a", name="look", arguments="{}")
    result = ChatResult(
        content="", usage=Usage(), finish_reason=FinishReason.TOOL_CALLS, provider="p", ran=RAN, tool_calls=(call,)
    )

    assert Answer(result).as_json()["tool_calls"] == [{"id": "a", "name": "look", "arguments": "{}"}]
    assert orjson.dumps(Answer(result).as_json())


@pytest.mark.parametrize(
    "config",
    [
        {},
        {**PROMPT, "temperature": 3},
        {**PROMPT, "max_tokens": 0},
        {**PROMPT, "schema": {"type": "nothing"}},
        {**PROMPT, "images": ["file:///etc/passwd"]},
        {**PROMPT, "messages": [{"role": "tool", "content": "x"}]},
        {**PROMPT, "unknown": 1},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)


async def test_a_template_is_filled_in_for_every_item(run_node, context):
    template = "{% for line in json.lines %}{{ line }} {% endfor %}in {{ tone }}"
    config = {"template": template, "variables": {"tone": "{{ $json.mood }}"}}

    await run_node(NODE_TYPE, config, [{"lines": [1, 2], "mood": "verse"}, {"lines": [], "mood": "prose"}])

    asked = sorted(request.messages[-1].content for request in context.models.asked)
    assert asked == ["1 2 in verse", "in prose"]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({}, "prompt_or_template"),
        ({"prompt": "p", "template": "t"}, "prompt_or_template"),
        ({"template": "{% if %}"}, "invalid_template"),
    ],
)
def test_what_is_asked_must_be_told_in_one_way(config, code):
    assert code in [found for found, _ in findings(NODE_TYPE, config)]


async def test_an_answer_that_is_null_is_data(run_node, context):
    context.models = WordModels(says=lambda _: "null")

    given = await run_node(NODE_TYPE, {**PROMPT, "schema": {"type": "null"}}, [{"p": "nothing?"}])

    assert given["main"][0]["json"]["data"] is None
    assert "data" not in (await run_node(NODE_TYPE, PROMPT, [{"p": "x"}]))["main"][0]["json"]
