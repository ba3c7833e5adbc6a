"""Models on Ray Serve: warm replicas that hold the weights and batch across executions, and the way to them.

Each model is an application of its own for CPUs, and another one for GPUs where it is configured to use them. They begin with no
replica: the first work starts one, and one that is idle for long enough goes again.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import psutil
import ray

from actors.embedding import Embedded, EmbeddingModel
from actors.language import LanguageModel
from actors.logging import configure_logging
from actors.models import HostedLanguageModel, HostedModel, LoadedModel, ModelsConfig
from actors.packages import require_own_packages
from actors.room import has_gpu_for
from actors.scoring import ScoringModel
from store.writer import GroupWriter
from workflow.errors import NodeError
from workflow.models import DEFAULT_MODEL, ChatRequest, Gpu, Purpose, Ran, Scores, Vectors

EMBED, RANK, LANGUAGE = "embed", "rank", "llm"
PIECE_TEXTS_MAX = 64
"""A call of more texts goes in pieces, so that others have their turn between them."""
PIECES_AT_ONCE = 4
BATCH_TEXTS_MAX = 128
GATHER_MS = 3.0
ONGOING_MAX = 256
GPUS_KNOWN_S = 5.0
RUNNING = "RUNNING"
"""Serve's word for a replica that answers."""
MEBI = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """Texts to embed for a purpose, or to score for a query."""

    texts: Sequence[str]
    purpose: Purpose = Purpose.PASSAGE
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    given: Any
    """What the model gave for the call: `Embedded`, or a list of scores."""
    ran: Ran


class TextReplica:
    """Holds one model that computes something of every text of a batch: one batch at a time, of all that has come meanwhile.

    Serve's own batching closes a batch before the model is free for it, so that most had one call or two (seen).
    """

    def __init__(self, model: HostedModel) -> None:
        require_own_packages()
        configure_logging()
        self._model = self._load(model)
        self._batches: GroupWriter[_Call, _Reply] = GroupWriter(
            self._compute,
            name=model.source.name,
            batch_max=BATCH_TEXTS_MAX,
            size_max=BATCH_TEXTS_MAX,
            size_of=lambda call: len(call.texts),
            gather_ms=GATHER_MS,
        )

    def _load(self, model: HostedModel) -> EmbeddingModel | ScoringModel:
        raise NotImplementedError

    def _give(self, calls: Sequence[_Call]) -> Sequence[Any]:
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """Return where this replica is, how long it took to load, and what memory it has."""
        return _about(f"{self._model.device} {self._model.precision}", self._model.load_s)

    async def compute(self, call: _Call) -> _Reply:
        """Return what the model computes of a call, in a batch with others."""
        return await self._batches.submit(call)

    async def _compute(self, calls: Sequence[_Call]) -> list[_Reply]:
        found = await asyncio.to_thread(self._give, calls)
        size = sum(len(call.texts) for call in calls)
        ran = Ran(
            model=self._model.source.name,
            device=f"{self._model.device} {self._model.precision}",
            host=ray.util.get_node_ip_address(),
            pid=os.getpid(),
            gpu_ids=tuple(map(str, ray.get_gpu_ids())),
            batch_sizes=(size,),
        )
        return [_Reply(given=each, ran=ran) for each in found]


class EmbeddingReplica(TextReplica):
    """Holds one embedding model."""

    _model: EmbeddingModel

    def _load(self, model: HostedModel) -> EmbeddingModel:
        return EmbeddingModel(model.source, threads=model.threads)

    def _give(self, calls: Sequence[_Call]) -> Sequence[Embedded]:
        return self._model.encode([(call.texts, call.purpose) for call in calls])


class RankingReplica(TextReplica):
    """Holds one cross-encoder."""

    _model: ScoringModel

    def _load(self, model: HostedModel) -> ScoringModel:
        return ScoringModel(model.source, threads=model.threads)

    def _give(self, calls: Sequence[_Call]) -> Sequence[list[float]]:
        return self._model.score([(call.query, call.texts) for call in calls])


class LanguageReplica:
    """Holds one language model."""

    def __init__(self, model: HostedLanguageModel) -> None:
        require_own_packages()
        configure_logging()
        threads, tokens = model.threads, model.context_tokens
        self._model = LanguageModel(model.source, threads=threads, context_tokens=tokens, parallel=model.parallel)

    def about(self) -> dict[str, Any]:
        """Return where this replica is, how long it took to load, and what memory it has."""
        return _about("cpu", self._model.load_s)

    async def answer(self, request: ChatRequest) -> AsyncIterator[Mapping[str, Any] | Ran]:
        """Yield where it computes, then the chunks of the answer."""
        yield Ran(
            model=self._model.source.name,
            device="cpu",
            host=ray.util.get_node_ip_address(),
            pid=os.getpid(),
            gpu_ids=tuple(map(str, ray.get_gpu_ids())),
        )
        async with contextlib.aclosing(self._model.chunks(request)) as chunks:
            async for chunk in chunks:
                yield chunk


