"""Language models behind OpenAI's wire: OpenAI itself, vLLM, Ollama and the many providers that speak the same."""

import httpx2

from actors import event_chat
from actors.chat import Gathering, payload_of
from actors.models import Provider
from actors.provider_errors import key_for
from actors.under_way import UnderWay
from workflow.models import ChatRequest, ChatResult, OnText

NO_KEY = "none"
"""What is sent where a server wants no key: some refuse a request without any."""


async def answer(
    provider: Provider,
    request: ChatRequest,
    model: str,
    client: httpx2.AsyncClient,
    on_text: OnText | None,
    under_way: UnderWay,
) -> ChatResult:
    """Ask a provider; the client guards the way. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    key = key_for(provider, request.base_url, request.api_key) or NO_KEY
    sent = client.build_request(
        "POST",
        f"{(request.base_url or provider.base_url).rstrip('/')}/chat/completions",
        json=payload_of(request, model, provider.wire),
        headers={"authorization": f"Bearer {key}", "accept": "text/event-stream"},
        timeout=request.timeout_ms / 1000,
    )
    into = Gathering(model)
    return await event_chat.answer(provider, request, client, on_text, sent=sent, into=into, under_way=under_way)
