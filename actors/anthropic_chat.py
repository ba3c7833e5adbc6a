"""Language models behind Anthropic's wire.

Source: Anthropic's API reference, "Messages" (create, streaming, tool use, vision, errors), version 2023-06-01.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from actors import event_chat
from actors.chat import estimate, object_of, split_data_address
from actors.event_fields import count_of, object_at, text_of
from actors.models import Provider
from actors.provider_errors import key_for, of_status
from actors.under_way import UnderWay
from workflow.models import ChatRequest, ChatResult, FinishReason, Message, OnText, Role, ToolCall, Usage

VERSION = "2023-06-01"
MAX_TOKENS = 4_096
"""Sent where nobody says how long an answer may be: this wire insists on a number."""
ANSWER_TOOL = "answer"
"""The tool that a model is made to call where its answer is to be JSON: its arguments are the answer."""
REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error in the middle of a stream would have been as a status; others are 500."""


async def answer(
    provider: Provider,
    request: ChatRequest,
    model: str,
    client: httpx2.AsyncClient,
    on_text: OnText | None,
    under_way: UnderWay,
) -> ChatResult:
    """Ask the provider; the client guards the way. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    sent = client.build_request(
        "POST",
        f"{(request.base_url or provider.base_url).rstrip('/')}/messages",
        json=payload_of(request, model),
        headers={
            "x-api-key": key_for(provider, request.base_url, request.api_key),
            "anthropic-version": VERSION,
            "accept": "text/event-stream",
        },
        timeout=request.timeout_ms / 1000,
    )
    into = Gathering(provider.name, model, answers_by_tool=_answers_by_tool(request))
    return await event_chat.answer(provider, request, client, on_text, sent=sent, into=into, under_way=under_way)


def _answers_by_tool(request: ChatRequest) -> bool:
    return request.schema is not None and not request.tools


def payload_of(request: ChatRequest, model: str) -> dict[str, Any]:
    """Return the body of a request for an answer in events. There is no seed on this wire."""
    system = "\n\n".join(message.content for message in request.messages if message.role is Role.SYSTEM)
    payload: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens or MAX_TOKENS,
        "messages": _turns([message for message in request.messages if message.role is not Role.SYSTEM]),
        "stream": True,
    }
    given = {"system": system, "temperature": request.temperature, "stop_sequences": list(request.stop)}
    payload.update({name: value for name, value in given.items() if value or value == 0})
    if request.tools:
        payload["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
            for tool in request.tools
        ]
    elif request.schema is not None:
        schema = dict(request.schema)
        payload["tools"] = [{"name": ANSWER_TOOL, "description": "Takes the answer.", "input_schema": schema}]
        payload["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
    return payload


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages, those of one role that follow one another as one: results of tools belong into one turn of the user."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    blocks: list[dict[str, Any]] = [_picture(image) for image in message.images]
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": object_of(call.arguments)}
        for call in message.tool_calls
    ]
    return blocks


def _picture(image: str) -> dict[str, Any]:
    mime_type, data = split_data_address(image)
    if not mime_type:
        return {"type": "image", "source": {"type": "url", "url": image}}
    return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data}}


@dataclass(slots=True)
class _Block:
    kind: str
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Gathering:
    """An answer that comes in events. `take` each, then ask for the parts."""

    provider: str
    model: str
    answers_by_tool: bool = False
    content: str = ""
    finish_reason: FinishReason | None = None
    _prompt: int | None = None
    _completion: int = 0
    _blocks: dict[int, _Block] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> str:
        """Take an event and return the text that it adds. Raises `NodeError` where it is an error, and `Malformed`."""
        kind = event.get("type")
        if kind == "error":
            error = object_at(event, "error")
            raise of_status(self.provider, STATUS_OF.get(text_of(error, "type"), 500), {"error": dict(error)}, {})
        if kind == "message_start":
            message = object_at(event, "message")
            self.model = text_of(message, "model") or self.model
            self._count(object_at(message, "usage"))
        elif kind == "content_block_start":
            block = object_at(event, "content_block")
            made = _Block(text_of(block, "type"), text_of(block, "id"), text_of(block, "name"))
            self._blocks[count_of(event, "index")] = made
            return self._text(text_of(block, "text"))
        elif kind == "content_block_delta":
            return self._delta(count_of(event, "index"), object_at(event, "delta"))
        elif kind == "message_delta":
            if reason := text_of(object_at(event, "delta"), "stop_reason"):
                self.finish_reason = REASONS.get(reason, FinishReason.STOP)
            self._count(object_at(event, "usage"))
        return ""

    def _delta(self, index: int, delta: Mapping[str, Any]) -> str:
        if delta.get("type") == "text_delta":
            return self._text(text_of(delta, "text"))
        if delta.get("type") == "input_json_delta":
            piece = text_of(delta, "partial_json")
            block = self._blocks.setdefault(index, _Block("tool_use"))
            block.arguments += piece
            if self.answers_by_tool and block.name == ANSWER_TOOL:
                return self._text(piece)
        return ""

    def _text(self, text: str) -> str:
        self.content += text
        return text

    def _count(self, usage: Mapping[str, Any]) -> None:
        if "input_tokens" in usage:
            cached = count_of(usage, "cache_creation_input_tokens") + count_of(usage, "cache_read_input_tokens")
            self._prompt = count_of(usage, "input_tokens") + cached
        self._completion = count_of(usage, "output_tokens") or self._completion

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What the model wants done."""
        if self.answers_by_tool:
            return ()
        return tuple(
            ToolCall(id=block.id, name=block.name, arguments=block.arguments or "{}")
            for _, block in sorted(self._blocks.items())
            if block.kind == "tool_use"
        )

    def usage(self, request: ChatRequest) -> Usage:
        """Return the tokens as they were counted, those read from a cache with the others; or else an estimate."""
        if self._prompt is None:
            return estimate(request, self.content)
        return Usage(prompt=self._prompt, completion=self._completion)
