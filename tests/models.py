"""Stands for models in tests: the same text has the same vector, texts that share words are near, and all calls are kept."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.models import LoadedModel
from actors.under_way import UnderWay
from workflow.errors import NodeError
from workflow.models import (
    DEFAULT_MODEL,
    ChatRequest,
    ChatResult,
    FinishReason,
    Gpu,
    OnText,
    Purpose,
    Ran,
    Role,
    Scores,
    ToolCall,
    Usage,
    Vectors,
)

DIMENSION = 32
SLOW = "slowly"
"""A word that takes a while to say."""
BREAKS_ONCE = "breaks"
"""A word over which a model breaks when it says it for the first time."""
RAN = Ran(model="words", device="cpu float32", host="here", pid=1, batch_sizes=(1,))


def vector(text: str) -> list[float]:
    """Return the sum of the directions of its words, at length 1."""
    row = [0.0] * DIMENSION
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        row[digest[0] % DIMENSION] += 1.0 if digest[1] % 2 else -1.0
    length = math.sqrt(sum(value * value for value in row))
    return [value / length for value in row] if length else [1.0, *row[1:]]


def calls_in(request: ChatRequest) -> Sequence[ToolCall]:
    """Return the calls that the user asks for in so many words: lines `call <tool> <arguments>`. After a result there are none."""
    last = request.messages[-1]
    if not request.tools or last.role is not Role.USER:
        return ()
    lines = [line.split(" ", 2) for line in last.content.splitlines() if line.startswith("call ")]
    return [ToolCall(id=f"call{place}", name=name, arguments=told) for place, (_, name, told) in enumerate(lines)]


@dataclass
class WordModels:
    """Embeds by words; ranks by words in common; answers what `says` tells, by default what was asked last."""

    says: Callable[[ChatRequest], str] = lambda request: request.messages[-1].content
    calls: Callable[[ChatRequest], Sequence[ToolCall]] = calls_in
    embedded: list[tuple[list[str], str, Purpose, Gpu]] = field(default_factory=list)
    scored: list[tuple[str, list[str], str, Gpu]] = field(default_factory=list)
    asked: list[ChatRequest] = field(default_factory=list)
    ranks: bool = True
    failing: NodeError | None = None
    broken: bool = False

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        purpose: Purpose = Purpose.PASSAGE,
        gpu: Gpu = Gpu.PREFERRED,
    ) -> Vectors:
        self.embedded.append((list(texts), model, purpose, gpu))
        if self.failing is not None:
            raise self.failing
        tokens = sum(len(text.split()) for text in texts)
        return Vectors(rows=[vector(text) for text in texts], dimension=DIMENSION, tokens=tokens, ran=RAN)

    async def score(
        self, query: str, texts: Sequence[str], *, model: str = DEFAULT_MODEL, gpu: Gpu = Gpu.PREFERRED
    ) -> Scores:
        self.scored.append((query, list(texts), model, gpu))
        if not self.ranks:
            raise NodeError("no ranker is configured", "no_ranker", {"retryable": False})
        if self.failing is not None:
            raise self.failing
        wanted = set(query.lower().split())
        return Scores(values=[float(len(wanted & set(text.lower().split()))) for text in texts], ran=RAN)

    async def answer(
        self, request: ChatRequest, on_text: OnText | None = None, under_way: UnderWay | None = None
    ) -> ChatResult:
        self.asked.append(request)
        if self.failing is not None:
            raise self.failing
        content = self.says(request)
        if on_text is not None:
            for piece in content.split(" "):
                await on_text(piece + " ")
        usage = Usage(prompt=sum(len(m.content.split()) for m in request.messages), completion=len(content.split()))
        calls = self.calls(request)
        return ChatResult(
            content=content,
            usage=usage,
            finish_reason=FinishReason.TOOL_CALLS if calls else FinishReason.STOP,
            provider=request.provider or "words",
            ran=RAN,
            tool_calls=calls,
        )

    async def loaded(self) -> list[LoadedModel]:
        """Say that the embedding model is held."""
        about = {
            "device": RAN.device,
            "host": RAN.host,
            "pid": RAN.pid,
            "gpu_ids": (),
            "load_s": 1.5,
            "memory_mib": 9.0,
        }
        return [LoadedModel(kind="embed", model="words", replicas=1, **about)]

    async def chunks(self, model: Any, request: ChatRequest, gpu: Gpu) -> AsyncIterator[Mapping[str, Any] | Ran]:
        """Answer as a replica does, in chunks."""
        found = await self.answer(request)
        yield RAN
        for piece in found.content.split(" "):
            if piece == SLOW:
                await asyncio.sleep(0.02)
            if piece == BREAKS_ONCE and not self.broken:
                self.broken = True
                raise NodeError("the model broke in the middle", "model_failed", {"retryable": True})
            yield {"choices": [{"delta": {"content": piece + " "}}]}
        for index, call in enumerate(found.tool_calls):
            function = {"name": call.name, "arguments": call.arguments}
            yield {"choices": [{"delta": {"tool_calls": [{"index": index, "id": call.id, "function": function}]}}]}
        usage = {"prompt_tokens": found.usage.prompt, "completion_tokens": found.usage.completion}
        yield {"choices": [{"delta": {}, "finish_reason": found.finish_reason.value}], "usage": usage}
