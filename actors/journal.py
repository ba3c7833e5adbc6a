"""What an execution has done but not yet written, and its flushes: one at a time, events and results together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from uuid import UUID

import orjson

from actors.config import EngineLimits
from actors.rows import Stored
from workflow.blobs import Blobs, reference_to
from workflow.errors import Fenced, StoreUnavailable
from workflow.events import Event, to_body
from workflow.ports import Claimed, Ending, EventRow, Flush, NodeRow, Rest, Verdict

PUT_PAUSE_S, PUT_PAUSE_MAX_S = 0.05, 2.0
"""How long to wait before blobs are put again, at first and at most."""


class Journal:
    """Collects events and results of one execution and flushes them: at once when something visible waits, else soon."""

    def __init__(
        self,
        claimed: Claimed,
        flush: Callable[[Flush], Awaitable[Verdict]],
        blobs: Blobs,
        limits: EngineLimits,
        committed: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._claimed = claimed
        self._flush = flush
        self._blobs = blobs
        self._limits = limits
        self._committed_hook = committed
        self._changed = changed
        self.seq = 0
        self._committed = 0
        self._events: list[EventRow] = []
        self._nodes: dict[tuple[str, int], NodeRow] = {}
        self._contents: dict[bytes, bytes] = {}
        """Blobs that kept rows name, by sha256."""
        self._signals: list[UUID] = []
        self._ending: Ending | None = None
        self._rest: Rest | None = None
        self._started_ms: int | None = None
        self._nodes_completed = 0
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fenced = False
        self._closed = False
        self._accepted = asyncio.Event()
        self._accepted.set()
        self.first_flush = asyncio.Event()

    @property
    def output_bytes_max(self) -> int:
        """How large the JSON of one node's outputs may be."""
        return self._limits.output_bytes_max

    def hold(self) -> None:
        """Write nothing before `accept`: the execution's row is being inserted elsewhere at this moment."""
        self._accepted.clear()

    def accept(self) -> None:
        """The execution's row is committed."""
        self._accepted.set()

    def begin(self, at_ms: int) -> None:
        """Write the start with the first flush."""
        self._started_ms = at_ms

    def continue_after(self, last_seq: int) -> None:
        """Go on numbering after what former owners have written."""
        self.seq = self._committed = last_seq

    def append(self, event: Event) -> None:
        """Number an event and keep it for the next flush."""
        self.seq += 1
        node_id: str = getattr(event, "node_id", "")
        row = EventRow(
            seq=self.seq, kind=event.kind, at_ms=event.at_ms, body=orjson.dumps(to_body(event)), node_id=node_id
        )
        self._events.append(row)

    def node(self, row: NodeRow, completed: int = 0) -> None:
        """Keep a node's row for the next flush; it replaces an earlier one of the same run. `completed` is the count so far."""
        self._nodes[row.node_id, row.run_index] = row
        self._bytes += len(row.output or b"")
        self._nodes_completed = max(self._nodes_completed, completed)

    def stored(self, data: bytes, items: Mapping[str, int] | None = None) -> Stored:
        """Return JSON as a row is to keep it; what is too large for a row becomes a blob before the row's flush."""
        if len(data) <= self._limits.blob_above_bytes:
            return Stored(data)
        reference = reference_to(data, items)
        if reference.sha256 not in self._contents:
            self._contents[reference.sha256] = data
            self._bytes += len(data)
        return Stored(None, reference)

    def read_signal(self, signal_id: UUID) -> None:
        """Mark a signal read with the next flush."""
        self._signals.append(signal_id)

    def rest(self, rest: Rest) -> None:
        """Let go of the execution with the next flush."""
        self._rest = rest

    def end(self, ending: Ending) -> None:
        """Write the terminal status with the next flush."""
        self._ending = ending

    @property
    def full(self) -> bool:
        """Whether so much is unflushed that the loop must wait."""
        return len(self._events) > self._limits.unflushed_events_max or self._bytes > self._limits.unflushed_bytes_max

    def fence(self) -> None:
        """Stop writing: the execution belongs to another owner."""
        self._fenced = True
        self._changed()

    def raise_if_fenced(self) -> None:
        """Raise `Fenced` when the execution belongs to another owner."""
        if self._fenced:
            raise Fenced("another owner has this execution", fields={"execution_id": str(self._claimed.id)})

    def flush_soon(self) -> None:
        """Let what is kept be written within the linger time."""
        if self._events and self._task is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.linger_ms / 1000, self._flush_now)

    async def durable(self, seq: int | None = None) -> None:
        """Return when the event `seq` (by default the last one) is committed. Raises `Fenced`."""
        target = self.seq if seq is None else seq
        while self._committed < target:
            self.raise_if_fenced()
            self._flush_now()
            if self._task is not None:
                await asyncio.shield(self._task)
        self.raise_if_fenced()

    def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None and not self._accepted.is_set():
            self._task.cancel()

    def _flush_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._events and not self._fenced:
            # An empty context: the flush must outlive whatever request or call this execution was begun by.
            self._task = asyncio.get_running_loop().create_task(self._flush_once(), context=Context())

    async def _flush_once(self) -> None:
        try:
            await self._accepted.wait()
        except asyncio.CancelledError:
            self._fenced, self._task = True, None
            raise
        part = Flush(
            execution_id=self._claimed.id,
            epoch=self._claimed.epoch,
            last_seq=self._committed,
            events=self._events,
            nodes=tuple(self._nodes.values()),
            ending=self._ending,
            rest=self._rest,
            signals_read=self._signals,
            nodes_completed=self._nodes_completed,
            started_ms=self._started_ms,
        )
        seq = self.seq
        contents = self._contents
        self._events, self._nodes, self._signals, self._contents, self._bytes = [], {}, [], {}, 0
        self._ending, self._rest, self._started_ms = None, None, None
        try:
            if contents:
                await self._put(contents)
            verdict = await self._flush(part)
        except StoreUnavailable:
            self._fenced = True
            if not self._closed:
                raise
            return
        except BaseException:
            self._fenced = True
            raise
        finally:
            self._task = None
            self._changed()
        if verdict is Verdict.FENCED:
            self._fenced = True
            return
        self._committed = seq
        self.first_flush.set()
        if not (self._claimed.answered and part.last_seq == 0 and part.ending is not None):
            self._committed_hook()

    async def _put(self, contents: Mapping[bytes, bytes]) -> None:
        """Make blobs durable, however long the store is away; what was closed meanwhile belongs to another owner."""
        pause_s = PUT_PAUSE_S
        while True:
            try:
                await self._blobs.put(self._claimed.workspace_id, self._claimed.id, contents)
            except StoreUnavailable:
                if self._closed:
                    raise
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PUT_PAUSE_MAX_S)
