"""Asking language models, as nodes do it: an answer that is kept before it is used, JSON that fits a schema, what nodes give of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from workflow.drafts import Drafts, NoDrafts
from workflow.errors import BadInput, NodeError
from workflow.models import ChatRequest, ChatResult, FinishReason, Message, Ran, Role, ToolCall, Usage
from workflow.schemas import violations
from workflow.spec import JsonObject, NodeContext
from workflow.values import decode, encode

AT_ONCE = 8
"""How many items are asked for at a time."""
FENCE = "```"
REPAIR = (
    "That is not what was asked for: {wrong}. Answer again with the corrected JSON and nothing else. "
    "It must satisfy this JSON Schema: {schema}"
)

MODEL_PROPERTIES: JsonObject = {
    "provider": {
        "type": "string",
        "default": "",
        "title": "Provider",
        "description": "A provider of the instance's configuration (`openai`, `anthropic`, `local` …); empty: its default.",
    },
    "model": {
        "type": "string",
        "default": "",
        "title": "Model",
        "description": "The provider's name of the model; empty: the one that is configured for the provider.",
    },
    "base_url": {
        "type": "string",
        "default": "",
        "title": "Address",
        "description": "Where the provider is asked, instead of the configured address.",
    },
    "api_key": {
        "type": "string",
        "default": "",
        "x-secret": True,
        "title": "API key",
        "description": "Instead of the configured one. It is kept as it is written until there are credentials.",
    },
    "temperature": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 2,
        "title": "Temperature",
        "description": "How freely it chooses its words; without one, what the provider thinks best.",
    },
    "max_tokens": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 1_000_000,
        "title": "Tokens at most",
        "description": "The longest answer, in tokens.",
    },
    "seed": {
        "type": ["integer", "null"],
        "title": "Seed",
        "description": "For answers that can be had again, where the provider can.",
    },
}
"""The fields of a config that say which model is asked, and how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered; `data` is its JSON, which may be null, where a schema was given."""

    result: ChatResult
    data: Any = None
    has_data: bool = False

    def as_json(self) -> JsonObject:
        """Return it as nodes give it."""
        given: JsonObject = {
            "content": self.result.content,
            "model": self.result.ran.model,
            "provider": self.result.provider,
            "usage": self.result.usage.as_json(),
            "finish_reason": self.result.finish_reason.value,
        }
        if self.has_data:
            given["data"] = self.data
        if self.result.tool_calls:
            given["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in self.result.tool_calls
            ]
        return given


def request_of(
    config: Mapping[str, Any], messages: Sequence[Message], context: NodeContext, **more: Any
) -> ChatRequest:
    """Return the request that the model fields of a config describe."""
    return ChatRequest(
        messages=messages,
        provider=config.get("provider", ""),
        model=config.get("model", ""),
        base_url=config.get("base_url", ""),
        api_key=config.get("api_key", ""),
        temperature=config.get("temperature"),
        max_tokens=config.get("max_tokens"),
        seed=config.get("seed"),
        timeout_ms=context.timeout_ms,
        gpu=context.gpu,
        **more,
    )


async def ask(
    context: NodeContext,
    request: ChatRequest,
    name: str,
    item_index: int = 0,
    *,
    aloud: bool = True,
    again: bool = False,
) -> Answer:
    """Return the answer, from what an earlier attempt has kept under this name where there is one.

    Whoever follows the execution reads along where it is `aloud`; `again` says that something was written for the item before this
    attempt waited. With a schema the answer's JSON is held against it; a wrong answer is shown to the model once, to be mended. Raises
    `NodeError`: what the models raise, and `answer_invalid` where the second answer is wrong, too.
    """
    drafts = context.drafts if aloud else NoDrafts()
    answer = await _answer(context, request, name, item_index, drafts, again=again)
    if request.schema is None:
        return Answer(answer)
    data, wrong = _fitting(answer.content, request.schema)
    if not wrong:
        return Answer(answer, data, has_data=True)
    schema = orjson.dumps(request.schema).decode()
    told = Message(role=Role.USER, content=REPAIR.format(wrong=wrong, schema=schema))
    said = Message(role=Role.ASSISTANT, content=answer.content)
    mended = await _answer(
        context, replace(request, messages=[*request.messages, said, told]), f"{name}:mended", item_index, drafts
    )
    data, wrong = _fitting(mended.content, request.schema)
    if wrong:
        message = f"the model's answer does not fit the schema, not even when it was told so: {wrong}"
        raise NodeError(message, "answer_invalid", {"content": mended.content[:2_000], "retryable": True})
    return Answer(replace(mended, usage=answer.usage + mended.usage), data, has_data=True)


async def _answer(
    context: NodeContext,
    request: ChatRequest,
    name: str,
    item_index: int,
    drafts: Drafts,
    *,
    again: bool = False,
) -> ChatResult:
    kept = await context.effects.recall(name)
    if kept is None:
        with drafts.begin(item_index, again=again) as draft:
            answer = await context.models.answer(request, draft.add)
        kept = await context.effects.keep(_packed(answer), name)
    found = _unpacked(kept)
    if not isinstance(drafts, NoDrafts):
        context.answer = context.answer or found.content
    return found


def _packed(result: ChatResult) -> bytes:
    return encode(
        {
            "content": result.content,
            "usage": result.usage.as_json(),
            "finish_reason": result.finish_reason.value,
            "provider": result.provider,
            "ran": result.ran.as_json(),
            "tool_calls": [[call.id, call.name, call.arguments, call.signature] for call in result.tool_calls],
        }
    )


def _unpacked(kept: bytes) -> ChatResult:
    told = orjson.loads(kept)
    ran, usage = told["ran"], told["usage"]
    return ChatResult(
        content=told["content"],
        usage=Usage(prompt=usage["prompt"], completion=usage["completion"], estimated=usage["estimated"]),
        finish_reason=FinishReason(told["finish_reason"]),
        provider=told["provider"],
        ran=Ran(**{**ran, "gpu_ids": tuple(ran["gpu_ids"]), "batch_sizes": tuple(ran["batch_sizes"])}),
        tool_calls=tuple(
            ToolCall(id=identity, name=name, arguments=text, signature=signature)
            for identity, name, text, signature in told["tool_calls"]
        ),
    )


def _fitting(content: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the answer's JSON and what is wrong with it, empty where nothing is."""
    text = content.strip()
    if text.startswith(FENCE):
        text = text.removeprefix(FENCE).removeprefix("json").removesuffix(FENCE).strip()
    try:
        data = decode(text.encode("utf-8", "replace"))
    except BadInput as error:
        return None, f"it is not JSON: {error.message}"
    found = violations(data, dict(schema))
    return data, "; ".join(f"{each['field'] or 'the whole'}: {each['message']}" for each in found[:3])
