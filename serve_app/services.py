"""The composition root of a replica: everything that routes use, made in the replica's own event loop."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import orjson

from actors.ids import new_id
from actors.knowing import StoredDocuments
from actors.members import PoolPort
from actors.model_access import HostedModels, ModelAccess
from actors.pool import ActorPool
from actors.recorded import OnBehalf, RecordedModelsOf
from nodes.catalog import load_catalog
from nodes.sandbox.expression_syntax import expression_faults
from serve_app.accepting import Acceptor
from serve_app.auth import KeyCache
from serve_app.calling import CallChecks
from serve_app.compiling import DocumentReader
from serve_app.config import ApiConfig
from serve_app.following import Follower
from serve_app.metrics import Metrics
from serve_app.queue_room import QueueRoom
from store.accounting import Accountant
from store.api_keys import ApiKeys
from store.blobs import make_blobs
from store.conversations import StoredConversations
from store.deleting import Deleting
from store.drafts import DRAFTS_CHANNEL
from store.effects import PostgresEffects
from store.engine import Pool, StoreConfig, make_engine, make_pool
from store.executions import PostgresExecutions
from store.idempotent_writes import IdempotentWrites
from store.inbox import Inbox
from store.ledger import WrittenLedger
from store.listing import Listing
from store.node_items import NodeItems
from store.notifications import EVENTS_CHANNEL, QUEUE_CHANNEL, Listener, Notifier
from store.queue_depth import QueueDepths
from store.repeating import Repeating
from store.statistics import Statistician
from store.sub_workflows import PostgresSubWorkflows
from store.workflow_lists import WorkflowLists
from store.workflows import Workflows
from store.writer import GroupWriter
from workflow.blobs import Blobs, read_blob
from workflow.compile import Compiler
from workflow.concurrency import ConcurrencyTemplate
from workflow.document import Document
from workflow.ledger import Ledger
from workflow.models import Models
from workflow.ports import Accepted, Ending, ExecutionView, Isolation, NewExecution
from workflow.secrets import Secrets
from workflow.spec import Catalog, JsonObject
from workflow.sub_workflows import callers_of

ACCEPT_BATCH_MAX = 128
ACCEPT_LIMITED_BATCH_MAX = 32
T = TypeVar("T")
DEFINITIONS_KEPT_MAX = 512
CURRENT_TTL_S = 2.0
GATHER_MS = 3.0
ACCEPT_PATIENCE_S = 5.0
"""A restart of the database is over by then; asking again with the same ids is safe."""
ACCEPT_PAUSE_S = 12.0
"""Failures further apart than this, more than the longest wait for a connection, are not of one outage."""


class Patience:
    """How long a failing write is tried again: up to `limit_s` after the first failure of a row of failures."""

    def __init__(self, limit_s: float, pause_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._pause_s = pause_s
        self._now = now
        self._first = self._last = float("-inf")

    def __call__(self) -> bool:
        """Take note of a failure; whether to try again."""
        now = self._now()
        if now - self._last > self._pause_s:
            self._first = now
        self._last = now
        return now - self._first < self._limit_s


@dataclass(frozen=True, slots=True)
class Runnable:
    """What running a version takes."""

    version: int
    name: str
    definition: bytes
    nodes_total: int
    isolation: Isolation
    input_schema: JsonObject
    concurrency: ConcurrencyTemplate


class Versions:
    """Remembers versions, which never change, and for a moment which one is current.

    An execution of what is remembered is only made while that is the current one.
    """

    def __init__(self, workflows: Workflows, documents: DocumentReader) -> None:
        self._workflows = workflows
        self._documents = documents
        self._known: OrderedDict[tuple[UUID, UUID, int], Runnable] = OrderedDict()
        self._current: dict[tuple[UUID, UUID], tuple[float, int]] = {}
        self._asked: dict[tuple[UUID | int, ...], asyncio.Task[Any]] = {}
        """Reads that are under way, by what they read."""

    async def current(self, workspace_id: UUID, workflow_id: UUID) -> Runnable:
        """Return the version that is, or was a moment ago, current. Raises `NotFound`."""
        until, number = self._current.get((workspace_id, workflow_id), (0.0, 0))
        if time.monotonic() < until:
            return await self.version(workspace_id, workflow_id, number)
        if number:  # those who ask meanwhile use what is known, or they would all go to the database at once
            self._current[workspace_id, workflow_id] = (time.monotonic() + CURRENT_TTL_S, number)
        number = await self._once(
            (workspace_id, workflow_id), lambda: self._workflows.current_version(workspace_id, workflow_id)
        )
        if len(self._current) > DEFINITIONS_KEPT_MAX:
            self._current.clear()
        self._current[workspace_id, workflow_id] = (time.monotonic() + CURRENT_TTL_S, number)
        return await self.version(workspace_id, workflow_id, number)

    async def fresh(self, workspace_id: UUID, workflow_id: UUID) -> Runnable:
        """Return the version that is current now. Raises `NotFound`."""
        self.forget(workspace_id, workflow_id)
        return await self.current(workspace_id, workflow_id)

    def forget(self, workspace_id: UUID, workflow_id: UUID) -> None:
        """A next version was made here: ask again which one is current."""
        self._current.pop((workspace_id, workflow_id), None)
        self._asked.pop((workspace_id, workflow_id), None)

    async def _once(self, what: tuple[UUID | int, ...], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what is asked, from the question that is under way where there is one."""
        task = self._asked.get(what)
        if task is None:
            task = self._asked[what] = asyncio.get_running_loop().create_task(ask(), context=Context())
            task.add_done_callback(lambda done: self._asked.pop(what) if self._asked.get(what) is done else None)
        answer: T = await asyncio.shield(task)
        return answer

    async def version(self, workspace_id: UUID, workflow_id: UUID, number: int) -> Runnable:
        """Return a version. Raises `NotFound`."""
        key = (workspace_id, workflow_id, number)
        known = self._known.get(key)
        if known is None:
            known = await self._once(key, lambda: self._read(*key))
        return known

    async def _read(self, workspace_id: UUID, workflow_id: UUID, number: int) -> Runnable:
        found = await self._workflows.get_version(workspace_id, workflow_id, number)
        document: Document = await self._documents.apart([found.definition], lambda one: one)
        known = Runnable(
            version=number,
            name=document.name,
            definition=orjson.dumps(found.definition),
            nodes_total=len(document.nodes),
            isolation=document.settings.isolation,
            input_schema=document.input_schema,
            concurrency=ConcurrencyTemplate(document.settings.concurrency, workflow_id, document.name),
        )
        self._known[workspace_id, workflow_id, number] = known
        if len(self._known) > DEFINITIONS_KEPT_MAX:
            self._known.popitem(last=False)
        return known


