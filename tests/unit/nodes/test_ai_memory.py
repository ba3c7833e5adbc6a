import pytest

from nodes.ai_llm import NODE_TYPE as LLM
from nodes.ai_memory import NODE_TYPE
from tests.models import WordModels
from tests.unit.nodes.conftest import findings
from tests.unit.nodes.remembering import KeptConversations
from workflow.conversations import CONTENT_CHARS_MAX, NoConversations, Said, latest
from workflow.errors import NodeError
from workflow.models import Role

CHAT = {"conversation_id": "{{ $json.chat }}"}
ADD = {**CHAT, "operation": "add"}
TWO = [{"role": "user", "content": "{{ $json.q }}"}, {"role": "assistant", "content": "hello", "metadata": {"n": 1}}]
AT = "2023-11-14T22:13:20.123Z"


@pytest.fixture
def conversations(context):
    context.conversations = KeptConversations()
    return context.conversations


def jsons(given):
    return [item["json"] for item in given["main"]]


async def test_what_is_added_is_read_by_conversation(run_node, conversations):
    items = [{"chat": "ada", "q": "hi"}, {"chat": "bob", "q": "ho"}]
    added = await run_node(NODE_TYPE, {**ADD, "messages": TWO}, items)
    read = await run_node(NODE_TYPE, CHAT, [{"chat": "bob"}, {"chat": "nobody"}])

    assert jsons(added) == [{**item, "conversation_id": item["chat"], "added": 2} for item in items]
    assert [item["paired_item"] for item in added["main"]] == [0, 1]
    assert jsons(read) == [
        {
            "chat": "bob",
            "conversation_id": "bob",
            "messages": [
                {"role": "user", "content": "ho", "at": AT, "metadata": {}},
                {"role": "assistant", "content": "hello", "at": AT, "metadata": {"n": 1}},
            ],
        },
        {"chat": "nobody", "conversation_id": "nobody", "messages": []},
    ]


async def test_one_message_is_added_by_role_and_content(run_node, context, conversations):
    await run_node(NODE_TYPE, {**ADD, "content": "a"}, [{"chat": "x"}])
    context.run_index = 1
    await run_node(NODE_TYPE, {**ADD, "content": "b", "role": "{{ 'system' }}"}, [{"chat": "x"}])

    assert [(said.role, said.content) for said in conversations.kept["x"]] == [(Role.USER, "a"), (Role.SYSTEM, "b")]


async def test_an_attempt_after_a_crash_adds_and_clears_nothing_again(run_node, conversations):
    config = {**ADD, "messages": TWO}
    first = await run_node(NODE_TYPE, config, [{"chat": "a", "q": "1"}, {"chat": "a", "q": "2"}])

    assert await run_node(NODE_TYPE, config, [{"chat": "a", "q": "1"}, {"chat": "a", "q": "2"}]) == first
    assert [said.content for said in conversations.kept["a"]] == ["1", "hello", "2", "hello"]
    conversations.given.clear()
    cleared = await run_node(NODE_TYPE, {**CHAT, "operation": "clear"}, [{"chat": "a"}, {"chat": "b"}])
    assert [json["cleared"] for json in jsons(cleared)] == [4, 0]
    assert await run_node(NODE_TYPE, {**CHAT, "operation": "clear"}, [{"chat": "a"}, {"chat": "b"}]) == cleared


@pytest.mark.parametrize(
    ("more", "read"),
    [
        ({}, ["message 6", *(f"message {n}" for n in range(7, 26))]),
        ({"limit": 2}, ["message 24", "message 25"]),
        ({"limit": 3, "max_tokens": 6}, ["message 24", "message 25"]),
        ({"max_tokens": 2}, []),
    ],
)
async def test_the_last_messages_are_read_and_the_oldest_go_first(run_node, conversations, more, read):
    messages = [{"role": "user", "content": f"message {number}"} for number in range(1, 26)]
    await run_node(NODE_TYPE, {**ADD, "messages": messages}, [{"chat": "a"}])

    given = await run_node(NODE_TYPE, {**CHAT, **more}, [{"chat": "a"}])

    assert [message["content"] for message in jsons(given)[0]["messages"]] == read