def _about(device: str, load_s: float) -> dict[str, Any]:
    return {
        "device": device,
        "host": ray.util.get_node_ip_address(),
        "pid": os.getpid(),
        "gpu_ids": tuple(map(str, ray.get_gpu_ids())),
        "load_s": load_s,
        "memory_mib": round(psutil.Process().memory_info().rss / MEBI, 1),
    }


def application_name(kind: str, model: str, *, gpu: bool) -> str:
    """Return the name of a model's application."""
    return f"rayloom-{kind}-{model}-{'gpu' if gpu else 'cpu'}"


def deploy(config: ModelsConfig) -> None:
    """Deploy the applications of all models; none of them has a replica yet."""
    from ray import serve

    for kind, model, gpu in _applications(config):
        replica = {EMBED: EmbeddingReplica, RANK: RankingReplica, LANGUAGE: LanguageReplica}[kind]
        ongoing_max = model.parallel if kind == LANGUAGE else ONGOING_MAX
        made = _deployment(replica, model, gpu=gpu, ongoing_max=ongoing_max)
        name = application_name(kind, model.source.name, gpu=gpu)
        serve.run(made, name=name, route_prefix=None, blocking=False)


def remove(config: ModelsConfig) -> None:
    """Take the applications away again."""
    from ray import serve

    for kind, model, gpu in _applications(config):
        serve.delete(application_name(kind, model.source.name, gpu=gpu))


def _applications(config: ModelsConfig) -> Iterator[tuple[str, Any, bool]]:
    for kind, models in ((EMBED, config.embeddings), (RANK, config.rankers), (LANGUAGE, config.language)):
        for model in models:
            for gpu in (False, True) if model.gpu else (False,):
                yield kind, model, gpu


def _deployment(replica: type, model: HostedModel, *, gpu: bool, ongoing_max: int) -> Any:
    from ray import serve

    deployed: Any = serve.deployment(
        name="model",
        max_ongoing_requests=ongoing_max,
        max_queued_requests=model.queued_max,
        autoscaling_config={
            "min_replicas": 0,
            "initial_replicas": 0,
            "max_replicas": model.replicas_max,
            "target_ongoing_requests": max(1, ongoing_max // 2),
            "downscale_delay_s": model.idle_s,
        },
        ray_actor_options=_actor_options(model, gpu=gpu),
        graceful_shutdown_timeout_s=5,
    )(replica)
    return deployed.bind(model)


def _actor_options(model: HostedModel, *, gpu: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"num_cpus": 0, "num_gpus": model.gpu if gpu else 0}
    if gpu and model.accelerator:
        options["accelerator_type"] = model.accelerator
    return options


class RayModels:
    """The way to the models of an instance, from an execution actor or a replica of the API."""

    def __init__(self, config: ModelsConfig, now_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._now_s = now_s
        self._handles: dict[str, Any] = {}
        self._hosts: tuple[float, Sequence[Mapping[str, float]]] = (float("-inf"), ())

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        purpose: Purpose = Purpose.PASSAGE,
        gpu: Gpu = Gpu.PREFERRED,
    ) -> Vectors:
        """Return the vectors, in order. Raises `NodeError`: `model_unknown`, `gpu_unavailable`, `models_busy`, `model_failed`."""
        hosted = self._config.embedding_named(model)
        return _vectors(await self._computed(EMBED, hosted, gpu, _Call(texts=texts, purpose=purpose)))

    async def score(
        self, query: str, texts: Sequence[str], *, model: str = DEFAULT_MODEL, gpu: Gpu = Gpu.PREFERRED
    ) -> Scores:
        """Return a score for each text. Raises `NodeError` as `embed` does, and `no_ranker`."""
        hosted = self._config.ranker_named(model)
        replies = await self._computed(RANK, hosted, gpu, _Call(texts=texts, query=query))
        return Scores(values=[value for reply in replies for value in reply.given], ran=_ran(replies))

    async def _computed(self, kind: str, hosted: HostedModel, gpu: Gpu, call: _Call) -> list[_Reply]:
        """Return what the replicas of a model give for a call, piece by piece. Raises `NodeError`."""
        handle = await self._handle(kind, hosted, gpu)
        starts = range(0, max(1, len(call.texts)), PIECE_TEXTS_MAX)
        pieces = [replace(call, texts=list(call.texts[at : at + PIECE_TEXTS_MAX])) for at in starts]
        window = asyncio.Semaphore(PIECES_AT_ONCE)

        async def ask(piece: _Call) -> _Reply:
            async with window:
                reply: _Reply = await _reply(hosted, handle.compute.remote(piece))
                return reply

        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_named(ask(piece))) for piece in pieces]
        replies = [task.result() for task in asked]
        for reply in replies:
            if isinstance(reply, NodeError):
                raise reply
        return cast("list[_Reply]", replies)

    async def chunks(
        self, model: HostedLanguageModel, request: ChatRequest, gpu: Gpu
    ) -> AsyncIterator[Mapping[str, Any] | Ran]:
        """Yield where the model computes, then the chunks of its answer. Raises `NodeError` as `embed` does."""
        handle = await self._handle(LANGUAGE, model, gpu)
        answer = handle.options(stream=True).answer.remote(request)
        try:
            while True:
                yield await _reply(model, anext(answer))
        except StopAsyncIteration:
            return
        finally:
            answer.cancel()

    async def loaded(self) -> list[LoadedModel]:
        """Return the models that replicas hold just now; those without a replica are not asked, or it would come."""
        from ray import serve

        applications = (await asyncio.to_thread(serve.status)).applications
        found = []
        for kind, model, gpu in _applications(self._config):
            name = application_name(kind, model.source.name, gpu=gpu)
            application = applications.get(name)
            states = application.deployments["model"].replica_states if application and application.deployments else {}
            running = sum(count for state, count in states.items() if str(getattr(state, "value", state)) == RUNNING)
            if running:
                handle = await asyncio.to_thread(serve.get_app_handle, name)
                about = await _reply(model, handle.about.remote())
                found.append(LoadedModel(kind=kind, model=model.source.name, replicas=running, **about))
        return found

    async def _handle(self, kind: str, model: HostedModel, gpu: Gpu) -> Any:
        there = gpu is not Gpu.NONE and has_gpu_for(model, await self._cluster_hosts())
        if gpu is Gpu.REQUIRED and not there:
            raise _no_gpu(model)
        name = application_name(kind, model.source.name, gpu=there)
        if name not in self._handles:
            from ray import serve

            self._handles[name] = await asyncio.to_thread(serve.get_app_handle, name)
        return self._handles[name]

    async def _cluster_hosts(self) -> Sequence[Mapping[str, float]]:
        """Return the resources of each host; asked anew every few seconds."""
        at_s, hosts = self._hosts
        if self._now_s() - at_s > GPUS_KNOWN_S:
            found = await asyncio.to_thread(ray.nodes)
            hosts = [host["Resources"] for host in found if host["Alive"]]
            self._hosts = (self._now_s(), hosts)
        return hosts


