"""The models as one attempt of a node sees them: every call that was answered is noted before the node hears of it, one that broke
off is noted with an estimate, and none is made once a budget is used up."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol
from uuid import UUID

from actors.drafting import Drafting
from actors.outside import patiently
from actors.under_way import UnderWay
from workflow.budgets import UNLIMITED, Budget, Budgets
from workflow.conversations import Conversations, NoConversations
from workflow.drafts import Drafts, NoDrafts
from workflow.effects import Effects, ForgetfulEffects, KeptEffects, RunEffects
from workflow.knowledge import Files, Knowledge, NoKnowledge
from workflow.ledger import CallKind, Ledger, ModelCall, Price, cost_of
from workflow.models import (
    DEFAULT_MODEL,
    ChatRequest,
    ChatResult,
    Embedder,
    Gpu,
    Models,
    NoModels,
    OnText,
    Purpose,
    Ran,
    Reranker,
    Scores,
    Usage,
    Vectors,
)
from workflow.ports import Claimed

NOTE_S = 5.0
"""How long a call that broke off, or somebody who is cancelled, waits for its note at most; it is written later, then."""
HOSTED = "hosted"
"""The provider of what replicas of the cluster compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBehalf:
    """For whom models are asked."""

    workspace_id: UUID
    execution_id: UUID | None = None
    depth: int = 0
    """How many executions are above it."""
    workflow_id: UUID | None = None
    user_id: UUID | None = None
    node_id: str = ""
    run_index: int = 0
    attempt: int = 0


class Access(Embedder, Reranker, Protocol):
    """The way to all models, which tells what it knows of a call that is under way."""

    async def answer(self, request: ChatRequest, on_text: OnText | None, under_way: UnderWay) -> ChatResult:
        """As `workflow.models.Chat.answer`."""
        ...


class ModelsOf(Protocol):
    """Gives each attempt its models and the effects of its run."""

    def models(self, claimed: Claimed, node_id: str, run_index: int, attempt: int, budget: Budget) -> Models:
        """Return the models for an attempt, whose execution may use so much."""
        ...

    def effects(self, claimed: Claimed, key: str) -> RunEffects:
        """Return the effects of a run, whose key this is."""
        ...

    def knowledge(self, claimed: Claimed) -> Knowledge:
        """Return the documents of the execution's workspace."""
        ...

    def conversations(self, claimed: Claimed) -> Conversations:
        """Return what was said in the execution's workspace."""
        ...

    def drafts(self, claimed: Claimed, node_id: str, run_index: int, attempt: int) -> Drafts:
        """Return where an attempt tells what models are writing."""
        ...

    @property
    def files(self) -> Files | None:
        """What reads files."""
        ...


class NoModelsOf:
    """Stands where there are no models."""

    def models(
        self,
        claimed: Claimed,  # noqa: ARG002 - the port
        node_id: str,  # noqa: ARG002
        run_index: int,  # noqa: ARG002
        attempt: int,  # noqa: ARG002
        budget: Budget,  # noqa: ARG002
    ) -> Models:
        """Return none."""
        return NoModels()

    def effects(self, claimed: Claimed, key: str) -> RunEffects:  # noqa: ARG002
        """Return those that keep nothing."""
        return ForgetfulEffects()

    def knowledge(self, claimed: Claimed) -> Knowledge:  # noqa: ARG002
        """Return none."""
        return NoKnowledge()

    def conversations(self, claimed: Claimed) -> Conversations:  # noqa: ARG002
        """Return none."""
        return NoConversations()

    def drafts(self, claimed: Claimed, node_id: str, run_index: int, attempt: int) -> Drafts:  # noqa: ARG002
        """Return those that go nowhere."""
        return NoDrafts()

    @property
    def files(self) -> Files | None:
        """None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedModelsOf:
    """Gives each attempt models whose calls are noted, and effects that are kept."""

    access: Access
    ledger: Ledger
    kept: Effects
    prices: Mapping[str, Price]
    new_id: Callable[[], UUID]
    known: Callable[[UUID, UUID | None], Knowledge]
    """Gives a workspace's documents, as one of its users sees them."""
    remembered: Callable[[Claimed], Conversations] | None = None
    """Gives an execution the conversations of its workspace."""
    drafting: Drafting | None = None
    files: Files | None = None
    budgets: Budgets = field(default_factory=Budgets)

    def drafts(self, claimed: Claimed, node_id: str, run_index: int, attempt: int) -> Drafts:
        """Return where an attempt tells what models are writing."""
        return NoDrafts() if self.drafting is None else self.drafting.of(claimed, node_id, run_index, attempt)

    def knowledge(self, claimed: Claimed) -> Knowledge:
        """Return the documents of the execution's workspace."""
        return self.known(claimed.workspace_id, claimed.triggered_by)

    def conversations(self, claimed: Claimed) -> Conversations:
        """Return what was said in the execution's workspace."""
        return NoConversations() if self.remembered is None else self.remembered(claimed)

    def models(self, claimed: Claimed, node_id: str, run_index: int, attempt: int, budget: Budget) -> Models:
        """Return the models for an attempt, whose execution may use so much, and no more than any other."""
        behalf = OnBehalf(
            workspace_id=claimed.workspace_id,
            execution_id=claimed.id,
            depth=claimed.depth,
            workflow_id=claimed.workflow_id,
            user_id=claimed.triggered_by,
            node_id=node_id,
            run_index=run_index,
            attempt=attempt,
        )
        return self.on_behalf(behalf, budget)

    def on_behalf(self, behalf: OnBehalf, budget: Budget = UNLIMITED) -> Models:
        """Return the models for somebody. `budget` is of the execution, where there is one."""
        execution = UNLIMITED if behalf.execution_id is None else self.budgets.execution.within(budget)
        above = self.budgets.execution if behalf.depth else UNLIMITED
        budgets = replace(self.budgets, execution=execution, above=above)

        async def allow() -> None:
            # Only the database knows the budgets of the workflows above.
            if budgets.any or behalf.depth:
                every = above != UNLIMITED
                spent = await patiently(
                    lambda: self.ledger.spent(behalf.workspace_id, behalf.execution_id, every=every)
                )
                budgets.check(spent)

        return RecordedModels(self.access, allow, self._note, behalf, self.prices, self.new_id)

    def effects(self, claimed: Claimed, key: str) -> RunEffects:
        """Return the effects of a run, whose key this is."""
        return KeptEffects(self.kept, claimed.workspace_id, claimed.id, key)

    async def _note(self, call: ModelCall) -> None:
        await patiently(lambda: self.ledger.note(call))


