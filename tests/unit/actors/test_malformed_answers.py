"""Whatever a provider sends, a call ends in an answer that can be kept or in an error of a node: never in one of ours."""

import copy
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from actors.event_chat import ANSWER_BYTES_MAX, EVENT_BYTES_MAX
from actors.model_access import ModelAccess
from actors.models import Adapter, ModelsConfig, Provider
from nodes.chats import Answer
from tests.unit.actors.test_event_chat import ANTHROPIC, GEMINI
from tests.unit.actors.test_openai_chat import RECORDED
from workflow.errors import NodeError
from workflow.models import ChatRequest, ChatResult, Message, NoModels, Role, Tool
from workflow.values import encode, storable

LOOK = Tool(name="look", description="Looks.", parameters={"type": "object"})
ASKED = ChatRequest(messages=[Message(role=Role.USER, content="hello")], tools=[LOOK])
CALLING: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "look"}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
        {"error": {"message": "no", "code": 500, "type": "server_error"}},
    ],
    "anthropic": [
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "look"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "look", "args": {"x": 1}, "id": "t"}}]}}]},
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"error": {"code": 503, "message": "busy"}},
    ],
}
WHOLE = {"openai": RECORDED, "anthropic": ANTHROPIC, "gemini": GEMINI}
EVENTS = {name: [*whole, *CALLING[name]] for name, whole in WHOLE.items()}
CODES = {
    "provider_failed", "provider_refused", "provider_limited", "model_failed", "model_unknown", "content_filtered",
    "context_too_long", "schema_unsupported",
}  # fmt: skip

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that is in a value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path for key in keys for path in [(*above, key), *places(value[key], (*above, key))]]


@some.composite
def altered(draw: some.DrawFn, name: str) -> bytes:
    """Return a stream like a provider's in which some values are others, and some events are anything."""
    events: list[Any] = copy.deepcopy(EVENTS[name][: draw(some.integers(1, len(EVENTS[name])))])
    if draw(some.booleans()):
        events = draw(some.permutations(events))
    for _ in range(draw(some.integers(1, 3))):
        *above, last = draw(some.sampled_from(places(events)))
        within: Any = events
        for key in above:
            within = within[key]
        within[last] = draw(JSON)
    noise = draw(some.lists(some.binary(max_size=30), max_size=1))
    lines = [*(json.dumps(event).encode() for event in events), *noise]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


async def outcome(name: str, body: bytes, status: int = 200) -> ChatResult | NodeError:
    provider = Provider(name=name, adapter=Adapter(name), base_url="http://provider.example", model="m")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=body))
    async with httpx2.AsyncClient(transport=transport) as client:
        access = ModelAccess(ModelsConfig(provider=name, providers=(provider,)), NoModels(), lambda: client)
        try:
            return await access.answer(ASKED)
        except NodeError as error:
            return error


def hold(found: ChatResult | NodeError) -> None:
    if isinstance(found, NodeError):
        assert found.code in CODES
        assert 0 < len(found.message) <= 600
        encode({"message": storable(found.message), "fields": found.fields})
        return
    encode(Answer(found).as_json())
    assert isinstance(found.ran.model, str)
    assert all(isinstance(count, int) and 0 <= count < 2**31 for count in (found.usage.prompt, found.usage.completion))
    for call in found.tool_calls:
        assert all(isinstance(text, str) for text in (call.id, call.name, call.arguments, call.signature))


@pytest.mark.parametrize("name", list(EVENTS))
@settings(max_examples=150, deadline=None)
@given(data=some.data())
async def test_a_stream_in_which_anything_is_anything_is_an_answer_or_a_named_error(name, data):
    hold(await outcome(name, data.draw(altered(name))))


@pytest.mark.parametrize("name", list(EVENTS))
@settings(max_examples=50, deadline=None)
@given(
    body=some.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    status=some.sampled_from([400, 404, 429, 500, 503]),
)
async def test_a_refusal_that_says_anything_is_a_named_error(name, body, status):
    found = await outcome(name, body, status)
    assert isinstance(found, NodeError)
    hold(found)


@pytest.mark.parametrize("name", list(EVENTS))
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"data: {oops\n\n", "sent an event that is not JSON"),
        (b"data: \xff\xfe\n\n", "sent an event that is not JSON"),
        (b"data: [1, 2]\n\n", "sent an event that is not an object"),
        (b'data: "text"\n\n', "sent an event that is not an object"),
        (b"<html>busy</html>", "ended its answer in the middle"),
        (b"data: " + b"x" * EVENT_BYTES_MAX + b"\n\n", "sent an event that is too large"),
        (b"x" * (EVENT_BYTES_MAX + 1), "sent an event that is too large"),
        (b": hello\n" * (ANSWER_BYTES_MAX // 8 + 1), "sent an answer that is too large"),
    ],
)  # fmt: skip
async def test_a_malformed_stream_is_the_providers_failure(name, body, said):
    found = await outcome(name, body)
    assert isinstance(found, NodeError)
    assert (found.code, found.message, found.retryable) == ("provider_failed", f"{name} {said}", True)


@pytest.mark.parametrize(
    ("name", "event", "said"),
    [
        ("openai", {"choices": [{"delta": {"content": 5}}]}, "'content' is not a text"),
        ("openai", {"choices": {"delta": {}}}, "'choices' is not a list of objects"),
        ("anthropic", {"type": "message_start", "message": "hello"}, "'message' is not an object"),
        ("gemini", {"usageMetadata": {"promptTokenCount": -1}}, "'promptTokenCount' is not a number of anything"),
    ],
)
async def test_a_field_of_another_type_is_named(name, event, said):
    found = await outcome(name, b"data: " + json.dumps(event).encode() + b"\n\n")
    assert isinstance(found, NodeError)
    assert found.code == "provider_failed"
    assert found.message.endswith(f"not as its reference says: {said}")


@pytest.mark.parametrize("name", list(EVENTS))
async def test_an_event_of_a_million_characters_is_taken(name):
    long = "é\u2028" * 500_000
    whole = json.dumps(WHOLE[name], ensure_ascii=False).replace("Paris", long)

    found = await outcome(
        name, "".join(f"data: {json.dumps(e, ensure_ascii=False)}\r\n\r\n" for e in json.loads(whole)).encode()
    )

    assert isinstance(found, ChatResult)
    assert found.content == f"{long}."


async def test_a_character_that_no_database_keeps_is_replaced():
    events = [{"choices": [{"delta": {"content": "a\0b"}, "finish_reason": "stop"}]}]
    found = await outcome("openai", f"data: {json.dumps(events[0])}\n\n".encode())
    assert isinstance(found, ChatResult)
    assert found.content == "a\N{REPLACEMENT CHARACTER}b"
