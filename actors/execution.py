"""One execution on its actor: take an event, step the machine, perform the commands, write. No Ray, no SQL.

The loop owns its execution for as long as it runs. Pure nodes start at once, also on results that are not yet committed; what
is visible outside waits until the flush that holds its cause has returned, and then until the lease allows it. Each flush holds
events and results together, so a crash loses a tail of both or of neither, and what was lost was only ever pure.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from uuid import UUID

import orjson

from actors.config import EngineLimits
from actors.dispatch import Dispatcher
from actors.journal import Journal
from actors.lineage import Lineage
from actors.results import Given, Results, error_handle
from actors.rows import Rows, Stored, readable
from actors.work import Outcome
from workflow.blobs import Blobs, read_blob
from workflow.commands import AbortNode, Command, FailNode, FinishExecution, SkipNode, StartNode
from workflow.config import Frame, NodeView
from workflow.errors import BadInput, Bug, Fenced, NodeError
from workflow.events import (
    CancelRequested,
    Event,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionTimedOut,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    from_body,
)
from workflow.http import HttpClient, NoHttp
from workflow.machine import may_retry, outstanding, replay, step
from workflow.plan import Plan, PlanNode
from workflow.ports import Claimed, Ending, Flush, History, Signal, SignalKind, Verdict
from workflow.spec import Effect, NodeContext, Outputs, Placement
from workflow.state import initial
from workflow.states import ExecutionStatus, NodeStatus
from workflow.values import encode

RETRY_AFTER_MS_MAX = 3_600_000
"""A failure may ask for a later attempt, as HTTP servers do; it is not listened to beyond this."""
COMMANDS_AT_ONCE = 64
"""After so many commands the loop lets others on its actor have a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What executions share on their actor."""

    flush: Callable[[Flush], Awaitable[Verdict]]
    blobs: Blobs
    dispatcher: Dispatcher
    may_act: Callable[[], Awaitable[None]]
    """Returns when the lease allows something visible to start; raises `Fenced` when the lease is lost."""
    committed: Callable[[UUID], None]
    """Told after each commit, for those who follow the execution."""
    now_ms: Callable[[], int]
    limits: EngineLimits
    http: HttpClient = field(default_factory=NoHttp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an execution ended, as it was committed."""

    id: UUID
    epoch: int
    ending: Ending
    started_ms: int
    nodes_total: int
    nodes_completed: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A node's attempt that has ended, for the loop to take up."""

    command: StartNode
    started_ms: int
    duration_ms: float
    outcome: Outcome | None
    error: NodeError | None


