"""The machine on random graphs: event orders, duplicates, stale events, a crash at any event; replay equals the live state."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import cyclic_plans, plans
from workflow.commands import AskRecovery, Command, FailNode, FinishExecution, StartNode
from workflow.document import OnError
from workflow.events import (
    CancelRequested,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionWaiting,
    NodeCompleted,
    NodeFailed,
    NodeRecovered,
    NodeStarted,
    NodeWaiting,
    NodeWoken,
    PauseRequested,
    ResumeRequested,
    from_body,
    to_body,
)
from workflow.invariants import check
from workflow.machine import outstanding, replay, step
from workflow.plan import Plan
from workflow.spec import Effect
from workflow.state import initial
from workflow.states import ExecutionStatus, NodeStatus
from workflow.waiting import Recovery, Wake


class World:
    """Everything around the machine: performs its commands in any order, crashes, repeats, cancels; remembers what happened."""

    def __init__(self, plan: Plan, draw: st.DataObject) -> None:
        self.plan = plan
        self.draw = draw
        self.state = initial(plan)
        self.log: list[Event] = []
        self.in_flight: list[Command] = []
        self.starts: set[tuple[int, int, int]] = set()
        self.effects: dict[tuple[int, int], int] = {}
        self.epoch = 1
        self.crashes_left = 8
        self.waits_left = 12

    def tell(self, event: Event) -> None:
        before = [(n.status, n.runs, n.attempt) for n in self.state.nodes]
        commands = step(self.state, event)
        check(self.state)
        self.log.append(event)
        for command in commands:
            if isinstance(command, StartNode):
                if isinstance(event, ResumeRequested) and command in self.in_flight:
                    continue  # the owner has it under way, or about to begin
                key = command.node, command.run_index, command.attempt
                again = isinstance(event, ResumeRequested | NodeWoken)
                assert again or key not in self.starts, "an attempt is started once"
                self.starts.add(key)
                self._check_inputs(command)
            if isinstance(command, AskRecovery) and command in self.in_flight:
                continue
            if isinstance(command, StartNode | FailNode | FinishExecution | AskRecovery):
                self.in_flight.append(command)
        for (status, runs, attempt), node in zip(before, self.state.nodes, strict=True):
            assert node.runs >= runs
            if node.runs == runs:
                assert node.attempt >= attempt
                if status in (NodeStatus.COMPLETED, NodeStatus.FAILED, NodeStatus.SKIPPED):
                    assert node.status in (status, NodeStatus.PENDING), "a settled run stays as it is"

    def _check_inputs(self, command: StartNode) -> None:
        """Everything that a run is given was given by a run that has completed, over the connection's own handle."""
        inputs = self.state.inputs[command.node, command.run_index]
        assert inputs.entered or self.plan.nodes[command.node].start
        for arrival in (*inputs.entered, *inputs.collected[: inputs.count]):
            edge = self.plan.edges[arrival.edge]
            source = self.state.nodes[edge.source]
            assert edge.target == command.node
            assert arrival.run_index < source.runs
            assert arrival.run_index < source.run_index or source.status is not NodeStatus.RUNNING

    def perform(self, command: Command) -> None:
        if isinstance(command, FinishExecution):
            self.tell(ExecutionFinished(at_ms=9, status=command.status, code=command.code))
            return
        if isinstance(command, FailNode):
            self.tell(self._failed(command, command.code))
            return
        if isinstance(command, AskRecovery):
            self._recover(command)
            return
        assert isinstance(command, StartNode)
        node = self.plan.nodes[command.node]
        if self.waits_left and self.draw.draw(st.integers(0, 7)) == 7:
            self.waits_left -= 1
            wait = self.state.nodes[command.node].waits
            until_ms = self.draw.draw(st.integers(0, 9))
            self.tell(NodeWaiting(at_ms=3, **self._names(command), wait=wait, until_ms=until_ms))
            return
        if node.effect is not Effect.PURE:
            self.tell(NodeStarted(at_ms=2, node_id=node.id, run_index=command.run_index, attempt=command.attempt))
            live = self.state.nodes[command.node]
            present = (live.status, live.run_index, live.attempt) == (
                NodeStatus.RUNNING,
                command.run_index,
                command.attempt,
            )
            if present and self.state.stop is None:
                key = command.node, command.run_index
                self.effects[key] = self.effects.get(key, 0) + 1
            if self.crashes_left and self.draw.draw(st.integers(0, 5)) == 5:
                self.crash()
                return
        if self.draw.draw(st.sampled_from((*(False,) * 9, True))):
            self.tell(self._failed(command, "drawn"))
        else:
            self.tell(self._completed(command))

    def _names(self, command: StartNode) -> dict[str, Any]:
        node = self.plan.nodes[command.node]
        return {"node_id": node.id, "run_index": command.run_index, "attempt": command.attempt}

    def _recover(self, command: AskRecovery) -> None:
        live = self.state.nodes[command.node]
        decision = self.draw.draw(st.sampled_from(list(Recovery)))
        if decision is Recovery.RETRY and self.plan.nodes[command.node].effect is Effect.AT_MOST_ONCE:
            decision = Recovery.ABORT  # a person may let it start again, but here that would look like a breach
        handles = {self.plan.nodes[command.node].handles[0]: 1}
        self.tell(
            NodeRecovered(
                at_ms=6,
                node_id=self.plan.nodes[command.node].id,
                run_index=command.run_index,
                attempt=live.attempt,
                decision=decision,
                handles=handles if decision in (Recovery.SKIP, Recovery.REPLACE) else {},
            )
        )

    def wake(self) -> None:
        """Something happens that a waiting node waits for, though perhaps not for this run of it."""
        index = self.draw.draw(st.sampled_from(sorted(self.state.waiting)))
        node = self.state.nodes[index]
        limit_ms = self.plan.nodes[index].limit_ms
        limited = limit_ms > 0 and node.begun_ms > 0 and node.failed_with is None
        assert not limited or 0 < node.wake_at_ms <= node.begun_ms + limit_ms, "it is woken when its time is over"
        names = {"node_id": self.plan.nodes[index].id, "run_index": node.run_index, "attempt": node.attempt}
        cause = self.draw.draw(st.sampled_from(Wake))
        self.tell(NodeWoken(at_ms=6, **names, wait=node.waits, cause=cause))
        if limited:
            assert node.overdue is (node.begun_ms + limit_ms <= 6), "its time is over, or it goes on"

    def rest(self) -> None:
        """The owner lets go; somebody else goes on."""
        paused = self.state.paused
        self.tell(ExecutionPaused(at_ms=7) if paused else ExecutionWaiting(at_ms=7))
        assert self.state.status is (ExecutionStatus.PAUSED if paused else ExecutionStatus.WAITING)
        assert outstanding(self.state) == [], "at rest, nothing is under way"
        self.take_over()

    def go_on(self) -> None:
        """Do what there is to do when nothing is in flight, or nothing may begin."""
        if self.state.paused:
            if self.draw.draw(st.booleans()):
                self.rest()
            self.tell(ResumeRequested(at_ms=7, by="drawn"))
        elif self.draw.draw(st.booleans()):
            self.rest()
        elif self.state.waiting:
            self.wake()

    def _completed(self, command: StartNode) -> NodeCompleted:
        node = self.plan.nodes[command.node]
        handles = {handle: self.draw.draw(st.sampled_from((1, 1, 2, 0))) for handle in node.handles}
        return NodeCompleted(
            at_ms=3,
            node_id=node.id,
            run_index=command.run_index,
            attempt=command.attempt,
            handles=handles,
            duration_ms=1,
        )

    def _failed(self, command: StartNode | FailNode, code: str) -> NodeFailed:
        node = self.plan.nodes[command.node]
        handles = {} if node.on_error in (OnError.STOP, OnError.ASK) else {node.handles[-1]: 1}
        return NodeFailed(
            at_ms=3,
            node_id=node.id,
            run_index=command.run_index,
            attempt=command.attempt,
            code=code,
            message="",
            duration_ms=1,
            handles=handles,
        )

    def crash(self) -> None:
        """The owner dies; the next one has the log alone, and not always the newest of it."""
        self.crashes_left -= 1
        lost = self.draw.draw(st.integers(0, min(2, len(self.log) - 1)))
        pure_tail = all(not isinstance(e, NodeStarted | ExecutionFinished) for e in self.log[len(self.log) - lost :])
        if lost and pure_tail:
            self.log = self.log[: len(self.log) - lost]
        self.take_over()

    def take_over(self) -> None:
        """Another owner makes the state of the log."""
        rows = [(e.kind, e.at_ms, to_body(e)) for e in self.log]
        self.log = [from_body(*row) for row in rows]
        self.state = replay(self.plan, self.log)
        check(self.state)
        self.in_flight = []
        self.starts = {
            (i, n.run_index, a) for i, n in enumerate(self.state.nodes) for a in range(1, n.attempt + 1) if n.runs
        }
        self.epoch += 1
        self.tell(ExecutionResumed(at_ms=4, epoch=self.epoch))

    def disturb(self) -> None:
        kinds = ["nothing", "nothing", "nothing", "nothing", "duplicate", "crash", "cancel", "pause", "wake"]
        kind = self.draw.draw(st.sampled_from(kinds))
        if kind == "pause" and self.draw.draw(st.integers(0, 2)) == 2:
            self.tell(PauseRequested(at_ms=5, by="drawn"))
        elif kind == "wake" and self.state.waiting and not self.state.paused:
            self.wake()
        if kind == "duplicate":
            event = self.draw.draw(st.sampled_from(self.log))
            if not isinstance(
                event, CancelRequested | PauseRequested | ResumeRequested | ExecutionPaused | ExecutionWaiting
            ):
                before = replay(self.plan, self.log)
                self.tell(event)
                repeated = isinstance(event, NodeStarted)
                assert repeated or self.state == before, "a duplicate changes nothing"
        elif kind == "crash" and self.crashes_left:
            self.crash()
        elif kind == "cancel" and self.draw.draw(st.integers(0, 4)) == 4:
            self.tell(CancelRequested(at_ms=5, by="drawn"))