def _no_gpu(model: HostedModel) -> NodeError:
    of_type = f" of type {model.accelerator}" if model.accelerator else ""
    why = (
        f"no host of the cluster has {model.gpu:g}{of_type}" if model.gpu else "this model is not configured to use one"
    )
    fields = {"model": model.source.name, "retryable": False}
    return NodeError(f"a GPU is required for {model.source.name}, but {why}", "gpu_unavailable", fields)


async def _named(asking: Any) -> Any:
    """Return what is asked, or the node's error: one that ends a group would come as a group."""
    try:
        return await asking
    except NodeError as error:
        return error


async def _reply(model: HostedModel, response: Any) -> Any:
    """Return what a replica answers. Raises `NodeError`."""
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

    name = model.source.name
    failed = partial(NodeError, code="model_failed", fields={"model": name, "retryable": True})
    try:
        return await response
    except BackPressureError as error:
        message = f"{name} has {model.queued_max} calls waiting"
        raise NodeError(message, "models_busy", {"model": name, "retryable": True}) from error
    except DeploymentUnavailableError as error:
        raise failed(f"{name} does not come up: its replicas failed to load it; `rayloom status` says more") from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, NodeError):
            raise cause from error
        raise failed(f"{name} failed: {type(cause).__name__}: {cause}") from error
    except (ray.exceptions.RayError, RayServeException) as error:
        raise failed(f"{name} was lost while it computed: {type(error).__name__}") from error


def _vectors(replies: Sequence[_Reply]) -> Vectors:
    dimension = replies[0].given.dimension
    rows: list[Sequence[float]] = []
    for reply in replies:
        flat: Sequence[float] = memoryview(reply.given.data).cast("f").tolist()
        rows.extend(flat[at : at + dimension] for at in range(0, len(flat), dimension))
    tokens = sum(reply.given.tokens for reply in replies)
    return Vectors(rows=rows, dimension=dimension, tokens=tokens, ran=_ran(replies))


def _ran(replies: Sequence[_Reply]) -> Ran:
    return replace(replies[0].ran, batch_sizes=tuple(size for reply in replies for size in reply.ran.batch_sizes))
