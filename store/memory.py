"""The engine's part of the database, in memory: for tests of the engine under virtual time and seeded faults.

It behaves as PostgreSQL does under `tests/contract`. `MemoryStore` holds the facts; `MemoryLeases` and, in its own
module, `MemoryExecutions` are the ports over it. One thread or event loop at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from workflow.blobs import BlobRef
from workflow.errors import StoreUnavailable
from workflow.ports import EventRow, LeaseEnd, LeaseHolder, NewExecution, NodeRow, Renewal, Signal
from workflow.states import ExecutionStatus

DAY_MS = 86_400_000


@dataclass(slots=True, kw_only=True)
class StoredExecution:
    """A row of `executions` with its events and node executions."""

    new: NewExecution
    workflow_version: int | None
    status: ExecutionStatus
    queued_ms: int
    owner: UUID | None = None
    epoch: int = 0
    last_seq: int = 0
    losses: int = 0
    crashes: int = 0
    alone: bool = False
    claimed_ms: int = 0
    started_ms: int | None = None
    completed_ms: int | None = None
    nodes_completed: int = 0
    output: bytes | None = None
    output_ref: BlobRef | None = None
    error_code: str = ""
    error_message: str = ""
    error_node_id: str = ""
    shared: bool | None = None
    held: bool = False
    """Whether its concurrency key holds it."""
    deadline_ms: int | None = None
    """When its time is over, where that is known."""
    wake_ms: int | None = None
    """When it wakes, while it rests; None for never."""
    events: list[EventRow] = field(default_factory=list)
    nodes: dict[tuple[str, int], tuple[int, NodeRow]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class StoredLease:
    """A row of `leases`."""

    holder: LeaseHolder
    expires_ms: int
    draining: bool = False
    ended_ms: int | None = None
    reason: LeaseEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWorkflow:
    """A workflow with the definitions of its versions; the current one is the highest."""

    workspace_id: UUID
    versions: Mapping[int, bytes]
    name: str = ""
    archived: bool = False


class MemoryStore:
    """The facts. `now_ms` is the database's clock.

    Faults on demand: `available` false makes everything raise `StoreUnavailable`; `fail_next_flush` breaks one flush
    before or after it was committed, `fail_next_put` one put of blobs; `restart` is a restart of the database, which the reaper respects.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.available = True
        self.executions: dict[UUID, StoredExecution] = {}
        self.leases: dict[UUID, StoredLease] = {}
        self.workflows: dict[UUID, StoredWorkflow] = {}
        self.keys: dict[tuple[UUID, str], tuple[bytes, UUID]] = {}
        self.unread: dict[UUID, Signal] = {}
        self.heard: set[UUID] = set()
        self.blobs: dict[tuple[UUID, bytes], tuple[bytes, int]] = {}
        """By workspace and sha256: content, and when it was put last."""
        self.references: dict[tuple[UUID, bytes], tuple[UUID, int]] = {}
        """By execution and sha256: the workspace, and since when."""
        self.started_ms: int | None = None
        self._moments = 0
        self._put_faults = 0
        self._flush_faults: list[bool] = []

    def moment_ms(self) -> float:
        """Return the time, each time a little later: the clock of a database never stands still."""
        self._moments += 1
        return self.now_ms() + self._moments / 1000

    def put_workflow(self, workflow_id: UUID, workflow: StoredWorkflow) -> None:
        """Make a workflow known, or replace it."""
        self.workflows[workflow_id] = workflow

    def fail_next_flush(self, *, after_commit: bool) -> None:
        """Let the next flush (or the one after those that are to fail already) raise `StoreUnavailable`."""
        self._flush_faults.append(after_commit)

    def fail_next_put(self) -> None:
        """Let the next put of blobs (or the one after those that are to fail already) raise `StoreUnavailable`."""
        self._put_faults += 1

    def restart(self) -> None:
        """Let the database have started just now."""
        self.started_ms = self.now_ms()

    def check(self) -> None:
        """Raise `StoreUnavailable` while the database is away."""
        if not self.available:
            raise StoreUnavailable("the database does not answer")

    def check_put(self) -> None:
        """Raise `StoreUnavailable` while the database is away, or where a put of blobs is to fail."""
        self.check()
        if self._put_faults:
            self._put_faults -= 1
            raise StoreUnavailable("the connection broke during the put")

    def check_flush(self, *, committed: bool) -> None:
        """Raise `StoreUnavailable` where a flush is to fail at this side of its commit."""
        if self._flush_faults and self._flush_faults[0] is committed:
            self._flush_faults.pop(0)
            raise StoreUnavailable("the connection broke during the flush")

    def accepting(self, lease_id: UUID | None) -> bool:
        """Whether this lease is live and not draining."""
        lease = self.leases.get(lease_id) if lease_id else None
        return lease is not None and lease.ended_ms is None and lease.expires_ms > self.now_ms() and not lease.draining

    def lost(self, lease_id: UUID | None, grace_ms: int) -> bool:
        """Whether this lease ended at least the grace ago, or does not exist."""
        lease = self.leases.get(lease_id) if lease_id else None
        return lease is None or (lease.ended_ms is not None and lease.ended_ms <= self.now_ms() - grace_ms)

    def hear(self, signal_id: UUID) -> None:
        """Mark a signal read."""
        if self.unread.pop(signal_id, None) is not None:
            self.heard.add(signal_id)

    def signals_of(self, execution_id: UUID) -> list[Signal]:
        """Return the unread signals of an execution, oldest first."""
        return sorted((s for s in self.unread.values() if s.execution_id == execution_id), key=lambda s: s.id)


