"""What runs in each kind of process, put together from its parts: an execution actor, the supervisor, a task's worker."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from actors.config import PoolConfig
from actors.dispatch import Dispatcher, TaskRunner
from actors.drafting import Drafting
from actors.ids import new_id, now_ms
from actors.knowing import StoredDocuments
from actors.lease import LeaseKeeper, LeaseReport, LeaseTimes
from actors.line import Door
from actors.members import ActorFactory, Member, Reply
from actors.model_access import HostedModels, ModelAccess
from actors.outside import StoredOutside
from actors.owner import Owner, OwnerConfig
from actors.recorded import RecordedModelsOf
from actors.remembering import Remembering
from actors.supervisor import Supervisor, SupervisorConfig
from actors.surroundings import Finished, Surroundings
from actors.sweeping import sweep_for_ever
from actors.work import Outcome, TaskCall, outputs_of_task, run_work
from nodes.catalog import load_catalog
from nodes.outbound import GuardedClient, OutboundPolicy, own_addresses
from nodes.parsing import FileReader
from nodes.sandbox import LocalSandbox
from store.blobs import make_blobs
from store.children import PostgresChildren
from store.conversations import StoredConversations
from store.drafts import DraftSender
from store.effects import PostgresEffects
from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.idempotent_writes import IdempotentWrites
from store.leases import PostgresLeases
from store.ledger import WrittenLedger
from store.moot_signals import MootSignals
from store.notifications import (
    EVENTS_CHANNEL,
    FOLLOW_CHANNEL,
    FOLLOWING_CHANNEL,
    QUEUE_CHANNEL,
    Listener,
    Notifier,
)
from store.partitions import extend_partitions
from store.requests import PostgresRequests
from store.writer import GroupWriter
from workflow.blobs import Blobs
from workflow.errors import BadInput, Bug, NodeError
from workflow.ledger import Ledger
from workflow.ports import Claimed, Flush, LeaseHolder, Verdict
from workflow.spec import Placement
from workflow.values import encode

FLUSH_BATCH_MAX = 256
GATHER_MS = 3.0
LEASE_LOOK_S = 0.02
BLOB_GRACE_MS = 3_600_000
"""Longer than any put and the flush or insert that follows it take."""
KEYS_EVERY_S = 300.0
"""How long an idempotency key may be kept beyond its 24 hours."""
SIGNALS_EVERY_S = 300.0
"""How long a signal that came as its execution ended may be shown as unread: each claim looks past it until then."""
COMPANY_MS = 5
"""How long the answer for an execution that has ended waits for others of the same call, which share its flush."""


def flush_size(part: Flush) -> int:
    """Return about how many bytes a flush sends."""
    output = part.ending.output if part.ending is not None else None
    return (
        256 * len(part.events) + sum(len(row.output or b"") + len(row.logs) for row in part.nodes) + len(output or b"")
    )


def _outside(config: PoolConfig, pool: Pool, blobs: Blobs, changed: Callable[[], None]) -> StoredOutside:
    return StoredOutside(
        PostgresRequests(pool, new_id),
        PostgresChildren(pool),
        blobs,
        link_key=bytes.fromhex(config.link_key),
        public_url=config.public_url,
        blob_above_bytes=config.blob_above_bytes,
        depth_max=config.depth_max,
        changed=changed,
        now_ms=now_ms,
    )


class ExecutionProcess:
    """An execution actor without Ray. `start` must be awaited on the loop that everything then runs on."""

    def __init__(
        self,
        config: PoolConfig,
        tasks: TaskRunner,
        models: HostedModels,
        *,
        actor_id: str,
        name: str,
        host: str,
        pid: int,
        dedicated_to: UUID | None = None,
    ) -> None:
        self._config = config
        self._tasks = tasks
        self._models = models
        self._holder = LeaseHolder(
            id=new_id(),
            cluster_id=config.cluster_id,
            actor_id=actor_id,
            actor_name=name,
            host=host,
            pid=pid,
            slots=1 if dedicated_to else config.slots,
            dedicated_to=dedicated_to,
        )
        self._door: Door | None = None
        self._door_of: UUID | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing = False
        self._parts: list[Callable[[], Awaitable[object]]] = []
        self._owner: Owner | None = None
        self._lease: LeaseKeeper | None = None
        self._log = structlog.get_logger("rayloom.actor").bind(actor=name)

    async def start(self) -> None:
        """Open what is needed, begin the lease and the work."""
        config = self._config
        pool = make_pool(StoreConfig(dsn=config.dsn, application_name="rayloom-actor", pool_size_min=2))
        await pool.open()
        executions = PostgresExecutions(pool)
        sandbox = LocalSandbox(size=max(1, os.cpu_count() or 1))
        await sandbox.start()
        writer: GroupWriter[Flush, Verdict] = GroupWriter(
            executions.flush,
            name="flush",
            gather_ms=GATHER_MS,
            batch_max=FLUSH_BATCH_MAX,
            size_of=flush_size,
            retry_while=lambda: not self._closing,
        )
        notifier = Notifier(config.dsn)
        limits = config.limits
        client = GuardedClient(
            OutboundPolicy(
                allow=tuple(config.outbound_allow),
                own_ports=tuple((first, last) for first, last in config.own_ports),
                own_addresses=own_addresses(),
            )
        )
        blobs = make_blobs(pool, config.blobs_folder)
        ledger = WrittenLedger(pool)
        sender = DraftSender(config.dsn)
        drafting = Drafting(sender.send, now_ms)
        around = Surroundings(
            flush=writer.submit,
            blobs=blobs,
            dispatcher=Dispatcher(sandbox.on_behalf, self._tasks, limits, pid=self._holder.pid, host=self._holder.host),
            may_act=self._may_act,
            committed=lambda execution_id: notifier.notify(EVENTS_CHANNEL, execution_id),
            now_ms=now_ms,
            limits=limits,
            http=client,
            outside=_outside(config, pool, blobs, lambda: notifier.notify(QUEUE_CHANNEL)),
            models=self._models_of(client, ledger, pool, drafting),
            child_ended=lambda _parent: notifier.notify(QUEUE_CHANNEL),
            let_go=lambda: notifier.notify(QUEUE_CHANNEL),
        )
        self._owner = owner = Owner(self._owner_config(), executions, load_catalog(), around, self._the_lease)
        self._door = Door(owner)
        await self._begin_lease(owner)

        listener = self._listener(owner, drafting)
        owner.start()
        self._parts = [
            self._door.close,
            owner.close,
            listener.close,
            self._end_lease,
            writer.close,
            ledger.close,
            sender.close,
            notifier.close,
            client.close,
            sandbox.close,
            pool.close,
        ]
        if self._holder.dedicated_to is not None:
            await owner.claim_dedicated()

    def _listener(self, owner: Owner, drafting: Drafting) -> Listener:
        """Return what listens, which has begun. One that is for a single execution does not ask for others."""

        async def queue_changed(_payload: str) -> None:
            owner.wake()
            await owner.look_for_signals()

        channels: dict[str, Callable[[str], Awaitable[None]]] = {
            FOLLOW_CHANNEL: drafting.on_follow,
            FOLLOWING_CHANNEL: drafting.on_following,
        }
        if self._holder.dedicated_to is None:
            channels[QUEUE_CHANNEL] = queue_changed
        listener = Listener(self._config.dsn, channels)
        listener.start()
        return listener

    def _models_of(self, client: GuardedClient, ledger: Ledger, pool: Pool, drafting: Drafting) -> RecordedModelsOf:
        models = self._config.models
        return RecordedModelsOf(
            access=ModelAccess(models, self._models, lambda: client.bare),
            ledger=ledger,
            kept=PostgresEffects(pool),
            prices=models.prices,
            new_id=new_id,
            known=StoredDocuments(pool, models.embedding, new_id).of,
            remembered=Remembering(StoredConversations(pool)).of,
            drafting=drafting,
            files=FileReader(),
            budgets=models.budgets,
        )

    @property
    def member(self) -> Member:
        """This actor as others see it. Safe to read from any thread."""
        owner, lease = self._the_owner(), self._the_lease()
        return Member(
            name=self._holder.actor_name,
            lease_id=lease.id,
            actor_id=self._holder.actor_id,
            pid=self._holder.pid,
            host=self._holder.host,
            slots=self._holder.slots,
            active=owner.active,
            taken=owner.counts.taken,
            lag_ms=owner.counts.lag_ms,
            draining=owner.draining,
        )

    async def run(self, batch: Sequence[Claimed]) -> list[Reply]:
        """Take up pushed executions; return the first ends among them, and those that follow closely."""
        owner = self._the_owner()
        return await self._first_ends({claimed.id: owner.run(claimed) for claimed in batch})

    async def outcomes(self, waiting: Sequence[UUID]) -> list[Reply]:
        """Wait for the first ends among executions that were pushed here."""
        owner = self._the_owner()
        return await self._first_ends({execution_id: owner.outcome(execution_id) for execution_id in waiting})

    @staticmethod
    async def _first_ends(ends: Mapping[UUID, Coroutine[Any, Any, Finished | None]]) -> list[Reply]:
        tasks = {asyncio.ensure_future(end): execution_id for execution_id, end in ends.items()}
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if left:
            more, left = await asyncio.wait(left, timeout=COMPANY_MS / 1000)
            done |= more
        for task in left:
            task.cancel()  # it only waits; the execution goes on
        return [Reply(execution_id=tasks[task], finished=task.result()) for task in done]

    def wake(self) -> None:
        """Look at the queue now."""
        self._the_owner().wake()

    async def deliver(self, execution_id: UUID) -> None:
        """Read the signals of an execution now."""
        await self._the_owner().deliver([execution_id])

    async def drain(self) -> None:
        """Take nothing new; return when nothing is under way."""
        await self._the_owner().drain()

    async def close(self) -> None:
        """End everything, in the order in which parts depend on one another."""
        self._closing = True
        parts, self._parts = self._parts, []
        for close in parts:
            await close()

    async def _begin_lease(self, owner: Owner) -> None:
        loop = asyncio.get_running_loop()

        def report(report: LeaseReport) -> None:
            loop.call_soon_threadsafe(self._on_lease_report, owner, report)

        times = LeaseTimes(self._config.lease_ttl_ms, self._config.renew_ms)
        self._lease = LeaseKeeper(PostgresLeases(self._config.dsn), self._holder, times, new_id=new_id, report=report)
        await asyncio.to_thread(self._lease.start)
        await self._open_door(self._lease.id)

    def _on_lease_report(self, owner: Owner, report: LeaseReport) -> None:
        owner.on_lease_report(report)
        if not report.lost and report.lease_id != self._door_of:
            self._opening = asyncio.get_running_loop().create_task(self._open_door(report.lease_id))

    async def _open_door(self, lease_id: UUID) -> None:
        self._door_of = lease_id
        if self._door is not None:
            await self._door.open(lease_id)

    async def _end_lease(self) -> None:
        await asyncio.to_thread(self._the_lease().close)

    async def _may_act(self) -> None:
        while not self._the_lease().valid:
            await asyncio.sleep(LEASE_LOOK_S)

    def _owner_config(self) -> OwnerConfig:
        return OwnerConfig(
            slots=self._holder.slots,
            poll_ms=self._config.poll_ms,
            orphan_grace_ms=self._config.orphan_grace_ms,
            dedicated_to=self._holder.dedicated_to,
        )

    def _the_owner(self) -> Owner:
        if self._owner is None:
            raise Bug("the actor has not started")
        return self._owner

    def _the_lease(self) -> LeaseKeeper:
        if self._lease is None:
            raise Bug("the actor has no lease")
        return self._lease


class SupervisorProcess:
    """The supervisor without Ray."""

    def __init__(self, config: PoolConfig, factory: ActorFactory) -> None:
        self._config = config
        self._factory = factory
        self._supervisor: Supervisor | None = None
        self._ready = asyncio.Event()
        self._sweeping: list[asyncio.Task[None]] = []

    @property
    def members(self) -> list[Member]:
        """The pool's members."""
        return self._supervisor.members if self._supervisor is not None else []

    async def start(self) -> None:
        """Begin to keep the pool."""
        config = self._config
        pool = make_pool(StoreConfig(dsn=config.dsn, application_name="rayloom-supervisor", pool_size_max=2))
        await pool.open()
        blobs, writes, signals = make_blobs(pool, config.blobs_folder), IdempotentWrites(pool), MootSignals(pool)
        self._sweeping = [
            asyncio.get_running_loop().create_task(sweep_for_ever(what, sweep, every_s))
            for what, sweep, every_s in (
                ("blobs", lambda: blobs.sweep(BLOB_GRACE_MS), BLOB_GRACE_MS / 1000),
                ("keys", writes.forget, KEYS_EVERY_S),
                ("signals", signals.read, SIGNALS_EVERY_S),
            )
        ]
        self._supervisor = Supervisor(
            SupervisorConfig(
                cluster_id=config.cluster_id,
                size=config.size,
                executions_max=config.executions_max,
                lease_ttl_ms=config.lease_ttl_ms,
                poll_ms=config.poll_ms,
            ),
            self._factory,
            PostgresLeases(config.dsn),
            PostgresExecutions(pool),
            new_name=lambda: f"execution-actor-{new_id().hex[-12:]}",
            maintain=self._maintain,
        )
        await self._supervisor.start()

    async def full(self) -> None:
        """Return when the pool is full."""
        if self._supervisor is not None:
            await self._supervisor.full()

    async def close(self) -> None:
        """End every actor."""
        for sweeping in self._sweeping:
            sweeping.cancel()
        if self._supervisor is not None:
            await self._supervisor.close()

    async def _maintain(self) -> None:
        await asyncio.to_thread(extend_partitions, self._config.dsn, now_ms())

    def wake_dedicated(self) -> None:
        """Look for dedicated executions now."""
        if self._supervisor is not None:
            self._supervisor.wake_dedicated()


