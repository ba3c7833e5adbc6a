"""What the engine asks of its surroundings: narrow protocols, and the values that cross them.

The one rule: only the owner of the current epoch writes an execution; everybody else leaves a signal. PostgreSQL and the
in-memory twin behave the same under `tests/contract`. JSON crosses as bytes, encoded once, where it was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from workflow.blobs import BlobRef
from workflow.states import ExecutionStatus, NodeStatus


class SignalKind(StrEnum):
    """What a non-owner may ask of the owner."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    WAKE = "wake"
    """Something has changed that a node waits for; the signal names the node's run."""


class Isolation(StrEnum):
    """Whether an execution may share its actor."""

    POOLED = "pooled"
    DEDICATED = "dedicated"


class OnLimit(StrEnum):
    """What becomes of an execution while as many as may be of its concurrency key are under way."""

    QUEUE = "queue"
    """It is held until one of them has ended."""
    CANCEL_RUNNING = "cancel_running"
    """It is held, and the oldest of them are asked to stop."""
    REJECT = "reject"
    """It is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most `limit` executions with this `key` (of one workspace) are under way at once."""

    key: str
    limit: int
    on_limit: OnLimit = OnLimit.QUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a workspace has of an owner's slots: those that it holds, its lead in time, and how long an execution of it holds one."""

    workspace_id: UUID
    held: int
    ahead_ms: float
    cost_ms: float


class LeaseEnd(StrEnum):
    """Why a lease is over. `CRASHED` and `EXPIRED` may be the fault of what ran there, the others never are."""

    CRASHED = "crashed"
    EXPIRED = "expired"
    SUPERVISOR = "supervisor"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A caller's key and the fingerprint (sha256) of what was asked with it."""

    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An execution to accept. With `workflow_id` a version of the workflow is pinned; a `definition` is stored with it.

    With both, the definition is what is executed: a part of that version.

    With an `owner` it is accepted as running under epoch 1, if that owner's lease is live, it is not draining and no pooled
    execution is queued; else as queued.
    """

    id: UUID
    workspace_id: UUID
    workflow_id: UUID | None
    definition: bytes | None
    input: bytes
    nodes_total: int
    trigger_type: str
    triggered_by: UUID | None
    isolation: Isolation = Isolation.POOLED
    priority: int = 5
    owner: UUID | None = None
    input_ref: BlobRef | None = None
    """Names the input where it is too large for the row; `input` is then null."""
    idempotency: IdempotencyKey | None = None
    concurrency: Concurrency | None = None
    """With it the execution is never pushed, and held while the key's limit is reached."""
    workflow_version: int | None = None
    """The version to pin; without it, the current one."""
    expected_version: int | None = None
    """The version that is taken for the current one: where another one is, nothing is made (`Outcome.OUTDATED`)."""


