"""Language models behind Gemini's wire.

Source: Google's reference of the Gemini API, "Generating content" (streamGenerateContent, GenerationConfig, FunctionDeclaration).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from actors import event_chat
from actors.chat import estimate, object_of, split_data_address
from actors.event_fields import count_of, object_at, objects_at, text_of
from actors.models import Provider
from actors.provider_errors import key_for, of_status
from actors.under_way import UnderWay
from workflow.errors import NodeError
from workflow.models import ChatRequest, ChatResult, FinishReason, Message, OnText, Role, ToolCall, Usage

LENGTH = "MAX_TOKENS"
REFUSED = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})


async def answer(
    provider: Provider,
    request: ChatRequest,
    model: str,
    client: httpx2.AsyncClient,
    on_text: OnText | None,
    under_way: UnderWay,
) -> ChatResult:
    """Ask the provider; the client guards the way. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    base_url = (request.base_url or provider.base_url).rstrip("/")
    sent = client.build_request(
        "POST",
        f"{base_url}/models/{model.removeprefix('models/')}:streamGenerateContent",
        params={"alt": "sse"},
        json=payload_of(request),
        headers={"x-goog-api-key": key_for(provider, request.base_url, request.api_key)},
        timeout=request.timeout_ms / 1000,
    )
    into = Gathering(provider.name, model)
    return await event_chat.answer(provider, request, client, on_text, sent=sent, into=into, under_way=under_way)


def payload_of(request: ChatRequest) -> dict[str, Any]:
    """Return the body of a request."""
    system = "\n\n".join(message.content for message in request.messages if message.role is Role.SYSTEM)
    payload: dict[str, Any] = {"contents": _contents(request.messages)}
    if system:
        payload["systemInstruction"] = {"parts": [{"text": system}]}
    generation: dict[str, Any] = {
        "temperature": request.temperature,
        "maxOutputTokens": request.max_tokens,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
    }
    if request.schema is not None and not request.tools:
        generation |= {"responseMimeType": "application/json", "responseJsonSchema": dict(request.schema)}
    if chosen := {name: value for name, value in generation.items() if value is not None}:
        payload["generationConfig"] = chosen
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.parameters)}
            for tool in request.tools
        ]
        payload["tools"] = [{"functionDeclarations": declared}]
    return payload


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages, those of one role that follow one another as one."""
    named = {call.id: call.name for message in messages for call in message.tool_calls}
    contents: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        role = "model" if message.role is Role.ASSISTANT else "user"
        parts = _parts(message, named)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message, named: Mapping[str, str]) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        response = {"name": named.get(message.tool_call_id, ""), "response": {"result": message.content}}
        return [{"functionResponse": response}]
    parts: list[dict[str, Any]] = [{"text": message.content}] if message.content else []
    parts += [_picture(image) for image in message.images]
    for call in message.tool_calls:
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": object_of(call.arguments)}}
        if call.signature:
            part["thoughtSignature"] = call.signature
        parts.append(part)
    return parts


def _picture(image: str) -> dict[str, Any]:
    mime_type, data = split_data_address(image)
    if not mime_type:
        return {"fileData": {"fileUri": image}}
    return {"inlineData": {"mimeType": mime_type, "data": data}}


@dataclass(slots=True)
class Gathering:
    """An answer that comes in events. `take` each, then ask for the parts."""

    provider: str
    model: str
    content: str = ""
    finish_reason: FinishReason | None = None
    _usage: Usage | None = None
    _calls: list[ToolCall] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> str:
        """Take an event and return the text that it adds. Raises `NodeError` where it is an error, and `Malformed`."""
        if event.get("error"):
            code = event["error"].get("code") if isinstance(event["error"], dict) else None
            raise of_status(self.provider, code if isinstance(code, int) else 500, dict(event), {})
        if reason := text_of(object_at(event, "promptFeedback"), "blockReason"):
            fields = {"provider": self.provider, "retryable": False}
            raise NodeError(f"{self.provider} refuses the messages: {reason}", "content_filtered", fields)
        self.model = text_of(event, "modelVersion") or self.model
        self._count(object_at(event, "usageMetadata"))
        added = ""
        for candidate in objects_at(event, "candidates")[:1]:
            for part in objects_at(object_at(candidate, "content"), "parts"):
                added += self._part(part)
            if reason := text_of(candidate, "finishReason"):
                self.finish_reason = self._reason(reason)
        self.content += added
        return added

    def _part(self, part: Mapping[str, Any]) -> str:
        if call := object_at(part, "functionCall"):
            name = text_of(call, "name")
            self._calls.append(
                ToolCall(
                    id=text_of(call, "id") or f"call_{len(self._calls)}_{name}",
                    name=name,
                    arguments=orjson.dumps(object_at(call, "args")).decode(),
                    signature=text_of(part, "thoughtSignature"),
                )
            )
        return "" if part.get("thought") else text_of(part, "text")

    def _reason(self, reason: str) -> FinishReason:
        if reason == LENGTH:
            return FinishReason.LENGTH
        if reason in REFUSED:
            return FinishReason.CONTENT_FILTER
        return FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP

    def _count(self, usage: Mapping[str, Any]) -> None:
        if "promptTokenCount" in usage:
            completion = count_of(usage, "candidatesTokenCount") + count_of(usage, "thoughtsTokenCount")
            self._usage = Usage(prompt=count_of(usage, "promptTokenCount"), completion=completion)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What the model wants done."""
        return tuple(self._calls)

    def usage(self, request: ChatRequest) -> Usage:
        """Return the tokens as they were counted, those of thoughts with the answer's; or else an estimate."""
        return self._usage or estimate(request, self.content)