class MemoryLeases:
    """`workflow.ports.Leases` over a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def register(self, holder: LeaseHolder, ttl_ms: int) -> None:
        """Begin a lease."""
        self._store.check()
        self._store.leases.setdefault(holder.id, StoredLease(holder=holder, expires_ms=self._store.now_ms() + ttl_ms))

    def renew(self, lease_id: UUID, ttl_ms: int) -> Renewal | None:
        """Prolong the lease and read back what it owns; None when the lease is over."""
        self._store.check()
        lease = self._store.leases.get(lease_id)
        if lease is None or lease.ended_ms is not None:
            return None
        now_ms = self._store.now_ms()
        lease.expires_ms = now_ms + ttl_ms
        owned = [
            (identity, row.epoch, max(0, now_ms - row.claimed_ms))
            for identity, row in sorted(self._store.executions.items())
            if row.status is ExecutionStatus.RUNNING and row.owner == lease_id
        ]
        signals = [signal for identity, _, _ in owned for signal in self._store.signals_of(identity)]
        return Renewal(owned=owned, signals=sorted(signals, key=lambda signal: signal.id))

    def drain(self, lease_id: UUID) -> None:
        """Take no new executions from now on."""
        self._store.check()
        if lease := self._store.leases.get(lease_id):
            lease.draining = True

    def end(self, lease_id: UUID, reason: LeaseEnd) -> bool:
        """End the lease at once; whether it had not been ended before."""
        self._store.check()
        lease = self._store.leases.get(lease_id)
        if lease is None or lease.ended_ms is not None:
            return False
        lease.ended_ms = self._store.now_ms()
        lease.reason = reason
        return True

    def end_cluster(self, cluster_id: str) -> int:
        """End every lease of a cluster; how many there were."""
        mine = [identity for identity, lease in self._store.leases.items() if lease.holder.cluster_id == cluster_id]
        return sum(self.end(identity, LeaseEnd.SUPERVISOR) for identity in mine)

    def reap(self, ttl_ms: int) -> list[UUID]:
        """End the leases that have expired, and forget old ones; not within one TTL after a restart."""
        self._store.check()
        now_ms = self._store.now_ms()
        started_ms = self._store.started_ms
        ended = []
        if started_ms is None or now_ms > started_ms + ttl_ms:
            live = [identity for identity, lease in self._store.leases.items() if lease.ended_ms is None]
            expired = [identity for identity in live if self._store.leases[identity].expires_ms < now_ms]
            ended = [identity for identity in expired if self.end(identity, LeaseEnd.EXPIRED)]
        self._forget(now_ms)
        return ended

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _forget(self, now_ms: int) -> None:
        named = {row.owner for row in self._store.executions.values() if row.status is ExecutionStatus.RUNNING}
        for identity, lease in list(self._store.leases.items()):
            if lease.ended_ms is not None and lease.ended_ms < now_ms - DAY_MS and identity not in named:
                del self._store.leases[identity]
