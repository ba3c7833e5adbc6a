"""The models of an instance as nodes and routes see them: those that replicas hold, and those of providers. No Ray."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import httpx2

from actors import anthropic_chat, gemini_chat, openai_chat
from actors.chat import Gathering
from actors.models import Adapter, HostedLanguageModel, LoadedModel, ModelsConfig, Provider
from actors.provider_errors import key_for, without_key
from actors.under_way import UnderWay
from workflow.errors import NodeError
from workflow.models import (
    DEFAULT_MODEL,
    ChatRequest,
    ChatResult,
    Gpu,
    OnText,
    Purpose,
    Ran,
    Scores,
    Vectors,
)


class HostedModels(Protocol):
    """Models that replicas hold."""

    async def embed(self, texts: Sequence[str], *, model: str, purpose: Purpose, gpu: Gpu) -> Vectors:
        """As `workflow.models.Embedder.embed`."""
        ...

    async def score(self, query: str, texts: Sequence[str], *, model: str, gpu: Gpu) -> Scores:
        """As `workflow.models.Reranker.score`."""
        ...

    def chunks(
        self, model: HostedLanguageModel, request: ChatRequest, gpu: Gpu
    ) -> AsyncIterator[Mapping[str, Any] | Ran]:
        """Yield where the model computes, then the chunks of its answer. Raises `NodeError` as `Chat.answer` does."""
        ...

    async def loaded(self) -> list[LoadedModel]:
        """Return those that replicas hold just now."""
        ...


class ModelAccess:
    """The way to all models. `client` gives the guarded client, on the loop that asks; without it no provider is asked."""

    def __init__(
        self, config: ModelsConfig, hosted: HostedModels, client: Callable[[], httpx2.AsyncClient] | None = None
    ) -> None:
        self._config = config
        self._hosted = hosted
        self._client = client

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        purpose: Purpose = Purpose.PASSAGE,
        gpu: Gpu = Gpu.PREFERRED,
    ) -> Vectors:
        """Return the vectors, in order."""
        return await self._hosted.embed(texts, model=model, purpose=purpose, gpu=gpu)

    async def score(
        self, query: str, texts: Sequence[str], *, model: str = DEFAULT_MODEL, gpu: Gpu = Gpu.PREFERRED
    ) -> Scores:
        """Return a score for each text."""
        return await self._hosted.score(query, texts, model=model, gpu=gpu)

    async def answer(
        self, request: ChatRequest, on_text: OnText | None = None, under_way: UnderWay | None = None
    ) -> ChatResult:
        """Return the whole answer of the provider that the request names; its pieces are told as they come.

        `under_way` knows meanwhile what there is to note, should it break off.
        """
        under_way = under_way or UnderWay()
        provider = self._config.provider_named(request.provider)
        model = request.model or provider.model
        if not model:
            fields = {"provider": provider.name, "retryable": False}
            raise NodeError(f"{provider.name} has no model of its own: name one", "model_unknown", fields)
        _check_abilities(provider, model, request)
        under_way.asks(provider.name, model)
        if provider.adapter is Adapter.HOSTED:
            return await self._hosted_answer(provider.name, model, request, on_text, under_way)
        if self._client is None:
            message = f"{provider.name} cannot be reached from here"
            raise NodeError(message, "provider_unknown", {"provider": provider.name, "retryable": False})
        ask = {
            Adapter.OPENAI: openai_chat.answer,
            Adapter.ANTHROPIC: anthropic_chat.answer,
            Adapter.GEMINI: gemini_chat.answer,
        }[provider.adapter]
        try:
            return await ask(provider, request, model, self._client(), on_text, under_way)
        except NodeError as error:
            raise without_key(error, key_for(provider, request.base_url, request.api_key)) from error

    async def _hosted_answer(
        self, provider: str, model: str, request: ChatRequest, on_text: OnText | None, under_way: UnderWay
    ) -> ChatResult:
        gathering, ran = Gathering(model), None
        async for told in self._hosted.chunks(self._config.language_named(model), request, request.gpu):
            if isinstance(told, Ran):
                ran = told
                under_way.began(request, gathering, told)
                continue
            text = gathering.take(told)
            if text and on_text is not None:
                await on_text(text)
        if gathering.finish_reason is None or ran is None:
            message = f"{model} ended its answer in the middle"
            raise NodeError(message, "model_failed", {"model": model, "retryable": True})
        return ChatResult(
            content=gathering.content,
            usage=gathering.usage(request),
            finish_reason=gathering.finish_reason,
            provider=provider,
            ran=ran,
            tool_calls=gathering.tool_calls,
        )


def _check_abilities(provider: Provider, model: str, request: ChatRequest) -> None:
    """Refuse what the models of a provider cannot do. Raises `NodeError`: `tools_unsupported`, `images_unsupported`."""
    sees = any(message.images for message in request.messages)
    for wanted, can, what in ((bool(request.tools), provider.tools, "tools"), (sees, provider.images, "images")):
        if wanted and not can:
            message = f"{model} of {provider.name} knows no {what} (`models.providers.{provider.name}.{what}`)"
            raise NodeError(
                message, f"{what}_unsupported", {"provider": provider.name, "model": model, "retryable": False}
            )
