"""The chat completions of OpenAI as data: what a request looks like on the wire, and an answer put together from its chunks. Pure.

Source: OpenAI's API reference, "Chat Completions" (create, streaming). xllamacpp, vLLM, Ollama and most providers speak the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from actors.event_fields import count_of, object_at, objects_at, text_of
from actors.models import JsonOutput, Wire
from workflow.errors import NodeError
from workflow.models import ChatRequest, FinishReason, Message, Role, ToolCall, Usage

ONLY_JSON = "Answer with JSON that satisfies this JSON Schema, and with nothing else: {schema}"
REASON_CHARS_MAX = 500
"""Of what a provider says is wrong."""
CHARS_PER_TOKEN = 4
"""For estimates, where a provider does not count: about right for English."""
TOO_LONG = ("context_length", "maximum context length", "prompt is too long", "input token count")
"""How OpenAI's wire, Anthropic and Gemini say that messages are too long for the model."""
SCHEMA_WORDS = ("JSON schema error", "failed to parse grammar", "Invalid schema for")
"""How llama.cpp and OpenAI say that they can write nothing by a schema."""
REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def payload_of(request: ChatRequest, model: str, wire: Wire) -> dict[str, Any]:
    """Return the body of a request for an answer in chunks, with the tokens counted at its end."""
    payload: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
    }
    if wire.usage_option:
        payload["stream_options"] = {"include_usage": True}
    given = {
        "temperature": request.temperature,
        wire.max_tokens_field: request.max_tokens,
        "stop": list(request.stop) or None,
        "seed": request.seed,
    }
    payload.update({name: value for name, value in given.items() if value is not None})
    if request.schema is not None:
        _demand_json(payload, request.schema, wire.json_output)
    if request.tools:
        payload["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            }
            for tool in request.tools
        ]
    return payload


def _demand_json(payload: dict[str, Any], schema: Mapping[str, Any], can: JsonOutput) -> None:
    if can is JsonOutput.SCHEMA:
        told = {"name": "answer", "strict": _is_strict(schema), "schema": dict(schema)}
        payload["response_format"] = {"type": "json_schema", "json_schema": told}
        return
    if can is JsonOutput.OBJECT:
        payload["response_format"] = {"type": "json_object"}
    words = ONLY_JSON.format(schema=orjson.dumps(dict(schema)).decode())
    payload["messages"] = [{"role": Role.SYSTEM.value, "content": words}, *payload["messages"]]


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI takes a schema as a strict one: every object names all of its fields as required and allows no others."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    kinds = schema.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds) or "properties" in schema:
        named = set(schema.get("properties") or {})
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != named:
            return False
    return all(map(_is_strict, schema.values()))


def _message(message: Message) -> dict[str, Any]:
    content: Any = message.content
    if message.images:
        pictures = [{"type": "image_url", "image_url": {"url": image}} for image in message.images]
        content = [{"type": "text", "text": message.content}, *pictures]
    told: dict[str, Any] = {"role": message.role.value, "content": content}
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        told["tool_call_id"] = message.tool_call_id
    return told


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Gathering:
    """An answer that comes in chunks. `take` each, then ask for the parts."""

    model: str = ""
    content: str = ""
    finish_reason: FinishReason | None = None
    _usage: Usage | None = None
    _calls: dict[int, _Call] = field(default_factory=dict)

    def take(self, chunk: Mapping[str, Any]) -> str:
        """Take a chunk and return the text that it adds. Raises `NodeError` where it is an error, and `Malformed`."""
        if chunk.get("error"):
            raise error_of(chunk["error"])
        self.model = text_of(chunk, "model") or self.model
        if usage := object_at(chunk, "usage"):
            self._usage = Usage(
                prompt=count_of(usage, "prompt_tokens"), completion=count_of(usage, "completion_tokens")
            )
        for choice in objects_at(chunk, "choices")[:1]:
            delta = object_at(choice, "delta")
            self._take_calls(objects_at(delta, "tool_calls"))
            if reason := text_of(choice, "finish_reason"):
                self.finish_reason = REASONS.get(reason, FinishReason.STOP)
            text = text_of(delta, "content")
            self.content += text
            return text
        return ""

    def _take_calls(self, deltas: Sequence[Mapping[str, Any]]) -> None:
        for delta in deltas:
            call = self._calls.setdefault(count_of(delta, "index"), _Call())
            function = object_at(delta, "function")
            call.id = text_of(delta, "id") or call.id
            call.name = text_of(function, "name") or call.name
            call.arguments += text_of(function, "arguments")

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What the model wants done."""
        return tuple(
            ToolCall(id=call.id or f"call_{index}", name=call.name, arguments=call.arguments)
            for index, call in sorted(self._calls.items())
        )

    def usage(self, request: ChatRequest) -> Usage:
        """Return the tokens as they were counted, or else an estimate."""
        return self._usage if self._usage is not None else estimate(request, self.content)


def estimate(request: ChatRequest, content: str) -> Usage:
    """Return about how many tokens were read and written."""
    prompt = sum(len(message.content) for message in request.messages)
    return Usage(prompt=_about(prompt), completion=_about(len(content)), estimated=True)


def _about(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def object_of(text: str) -> dict[str, Any]:
    """Return the object that a model has written as JSON; an empty one where it has not."""
    try:
        told = orjson.loads(text or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def split_data_address(image: str) -> tuple[str, str]:
    """Return the MIME type and the base64 text of a data address; empty for another address."""
    if not image.startswith("data:"):
        return "", ""
    head, _, data = image.removeprefix("data:").partition(",")
    return head.partition(";")[0], data


def error_of(error: Any) -> NodeError:
    """Return the node's error for an error object of the wire."""
    told = error if isinstance(error, Mapping) else {"message": str(error)}
    message = str(told.get("message") or "no reason given")[:REASON_CHARS_MAX]
    kind = str(told.get("type") or told.get("code") or "")
    if "context" in kind or any(words in message for words in TOO_LONG):
        return NodeError(
            f"the messages are too long for the model: {message}", "context_too_long", {"retryable": False}
        )
    if "content_filter" in kind or "content_policy" in kind:
        return NodeError(f"the provider's filter refused it: {message}", "content_filtered", {"retryable": False})
    if any(words in message for words in SCHEMA_WORDS):
        return NodeError(
            f"the model cannot write by this schema: {message}", "schema_unsupported", {"retryable": False}
        )
    status = told.get("code")
    retryable = isinstance(status, int) and status >= 500
    return NodeError(f"the model refused the request: {message}", "model_failed", {"retryable": retryable})
