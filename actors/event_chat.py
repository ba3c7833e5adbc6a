"""Providers that answer with server-sent events of their own kind: one request, read event by event."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import httpx2
import orjson

from actors.event_fields import Malformed
from actors.models import Provider
from actors.provider_errors import cut, failed, late, of_status, unreachable
from actors.under_way import Gathered, UnderWay
from workflow.models import ChatRequest, ChatResult, FinishReason, OnText, Ran

ERROR_BYTES_MAX = 64 * 1024
EVENT_BYTES_MAX = 8 * 1024 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024
DONE = b"[DONE]"
SENDS = "send_request_headers.started"
"""What httpcore calls the moment after which a provider may have got a request."""


class Gathering(Gathered, Protocol):
    """An answer that is put together from its events."""

    finish_reason: FinishReason | None

    def take(self, event: Mapping[str, Any]) -> str:
        """Take an event and return the text that it adds. Raises `NodeError` where it is an error, and `Malformed`."""
        ...


async def answer(
    provider: Provider,
    request: ChatRequest,
    client: httpx2.AsyncClient,
    on_text: OnText | None,
    *,
    sent: httpx2.Request,
    into: Gathering,
    under_way: UnderWay,
) -> ChatResult:
    """Send a request and put its answer together. Raises `NodeError` as `workflow.models.Chat.answer` does."""
    ran = Ran(model=into.model, device="remote", host=sent.url.host, pid=os.getpid())

    async def notice(step: str, _: Mapping[str, Any]) -> None:
        if step.endswith(SENDS):
            under_way.began(request, into, ran)

    sent.extensions["trace"] = notice
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            response = await client.send(sent, stream=True)
            try:
                if response.status_code != 200:
                    under_way.refused()
                    raise of_status(provider.name, response.status_code, await _told(response), response.headers)
                async for event in events(provider.name, response):
                    text = into.take(event)
                    if text and on_text is not None:
                        await on_text(text)
            finally:
                await response.aclose()
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise late(provider.name, request.timeout_ms) from error
    except Malformed as error:
        raise failed(provider.name, f"sent an event that is not as its reference says: {error}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise unreachable(provider.name, error) from error
    if into.finish_reason is None:
        raise cut(provider.name)
    return ChatResult(
        content=into.content,
        usage=into.usage(request),
        finish_reason=into.finish_reason,
        provider=provider.name,
        ran=replace(ran, model=into.model),
        tool_calls=into.tool_calls,
    )


async def events(provider: str, response: httpx2.Response) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the data of each event, which is an object of JSON (HTML standard, 9.2.6). Raises `NodeError` where it is none.

    OpenAI's wire ends with an event that is none.
    """
    data: list[bytes] = []
    size = 0
    async for line in _lines(provider, response):
        if line.startswith(b"data:"):
            size += len(line)
            if size > EVENT_BYTES_MAX:
                raise failed(provider, "sent an event that is too large")
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line and data:
            written = b"\n".join(data)
            if written.startswith(DONE):
                return
            try:
                told = orjson.loads(written)
            except ValueError as error:
                raise failed(provider, "sent an event that is not JSON") from error
            if not isinstance(told, dict):
                raise failed(provider, "sent an event that is not an object")
            yield told
            data, size = [], 0


async def _lines(provider: str, response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield the lines, without their ends. The library's own would end a line at characters that JSON may hold (U+2028)."""
    left, size = bytearray(), 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise failed(provider, "sent an answer that is too large")
        left += piece
        if b"\n" not in piece:
            if len(left) > EVENT_BYTES_MAX:
                raise failed(provider, "sent an event that is too large")
            continue
        *whole, last = left.split(b"\n")
        left = bytearray(last)
        for line in whole:
            yield bytes(line.removesuffix(b"\r"))


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