@given(plans() | cyclic_plans(), st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_any_order_with_duplicates_crashes_and_cancels_ends_and_replays_to_the_same_state(
    plan: Plan, data: st.DataObject
):
    world = World(plan, data)
    world.tell(ExecutionStarted(at_ms=0, epoch=1))
    steps = 0
    while not world.state.status.terminal:
        steps += 1
        assert steps < 2_000, "it ends"
        if steps < 60:
            world.disturb()
        if world.state.status.terminal:
            break
        if world.state.stop is None and (world.state.paused or not world.in_flight):
            assert world.state.paused or world.state.waiting, "something is always in flight, or waits"
            world.go_on()
            continue
        index = data.draw(st.integers(0, len(world.in_flight) - 1))
        world.perform(world.in_flight.pop(index))

    assert replay(plan, world.log) == world.state
    assert outstanding(world.state) == []
    for (index, _), times in world.effects.items():
        if plan.nodes[index].effect is Effect.AT_MOST_ONCE:
            assert times == 1, "at most once"


@given(plans(), st.data())
@settings(max_examples=300, deadline=None)
def test_what_runs_and_what_is_skipped_is_what_a_naive_evaluation_says(plan: Plan, data: st.DataObject):
    taken = {
        (node.index, handle): data.draw(st.integers(0, 1)) for node in plan.nodes for handle in node.type.spec.outputs
    }
    state = initial(plan)
    queue = [c.node for c in step(state, ExecutionStarted(at_ms=0, epoch=1)) if isinstance(c, StartNode)]
    while queue:
        index = queue.pop(data.draw(st.integers(0, len(queue) - 1)))
        node = plan.nodes[index]
        handles = {handle: taken[index, handle] for handle in node.type.spec.outputs}
        event = NodeCompleted(at_ms=1, node_id=node.id, run_index=0, attempt=1, handles=handles, duration_ms=0)
        queue += [c.node for c in step(state, event) if isinstance(c, StartNode)]

    runs: dict[int, bool] = {}

    def reached(index: int) -> bool:
        if index not in runs:
            node = plan.nodes[index]
            runs[index] = node.start or any(
                reached(e.source) and taken[e.source, e.source_handle] > 0 for e in node.inputs
            )
        return runs[index]

    for node in plan.nodes:
        expected = NodeStatus.COMPLETED if reached(node.index) else NodeStatus.SKIPPED
        assert state.nodes[node.index].status is expected
    assert state.stop is not None
    assert state.stop.status is ExecutionStatus.COMPLETED
