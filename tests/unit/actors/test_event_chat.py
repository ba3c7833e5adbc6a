"""The clients of Anthropic and Gemini against recorded answers: what goes out, what comes back, what is refused."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from actors import anthropic_chat, gemini_chat
from actors.model_access import ModelAccess
from actors.models import Adapter, ModelsConfig, Provider
from nodes.outbound import GuardedClient, OutboundPolicy
from workflow.errors import NodeError
from workflow.models import ChatRequest, FinishReason, Message, NoModels, Role, Tool, ToolCall, Usage

PIXEL = "data:image/png;base64,iVBORw0KGgo="
ASKED = ChatRequest(
    messages=[
        Message(role=Role.SYSTEM, content="Be short."),
        Message(role=Role.USER, content="The capital of France?"),
    ],
    timeout_ms=5_000,
)
LOOK = Tool(name="look", description="Looks.", parameters={"type": "object", "properties": {"x": {"type": "integer"}}})
TALK = [
    *ASKED.messages,
    Message(
        role=Role.ASSISTANT,
        content="I look.",
        tool_calls=[
            ToolCall(id="a", name="look", arguments='{"x":1}', signature="sig"),
            ToolCall(id="b", name="look", arguments="not JSON"),
        ],
    ),
    Message(role=Role.TOOL, content="one", tool_call_id="a"),
    Message(role=Role.TOOL, content="two", tool_call_id="b"),
]
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {"model": "claude-x-1", "usage": {"input_tokens": 9, "cache_read_input_tokens": 4}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Paris"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
GEMINI = [
    {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}], "modelVersion": "gemini-x-001"},
    {"candidates": [{"content": {"parts": [{"text": "Paris"}]}}], "usageMetadata": {"promptTokenCount": 13}},
    {
        "candidates": [{"content": {"parts": [{"text": "."}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 13, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
    },
]


def base(httpserver: HTTPServer) -> str:
    return f"http://127.0.0.1:{httpserver.port}/v1"


@pytest.fixture
async def models(httpserver: HTTPServer) -> AsyncIterator[ModelAccess]:
    client = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{httpserver.port}",)))
    providers = tuple(
        Provider(name=adapter.value, adapter=adapter, base_url=base(httpserver), model="m", api_key="sk-1")
        for adapter in (Adapter.ANTHROPIC, Adapter.GEMINI)
    )
    yield ModelAccess(ModelsConfig(providers=providers), NoModels(), lambda: client.bare)
    await client.close()


def answering(httpserver: HTTPServer, told, status: int = 200, **headers: str) -> list[Request]:
    """Answer both providers' paths with these events, or with this error."""
    seen: list[Request] = []
    body = "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in told) if status == 200 else json.dumps(told)

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(
            body, status, headers, content_type="text/event-stream" if status == 200 else "application/json"
        )

    httpserver.expect_request("/v1/messages", method="POST").respond_with_handler(answer)
    path = "/v1/models/m:streamGenerateContent"
    httpserver.expect_request(path, method="POST", query_string="alt=sse").respond_with_handler(answer)
    return seen


@pytest.mark.parametrize(
    ("provider", "events", "model", "usage"),
    [
        ("anthropic", ANTHROPIC, "claude-x-1", Usage(prompt=13, completion=2)),
        ("gemini", GEMINI, "gemini-x-001", Usage(prompt=13, completion=7)),
    ],
)
async def test_an_answer_comes_in_pieces_and_as_a_whole(httpserver, models, provider, events, model, usage):
    seen = answering(httpserver, events)
    pieces: list[str] = []

    async def on_text(piece: str) -> None:
        pieces.append(piece)

    found = await models.answer(replace(ASKED, provider=provider), on_text)

    assert pieces == ["Paris", "."]
    assert (found.content, found.finish_reason, found.provider) == ("Paris.", FinishReason.STOP, provider)
    assert (found.usage, found.ran.model, found.ran.device) == (usage, model, "remote")
    assert (seen[0].headers.get("x-api-key") or seen[0].headers.get("x-goog-api-key")) == "sk-1"


