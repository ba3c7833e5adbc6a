"""Which models an instance has, where they come from, and how they are held: plain values that travel to actors and replicas."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

from workflow.budgets import Budget, Budgets
from workflow.errors import NodeError
from workflow.ledger import Price
from workflow.models import DEFAULT_MODEL

PACKAGE = "package:"
M = TypeVar("M", bound="HostedModel")


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
        if self.hub:
            return self.source
        if not Path(self.source).expanduser().exists():
            raise _unknown(self, f"there is no {self.source}")
        return str(Path(self.source).expanduser())


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel:
    """A model that replicas hold. `gpu` is the share of a GPU of each replica on one; 0: it never uses one.

    `accelerator` is the type that the GPU must have, by Ray's name for it; empty for any.
    """

    source: ModelSource
    gpu: float = 0.0
    accelerator: str = ""
    replicas_max: int = 1
    queued_max: int = 1_000
    idle_s: float = 600.0
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedLanguageModel(HostedModel):
    """A language model; `context_tokens` is what each of its `parallel` answers at a time may have."""

    context_tokens: int = 8_192
    parallel: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that replicas hold just now: one of them, as it says itself, and how many there are."""

    kind: str
    """`embed`, `rank` or `llm`."""
    model: str
    replicas: int
    device: str
    host: str
    pid: int
    gpu_ids: tuple[str, ...]
    load_s: float
    memory_mib: float


class Adapter(StrEnum):
    """How a provider is spoken to."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    HOSTED = "hosted"
    """A replica of this cluster holds the model."""


class JsonOutput(StrEnum):
    """What a server on OpenAI's wire can do for an answer that is to be JSON."""

    SCHEMA = "schema"
    """It writes what satisfies a schema."""
    OBJECT = "object"
    """It writes some object; the schema is told in words."""
    NONE = "none"
    """The schema is told in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """In what a server differs from OpenAI's wire as most speak it."""

    json_output: JsonOutput = JsonOutput.SCHEMA
    max_tokens_field: str = "max_tokens"
    usage_option: bool = True
    """Whether it knows the option that has it count the tokens of a stream; those that do not count them unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where language models are asked. `model` is the one that is meant when nobody names one."""

    name: str
    adapter: Adapter
    base_url: str = ""
    model: str = ""
    wire: Wire = field(default_factory=Wire)
    tools: bool = True
    """Whether its models can call tools."""
    images: bool = True
    """Whether they can see."""
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """The models of an instance, by name, and which one is meant when nobody names one."""

    embedding: str = ""
    embeddings: tuple[HostedModel, ...] = ()
    ranking: str = ""
    rankers: tuple[HostedModel, ...] = ()
    """Cross-encoders."""
    language: tuple[HostedLanguageModel, ...] = ()
    provider: str = ""
    """The one that is asked when nobody names one."""
    providers: tuple[Provider, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By `provider/model` or `provider/*`."""
    budgets: Budgets = field(default_factory=Budgets)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that the plain data of a plan describe."""
        embeddings, rankers = (
            tuple(HostedModel(**{**each, "source": ModelSource(**each["source"])}) for each in values[kind])
            for kind in ("embeddings", "rankers")
        )
        language = tuple(
            HostedLanguageModel(**{**each, "source": ModelSource(**each["source"])}) for each in values["language"]
        )
        providers = tuple(_provider(each) for each in values["providers"])
        return cls(
            embedding=values["embedding"],
            embeddings=embeddings,
            ranking=values["ranking"],
            rankers=rankers,
            language=language,
            provider=values["provider"],
            providers=providers,
            prices={
                name: Price(prompt=Decimal(price["prompt"]), completion=Decimal(price["completion"]))
                for name, price in values["prices"].items()
            },
            budgets=Budgets(**{owner: _budget(budget) for owner, budget in values["budgets"].items()}),
        )

    def embedding_named(self, name: str) -> HostedModel:
        """Return the model of that name, or the default one. Raises `NodeError` (`model_unknown`)."""
        return _named("embedding model", self.embeddings, self.embedding if name == DEFAULT_MODEL else name)

    def ranker_named(self, name: str) -> HostedModel:
        """Return the ranker of that name, or the default one. Raises `NodeError`: `model_unknown`, `no_ranker` without a default."""
        if name == DEFAULT_MODEL and not self.ranking:
            known = f"; there are: {', '.join(each.source.name for each in self.rankers)}" if self.rankers else ""
            message = f"no ranker is configured: name a cross-encoder in models.rankers and models.ranking{known}"
            raise NodeError(message, "no_ranker", {"retryable": False})
        return _named("ranker", self.rankers, self.ranking if name == DEFAULT_MODEL else name)

    def language_named(self, name: str) -> HostedLanguageModel:
        """Return the language model of that name that replicas hold. Raises `NodeError` (`model_unknown`)."""
        return _named("language model", self.language, name)

    def provider_named(self, name: str) -> Provider:
        """Return the provider of that name, or the default one. Raises `NodeError` (`provider_unknown`)."""
        wanted = name or self.provider
        for provider in self.providers:
            if provider.name == wanted:
                return provider
        known = ", ".join(provider.name for provider in self.providers) or "none"
        fields = {"provider": wanted, "retryable": False}
        raise NodeError(f"there is no provider {wanted!r}; there are: {known}", "provider_unknown", fields)


def _provider(values: Mapping[str, Any]) -> Provider:
    told = values["wire"]
    wire = Wire(**{**told, "json_output": JsonOutput(told["json_output"])})
    return Provider(**{**values, "adapter": Adapter(values["adapter"]), "wire": wire})


def _budget(values: Mapping[str, Any]) -> Budget:
    usd = values["usd"]
    return Budget(usd=None if usd is None else Decimal(usd), tokens=values["tokens"])


def _named(what: str, models: Sequence[M], name: str) -> M:
    for model in models:
        if model.source.name == name:
            return model
    known = ", ".join(model.source.name for model in models) or "none"
    fields = {"model": name, "retryable": False}
    raise NodeError(f"there is no {what} {name!r}; there are: {known}", "model_unknown", fields)


def _unknown(source: ModelSource, why: str) -> NodeError:
    return NodeError(f"the model {source.name} cannot be loaded: {why}", "model_unknown", {"retryable": False})
