"""The models that workflows may ask: those that replicas hold, and the providers."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from actors.models import HostedModel, LoadedModel, ModelsConfig, Provider
from serve_app import models
from serve_app.auth import Viewer
from serve_app.routes.asking import Asked, answer

router = APIRouter(prefix="/workspaces/{workspace_id}", tags=["models"])


@router.get("/models", operation_id="list_models", response_model=models.ModelsOut)
async def list_models(_caller: Viewer, services: Asked) -> Response:
    """List the models of the instance, what replicas hold of them just now, and the providers of language models."""
    config = services.config.models
    loaded = {(each.kind, each.model): each for each in await services.hosted.loaded()}
    return answer(
        {
            "items": list(_hosted(config, loaded)),
            "providers": [_provider(provider, config.provider) for provider in config.providers],
        }
    )


def _hosted(config: ModelsConfig, loaded: dict[tuple[str, str], LoadedModel]) -> Iterator[dict[str, Any]]:
    for kind, some, default in (
        ("embed", config.embeddings, config.embedding),
        ("rank", config.rankers, config.ranking),
        ("llm", config.language, ""),
    ):
        for model in some:
            yield _model(kind, model, loaded.get((kind, model.source.name)), default=model.source.name == default)


def _model(kind: str, model: HostedModel, loaded: LoadedModel | None, *, default: bool) -> dict[str, Any]:
    return {
        "name": model.source.name,
        "kind": kind,
        "default": default,
        "gpu": model.gpu,
        "replicas": 0 if loaded is None else loaded.replicas,
        "replicas_max": model.replicas_max,
        "replica": None
        if loaded is None
        else {
            "device": loaded.device,
            "host": loaded.host,
            "pid": loaded.pid,
            "gpu_ids": list(loaded.gpu_ids),
            "load_s": loaded.load_s,
            "memory_mib": loaded.memory_mib,
        },
    }


def _provider(provider: Provider, default: str) -> dict[str, Any]:
    return {
        "name": provider.name,
        "adapter": provider.adapter.value,
        "base_url": provider.base_url,
        "model": provider.model,
        "tools": provider.tools,
        "images": provider.images,
        "has_key": bool(provider.api_key),
        "default": provider.name == default,
    }
