"""OpenAI's chat completions as data: what goes out, and what chunks come to."""

import pytest

from actors.chat import Gathering, error_of, object_of, payload_of, split_data_address
from actors.models import JsonOutput, Wire
from workflow.models import ChatRequest, FinishReason, Message, Role, Tool, ToolCall, Usage

HELLO = ChatRequest(messages=[Message(role=Role.USER, content="hello")])


def chunk(delta=None, finish=None, **more):
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def gathered(*chunks):
    gathering = Gathering()
    return gathering, [gathering.take(each) for each in chunks]


def test_what_nobody_asked_for_is_not_sent():
    assert payload_of(HELLO, "m", Wire()) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_everything_that_can_be_asked_for():
    call = ToolCall(id="c1", name="look", arguments="{}")
    request = ChatRequest(
        messages=[
            Message(role=Role.SYSTEM, content="s"),
            Message(role=Role.USER, content="see", images=["https://x/y.png"]),
            Message(role=Role.ASSISTANT, content="", tool_calls=[call]),
            Message(role=Role.TOOL, content="42", tool_call_id="c1"),
        ],
        temperature=0,
        max_tokens=5,
        stop=["\n"],
        seed=7,
        schema={"type": "object"},
        tools=[Tool(name="look", description="d", parameters={"type": "object"})],
    )

    payload = payload_of(request, "m", Wire())

    assert (payload["temperature"], payload["max_tokens"], payload["stop"], payload["seed"]) == (0, 5, ["\n"], 7)
    assert payload["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert payload["tools"][0]["function"]["name"] == "look"
    assert payload["messages"][1]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    assert payload["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert payload["messages"][3]["tool_call_id"] == "c1"


def test_an_answer_is_put_together_from_its_chunks():
    gathering, texts = gathered(
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )

    assert texts == ["", "Hel", "lo", "", ""]
    assert (gathering.content, gathering.finish_reason) == ("Hello", FinishReason.STOP)
    assert gathering.usage(HELLO) == Usage(prompt=3, completion=2, estimated=False)


def test_tool_calls_come_in_pieces_and_several_at_once():
    gathering, _ = gathered(
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": '{"x"'}}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"name": "tell", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, "tool_calls"),
    )

    assert gathering.tool_calls == (
        ToolCall(id="a", name="look", arguments='{"x":1}'),
        ToolCall(id="call_1", name="tell", arguments="{}"),
    )
    assert gathering.finish_reason is FinishReason.TOOL_CALLS


def test_tokens_that_nobody_counted_are_an_estimate_that_says_so():
    gathering, _ = gathered(chunk({"content": "four" * 5}, "stop"))

    assert gathering.usage(HELLO) == Usage(prompt=2, completion=5, estimated=True)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"type": "exceed_context_size_error", "message": "m", "code": 400}, "context_too_long", False),
        ({"code": "context_length_exceeded", "message": "m"}, "context_too_long", False),
        ({"message": "This model's maximum context length is 8192 tokens"}, "context_too_long", False),
        ({"code": "content_filter", "message": "m"}, "content_filtered", False),
        ({"code": 503, "message": "loading"}, "model_failed", True),
        ({"code": 400, "message": "m"}, "model_failed", False),
        ("broken", "model_failed", False),
    ],
)
def test_an_error_has_a_code_for_what_can_be_done_about_it(error, code, retryable):
    found = error_of(error)

    assert (found.code, found.retryable) == (code, retryable)


def test_in_what_servers_differ():
    asked = ChatRequest(messages=HELLO.messages, max_tokens=5, schema={"type": "object"})
    wire = Wire(json_output=JsonOutput.OBJECT, max_tokens_field="max_completion_tokens", usage_option=False)

    payload = payload_of(asked, "m", wire)

    assert (payload["max_completion_tokens"], payload["response_format"]) == (5, {"type": "json_object"})
    assert "max_tokens" not in payload
    assert "stream_options" not in payload
    assert payload["messages"][0]["role"] == "system"
    assert '{"type":"object"}' in payload["messages"][0]["content"]
    assert "response_format" not in payload_of(asked, "m", Wire(json_output=JsonOutput.NONE))


@pytest.mark.parametrize(("text", "told"), [('{"x":1}', {"x": 1}), ("", {}), ("[1]", {}), ("{oops", {})])
def test_arguments_that_a_model_wrote(text, told):
    assert object_of(text) == told


def test_data_addresses_are_taken_apart():
    assert split_data_address("data:image/png;base64,QUJD") == ("image/png", "QUJD")
    assert split_data_address("https://x.example/y.png") == ("", "")