def test_what_goes_to_anthropic():
    pictured = Message(role=Role.USER, content="See.", images=[PIXEL, "https://x.example/y.png"])
    request = replace(ASKED, messages=[*TALK, pictured], temperature=0, stop=["\n"], seed=7, tools=[LOOK])

    payload = anthropic_chat.payload_of(request, "m")

    assert (payload["system"], payload["temperature"], payload["stop_sequences"]) == ("Be short.", 0, ["\n"])
    assert payload["max_tokens"] == anthropic_chat.MAX_TOKENS
    assert "seed" not in payload
    assert payload["tools"] == [{"name": "look", "description": "Looks.", "input_schema": LOOK.parameters}]
    assert [turn["role"] for turn in payload["messages"]] == ["user", "assistant", "user"]
    assert payload["messages"][1]["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "look", "input": {}},
    ]
    assert payload["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "one"},
        {"type": "tool_result", "tool_use_id": "b", "content": "two"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/y.png"}},
        {"type": "text", "text": "See."},
    ]


def test_what_goes_to_gemini():
    pictured = Message(role=Role.USER, content="See.", images=[PIXEL, "https://x.example/y.png"])
    request = replace(ASKED, messages=[*TALK, pictured], temperature=0, max_tokens=5, stop=["\n"], seed=7, tools=[LOOK])

    payload = gemini_chat.payload_of(request)

    assert payload["systemInstruction"] == {"parts": [{"text": "Be short."}]}
    assert payload["generationConfig"] == {"temperature": 0, "maxOutputTokens": 5, "stopSequences": ["\n"], "seed": 7}
    declared = {"name": "look", "description": "Looks.", "parametersJsonSchema": LOOK.parameters}
    assert payload["tools"] == [{"functionDeclarations": [declared]}]
    assert [content["role"] for content in payload["contents"]] == ["user", "model", "user"]
    assert payload["contents"][1]["parts"] == [
        {"text": "I look."},
        {"functionCall": {"name": "look", "args": {"x": 1}}, "thoughtSignature": "sig"},
        {"functionCall": {"name": "look", "args": {}}},
    ]
    assert payload["contents"][2]["parts"] == [
        {"functionResponse": {"name": "look", "response": {"result": "one"}}},
        {"functionResponse": {"name": "look", "response": {"result": "two"}}},
        {"text": "See."},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"fileUri": "https://x.example/y.png"}},
    ]


async def test_json_by_a_schema(httpserver, models):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    called = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "answer"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"city":'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '"Paris"}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
    ]
    seen = answering(httpserver, [ANTHROPIC[0], *called])

    found = await models.answer(replace(ASKED, provider="anthropic", schema=schema))

    assert (found.content, found.tool_calls) == ('{"city":"Paris"}', ())
    assert seen[0].json["tool_choice"] == {"type": "tool", "name": "answer"}
    assert seen[0].json["tools"][0]["input_schema"] == schema
    generation = gemini_chat.payload_of(replace(ASKED, schema=schema))["generationConfig"]
    assert generation == {"responseMimeType": "application/json", "responseJsonSchema": schema}


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_tools_that_a_model_calls(httpserver, models, provider):
    anthropic = [
        ANTHROPIC[0],
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "look"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x":1}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
    ]
    call = {"functionCall": {"name": "look", "args": {"x": 1}, "id": "t"}, "thoughtSignature": "sig"}
    gemini = [{"candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}]}]
    answering(httpserver, anthropic if provider == "anthropic" else gemini)

    found = await models.answer(replace(ASKED, provider=provider, tools=[LOOK]))

    (made,) = found.tool_calls
    assert (made.id, made.name, json.loads(made.arguments)) == ("t", "look", {"x": 1})
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert made.signature == ("sig" if provider == "gemini" else "")


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (401, {"type": "authentication_error", "message": "bad key"}, "provider_refused", False),
        (400, {"code": 400, "message": "no", "details": [{"reason": "API_KEY_INVALID"}]}, "provider_refused", False),
        (404, {"type": "not_found_error", "message": "model: m"}, "model_unknown", False),
        (400, {"message": "prompt is too long: 9 tokens > 8 maximum"}, "context_too_long", False),
        (400, {"message": "The input token count (9) exceeds the maximum"}, "context_too_long", False),
        (400, {"type": "invalid_request_error", "message": "bad temperature"}, "model_failed", False),
        (429, {"type": "rate_limit_error", "message": "slow down"}, "provider_limited", True),
        (529, {"type": "overloaded_error", "message": "busy"}, "provider_failed", True),
    ],
)
async def test_a_refusal_has_a_code(httpserver, models, provider, status, error, code, retryable):
    answering(httpserver, {"error": error}, status, **{"Retry-After": "3"})

    with pytest.raises(NodeError) as caught:
        await models.answer(replace(ASKED, provider=provider))

    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert caught.value.fields.get("retry_after_ms") == (3_000 if status == 429 else None)


