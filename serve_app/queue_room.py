"""Room in the queue: refuses executions that would be queued when their workspace has too many queued already.

The database is asked at most once a second and workspace, and only for workspaces that queue something. In between, what this
replica has queued since is added; what others have queued or taken since is not known. So a workspace gets over its limit by what
the other replicas queue within a second, and may be refused for a second after actors have made room. Within one replica
requests that come at once are counted before they are inserted.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from workflow.errors import Overloaded
from workflow.ports import Isolation

COUNT_TTL_S = 1.0
RETRY_AFTER_S = 5
WORKSPACES_KEPT_MAX = 4_096


@dataclass(slots=True)
class _Depth:
    """What is known of a workspace's queue: the last count, what this replica has queued since, and what it is about to queue."""

    counted_at: float = float("-inf")
    counted: Counter[Isolation] = field(default_factory=Counter)
    added: Counter[Isolation] = field(default_factory=Counter)
    entering: Counter[Isolation] = field(default_factory=Counter)
    counting: "asyncio.Task[None] | None" = None

    def queued(self, isolation: Isolation) -> int:
        return self.counted[isolation] + self.added[isolation] + self.entering[isolation]


class QueueRoom:
    """Keeps the queue of each workspace below `queued_max`; 0 means that there is no limit.

    `count` returns how many are queued, of each kind no more than the number it is given.
    """

    def __init__(
        self,
        count: Callable[[UUID, int], Awaitable[Mapping[Isolation, int]]],
        queued_max: int,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._count = count
        self.queued_max = queued_max
        self._now = now
        self._depths: OrderedDict[UUID, _Depth] = OrderedDict()

    async def full(self, workspace_id: UUID, *, pushable: bool) -> bool:
        """Whether one more execution would be queued beyond the limit. Raises `StoreUnavailable`.

        One that is `pushable` is pushed unless something pooled is queued; while this replica knows of nothing that is, the
        database is not asked for it.
        """
        if not self.queued_max or (pushable and not self._pooled(workspace_id)):
            return False
        depth = await self._known(workspace_id)
        if pushable and not self._pooled(workspace_id):
            return False
        return sum(depth.queued(isolation) for isolation in Isolation) >= self.queued_max

    def enter(self, workspace_id: UUID, isolation: Isolation) -> None:
        """Count an execution that is about to be queued, until `leave`."""
        if self.queued_max:
            self._depths.setdefault(workspace_id, _Depth()).entering[isolation] += 1

    def leave(self, workspace_id: UUID, isolation: Isolation, *, entered: bool, queued: bool) -> None:
        """Take note of what became of an execution, whether it had been counted or not."""
        if not self.queued_max:
            return
        depth = self._depths.get(workspace_id)
        if entered and depth is not None and depth.entering[isolation]:
            depth.entering[isolation] -= 1
        if queued:
            self._depths.setdefault(workspace_id, _Depth()).added[isolation] += 1
            if len(self._depths) > WORKSPACES_KEPT_MAX:
                self._depths.popitem(last=False)

    def _pooled(self, workspace_id: UUID) -> int:
        depth = self._depths.get(workspace_id)
        return 0 if depth is None else depth.queued(Isolation.POOLED)

    async def _known(self, workspace_id: UUID) -> _Depth:
        depth = self._depths.setdefault(workspace_id, _Depth())
        self._depths.move_to_end(workspace_id)
        if self._now() - depth.counted_at >= COUNT_TTL_S:
            if depth.counting is None:  # those who come meanwhile wait for the same count
                counting = self._refresh(workspace_id, depth)
                depth.counting = asyncio.get_running_loop().create_task(counting, context=Context())
            await asyncio.shield(depth.counting)
        return depth

    async def _refresh(self, workspace_id: UUID, depth: _Depth) -> None:
        before = Counter(depth.added)
        at = self._now()
        try:
            depth.counted = Counter(await self._count(workspace_id, self.queued_max))
        finally:
            depth.counting = None
        # What was queued while the count went on may be in it already: rather counted twice for a second than not at all.
        depth.added -= before
        depth.counted_at = at


def queue_full(workspace_id: UUID, queued_max: int) -> Overloaded:
    """Return the error of an execution that finds no room."""
    fields = {"workspace_id": str(workspace_id), "queued_max": queued_max, "retry_after_s": RETRY_AFTER_S}
    message = f"the workspace has {queued_max} executions queued, which is as many as it may have: try again later"
    return Overloaded(message, "queue_full", fields)
