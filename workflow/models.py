"""What nodes and routes ask of models: values and ports. Who computes, and where, is behind them.

A model's answer costs time or money, so what is visible of it is kept under the key of the effect that it belongs to before
anybody uses it (`workflow.effects`): a crash never pays twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from workflow.errors import NodeError

DEFAULT_MODEL = ""
"""Stands for the model that the instance is configured to use when nobody names one."""


class Gpu(StrEnum):
    """Whether work wants a GPU."""

    REQUIRED = "required"
    """It fails at once where the cluster has none."""
    PREFERRED = "preferred"
    """It uses one where there is one, else a CPU."""
    NONE = "none"


class Purpose(StrEnum):
    """What texts are embedded for: some models treat questions and passages differently."""

    PASSAGE = "passage"
    QUERY = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Where a model computed, for the record: the device, the host of the cluster, and how large the batches were.

    A batch may hold work of several executions; `batch_sizes` has one entry for each batch that a part of this work was in.
    """

    model: str
    device: str
    host: str
    pid: int
    gpu_ids: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return {
            "model": self.model,
            "device": self.device,
            "host": self.host,
            "pid": self.pid,
            "gpu_ids": list(self.gpu_ids),
            "batch_sizes": list(self.batch_sizes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Embeddings, one for each text, of length 1; `tokens` is how many tokens the texts had."""

    rows: Sequence[Sequence[float]]
    dimension: int
    tokens: int
    ran: Ran


class Embedder(Protocol):
    """Turns texts into vectors."""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        purpose: Purpose = Purpose.PASSAGE,
        gpu: Gpu = Gpu.PREFERRED,
    ) -> Vectors:
        """Return the vectors, in order. Raises `NodeError`: `model_unknown`, `gpu_unavailable`, `models_busy`, `model_failed`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How relevant each text is to a query, in order of the texts; larger is more relevant."""

    values: Sequence[float]
    ran: Ran


class Reranker(Protocol):
    """Tells how relevant texts are to a query."""

    async def score(
        self, query: str, texts: Sequence[str], *, model: str = DEFAULT_MODEL, gpu: Gpu = Gpu.PREFERRED
    ) -> Scores:
        """Return a score for each text. Raises `NodeError` as `Embedder.embed` does, and `no_ranker` where no default is configured."""
        ...


class Role(StrEnum):
    """Who says something."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What a model wants done; `arguments` is the JSON text that it wrote, which may be anything.

    `signature` is what the provider wants to have back with the call when it is told the result; empty for most.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation. `images` are data or https addresses; `tool_call_id` says what a tool's message answers."""

    role: Role
    content: str
    images: Sequence[str] = ()
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something a model may ask for; `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a language model is asked.

    `provider` names a preset of the configuration, empty for the instance's default; `base_url` and `api_key` override it.
    `schema` is the JSON Schema that the answer must satisfy, where it is to be JSON. `gpu` is for models that the cluster holds; what
    another server computes on is that server's business.
    """

    messages: Sequence[Message]
    provider: str = ""
    model: str = DEFAULT_MODEL
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Tool] = ()
    timeout_ms: int = 60_000
    gpu: Gpu = Gpu.PREFERRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that were read and written; `estimated` where the provider did not count them."""

    prompt: int = 0
    completion: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.completion

    def __add__(self, other: "Usage") -> "Usage":
        """Return the tokens of both."""
        return Usage(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            estimated=self.estimated or other.estimated,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as nodes give it."""
        return {
            "prompt": self.prompt,
            "completion": self.completion,
            "total": self.total,
            "estimated": self.estimated,
        }


class FinishReason(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """What a language model answered, and where."""

    content: str
    usage: Usage
    finish_reason: FinishReason
    provider: str
    ran: Ran
    tool_calls: Sequence[ToolCall] = ()


OnText = Callable[[str], Awaitable[None]]
"""Told of each piece of an answer as it comes."""


class Chat(Protocol):
    """Asks language models."""

    async def answer(self, request: ChatRequest, on_text: OnText | None = None) -> ChatResult:
        """Return the whole answer; with `on_text`, its pieces are told as they come.

        Raises `NodeError`: `model_unknown`, `provider_unknown`, `provider_refused` (401, 403), `provider_limited` (429),
        `provider_failed` (5xx, no connection), `context_too_long`, `content_filtered`, `schema_unsupported`, `tools_unsupported`,
        `images_unsupported`, `model_failed`, and of models that the cluster
        holds what `Embedder.embed` raises.
        """
        ...


class Models(Embedder, Reranker, Chat, Protocol):
    """All models."""


class NoModels:
    """Stands where there are no models: where an execution runs by itself, without an instance around it."""

    async def embed(
        self,
        texts: Sequence[str],  # noqa: ARG002 - the signatures of the ports
        *,
        model: str = DEFAULT_MODEL,  # noqa: ARG002
        purpose: Purpose = Purpose.PASSAGE,  # noqa: ARG002
        gpu: Gpu = Gpu.PREFERRED,  # noqa: ARG002
    ) -> Vectors:
        """Refuse."""
        raise _needs_instance()

    async def score(
        self,
        query: str,  # noqa: ARG002
        texts: Sequence[str],  # noqa: ARG002
        *,
        model: str = DEFAULT_MODEL,  # noqa: ARG002
        gpu: Gpu = Gpu.PREFERRED,  # noqa: ARG002
    ) -> Scores:
        """Refuse."""
        raise _needs_instance()

    async def answer(self, request: ChatRequest, on_text: OnText | None = None) -> ChatResult:  # noqa: ARG002
        """Refuse."""
        raise _needs_instance()


def _needs_instance() -> NodeError:
    return NodeError("there are no models here: this needs an instance", "needs_instance", {"retryable": False})