class Outcome(StrEnum):
    """What became of a `NewExecution`."""

    CREATED = "created"
    REPLAYED = "replayed"
    KEY_MISMATCH = "key_mismatch"
    NO_WORKFLOW = "no_workflow"
    OUTDATED = "outdated"
    """Another version is current than the one that was expected."""
    LIMITED = "limited"
    """As many executions with its concurrency key are under way as may be; nothing of it is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to a `NewExecution`, durable when it is given. `id` is the first execution's where the key was replayed."""

    outcome: Outcome
    id: UUID
    status: ExecutionStatus = ExecutionStatus.QUEUED
    owner: UUID | None = None
    workflow_version: int | None = None
    superseded: Sequence[tuple[UUID, UUID | None]] = ()
    """Executions with its concurrency key that were asked to stop, each with its owner."""
    held: bool = False
    """Whether it was made and is held by its concurrency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """An unread signal."""

    id: UUID
    execution_id: UUID
    kind: SignalKind
    body: bytes
    node_id: str = ""
    run_index: int = 0
    left_ms: float = 0.0
    """When it was left (Unix), by the database's clock; of equal times the ids decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An execution that now belongs to the claimer under `epoch`.

    `recovered` says that a former owner was lost; `losses` counts the owners lost since its last flush, `crashes` those that it
    lost by a crash or an expired lease while it was alone on its actor.
    """

    id: UUID
    workspace_id: UUID
    workflow_id: UUID | None
    workflow_version: int | None
    workflow_name: str
    definition: bytes
    input: bytes
    epoch: int
    last_seq: int
    recovered: bool
    losses: int
    crashes: int
    isolation: Isolation
    input_ref: BlobRef | None = None
    """Names the input where it was too large for the row."""
    answered: bool = False
    """Whether who pushed it waits for its end: then nobody else has to be told of one that is over with its first flush."""
    depth: int = 0
    """How many executions are above it."""
    deadline_ms: int | None = None
    """When its time is over because that of its parent is, or, once it has rested, its own."""
    priority: int = 5
    triggered_by: UUID | None = None
    parent: UUID | None = None
    """The execution that waits for its end."""
    trigger_type: str = ""
    concurrency_key: str = ""
    """What its end may make room for; empty where it has none."""
    held: bool = False
    """Whether it was held by its concurrency key and is claimed only because somebody wants to stop it."""
    signalled: bool = False
    """Whether a signal for it was unread when it was claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event as stored: numbered from 1 without gaps."""

    seq: int
    kind: str
    at_ms: int
    body: bytes
    node_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node execution as stored; `output` is the JSON of its outputs by handle, or `output_ref` names it."""

    node_id: str
    run_index: int
    node_type: str
    node_name: str
    status: NodeStatus
    attempt: int
    started_ms: int | None
    completed_ms: int | None
    duration_ms: float | None = None
    output: bytes | None = None
    output_ref: BlobRef | None = None
    error_code: str = ""
    error_message: str = ""
    logs: str = ""
    placement: str = ""
    pid: int | None = None
    host: str = ""
    gpu_ids: str = ""
    """The GPUs that a Ray task had, by Ray's ids, separated by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is written with a terminal status. Where the output is too large for the row, `output_ref` names it."""

    status: ExecutionStatus
    at_ms: int
    output: bytes | None = None
    output_ref: BlobRef | None = None
    error_code: str = ""
    error_message: str = ""
    error_node_id: str = ""
    shared: bool = False
    """Whether another execution was under way on the same actor at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What is written when the owner lets go of an execution that has not ended: it is `waiting` or `paused`.

    It is claimed again when `wake_ms` (Unix) has come, where that is set, or when a signal is left for it.
    """

    status: ExecutionStatus
    wake_ms: int | None
    deadline_ms: int | None = None
    """When its time is over (Unix), where that was not known of it before. From then on it is claimed to end, whoever has room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """All that one owner writes of one execution at once: refused as a whole unless epoch and last_seq are what it says.

    Events are numbered `last_seq + 1 …`. `started_ms` is set with the first event only; `nodes_completed` is the total
    so far.
    """

    execution_id: UUID
    epoch: int
    last_seq: int
    events: Sequence[EventRow]
    nodes: Sequence[NodeRow] = ()
    ending: Ending | None = None
    rest: Rest | None = None
    """With an `ending` there is none."""
    signals_read: Sequence[UUID] = ()
    nodes_completed: int = 0
    started_ms: int | None = None


class Verdict(StrEnum):
    """What became of a flush."""

    COMMITTED = "committed"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What recovery needs of an execution: its events in order, its results, its unread signals."""

    events: Sequence[EventRow]
    nodes: Sequence[NodeRow]
    signals: Sequence[Signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionView:
    """An execution as anybody in its workspace sees it."""

    id: UUID
    workspace_id: UUID
    workflow_id: UUID | None
    workflow_version: int | None
    status: ExecutionStatus
    trigger_type: str
    triggered_by: UUID | None
    isolation: Isolation
    priority: int
    epoch: int
    last_seq: int
    crashes: int
    nodes_total: int
    nodes_completed: int
    queued_ms: int
    started_ms: int | None
    completed_ms: int | None
    input: bytes
    output: bytes | None
    error_code: str
    error_message: str
    error_node_id: str
    owner: UUID | None
    actor_id: str = ""
    actor_name: str = ""
    pid: int | None = None
    host: str = ""
    shared: bool | None = None
    input_ref: BlobRef | None = None
    output_ref: BlobRef | None = None
    wake_ms: int | None = None
    """When it goes on at the latest, while it waits or is paused."""
    parent_execution_id: UUID | None = None
    parent_node_id: str = ""
    depth: int = 0
    retry_count: int = 0
    """How many executions before it were retried one after the other."""
    concurrency_key: str = ""
    """Empty where there is no limit; `workflow.concurrency.shown_key` makes it readable."""
    held: bool = False
    """Whether it is queued because as many with its concurrency key are under way as may be."""
    wish: SignalKind | None = None
    """What somebody wants of it and nobody has heard yet; a cancel before anything else, else the newest."""


class Executions(Protocol):
    """Executions, their events and results. Every method raises `StoreUnavailable` when the database does not answer."""

    async def accept(self, batch: Sequence[NewExecution]) -> list[Accepted]:
        """Make the executions durable; one answer each, in order.

        Those with a concurrency key are a transaction of their own: they are counted, and held or refused, one after the other.
        """
        ...

    async def release_held(self, workspace_id: UUID, concurrency_key: str) -> int:
        """Let executions go that the key holds, by priority and age, as many as there is room for; how many these were."""
        ...

    async def release_all_held(self, keys_max: int) -> int:
        """Do the same for keys that have room, looking at the next `keys_max` keys that hold any; how many were let go."""
        ...

    async def claim(self, owner: UUID, limit: int, orphan_grace_ms: int, shares: Sequence[Share] = ()) -> list[Claimed]:
        """Take up to `limit` pooled executions: queued ones, and running ones whose owner's lease ended at least the grace ago.

        Epochs are raised. Claims nothing when the owner's own lease is not live, or draining. Also takes up what waits and
        whose time has come or that was signalled, and what is paused and shall resume or stop. Orphans come first, then
        wishes of people and what rests and has no time left, then the workspaces in turns: each turn goes to the one that
        holds the fewest slots of this owner, and of these to the one that has used them least, by `shares` and what this
        claim gives it before; what they do not name has none. Within a workspace executions come by priority and age; between
        workspaces priority only breaks ties.
        """
        ...

    async def mark_alone(self, execution_id: UUID, epoch: int, *, alone: bool) -> None:
        """Note that the execution is (no longer) the only one on its actor; the next flush takes the note away, too."""
        ...

    async def claim_one(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Take this execution, pooled or dedicated, if it may be claimed."""
        ...

    async def read_owned(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Return an execution that is running under this owner (a push whose call was lost), without raising the epoch."""
        ...

    async def claimable_dedicated(self, limit: int) -> list[UUID]:
        """Return executions that want an actor of their own and may be claimed."""
        ...

    async def ending_at_rest(self, limit: int) -> list[UUID]:
        """Return pooled executions that nobody owns and that somebody wants to stop or that have no time left, up to `limit` of each."""
        ...

    async def starved(self, busy: Sequence[UUID], limit: int) -> list[UUID]:
        """Return pooled executions that may be claimed, one each of workspaces other than the busy ones, the oldest first."""
        ...

    async def release(self, owner: UUID, execution_id: UUID, epoch: int) -> bool:
        """Give back an execution that the owner has not begun: it is queued again."""
        ...

    async def history(self, execution_id: UUID) -> History:
        """Return what recovery needs."""
        ...

    async def flush(self, batch: Sequence[Flush]) -> list[Verdict]:
        """Write each part or refuse it as a whole, all in one transaction; a repeated flush that was committed before is committed."""
        ...

    async def signal(
        self, workspace_id: UUID, execution_id: UUID, signal_id: UUID, kind: SignalKind, body: bytes
    ) -> ExecutionView:
        """Leave a signal, unless one of that kind is unread already. Raises `NotFound`, or `Conflict` when it is terminal.

        To pause takes back an unread wish to resume, and the other way round: the last one counts. Raises `Conflict` for
        pausing what is paused, and for resuming what is neither paused nor about to be.
        """
        ...

    async def unread_signals(self, execution_ids: Sequence[UUID]) -> list[Signal]:
        """Return the unread signals of these executions, oldest first."""
        ...

    async def get(self, workspace_id: UUID, execution_id: UUID) -> ExecutionView:
        """Return an execution. Raises `NotFound`."""
        ...

    async def nodes(self, workspace_id: UUID, execution_id: UUID) -> list[NodeRow]:
        """Return its node executions in order of completion. Raises `NotFound`."""
        ...

    async def events(self, workspace_id: UUID, execution_id: UUID, after_seq: int, limit: int) -> list[EventRow]:
        """Return up to `limit` events numbered above `after_seq`. Raises `NotFound`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """An execution-actor process as its lease describes it. `dedicated_to` names the one execution it is for."""

    id: UUID
    cluster_id: str
    actor_id: str
    actor_name: str
    host: str
    pid: int
    slots: int
    dedicated_to: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What a renewal reads back: all that this owner owns, as (execution, epoch, age in ms since it was accepted or claimed)."""

    owned: Sequence[tuple[UUID, int, int]]
    signals: Sequence[Signal] = field(default_factory=tuple)


class Leases(Protocol):
    """One lease per actor process, on the database's clock. Synchronous: its callers are threads of their own."""

    def register(self, holder: LeaseHolder, ttl_ms: int) -> None:
        """Begin a lease."""
        ...

    def renew(self, lease_id: UUID, ttl_ms: int) -> Renewal | None:
        """Prolong the lease and read back what it owns; None when the lease is over."""
        ...

    def drain(self, lease_id: UUID) -> None:
        """Take no new executions from now on: neither pushed nor claimed."""
        ...

    def end(self, lease_id: UUID, reason: LeaseEnd) -> bool:
        """End the lease at once; whether it was live."""
        ...

    def end_cluster(self, cluster_id: str) -> int:
        """End every lease of a cluster, whose actors are known to be gone; how many there were."""
        ...

    def reap(self, ttl_ms: int) -> list[UUID]:
        """End the leases that have expired, unless the database itself started less than one TTL ago."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