def test_four_characters_are_a_token():
    said = [
        Said(number=number, role=Role.USER, content="x" * chars, metadata={}, at_ms=0)
        for number, chars in enumerate((4, 5, 8), 1)
    ]

    for tokens, numbers in ((5, [1, 2, 3]), (4, [2, 3]), (3, [3]), (2, [3]), (1, []), (None, [1, 2, 3])):
        assert [message.number for message in latest(said, tokens)] == numbers, tokens


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"content": " "}, "message_empty"),
        ({"content": "x" * (CONTENT_CHARS_MAX + 1)}, "message_too_long"),
        ({"messages": [{"role": "user", "content": "x", "metadata": {"a": "b" * 70_000}}]}, "metadata_too_large"),
        ({"messages": []}, "no_messages"),
        ({"messages": "{{ [] }}"}, "no_messages"),
        ({"conversation_id": "a\nb", "content": "x"}, "conversation_id_invalid"),
        ({"conversation_id": "  ", "content": "x"}, "conversation_id_invalid"),
        ({"conversation_id": "{{ 'x'.repeat(201) }}", "content": "x"}, "config_value_invalid"),
    ],
)
async def test_what_cannot_be_kept_fails_by_itself(run_node, context, conversations, config, code):
    assert await run_node(NODE_TYPE, {**ADD, **config}, [{"chat": "a"}], keep_going=True) == {"main": []}

    (error,) = context.failed.values()
    assert (error.code, error.retryable, conversations.kept) == (code, False, {})


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"conversation_id": ""},
        {**ADD},
        {**ADD, "content": "x", "messages": TWO},
        {**ADD, "messages": [{"role": "tool", "content": "x"}]},
        {**CHAT, "operation": "other"},
        {**CHAT, "limit": 0},
        {**CHAT, "limit": 1_001},
        {**CHAT, "max_tokens": 0},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)


async def test_without_an_instance_nothing_is_remembered(run_node, context):
    context.conversations = NoConversations()
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, CHAT, [{"chat": "a"}])
    assert caught.value.code == "needs_instance"


async def test_a_model_takes_the_messages_as_they_are_read(run_node, context, conversations):
    await run_node(NODE_TYPE, {**ADD, "messages": TWO}, [{"chat": "a", "q": "hi"}])
    read = await run_node(NODE_TYPE, CHAT, [{"chat": "a", "question": "now?"}])

    await run_node(LLM, {"prompt": "{{ $json.question }}", "messages": "{{ $json.messages }}"}, jsons(read))

    (asked,) = context.models.asked
    assert [(message.role, message.content) for message in asked.messages] == [
        (Role.USER, "hi"),
        (Role.ASSISTANT, "hello"),
        (Role.USER, "now?"),
    ]


async def test_a_model_goes_on_with_a_conversation(run_node, context, conversations):
    context.models = WordModels(says=lambda request: f"answer to {request.messages[-1].content}")
    config = {"prompt": "{{ $json.q }}", "system": "be short", "conversation_id": "{{ $json.chat }}", "memory_limit": 3}
    for number in range(3):
        context.run_index = number
        await run_node(LLM, config, [{"q": f"question {number}", "chat": "a"}])

    assert [message.content for message in context.models.asked[-1].messages] == [
        "be short",
        "answer to question 0",
        "question 1",
        "answer to question 1",
        "question 2",
    ]
    await run_node(LLM, config, [{"q": "question 2", "chat": "a"}])
    assert [said.content for said in conversations.kept["a"]][-2:] == ["question 2", "answer to question 2"]
    assert len(conversations.kept["a"]) == 6, "the same run adds nothing twice"


async def test_an_answer_without_words_is_not_remembered(run_node, context, conversations):
    context.models = WordModels(says=lambda _: "")

    await run_node(LLM, {"prompt": "a", "conversation_id": "x"}, [{}])

    assert conversations.kept == {}
