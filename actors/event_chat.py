"""Providers that answer with server-sent events of their own kind: one request, read event by event."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import httpx2
import orjson

from actors.models import Provider
from actors.provider_errors import cut, failed, late, of_status, unreachable
from workflow.models import ChatRequest, ChatResult, FinishReason, OnText, Ran, ToolCall, Usage

ERROR_BYTES_MAX = 64 * 1024
EVENT_CHARS_MAX = 8 * 1024 * 1024


class Gathered(Protocol):
    """An answer that is put together from its events."""

    content: str
    finish_reason: FinishReason | None
    model: str

    def take(self, event: Mapping[str, Any]) -> str:
        """Take an event and return the text that it adds. Raises `NodeError` where it is an error."""
        ...

    def usage(self, request: ChatRequest) -> Usage:
        """Return the tokens as they were counted, or else an estimate."""
        ...

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """What the model wants done."""
        ...


async def answer(
    provider: Provider,
    request: ChatRequest,
    client: httpx2.AsyncClient,
    on_text: OnText | None,
    *,
    sent: httpx2.Request,
    into: Gathered,
) -> ChatResult:
    """Send a request and put its answer together. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            response = await client.send(sent, stream=True)
            try:
                if response.status_code != 200:
                    raise of_status(provider.name, response.status_code, await _told(response), response.headers)
                async for event in events(provider.name, response):
                    text = into.take(event)
                    if text and on_text is not None:
                        await on_text(text)
            finally:
                await response.aclose()
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise late(provider.name, request.timeout_ms) from error
    except httpx2.HTTPError as error:
        raise unreachable(provider.name, error) from error
    if into.finish_reason is None:
        raise cut(provider.name)
    return ChatResult(
        content=into.content,
        usage=into.usage(request),
        finish_reason=into.finish_reason,
        provider=provider.name,
        ran=Ran(model=into.model, device="remote", host=sent.url.host, pid=os.getpid()),
        tool_calls=into.tool_calls,
    )


async def events(provider: str, response: httpx2.Response) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the data of each event, which is an object of JSON (HTML standard, 9.2.6). Raises `NodeError` where it is none."""
    data: list[str] = []
    size = 0
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            size += len(line)
            if size > EVENT_CHARS_MAX:
                raise failed(provider, "sent an event that is too large")
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            try:
                told = orjson.loads("\n".join(data))
            except ValueError as error:
                raise failed(provider, "sent an event that is not JSON") from error
            if isinstance(told, dict):
                yield told
            data, size = [], 0


async def _told(response: httpx2.Response) -> Any:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ERROR_BYTES_MAX:
            break
    try:
        told = orjson.loads(body)
    except ValueError:
        return body[:ERROR_BYTES_MAX].decode("utf-8", "replace")
    # Gemini wraps the error of a stream in a list.
    return told[0] if isinstance(told, list) and told else told
