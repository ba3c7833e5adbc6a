"""What every model that replicas hold has in common: its weights are checked by their hash, and torch is made ready for it. No Ray."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.models import ModelSource
from workflow.errors import NodeError

WEIGHTS = "model.safetensors"
HASH_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a model of sentence-transformers is loaded with: its folder or name on a hub, torch, and the device."""

    path: str
    torch: Any
    device: str


def prepare(source: ModelSource, threads: int) -> Prepared:
    """Check the weights and make torch ready. Raises `NodeError`: `model_unknown`, `model_altered`."""
    if not source.hub:
        os.environ["HF_HUB_OFFLINE"] = "1"
    path = source.path()
    check_weights(Path(path) / WEIGHTS, source)
    import torch

    torch.set_num_threads(threads)
    return Prepared(path, torch, "cuda" if torch.cuda.is_available() else "cpu")


def check_weights(path: Path, source: ModelSource) -> None:
    """Raise `NodeError` (`model_altered`) where a file of weights is not the one of the source's hash."""
    if not source.sha256:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != source.sha256:
        message = f"the weights of {source.name} are not those that were configured: sha256 {digest.hexdigest()}"
        raise NodeError(message, "model_altered", {"model": source.name, "retryable": False})
