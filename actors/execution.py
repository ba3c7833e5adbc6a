"""One execution on its actor: take an event, step the machine, perform the commands, write. No Ray, no SQL.

The loop owns its execution for as long as it runs. Pure nodes start at once, also on results that are not yet committed; what
is visible outside waits until the flush that holds its cause has returned, and then until the lease allows it. Each flush holds
events and results together, so a crash loses a tail of both or of neither, and what was lost was only ever pure.

When all that has begun waits for something far off, or when it is to pause and nothing is under way any more, the loop lets go: it
writes where the execution stands and when it is due, and ends. Whoever claims it then goes on as after a crash.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import orjson

from actors.attempts import Attempt, Attempts
from actors.journal import Journal
from actors.lineage import Lineage
from actors.recovering import Decided, Recoveries
from actors.reporting import report, reports
from actors.results import Given, Results
from actors.rows import Rows, Stored, readable
from actors.settling import Settling
from actors.surroundings import Finished, Surroundings
from workflow.blobs import read_blob
from workflow.commands import AbortNode, AskRecovery, Command, FailNode, FinishExecution, SkipNode, StartNode
from workflow.config import NodeView
from workflow.document import OnError
from workflow.errors import Fenced, NodeError, StoreUnavailable
from workflow.events import (
    CancelRequested,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionTimedOut,
    ExecutionWaiting,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    NodeWaiting,
    NodeWoken,
    PauseRequested,
    ResumeRequested,
    from_body,
)
from workflow.machine import forsakes, may_leave, outstanding, recovery_asked, replay, step
from workflow.plan import Plan, PlanNode
from workflow.ports import Claimed, Ending, History, Rest, Signal, SignalKind
from workflow.resting import NewestWish, begun_ms, due_nodes, is_too_early, may_rest, next_due_ms, same_run, waiting_run
from workflow.spec import Effect, Placement
from workflow.state import initial
from workflow.states import SETTLED, ExecutionStatus, NodeStatus
from workflow.waiting import Going, Recovery, Wake, places_from

ASK_AGAIN_S = 0.5
COMMANDS_AT_ONCE = 64
"""After so many commands the loop lets others on its actor have a turn."""


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
        self._arrived: deque[Attempt | Decided] = deque()
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
        self._attempts = Attempts(
            claimed=claimed,
            plan=plan,
            dispatcher=surroundings.dispatcher,
            http=surroundings.http,
            outside=surroundings.outside,
            models=surroundings.models,
            now_ms=surroundings.now_ms,
        )
        self._recoveries = Recoveries(
            claimed, plan, self._results, self._rows, self._journal, surroundings.dispatcher, surroundings.outside
        )
        self._settling = Settling(plan, self._results, self._rows, self._journal)
        self._asking = [node.index for node in plan.nodes if node.type.spec.asks and not node.idle]
        # Without nodes it is the plan of a definition that can no longer be run: what that had asked, nobody knows.
        self._asks = not plan.nodes or any(n.type.spec.suspends or n.on_error is OnError.ASK for n in plan.nodes)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._later: dict[int, int] = {}
        """Of these, the attempts that only wait for their time (Unix ms), by node."""
        self._too_early: list[Signal] = []
        self._ask_again: set[int] = set()
        """Wake-ups for nodes that do not wait yet, or not while it is paused; unread until they are taken up."""
        self._alarm: asyncio.TimerHandle | None = None
        self._due = False
        self._forsaking = False
        self._resting = False
        self._own_deadline_ms: int | None = None
        self._deadline_ms: int | None = None
        self._time_limit: asyncio.TimerHandle | None = None
        self._time_is_over = False
        self._finished: Finished | None = None
        self._started_ms = 0
        self._signals_seen: set[UUID] = set()
        self._wishes = NewestWish()
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
        """Whether the end, or that it rests, is decided and only has to be written."""
        return self._finished is not None or self._resting

    @property
    def waits(self) -> bool:
        """Whether a node waits for something outside."""
        return bool(self._state.waiting)

    def notify(self, signal: Signal) -> None:
        """Hand over a signal; one that was handed over before is ignored."""
        if signal.id not in self._signals_seen:
            self._signals_seen.add(signal.id)
            self._signals.append(signal)
            self._wake.set()

    async def run(self, history: History | None = None, end: FinishExecution | None = None) -> Finished | None:
        """Drive the execution to its end, or to `end` at once; None when it rests, for whoever claims it next.

        Raises `Fenced` when another owner has it; then nothing more is written.
        """
        try:
            if end is None and self.claimed.input_ref is not None:
                given = await read_blob(self._around.blobs, self.claimed.workspace_id, self.claimed.input_ref)
                self._results.take_input(given)
            self._begin(history)
            if end is None:
                self._limit_time()
                await self._fetch_results()
            else:
                self._todo.clear()
                self._todo.append(end)
            while True:
                await self._perform_all()
                if self._forsaking:
                    await self._forsake_aborted()
                if self.ending:
                    await self._journal.durable()
                    return self._finished
                await self._take_arrivals()
        finally:
            self._journal.close()
            for timer in (self._time_limit, self._alarm):
                if timer is not None:
                    timer.cancel()
            for task in self._tasks.values():
                task.cancel()

    def _begin(self, history: History | None) -> None:
        now_ms = self._around.now_ms()
        if history is not None and history.events:
            # Of a definition that cannot be run any more there is an empty plan: then only what is about the whole is known.
            about = {"", *self.plan.by_id}
            rows = [row for row in history.events if row.node_id in about]
            events = [from_body(row.kind, row.at_ms, orjson.loads(row.body)) for row in rows]
            self._state = replay(self.plan, events, self.claimed.id)
            self._journal.continue_after(len(history.events))
            self._started_ms = begun_ms(events) or now_ms
            if not self._state.epoch:
                self._journal.begin(now_ms)
            self._results.restore(self._state, [row for row in history.nodes if row.node_id in self.plan.by_id])
            for row in history.nodes:
                if row.node_id not in self.plan.by_id and row.status not in SETTLED:
                    self._journal.node(replace(row, status=NodeStatus.CANCELLED, completed_ms=now_ms))
            aborted = any(node.status is NodeStatus.CANCELLED for node in self._state.nodes)
            failed = any(isinstance(event, NodeFailed) and may_leave(self._state, event) for event in events)
            self._forsaking = self._asks and (aborted or failed)
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
        if self.claimed.held:
            self._take_signals()  # it is here to be stopped: nothing of it starts

    def _limit_time(self) -> None:
        self._own_deadline_ms = self._started_ms + self.plan.timeout_ms if self.plan.timeout_ms else None
        limits_ms = [at_ms for at_ms in (self._own_deadline_ms, self.claimed.deadline_ms) if at_ms is not None]
        if not limits_ms:
            return
        self._deadline_ms = min(limits_ms)
        self._attempts = replace(self._attempts, claimed=replace(self.claimed, deadline_ms=self._deadline_ms))
        left_ms = self._deadline_ms - self._around.now_ms()
        if left_ms > 0:
            self._time_limit = asyncio.get_running_loop().call_later(left_ms / 1000, self._time_over)
        else:
            self._time_over()
            self._take_signals()  # it is here to end: nothing of it starts

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
                    self._fail_unstarted(command)
                case AskRecovery():
                    self._ask(command)
                case FinishExecution():
                    await self._finish(command)
            performed += 1
            if performed % COMMANDS_AT_ONCE == 0:
                await asyncio.sleep(0)
                self._take_signals()
            if self._journal.full:
                await self._journal.durable()

    def _fail_unstarted(self, command: FailNode) -> None:
        if not self._under_way(command):
            return
        node, now_ms = self._state.nodes[command.node], self._around.now_ms()
        begun_ms = node.begun_ms if node.overdue else now_ms
        error = NodeError(command.message, command.code)
        self._take_up(self._settling.failed(self._state, command, error, now_ms - begun_ms, begun_ms, now_ms))

    async def _start(self, command: StartNode) -> None:
        if not self._under_way(command) or command.node in self._tasks or self._state.paused:
            return
        wait_ms = command.not_before_ms - self._around.now_ms()
        if wait_ms > 0:
            self._later[command.node] = command.not_before_ms
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
        self._later.pop(command.node, None)
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
            self._arrived.append(Attempt(command, self._around.now_ms(), 0, None, failure))
        self._wake.set()

    async def _attempt(self, command: StartNode, node: PlanNode, given: Given, where: Placement) -> Attempt:
        views = self._views(command, node, given)
        links = self._links() if self._asking and not node.template.static else {}
        return await self._attempts.make(command, self._state.nodes[command.node], given, views, links, where)

    def _links(self) -> dict[str, str]:
        """Return where what nodes ask is answered, for expressions: of the present run of each, or of its next."""
        links: dict[str, str] = {}
        for index in self._asking:
            node, state = self.plan.nodes[index], self._state.nodes[index]
            under_way = state.status in (NodeStatus.RUNNING, NodeStatus.WAITING)
            run = (node.id, state.run_index if under_way else state.runs)
            link = self._around.outside.link(self.claimed, run, state.lapses if under_way else 0)
            links[node.id] = links[node.name] = link
        return links

    def _views(self, command: StartNode, node: PlanNode, given: Given) -> dict[str, NodeView]:
        names = node.template.references
        return self._lineage.views(self._state, command.node, len(given.items), names) if names else {}

    async def _take_arrivals(self) -> None:
        while not (self._arrived or self._signals or self._todo or self._time_is_over or self._due):
            self._journal.raise_if_fenced()
            if self._may_rest():
                self._rest()
                return
            self._set_alarm()
            self._journal.flush_soon()
            self._wake.clear()
            await self._wake.wait()
        self._journal.raise_if_fenced()
        self._take_signals()
        while self._arrived:
            arrived = self._arrived.popleft()
            self._tasks.pop(arrived.command.node, None)
            if isinstance(arrived, Attempt):
                self._settle(arrived)
            else:
                self._decided(arrived)

    def _may_rest(self) -> bool:
        """Whether nothing is under way, and will not be for long enough that the execution can leave its actor."""
        if self._state.stop is not None or len(self._tasks) > len(self._later):
            return False
        patience_ms = self._around.limits.rest_above_ms
        now_ms = self._around.now_ms()
        return may_rest(self._state, self._later.values(), patience_ms, now_ms, self._deadline_ms)

    def _rest(self) -> None:
        now_ms, paused = self._around.now_ms(), self._state.paused
        due_ms = None if paused else next_due_ms(self._state, self._later.values())
        if paused:
            self._tell(ExecutionPaused(at_ms=now_ms))
        else:
            self._tell(ExecutionWaiting(at_ms=now_ms, until_ms=due_ms or 0))
        wake_ms = min((at_ms for at_ms in (due_ms, self._deadline_ms) if at_ms is not None), default=None)
        news_ms = self._deadline_ms if self._deadline_ms != self.claimed.deadline_ms else None
        self._journal.rest(Rest(status=self._state.status, wake_ms=wake_ms, deadline_ms=news_ms))
        self._resting = True

    def _set_alarm(self) -> None:
        """Be woken when the first waiting node is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due_ms = next_due_ms(self._state, apart=self._tasks)
        if due_ms is not None and not self._state.paused:
            left_ms = max(0, due_ms - self._around.now_ms())
            self._alarm = asyncio.get_running_loop().call_later(left_ms / 1000, self._time_has_come)

    def _time_has_come(self) -> None:
        self._due = True
        self._wake.set()

    def _take_signals(self) -> None:
        while self._signals:
            self._take_signal(self._signals.popleft())
        if self._time_is_over:
            self._time_is_over = False
            if self._state.stop is None:
                of_parent = self._deadline_ms != self._own_deadline_ms
                self._tell(ExecutionTimedOut(at_ms=self._around.now_ms(), of_parent=of_parent))
        if self._due:
            self._due = False
            for index in [] if self._state.paused else due_nodes(self._state, self._around.now_ms()):
                self._look(index, Wake.TIME)

    def _take_signal(self, signal: Signal) -> None:
        by = orjson.loads(signal.body).get("by", "") if signal.body else ""
        now_ms, going = self._around.now_ms(), self._state.stop is None
        match signal.kind:
            case SignalKind.CANCEL if going:
                self._tell(CancelRequested(at_ms=now_ms, by=by))
            case SignalKind.PAUSE | SignalKind.RESUME if not self._wishes.is_news(signal):
                pass
            case SignalKind.PAUSE if going and not self._state.paused:
                self._tell(PauseRequested(at_ms=now_ms, by=by))
                for index in list(self._later):
                    self._stop_task(index)
            case SignalKind.RESUME if going and self._state.paused:
                self._tell(ResumeRequested(at_ms=now_ms, by=by))
                self._take_early()
            case SignalKind.WAKE if going and is_too_early(self._state, signal.node_id, signal.run_index):
                self._too_early.append(signal)
                return
            case SignalKind.WAKE:
                self._take_wake(signal)
        self._journal.read_signal(signal.id)

    def _take_early(self) -> None:
        """Look again at wake-ups that came too early."""
        self._signals.extend(self._too_early)
        self._too_early.clear()

    def _take_wake(self, signal: Signal) -> None:
        index = waiting_run(self._state, signal.node_id, signal.run_index)
        if index is None:
            return
        # What has come before the wake-up is committed need not wake it again: it is looked up after that.
        others = [each for each in (*self._signals, *self._too_early) if same_run(each, signal)]
        for other in others:
            self._journal.read_signal(other.id)
        self._signals = deque(each for each in self._signals if each not in others)
        self._too_early = [each for each in self._too_early if each not in others]
        self._look(index, Wake.SIGNAL)

    def _look(self, index: int, cause: Wake) -> None:
        """Have a waiting node look what has come, or whether somebody, or the time, has decided about its failure."""
        asking = recovery_asked(self._state, index)
        if asking is None:
            self._woken(index, cause)
        else:
            self._ask(asking)

    def _woken(self, index: int, cause: Wake) -> None:
        node = self._state.nodes[index]
        self._tell(
            NodeWoken(
                at_ms=self._around.now_ms(),
                node_id=self.plan.nodes[index].id,
                run_index=node.run_index,
                attempt=node.attempt,
                wait=node.waits,
                cause=cause,
            )
        )

    def _ask(self, command: AskRecovery) -> None:
        """Ask what is to become of a node that has failed, or look whether that was decided.

        What is being asked already may have been decided just after it was looked at: then it is looked at once more.
        """
        if command.node in self._tasks:
            self._ask_again.add(command.node)
        else:
            self._ask_again.discard(command.node)
            self._tasks[command.node] = asyncio.create_task(self._ask_about(command, self._journal.seq))

    async def _ask_about(self, command: AskRecovery, cause: int) -> None:
        try:
            await self._journal.durable(cause)
            await self._around.may_act()
            decided = await self._recoveries.ask(command)
            if decided is None:
                self._tasks.pop(command.node, None)
                if command.node in self._ask_again:
                    self._todo.append(command)
            else:
                self._arrived.append(decided)
        except Fenced:
            self._journal.fence()
        except StoreUnavailable:
            await asyncio.sleep(ASK_AGAIN_S)
            self._tasks.pop(command.node, None)
            self._todo.append(command)
        self._wake.set()

    def _decided(self, decided: Decided) -> None:
        """Somebody has decided about a node that has failed: do so, unless it is too late."""
        event = self._recoveries.decide(self._state, decided, self._around.now_ms())
        if event is None:
            return
        self._tell(event)
        if event.decision is not Recovery.RETRY:
            self._results.settled(self._state, decided.command.node, event.run_index)
        self._take_early()

    async def _forsake_aborted(self) -> None:
        """Withdraw what nodes had asked that were aborted or have failed, once that is committed."""
        self._forsaking = False
        await self._journal.durable()
        going = [(self.plan.nodes[i].id, self._state.nodes[i]) for i in self._state.running | self._state.waiting]
        keep = [Going(node_id, node.run_index, places_from(node.lapses)) for node_id, node in going]
        await self._around.outside.forsake(self.claimed, keep)

    def _settle(self, attempt: Attempt) -> None:
        """Take up an attempt that has ended, unless it is not wanted any more."""
        if self._under_way(attempt.command):
            self._take_up(self._settling.of_attempt(self._state, attempt, self._around.now_ms()))

    def _take_up(self, event: NodeCompleted | NodeFailed | NodeWaiting) -> None:
        index = self.plan.by_id[event.node_id]
        self._tell(event)
        node = self._state.nodes[index]
        self._forsaking |= isinstance(event, NodeFailed) and forsakes(self._state, event)
        if node.run_index == event.run_index and node.status is NodeStatus.WAITING:
            self._take_early()
        elif node.run_index != event.run_index or node.status is not NodeStatus.RUNNING:
            self._results.settled(self._state, index, event.run_index)

    def _stop_task(self, index: int) -> None:
        self._later.pop(index, None)
        task = self._tasks.pop(index, None)
        if task is not None:
            task.cancel()

    def _abort(self, command: AbortNode) -> None:
        self._stop_task(command.node)
        self._forsaking = self._asks and self._state.stop is None
        now_ms = self._around.now_ms()
        self._journal.node(self._rows.cancelled(command.node, command.run_index, command.attempt, now_ms))

    async def _finish(self, command: FinishExecution) -> None:
        stored = Stored()
        if command.status is ExecutionStatus.COMPLETED:
            try:
                stored = self._journal.stored(self._results.output(self._state, self._around.limits.output_bytes_max))
            except NodeError as error:
                command = FinishExecution(ExecutionStatus.FAILED, error.code, error.message)
        elif self._asks:
            await self._journal.durable()
            await self._around.outside.forsake(self.claimed, ())
        reported: Mapping[str, str] = {}
        if reports(self.plan, self.claimed, command.status):
            await self._journal.durable()
            reported = await report(self._around.outside, self.plan, self.claimed, command, self._started_ms)
        now_ms = self._around.now_ms()
        status, code, message = command.status, command.code, readable(command.message)
        node_id = self.plan.nodes[command.node].id if command.node is not None else ""
        for index in sorted(self._state.running | self._state.waiting):
            self._abort(AbortNode(index, self._state.nodes[index].run_index, self._state.nodes[index].attempt))
        self._tell(
            ExecutionFinished(
                at_ms=now_ms, status=status, code=code, message=message, node_id=node_id, error_workflow=reported
            )
        )
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
