"""What one actor process owns: takes executions up, drives them, hands them signals, gives up what it has lost. No Ray, no SQL.

An execution comes here in one of three ways: pushed by the API with a call, claimed from the queue or from a lost owner, or
found by a renewal that read back a row of ours that nobody called us about. All three end in `take`, which is idempotent per
(execution, epoch), also against calls that arrive after the execution has ended.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import structlog

from actors.execution import ExecutionLoop
from actors.fairness import Fairness
from actors.lease import LeaseKeeper, LeaseReport
from actors.surroundings import Finished, Surroundings
from actors.suspects import SuspectLane
from workflow.commands import FinishExecution
from workflow.document import Document, parse_document
from workflow.errors import BlobMissing, Fenced, RayloomError, StoreUnavailable
from workflow.plan import Plan, make_plan
from workflow.ports import Claimed, Executions, Isolation, Signal
from workflow.regions import ReturnsFromOutside, TwoEntries
from workflow.spec import Catalog
from workflow.states import ExecutionStatus

FINISHED_REMEMBERED_MAX = 20_000
PLANS_KEPT_MAX = 256
TICK_S = 0.25
CLAIM_PAUSE_S = 0.025
"""For so long after a claim free slots gather, while more than half of them are taken: each claim is a statement."""
ENDING_AT_ONCE_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerConfig:
    """How many executions at once, and how the queue is looked at."""

    slots: int
    poll_ms: int
    orphan_grace_ms: int
    dedicated_to: UUID | None = None

    @property
    def spare_slots(self) -> int:
        """So many executions more than there are slots, of workspaces that have nothing under way here."""
        return (self.slots + 2) // 4

    @property
    def pushed_max(self) -> int:
        """So many may be under way before one that is pushed is given back."""
        return 2 * self.slots if self.slots > 1 else 1


@dataclass(slots=True)
class _Active:
    claimed: Claimed
    taken_at: float
    plan: Plan
    broken: str
    loop: ExecutionLoop
    task: "asyncio.Task[Finished | None] | None" = None
    spare: bool = False
    """Whether it has a spare slot."""


@dataclass(slots=True)
class OwnerCounts:
    """What this process has done so far."""

    taken: int = 0
    finished: int = 0
    rested: int = 0
    dropped: int = 0
    claimed: int = 0
    taken_up: int = 0
    lag_ms: float = field(default=0.0)


class Owner:
    """Owns the executions of one actor process. `now_s` never goes back: slots are shared by it."""

    def __init__(
        self,
        config: OwnerConfig,
        executions: Executions,
        catalog: Catalog,
        surroundings: Surroundings,
        lease: Callable[[], LeaseKeeper],
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._config = config
        self._executions = executions
        self._around = surroundings
        self._lease = lease
        self._plan = lru_cache(PLANS_KEPT_MAX)(lambda definition: _make_plan(definition, catalog))
        self._active: dict[UUID, _Active] = {}
        self._finished: OrderedDict[tuple[UUID, int], None] = OrderedDict()
        self._lane = SuspectLane(self._executions)
        self._fairness = Fairness(lambda: now_s() * 1000)
        self._hungry = asyncio.Event()
        self._half_free = asyncio.Event()
        self._refused: dict[UUID, Claimed] = {}
        self._claimed_at = 0.0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._background: set[asyncio.Task[None]] = set()
        self.counts = OwnerCounts()
        self._log = structlog.get_logger("rayloom.owner")

    @property
    def active(self) -> int:
        """How many executions are under way here."""
        return len(self._active)

    @property
    def draining(self) -> bool:
        """Whether this process takes no new executions."""
        return self._draining

    def start(self) -> None:
        """Begin to look at the queue and to tick."""
        for work in (self._claim_for_ever(), self._tick_for_ever()):
            self._spawn(work)

    def wake(self) -> None:
        """Look at the queue now."""
        self._hungry.set()

    async def run(self, claimed: Claimed) -> Finished | None:
        """Take up a pushed execution and wait for its end; None when this process cannot tell how it ended.

        Cancelling this call does not cancel the execution.
        """
        key = (claimed.id, claimed.epoch)
        if key in self._finished:
            return None
        if self._overfull(claimed):
            await self._executions.release(self._lease().id, claimed.id, claimed.epoch)
            return None
        active = self.take(claimed)
        if active is None or active.task is None:
            return None
        return await asyncio.shield(active.task)

    async def outcome(self, execution_id: UUID) -> Finished | None:
        """Wait for the end of an execution under way; None when this process cannot tell how it ended."""
        active = self._active.get(execution_id)
        if active is None or active.task is None:
            return None
        return await asyncio.shield(active.task)

    def begin(self, claimed: Claimed) -> Coroutine[Any, Any, Finished | None]:
        """Begin, before this returns, an execution whose row is being inserted; what is returned waits for its end.

        What is pure runs; nothing is written and nothing visible starts before `settle` says that the row is committed.
        """
        if self._overfull(claimed):
            self._refused[claimed.id] = claimed
        elif claimed.id not in self._active:
            self.take(claimed, held=True)
        return self.outcome(claimed.id)

    def settle(self, execution_id: UUID, *, accepted: bool) -> None:
        """The row of an execution that was begun is committed, or it will never be ours."""
        refused = self._refused.pop(execution_id, None)
        if refused is not None and accepted:
            self._spawn(self._give_back(refused))
        active = self._active.get(execution_id)
        if active is None:
            return
        if accepted:
            active.loop.accept()
        else:
            self._drop(execution_id)

    async def _give_back(self, claimed: Claimed) -> None:
        await self._executions.release(self._lease().id, claimed.id, claimed.epoch)
        self._around.let_go()

    def _overfull(self, claimed: Claimed) -> bool:
        """Whether what comes is too much: each replica counts for itself, so a burst may bring more than there are slots for."""
        pooled = claimed.isolation is Isolation.POOLED and claimed.id not in self._active
        return pooled and self.active >= self._config.pushed_max

    def take(self, claimed: Claimed, *, held: bool = False) -> _Active | None:
        """Begin to drive an execution, unless it is under way or has ended here under this epoch."""
        present = self._active.get(claimed.id)
        if present is not None and present.claimed.epoch >= claimed.epoch:
            return present
        if (claimed.id, claimed.epoch) in self._finished:
            return None
        if present is not None and not present.loop.ending:  # what rests may be claimed again before that is heard
            self._drop(claimed.id)
        self._refused.pop(claimed.id, None)
        plan, broken = self._plan_of(claimed)
        loop = ExecutionLoop(claimed, plan, self._around)
        active = _Active(claimed, monotonic(), plan, broken, loop)
        loop.shared = bool(self._active)
        if held:
            loop.hold()
        for other in self._active.values():
            other.loop.shared = True
        self._active[claimed.id] = active
        self._idle.clear()
        self.counts.taken += 1
        # An empty context: with Ray's default proxy a client that goes away would cancel everything that its call began.
        active.task = asyncio.get_running_loop().create_task(self._drive(active), context=Context())
        return active

    async def claim_dedicated(self) -> None:
        """Claim the one execution that this actor was made for, if it may still be claimed."""
        if self._config.dedicated_to is None:
            return
        claimed = await self._executions.claim_one(self._lease().id, self._config.dedicated_to)
        if claimed is not None:
            self.take(claimed)
            await self.deliver([claimed.id])

    async def drain(self) -> None:
        """Take nothing new and return when nothing is under way."""
        self._draining = True
        await asyncio.to_thread(self._lease().drain)
        await self._idle.wait()

    async def close(self) -> None:
        """Drop everything and stop."""
        self._draining = True
        for execution_id in list(self._active):
            self._drop(execution_id)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def look_for_signals(self) -> None:
        """Read the signals of all executions here that wait for something, since nobody says whom one was left for."""
        await self.deliver([execution_id for execution_id, active in self._active.items() if active.loop.waits])

    async def deliver(self, execution_ids: list[UUID]) -> None:
        """Somebody left signals for these executions: read them and hand them over."""
        mine = [i for i in execution_ids if i in self._active]
        if mine:
            self._hand_over(await self._executions.unread_signals(mine))

    def on_lease_report(self, report: LeaseReport) -> None:
        """Hold what the renewal read back against what is under way: take up what nobody told us of, drop what is lost."""
        if report.lost:
            for execution_id in list(self._active):
                self._drop(execution_id)
            self.wake()
            return
        owned = {execution_id: (epoch, age_ms) for execution_id, epoch, age_ms in report.renewal.owned}
        for execution_id, active in list(self._active.items()):
            if active.taken_at < report.asked_at and execution_id not in owned and not active.loop.ending:
                self._drop(execution_id)
        for execution_id, (epoch, age_ms) in owned.items():
            if execution_id in self._active:
                self._active[execution_id].loop.accept()  # its row is there, whoever failed to say so
            known = execution_id in self._active or (execution_id, epoch) in self._finished
            if not known and age_ms > 1_000:
                self._spawn(self._take_up(report.lease_id, execution_id))
        self._hand_over(list(report.renewal.signals))

    def _hand_over(self, signals: list[Signal]) -> None:
        for signal in signals:
            active = self._active.get(signal.execution_id)
            if active is not None:
                active.loop.notify(signal)

    async def _take_up(self, lease_id: UUID, execution_id: UUID) -> None:
        claimed = await self._executions.read_owned(lease_id, execution_id)
        if claimed is not None and self.take(claimed) is not None:
            self.counts.taken_up += 1

    def _drop(self, execution_id: UUID) -> None:
        active = self._active.pop(execution_id, None)
        if active is not None and active.task is not None:
            self.counts.dropped += 1
            active.task.cancel()
            self._log.warning("execution.dropped", execution_id=str(execution_id), epoch=active.claimed.epoch)
        self._note_idle()

    async def _drive(self, active: _Active) -> Finished | None:
        claimed = active.claimed
        begun_ms = self._fairness.begin(claimed.workspace_id)
        try:
            finished = await self._drive_to_end(active)
        except Fenced:
            self.counts.dropped += 1
            return None
        except asyncio.CancelledError:
            return None
        except Exception:  # noqa: BLE001 - logged with its trace; the execution stays ours and is taken up again
            self._log.exception("execution.engine_error", execution_id=str(claimed.id))
            return None
        else:
            self._remember(claimed.id, claimed.epoch)
            if finished is None:
                self.counts.rested += 1
                self.wake()  # a signal may have been left while it was let go
            else:
                self.counts.finished += 1
                if claimed.parent is not None:
                    self._around.child_ended(claimed.parent)
                if claimed.concurrency_key:
                    self._spawn(self._make_room(claimed.workspace_id, claimed.concurrency_key))
            return finished
        finally:
            self._fairness.end(claimed.workspace_id, begun_ms)
            if self._active.get(claimed.id) is active:
                del self._active[claimed.id]
            self._note_idle()
            if len(self._active) <= self._config.slots // 2:
                self._half_free.set()
            if len(self._active) == self._config.slots * 3 // 4:
                self.wake()  # room for a batch: claiming for each single free slot would cost a statement each

    async def _make_room(self, workspace_id: UUID, concurrency_key: str) -> None:
        """Let go what a concurrency key held for the end of an execution. Were it to fail, the supervisor's sweep does it."""
        if await self._executions.release_held(workspace_id, concurrency_key):
            self.wake()
            self._around.let_go()

    async def _drive_to_end(self, active: _Active) -> Finished | None:
        claimed = active.claimed
        history = await self._executions.history(claimed.id) if claimed.last_seq or claimed.held else None
        if active.broken:
            return await self._fail(active, "definition_unusable", active.broken)
        if claimed.crashes >= self._around.limits.crashes_max:
            message = f"it brought down its actor {claimed.crashes} times while nothing else ran there"
            return await self._fail(active, "poisoned", message)

        async def begin() -> Finished | None:
            return await self._guarded(active, active.loop.run(history))

        if claimed.recovered:
            return await self._lane.after_turn(claimed, active.loop.first_flush, begin)
        return await self._lane.beside(begin)

    async def _guarded(self, active: _Active, work: Awaitable[Finished | None]) -> Finished | None:
        """Our own mistakes must not leave an execution running for ever: it fails, with what went wrong."""
        try:
            return await work
        except (Fenced, StoreUnavailable, asyncio.CancelledError):
            raise
        except BlobMissing as error:
            self._log.error("execution.blob_missing", execution_id=str(active.claimed.id), error=error.message)
            return await self._fail(active, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - whatever our own mistake was, the execution must end
            self._log.exception("execution.engine_error", execution_id=str(active.claimed.id))
            # What it says may hold what is not the user's business: rows, addresses. The log has it.
            what = f"an error of our own, {type(error).__name__}; the log says more under this execution's id"
            return await self._fail(active, "engine_error", what)

    async def _fail(self, active: _Active, code: str, message: str) -> Finished | None:
        history = await self._executions.history(active.claimed.id)
        active.loop = ExecutionLoop(active.claimed, active.plan, self._around)
        return await active.loop.run(history, FinishExecution(ExecutionStatus.FAILED, code, message))

    def _plan_of(self, claimed: Claimed) -> tuple[Plan, str]:
        try:
            return self._plan(claimed.definition), ""
        except (RayloomError, KeyError, TwoEntries, ReturnsFromOutside) as error:
            return _broken_plan(), f"the stored definition cannot be run: {error}"

    def _remember(self, execution_id: UUID, epoch: int) -> None:
        self._finished[execution_id, epoch] = None
        if len(self._finished) > FINISHED_REMEMBERED_MAX:
            self._finished.popitem(last=False)

    def _note_idle(self) -> None:
        if not self._active:
            self._idle.set()

    def _spawn(self, work: Awaitable[None]) -> None:
        async def quietly() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except StoreUnavailable as error:
                self._log.warning("owner.store_unavailable", error=error.message)
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("owner.work_failed")

        task = asyncio.get_running_loop().create_task(quietly(), context=Context())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _claim_for_ever(self) -> None:
        while not self._draining:
            try:
                full = await self._claim_some()
            except StoreUnavailable as error:
                self._log.warning("claim.store_unavailable", error=error.message)
                full = False
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("claim.failed")  # an owner that no longer claims must not look healthy
                full = False
            if full:
                continue
            self._hungry.clear()
            try:
                async with asyncio.timeout(self._config.poll_ms / 1000):
                    await self._hungry.wait()
            except TimeoutError:
                pass

    async def _claim_some(self) -> bool:
        """Claim what there are slots for; whether there may be more, and room for it."""
        lease_id = self._lease().id
        if self._config.dedicated_to is not None:
            return False
        await self._let_slots_gather()
        free = self._config.slots - self.active
        if free <= 0:
            await self._claim_ending(lease_id)
            await self._claim_starved(lease_id)
            return False
        grace_ms = self._config.orphan_grace_ms if self.active else 0
        batch = await self._executions.claim(lease_id, free, grace_ms, self._fairness.shares())
        self._claimed_at = asyncio.get_running_loop().time() if batch else 0.0
        for claimed in batch:
            self.take(claimed)
        self.counts.claimed += len(batch)
        # What has a history reads its signals with it.
        await self.deliver([claimed.id for claimed in batch if claimed.signalled])
        return len(batch) == free and self.active < self._config.slots

    async def _let_slots_gather(self) -> None:
        left_s = self._claimed_at + CLAIM_PAUSE_S - asyncio.get_running_loop().time()
        if left_s > 0 and self.active > self._config.slots // 2:
            self._half_free.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._half_free.wait()
            except TimeoutError:
                pass

    async def _claim_ending(self, lease_id: UUID) -> None:
        """Take executions at rest that somebody wants to stop or that have no time left, though every slot is taken: they end at once."""
        await self._claim_each(lease_id, await self._executions.ending_at_rest(ENDING_AT_ONCE_MAX))

    async def _claim_starved(self, lease_id: UUID) -> None:
        """Take one of each workspace that has nothing here, beyond the slots: those who have them may keep them for minutes."""
        room = self._config.spare_slots - sum(active.spare for active in self._active.values())
        if room <= 0:
            return
        starved = await self._executions.starved(self._fairness.holding(), room)
        self.counts.claimed += await self._claim_each(lease_id, starved, spare=True)

    async def _claim_each(self, lease_id: UUID, execution_ids: Sequence[UUID], *, spare: bool = False) -> int:
        """Claim what of this may still be claimed, though every slot is taken; how many these were."""
        claimed_count = 0
        for execution_id in execution_ids:
            claimed = await self._executions.claim_one(lease_id, execution_id)
            if claimed is None:
                continue
            claimed_count += 1
            taken = self.take(claimed)
            if spare and taken is not None:
                taken.spare = True
            await self.deliver([execution_id])
        return claimed_count

    async def _tick_for_ever(self) -> None:
        while True:
            before = monotonic()
            await asyncio.sleep(TICK_S)
            self.counts.lag_ms = max(0.0, (monotonic() - before - TICK_S) * 1000)
            self._lease().tick()


def _make_plan(definition: bytes, catalog: Catalog) -> Plan:
    return make_plan(parse_document(orjson.loads(definition)), catalog)


def _broken_plan() -> Plan:
    return make_plan(Document(name="-"), Catalog({}))