@dataclass(frozen=True, slots=True)
class RecordedModels:
    """Models whose calls are noted. Each raises `NodeError` (`budget_exceeded`), and nobody is asked, where `allow` does."""

    access: Access
    allow: Callable[[], Awaitable[None]]
    note: Callable[[ModelCall], Coroutine[Any, Any, None]]
    behalf: OnBehalf
    prices: Mapping[str, Price]
    new_id: Callable[[], UUID]

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str = DEFAULT_MODEL,
        purpose: Purpose = Purpose.PASSAGE,
        gpu: Gpu = Gpu.PREFERRED,
    ) -> Vectors:
        """As `workflow.models.Embedder.embed`."""
        await self.allow()
        begun = perf_counter()
        found = await self.access.embed(texts, model=model, purpose=purpose, gpu=gpu)
        await self._note(CallKind.EMBED, HOSTED, found.ran, Usage(prompt=found.tokens), begun)
        return found

    async def score(
        self, query: str, texts: Sequence[str], *, model: str = DEFAULT_MODEL, gpu: Gpu = Gpu.PREFERRED
    ) -> Scores:
        """As `workflow.models.Reranker.score`."""
        await self.allow()
        begun = perf_counter()
        found = await self.access.score(query, texts, model=model, gpu=gpu)
        await self._note(CallKind.SCORE, HOSTED, found.ran, Usage(), begun)
        return found

    async def answer(self, request: ChatRequest, on_text: OnText | None = None) -> ChatResult:
        """As `workflow.models.Chat.answer`. A call that breaks off, however it does, is noted with an estimate of what it used."""
        await self.allow()
        begun, under_way = perf_counter(), UnderWay()
        try:
            found = await self.access.answer(request, on_text, under_way)
        except BaseException:
            await self._note_left(under_way, begun)
            raise
        await self._note(CallKind.CHAT, found.provider, found.ran, found.usage, begun, asked=under_way.model)
        return found

    async def _note_left(self, under_way: UnderWay, begun: float) -> None:
        left = under_way.left()
        if left is not None:
            call = self._call(CallKind.CHAT, under_way.provider, left.ran, left.usage, begun, under_way.model)
            await asyncio.wait({asyncio.ensure_future(self.note(call))}, timeout=NOTE_S)

    async def _note(self, kind: CallKind, provider: str, ran: Ran, usage: Usage, begun: float, asked: str = "") -> None:
        """Note a call. Who is cancelled meanwhile still lets it be noted, for a while."""
        noting = asyncio.ensure_future(self.note(self._call(kind, provider, ran, usage, begun, asked)))
        try:
            await asyncio.shield(noting)
        except asyncio.CancelledError:
            await asyncio.wait({noting}, timeout=NOTE_S)
            raise

    def _call(self, kind: CallKind, provider: str, ran: Ran, usage: Usage, begun: float, asked: str) -> ModelCall:
        behalf = self.behalf
        return ModelCall(
            id=self.new_id(),
            workspace_id=behalf.workspace_id,
            kind=kind,
            ran=ran,
            usage=usage,
            duration_ms=(perf_counter() - begun) * 1000,
            provider=provider,
            cost_usd=cost_of(self.prices, provider, (asked, ran.model), usage),
            execution_id=behalf.execution_id,
            workflow_id=behalf.workflow_id,
            user_id=behalf.user_id,
            node_id=behalf.node_id,
            run_index=behalf.run_index,
            attempt=behalf.attempt,
        )
