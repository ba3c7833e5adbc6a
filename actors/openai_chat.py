"""Language models behind OpenAI's wire: OpenAI itself, vLLM, Ollama and the many providers that speak the same."""

import os
from typing import Any

import httpx2

from actors.chat import Gathering, error_of, payload_of
from actors.models import Provider
from nodes.outbound.answers import retry_after_ms
from nodes.outbound.client import AddressRefused, causes
from workflow.errors import NodeError
from workflow.models import ChatRequest, ChatResult, FinishReason, OnText, Ran

NO_KEY = "none"
"""What is sent where a server wants no key: the library insists on one."""


async def answer(
    provider: Provider, request: ChatRequest, model: str, client: httpx2.AsyncClient, on_text: OnText | None
) -> ChatResult:
    """Ask a provider; the client guards the way. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    import openai

    asking = openai.AsyncOpenAI(
        base_url=request.base_url or provider.base_url,
        api_key=request.api_key or provider.api_key or NO_KEY,
        http_client=client,
        max_retries=0,
        timeout=request.timeout_ms / 1000,
    )
    gathering, answered_by = Gathering(), model
    try:
        stream: Any = await asking.chat.completions.create(**payload_of(request, model))
        async for chunk in stream:
            told = chunk.model_dump()
            answered_by = told.get("model") or answered_by
            text = gathering.take(told)
            if text and on_text is not None:
                await on_text(text)
    except openai.APIStatusError as error:
        raise of_status(provider.name, error.status_code, error.body, error.response.headers) from error
    except openai.APITimeoutError as error:
        message = f"{provider.name} has not answered within {request.timeout_ms} ms"
        raise NodeError(message, "provider_failed", {"provider": provider.name, "retryable": True}) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        raise unreachable(provider.name, error) from error
    if gathering.finish_reason is None:
        message = f"{provider.name} ended its answer in the middle"
        raise NodeError(message, "provider_failed", {"provider": provider.name, "retryable": True})
    return ChatResult(
        content=gathering.content,
        usage=gathering.usage(request),
        finish_reason=gathering.finish_reason or FinishReason.STOP,
        provider=provider.name,
        ran=Ran(model=answered_by, device="remote", host=asking.base_url.host, pid=os.getpid()),
        tool_calls=gathering.tool_calls,
    )


def of_status(provider: str, status: int, body: Any, headers: Any) -> NodeError:
    """Return the node's error for an answer that is none: a code for each thing that somebody can do about it."""
    told = body.get("error", body) if isinstance(body, dict) else {"message": str(body or "no reason given")[:500]}
    named = error_of({**(told if isinstance(told, dict) else {"message": str(told)}), "code": _code(told)})
    fields: dict[str, Any] = {"provider": provider, "status": status, "retryable": False}
    if named.code in ("context_too_long", "content_filtered"):
        return NodeError(named.message, named.code, fields)
    reason = str(told.get("message") or told)[:500] if isinstance(told, dict) else str(told)[:500]
    message = f"{provider} answers {status}: {reason}"
    if status == 429:
        waits = {"retry_after_ms": retry_after_ms(headers) or 0}
        return NodeError(message, "provider_limited", {**fields, **waits, "retryable": True})
    if status in (401, 402, 403):
        return NodeError(message, "provider_refused", fields)
    if status == 404:
        return NodeError(message, "model_unknown", fields)
    if status >= 500 or status == 408:
        return NodeError(message, "provider_failed", {**fields, "retryable": True})
    return NodeError(message, "model_failed", fields)


def _code(told: Any) -> Any:
    return told.get("code") or told.get("type") if isinstance(told, dict) else None


def unreachable(provider: str, error: Exception) -> NodeError:
    """Return the node's error for a connection that did not come about, or broke."""
    for cause in causes(error):
        if isinstance(cause, AddressRefused):
            return NodeError(str(cause), "http_address_refused", {"provider": provider, "retryable": False})
    message = f"{provider} cannot be reached: {type(error).__name__}: {error}"
    return NodeError(message[:500], "provider_failed", {"provider": provider, "retryable": True})