class TaskHost:
    """A worker process that does nodes' work for tasks: one loop and one sandbox, kept from task to task."""

    def __init__(self, *, host: str, pid: int) -> None:
        self._host = host
        self._pid = pid
        self._loop = asyncio.new_event_loop()
        self._sandbox = LocalSandbox(size=1)
        self._catalog = load_catalog()

    def run(self, call: TaskCall) -> Outcome | NodeError:
        """Do the work; a failure of the node is returned, so that it crosses as a value."""
        return self._loop.run_until_complete(self._run(call))

    async def _run(self, call: TaskCall) -> Outcome | NodeError:
        node_type = self._catalog.get(call.node_type)
        if node_type is None:
            return NodeError(f"this host does not know the node type {call.node_type!r}", "invalid_node_type")
        context = replace(call.context, sandbox=self._sandbox)
        try:
            outputs = outputs_of_task(call, await run_work(node_type, context, call.config, call.items))
        except NodeError as error:
            return error
        logs = "\n".join(context.logs)
        try:
            data = encode(outputs)
        except BadInput as refused:
            return NodeError(refused.message, refused.code, {**refused.fields, "logs": logs, "retryable": False})
        return Outcome(outputs=outputs, logs=logs, placement=Placement.TASK, pid=self._pid, host=self._host, data=data)