@pytest.mark.parametrize(
    ("provider", "events", "code"),
    [
        ("anthropic", [*ANTHROPIC[:4], {"type": "error", "error": {"type": "overloaded_error"}}], "provider_failed"),
        ("anthropic", [{"type": "error", "error": {"type": "rate_limit_error"}}], "provider_limited"),
        ("anthropic", ANTHROPIC[:5], "provider_failed"),
        ("gemini", [{"error": {"code": 503, "message": "busy"}}], "provider_failed"),
        ("gemini", [{"promptFeedback": {"blockReason": "SAFETY"}}], "content_filtered"),
        ("gemini", GEMINI[:2], "provider_failed"),
        ("gemini", [], "provider_failed"),
    ],
)
async def test_what_breaks_in_the_middle(httpserver, models, provider, events, code):
    answering(httpserver, events)

    with pytest.raises(NodeError) as caught:
        await models.answer(replace(ASKED, provider=provider))

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("provider", "reason", "wanted"),
    [
        ("anthropic", "max_tokens", FinishReason.LENGTH),
        ("anthropic", "refusal", FinishReason.CONTENT_FILTER),
        ("gemini", "MAX_TOKENS", FinishReason.LENGTH),
        ("gemini", "SAFETY", FinishReason.CONTENT_FILTER),
    ],
)
async def test_why_a_model_stopped(httpserver, models, provider, reason, wanted):
    ended = {"type": "message_delta", "delta": {"stop_reason": reason}}
    answering(httpserver, [ended if provider == "anthropic" else {"candidates": [{"finishReason": reason}]}])

    found = await models.answer(replace(ASKED, provider=provider))

    assert (found.finish_reason, found.usage.estimated) == (wanted, True)


async def test_events_that_are_not_json_and_events_of_several_lines(httpserver, models):
    path = "/v1/models/m:streamGenerateContent"
    httpserver.expect_ordered_request(path).respond_with_data("data: {oops\n\n")
    split = ': a comment\ndata: {"candidates":\ndata: [{"finishReason": "STOP"}]}\n\n'
    httpserver.expect_ordered_request(path).respond_with_data(split)

    with pytest.raises(NodeError) as caught:
        await models.answer(replace(ASKED, provider="gemini"))
    found = await models.answer(replace(ASKED, provider="gemini"))

    assert (caught.value.code, found.finish_reason) == ("provider_failed", FinishReason.STOP)


async def test_who_is_too_late_and_who_must_not_be_reached(httpserver, models):
    httpserver.expect_request("/v1/messages").respond_with_handler(
        lambda _: __import__("time").sleep(1) or Response("")
    )
    late = replace(ASKED, provider="anthropic", timeout_ms=100)
    forbidden = replace(ASKED, provider="gemini", base_url="http://127.0.0.1:1/v1")

    with pytest.raises(NodeError) as slow:
        await models.answer(late)
    with pytest.raises(NodeError) as refused:
        await models.answer(forbidden)

    assert (slow.value.code, slow.value.retryable) == ("provider_failed", True)
    assert refused.value.code == "http_address_refused"