class ExecutionLoop:
    """Drives one execution from where it stands to its end."""

    def __init__(self, claimed: Claimed, plan: Plan, surroundings: Surroundings) -> None:
        self.claimed = claimed
        self.plan = plan
        self._around = surroundings
        self._state = initial(plan, claimed.id)
        self._results = Results(plan, claimed.input, surroundings.limits.released_above_bytes)
        self._rows = Rows(plan)
        self._lineage = Lineage(plan, self._results)
        self._todo: deque[Command] = deque()
        self._arrived: deque[_Attempt] = deque()
        self._signals: deque[Signal] = deque()
        self._wake = asyncio.Event()
        self._journal = Journal(
            claimed,
            surroundings.flush,
            surroundings.blobs,
            surroundings.limits,
            committed=lambda: surroundings.committed(claimed.id),
            changed=self._wake.set,
        )
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._time_limit: asyncio.TimerHandle | None = None
        self._time_is_over = False
        self._finished: Finished | None = None
        self._started_ms = 0
        self._signals_seen: set[UUID] = set()
        self.shared = False
        """Whether another execution has been under way on this actor; set by its owner."""
        self.first_flush = self._journal.first_flush

    def hold(self) -> None:
        """Run what is pure, but write nothing before `accept`."""
        self._journal.hold()

    def accept(self) -> None:
        """The execution's row is committed: write."""
        self._journal.accept()

    @property
    def ending(self) -> bool:
        """Whether the end is decided and only has to be written."""
        return self._finished is not None

    def notify(self, signal: Signal) -> None:
        """Hand over a signal; one that was handed over before is ignored."""
        if signal.id not in self._signals_seen:
            self._signals_seen.add(signal.id)
            self._signals.append(signal)
            self._wake.set()

    async def run(self, history: History | None = None, end: FinishExecution | None = None) -> Finished:
        """Drive the execution to its end, or to `end` at once. Raises `Fenced` when another owner has it; then nothing more is written."""
        try:
            if end is None and self.claimed.input_ref is not None:
                given = await read_blob(self._around.blobs, self.claimed.workspace_id, self.claimed.input_ref)
                self._results.take_input(given)
            self._begin(history)
            if end is None:
                await self._fetch_results()
            else:
                self._todo.clear()
                self._todo.append(end)
            while True:
                await self._perform_all()
                if self._finished is not None:
                    await self._journal.durable()
                    return self._finished
                await self._take_arrivals()
        finally:
            self._journal.close()
            if self._time_limit is not None:
                self._time_limit.cancel()
            for task in self._tasks.values():
                task.cancel()

    def _begin(self, history: History | None) -> None:
        now_ms = self._around.now_ms()
        if history is not None and history.events:
            events = [from_body(row.kind, row.at_ms, orjson.loads(row.body)) for row in history.events]
            self._state = replay(self.plan, events, self.claimed.id)
            self._started_ms = events[0].at_ms
            self._journal.continue_after(len(events))
            self._results.restore(self._state, history.nodes)
            if self._state.epoch == self.claimed.epoch:  # this very owner had begun, and stumbled
                self._todo.extend(outstanding(self._state))
            else:
                self._tell(ExecutionResumed(at_ms=now_ms, epoch=self.claimed.epoch))
        else:
            self._started_ms = now_ms
            self._journal.begin(now_ms)
            self._tell(ExecutionStarted(at_ms=now_ms, epoch=self.claimed.epoch))
        for signal in history.signals if history is not None else ():
            self.notify(signal)
        if self.plan.timeout_ms:
            left_ms = max(0, self._started_ms + self.plan.timeout_ms - now_ms)
            self._time_limit = asyncio.get_running_loop().call_later(left_ms / 1000, self._time_over)

    async def _fetch_results(self) -> None:
        """Fetch the results of former owners that are blobs and that a node may still need."""
        needed = self._results.absent
        if needed:
            names = {reference.sha256 for reference in needed.values()}
            self._results.fill(await self._around.blobs.get(self.claimed.workspace_id, sorted(names)))

    def _time_over(self) -> None:
        self._time_is_over = True
        self._wake.set()

    def _tell(self, event: Event) -> None:
        self._todo.extend(step(self._state, event))
        self._journal.append(event)

    async def _perform_all(self) -> None:
        performed = 0
        while self._todo:
            command = self._todo.popleft()
            match command:
                case StartNode():
                    await self._start(command)
                case AbortNode():
                    self._abort(command)
                case SkipNode():
                    self._journal.node(self._rows.skipped(command.node, command.run_index))
                case FailNode():
                    self._failed(command, NodeError(command.message, command.code), 0, None)
                case FinishExecution():
                    self._finish(command)
            performed += 1
            if performed % COMMANDS_AT_ONCE == 0:
                await asyncio.sleep(0)
                self._take_signals()
            if self._journal.full:
                await self._journal.durable()

    async def _start(self, command: StartNode) -> None:
        if not self._under_way(command):
            return
        wait_ms = command.not_before_ms - self._around.now_ms()
        if wait_ms > 0:
            self._tasks[command.node] = asyncio.create_task(self._start_later(command, wait_ms))
            return
        node = self.plan.nodes[command.node]
        given = self._results.given(self._state, command.node)
        where = self._around.dispatcher.placement(node, len(given.items), given.bytes)
        inline = node.effect is Effect.PURE and where is Placement.ACTOR
        if inline and (node.idle or not (node.type.spec.yields or node.template.scripted)):
            self._settle(await self._attempt(command, node, given, where))
            return
        cause = self._journal.seq
        if not inline:
            now_ms = self._around.now_ms()
            self._tell(NodeStarted(at_ms=now_ms, node_id=node.id, run_index=command.run_index, attempt=command.attempt))
            self._journal.node(self._rows.started(command.node, command.run_index, command.attempt, now_ms))
        if node.effect is Effect.AT_MOST_ONCE:
            cause = self._journal.seq
        self._tasks[command.node] = asyncio.create_task(self._work(command, node, given, where, cause))

    async def _start_later(self, command: StartNode, wait_ms: int) -> None:
        """Begin an attempt that follows a failed one, when its time has come."""
        await asyncio.sleep(wait_ms / 1000)
        self._tasks.pop(command.node, None)
        self._todo.append(StartNode(command.node, command.run_index, command.attempt))
        self._wake.set()

    def _under_way(self, command: StartNode | FailNode) -> bool:
        state = self._state.nodes[command.node]
        return (
            self._state.stop is None
            and state.status is NodeStatus.RUNNING
            and state.run_index == command.run_index
            and state.attempt == command.attempt
        )

    async def _work(self, command: StartNode, node: PlanNode, given: Given, where: Placement, cause: int) -> None:
        try:
            if node.effect is not Effect.PURE:
                await self._journal.durable(cause)
                await self._around.may_act()
            attempt = await self._attempt(command, node, given, where)
            self._arrived.append(attempt)
        except Fenced:
            self._journal.fence()
        except Exception as error:  # noqa: BLE001 - the loop must hear of everything, or it would wait for ever
            failure = NodeError(f"{type(error).__name__}: {error}", "engine_error")
            self._arrived.append(_Attempt(command, self._around.now_ms(), 0, None, failure))
        self._wake.set()

    async def _attempt(self, command: StartNode, node: PlanNode, given: Given, where: Placement) -> _Attempt:
        started_ms, begun = self._around.now_ms(), perf_counter()
        handle = error_handle(node)
        context = NodeContext(
            execution_id=self.claimed.id,
            workflow_id=self.claimed.workflow_id,
            workflow_name=self.claimed.workflow_name,
            node_id=node.id,
            run_index=command.run_index,
            attempt=command.attempt,
            timeout_ms=node.timeout_ms,
            sandbox=self._around.dispatcher.sandbox,
            http=self._around.http,
            now_ms=started_ms,
            timezone=self.plan.timezone,
            branches=given.branches,
            round=given.round,
            keep_going=bool(handle),
            error_handle=handle,
        )
        frame = Frame(
            items=given.items,
            execution_id=self.claimed.id,
            workflow_id=self.claimed.workflow_id,
            workflow_name=self.claimed.workflow_name,
            run_index=command.run_index,
            now_ms=started_ms,
            timezone=self.plan.timezone,
            nodes=self._views(command, node, given),
        )
        outcome, error = None, None
        try:
            outcome = await self._around.dispatcher.run(node, context, frame, where)
        except NodeError as failure:
            error = failure
        return _Attempt(command, started_ms, (perf_counter() - begun) * 1000, outcome, error)

    def _views(self, command: StartNode, node: PlanNode, given: Given) -> dict[str, NodeView]:
        names = node.template.references
        return self._lineage.views(self._state, command.node, len(given.items), names) if names else {}

    async def _take_arrivals(self) -> None:
        while not self._arrived and not self._signals and not self._todo and not self._time_is_over:
            self._journal.raise_if_fenced()
            self._journal.flush_soon()
            self._wake.clear()
            await self._wake.wait()
        self._journal.raise_if_fenced()
        self._take_signals()
        while self._arrived:
            attempt = self._arrived.popleft()
            self._tasks.pop(attempt.command.node, None)
            self._settle(attempt)

    def _take_signals(self) -> None:
        while self._signals:
            self._take_signal(self._signals.popleft())
        if self._time_is_over:
            self._time_is_over = False
            if self._state.stop is None:
                self._tell(ExecutionTimedOut(at_ms=self._around.now_ms()))

    def _take_signal(self, signal: Signal) -> None:
        if signal.kind is SignalKind.CANCEL and self._state.stop is None:
            by = orjson.loads(signal.body).get("by", "") if signal.body else ""
            self._tell(CancelRequested(at_ms=self._around.now_ms(), by=by))
        self._journal.read_signal(signal.id)

    def _settle(self, attempt: _Attempt) -> None:
        """Take up an attempt that has ended: check what it gave, record it, tell the machine."""
        command, outcome, error = attempt.command, attempt.outcome, attempt.error
        if not self._under_way(command):
            return
        if outcome is not None:
            bytes_max = self._around.limits.output_bytes_max
            try:
                counts, data = self._results.accept(
                    command.node, command.run_index, outcome.outputs, bytes_max, outcome.data
                )
            except (BadInput, NodeError) as refused:
                logs = {**refused.fields, "logs": outcome.logs, "retryable": False}
                error = NodeError(refused.message, refused.code, logs)
            else:
                self._completed(attempt, outcome, counts, data)
                return
        if error is None:
            raise Bug("an attempt ends with an outcome or an error")
        self._failed(command, error, attempt.duration_ms, attempt.started_ms)

    def _completed(self, attempt: _Attempt, outcome: Outcome, counts: dict[str, int], data: bytes) -> None:
        command, now_ms = attempt.command, self._around.now_ms()
        times_ms, stored = (attempt.started_ms, now_ms), self._journal.stored(data, counts)
        row = self._rows.completed(
            command.node, command.run_index, command.attempt, outcome, stored, times_ms, attempt.duration_ms
        )
        self._journal.node(row, self._results.completed_count)
        self._tell(
            NodeCompleted(
                at_ms=now_ms,
                node_id=self.plan.nodes[command.node].id,
                run_index=command.run_index,
                attempt=command.attempt,
                handles=counts,
                duration_ms=round(attempt.duration_ms, 3),
            )
        )
        self._results.settled(self._state, command.node, command.run_index)

    def _failed(
        self, command: StartNode | FailNode, error: NodeError, duration_ms: float, started_ms: int | None
    ) -> None:
        if not self._under_way(command):
            return
        index, run_index, now_ms = command.node, command.run_index, self._around.now_ms()
        outputs, data = self._error_outputs(index, error)
        event = NodeFailed(
            at_ms=now_ms,
            node_id=self.plan.nodes[index].id,
            run_index=run_index,
            attempt=command.attempt,
            code=error.code,
            message=readable(error.message),
            duration_ms=round(duration_ms, 3),
            retryable=bool(error.fields.get("retryable", True)),
            retry_after_ms=_retry_after_ms(error),
            handles=(counts := {handle: len(items) for handle, items in outputs.items()}),
        )
        if may_retry(self._state, event):
            self._journal.node(self._rows.retrying(index, run_index, command.attempt + 1, error, now_ms))
            self._tell(event)
            return
        stored = Stored()
        if data is not None:
            self._results.keep_failed(index, run_index, outputs, data)
            stored = self._journal.stored(data, counts)
        times_ms = (started_ms or now_ms, now_ms)
        self._journal.node(self._rows.failed(index, run_index, command.attempt, error, times_ms, duration_ms, stored))
        self._tell(event)
        self._results.settled(self._state, index, run_index)

    def _error_outputs(self, index: int, error: NodeError) -> tuple[Outputs, bytes | None]:
        outputs = self._results.error_outputs(self._state, index, error)
        return outputs, encode(outputs) if outputs else None

    def _abort(self, command: AbortNode) -> None:
        task = self._tasks.pop(command.node, None)
        if task is not None:
            task.cancel()
        now_ms = self._around.now_ms()
        self._journal.node(self._rows.cancelled(command.node, command.run_index, command.attempt, now_ms))

    def _finish(self, command: FinishExecution) -> None:
        now_ms = self._around.now_ms()
        status, code, message = command.status, command.code, readable(command.message)
        stored = Stored()
        node_id = self.plan.nodes[command.node].id if command.node is not None else ""
        if status is ExecutionStatus.COMPLETED:
            try:
                stored = self._journal.stored(self._results.output(self._state, self._around.limits.output_bytes_max))
            except NodeError as error:
                status, code, message = ExecutionStatus.FAILED, error.code, error.message
        for index in sorted(self._state.running):
            self._abort(AbortNode(index, self._state.nodes[index].run_index, self._state.nodes[index].attempt))
        self._tell(ExecutionFinished(at_ms=now_ms, status=status, code=code, message=message, node_id=node_id))
        ending = Ending(
            status=status,
            at_ms=now_ms,
            output=stored.output,
            output_ref=stored.reference,
            error_code=code,
            error_message=message,
            error_node_id=node_id,
            shared=self.shared,
        )
        self._journal.end(ending)
        self._finished = Finished(
            id=self.claimed.id,
            epoch=self.claimed.epoch,
            ending=ending,
            started_ms=self._started_ms,
            nodes_total=len(self.plan.nodes),
            nodes_completed=self._results.completed_count,
            last_seq=self._journal.seq,
        )


def _retry_after_ms(error: NodeError) -> int:
    wanted = error.fields.get("retry_after_ms", 0)
    return min(wanted, RETRY_AFTER_MS_MAX) if isinstance(wanted, int) and wanted > 0 else 0
