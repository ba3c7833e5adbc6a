"""Language models behind OpenAI's wire: OpenAI itself, vLLM, Ollama and the many providers that speak the same."""

import os
from typing import Any

import httpx2

from actors.chat import Gathering, payload_of
from actors.models import Provider
from actors.provider_errors import cut, key_for, late, of_status, unreachable
from workflow.models import ChatRequest, ChatResult, OnText, Ran

NO_KEY = "none"
"""What is sent where a server wants no key: the library insists on one."""


async def answer(
    provider: Provider, request: ChatRequest, model: str, client: httpx2.AsyncClient, on_text: OnText | None
) -> ChatResult:
    """Ask a provider; the client guards the way. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    import openai

    asking = openai.AsyncOpenAI(
        base_url=request.base_url or provider.base_url,
        api_key=key_for(provider, request.base_url, request.api_key) or NO_KEY,
        http_client=client,
        max_retries=0,
        timeout=request.timeout_ms / 1000,
    )
    gathering, answered_by = Gathering(), model
    try:
        stream: Any = await asking.chat.completions.create(**payload_of(request, model, provider.wire))
        async for chunk in stream:
            told = chunk.model_dump()
            answered_by = told.get("model") or answered_by
            text = gathering.take(told)
            if text and on_text is not None:
                await on_text(text)
    except openai.APIStatusError as error:
        raise of_status(provider.name, error.status_code, error.body, error.response.headers) from error
    except openai.APITimeoutError as error:
        raise late(provider.name, request.timeout_ms) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        raise unreachable(provider.name, error) from error
    if gathering.finish_reason is None:
        raise cut(provider.name)
    return ChatResult(
        content=gathering.content,
        usage=gathering.usage(request),
        finish_reason=gathering.finish_reason,
        provider=provider.name,
        ran=Ran(model=answered_by, device="remote", host=asking.base_url.host, pid=os.getpid()),
        tool_calls=gathering.tool_calls,
    )