class Inserts:
    """Inserts executions, many at once. Those with concurrency keys wait for locks, and keep nobody else waiting for that."""

    def __init__(self, executions: PostgresExecutions) -> None:
        self._plain = _writer(executions, "accept", ACCEPT_BATCH_MAX)
        self._limited = _writer(executions, "accept_limited", ACCEPT_LIMITED_BATCH_MAX)

    async def submit(self, new: NewExecution) -> Accepted:
        """Return what became of an execution, once that is durable."""
        return await (self._plain if new.concurrency is None else self._limited).submit(new)

    async def close(self) -> None:
        """Insert what was submitted, then end."""
        await self._plain.close()
        await self._limited.close()


def _writer(executions: PostgresExecutions, name: str, batch_max: int) -> GroupWriter[NewExecution, Accepted]:
    return GroupWriter(
        executions.accept,
        name=name,
        batch_max=batch_max,
        gather_ms=GATHER_MS,
        size_of=lambda new: len(new.input) + len(new.definition or b""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What routes use."""

    config: ApiConfig
    keys: KeyCache
    writes: IdempotentWrites
    catalog: Catalog
    secrets: Secrets
    documents: DocumentReader
    executions: PostgresExecutions
    listing: Listing
    statistician: Statistician
    accountant: Accountant
    deleting: Deleting
    node_items: NodeItems
    inbox: Inbox
    repeating: Repeating
    blobs: Blobs
    workflows: Workflows
    workflow_lists: WorkflowLists
    versions: Versions
    acceptor: Acceptor
    follower: Follower
    pool: ActorPool
    knowledge: StoredDocuments
    conversations: StoredConversations
    recorded: RecordedModelsOf
    hosted: HostedModels
    metrics: Metrics

    def models(self, workspace_id: UUID, user_id: UUID) -> Models:
        """Return the models that replicas hold; what a user asks of them is noted."""
        return self.recorded.on_behalf(OnBehalf(workspace_id=workspace_id, user_id=user_id))

    async def output(self, workspace_id: UUID, kept: ExecutionView | Ending) -> bytes | None:
        """Return an execution's output, wherever it is kept. Raises `BlobMissing`."""
        if kept.output_ref is None:
            return kept.output
        return await read_blob(self.blobs, workspace_id, kept.output_ref)


def _recorded(
    config: ApiConfig, hosted: HostedModels, connections: Pool, ledger: Ledger, knowledge: StoredDocuments
) -> RecordedModelsOf:
    return RecordedModelsOf(
        access=ModelAccess(config.models, hosted),
        ledger=ledger,
        kept=PostgresEffects(connections),
        prices=config.models.prices,
        new_id=new_id,
        known=knowledge.of,
        budgets=config.models.budgets,
    )


def _document_reader(config: ApiConfig, catalog: Catalog, connections: Pool) -> DocumentReader:
    return DocumentReader(
        Compiler(catalog, nodes_max=config.limits.nodes_max, syntax=expression_faults),
        CallChecks(PostgresSubWorkflows(connections).below, callers_of(catalog), config.limits.depth_max),
    )


@asynccontextmanager
async def open_services(config: ApiConfig, port: PoolPort, hosted: HostedModels) -> AsyncIterator[Services]:
    """Make the services and begin their background work; undo both at the end."""
    store = StoreConfig(dsn=config.dsn, application_name="rayloom-api", pool_size_min=2, pool_size_max=6)
    connections = make_pool(store)
    await connections.open()
    engine = make_engine(store)
    executions = PostgresExecutions(connections)
    blobs = make_blobs(connections, config.blobs_folder)
    notifier = Notifier(config.dsn)
    follower = Follower(executions, notifier.notify)
    heard = {EVENTS_CHANNEL: follower.on_notification, DRAFTS_CHANNEL: follower.on_draft}
    listener = Listener(config.dsn, heard)
    listener.start()
    inserts = Inserts(executions)
    pool = ActorPool(port)
    await pool.refresh()
    refreshing = asyncio.create_task(pool.refresh_for_ever())
    catalog = load_catalog()
    documents = _document_reader(config, catalog, connections)
    workflows = Workflows(engine)
    depths = QueueDepths(connections)
    knowledge = StoredDocuments(connections, config.models.embedding, new_id)
    ledger = WrittenLedger(connections)
    try:
        yield Services(
            config=config,
            keys=KeyCache(ApiKeys(engine).authenticate),
            writes=IdempotentWrites(connections),
            catalog=catalog,
            secrets=Secrets(catalog),
            documents=documents,
            executions=executions,
            listing=Listing(engine),
            statistician=Statistician(engine),
            accountant=Accountant(engine),
            deleting=Deleting(engine),
            node_items=NodeItems(engine, blobs),
            inbox=Inbox(connections, new_id),
            repeating=Repeating(connections),
            knowledge=knowledge,
            conversations=StoredConversations(connections),
            recorded=_recorded(config, hosted, connections, ledger, knowledge),
            hosted=hosted,
            workflows=workflows,
            workflow_lists=WorkflowLists(engine),
            versions=Versions(workflows, documents),
            acceptor=Acceptor(
                inserts.submit,
                pool,
                lambda: notifier.notify(QUEUE_CHANNEL),
                QueueRoom(depths.count, config.limits.queued_per_workspace_max),
                depths.keyed,
                workflows.status,
                blobs,
                config.limits.blob_above_bytes,
            ),
            blobs=blobs,
            follower=follower,
            pool=pool,
            metrics=Metrics(),
        )
    finally:
        refreshing.cancel()
        documents.close()
        await listener.close()
        await inserts.close()
        await ledger.close()
        await notifier.close()
        await engine.dispose()
        await connections.close()
