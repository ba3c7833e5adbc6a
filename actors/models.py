"""Which models an instance has, where they come from, and how they are held: plain values that travel to actors and replicas."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from workflow.errors import NodeError
from workflow.models import DEFAULT_MODEL

PACKAGE = "package:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model comes from: `package:<module>/<folder>` of an installed package, a path, or a hub's name.

    `sha256` of its weights is checked where it is given; `hub` lets it be fetched from a hub.
    """

    name: str
    source: str
    sha256: str = ""
    hub: bool = False
    query_prefix: str = ""
    passage_prefix: str = ""
    batch_max: int = 64

    def path(self) -> str:
        """Return the folder, or the hub's name. Raises `NodeError` (`model_unknown`) where there is none."""
        if self.source.startswith(PACKAGE):
            module, _, folder = self.source.removeprefix(PACKAGE).partition("/")
            found = importlib.util.find_spec(module)
            if found is None or not found.submodule_search_locations:
                raise _unknown(self, f"the package {module} is not installed")
            return str(Path(found.submodule_search_locations[0]) / folder)
        if self.hub or Path(self.source).expanduser().is_dir():
            return str(Path(self.source).expanduser()) if not self.hub else self.source
        raise _unknown(self, f"there is no folder {self.source}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel:
    """A model that replicas hold. `gpu` is the share of a GPU of each replica on one; 0: it never uses one."""

    source: ModelSource
    gpu: float = 0.0
    replicas_max: int = 1
    queued_max: int = 1_000
    idle_s: float = 600.0
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """The models of an instance, by name, and which one is meant when nobody names one."""

    embedding: str = ""
    embeddings: tuple[HostedModel, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that the plain data of a plan describe."""
        embeddings = tuple(
            HostedModel(**{**each, "source": ModelSource(**each["source"])}) for each in values["embeddings"]
        )
        return cls(embedding=values["embedding"], embeddings=embeddings)

    def embedding_named(self, name: str) -> HostedModel:
        """Return the model of that name, or the default one. Raises `NodeError` (`model_unknown`)."""
        wanted = self.embedding if name == DEFAULT_MODEL else name
        for model in self.embeddings:
            if model.source.name == wanted:
                return model
        known = ", ".join(model.source.name for model in self.embeddings) or "none"
        fields = {"model": wanted, "retryable": False}
        raise NodeError(f"there is no embedding model {wanted!r}; there are: {known}", "model_unknown", fields)


def _unknown(source: ModelSource, why: str) -> NodeError:
    return NodeError(f"the model {source.name} cannot be loaded: {why}", "model_unknown", {"retryable": False})
