"""Plays a drawn graph by names: `play.done("a")` answers with what that made happen."""

from typing import Any

from workflow.commands import AbortNode, AskRecovery, Command, FailNode, FinishExecution, SkipNode, StartNode
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
    NodeRecovered,
    NodeStarted,
    NodeWaiting,
    NodeWoken,
    PauseRequested,
    ResumeRequested,
)
from workflow.invariants import check
from workflow.machine import step
from workflow.plan import Plan
from workflow.state import State, initial
from workflow.states import ExecutionStatus
from workflow.waiting import Recovery, Wake


class Play:
    """An execution of a drawn graph; run index and attempt are the present ones unless they are given."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: State = initial(plan)
        self.log: list[Event] = []

    def tell(self, event: Event) -> list[str]:
        commands = step(self.state, event)
        self.log.append(event)
        check(self.state)
        return [self._words(c) for c in commands]

    def start(self) -> list[str]:
        return self.tell(ExecutionStarted(at_ms=0, epoch=1))

    def done(self, name: str, attempt: int | None = None, **handles: int) -> list[str]:
        node = self.state.nodes[self.plan.by_id[name]]
        return self.tell(
            NodeCompleted(
                at_ms=1,
                node_id=name,
                run_index=node.run_index,
                attempt=attempt or node.attempt or 1,
                handles=handles or {"main": 1},
                duration_ms=1,
            )
        )

    def fail(
        self,
        name: str,
        attempt: int | None = None,
        code: str = "boom",
        at_ms: int = 1,
        *,
        retryable: bool = True,
        **handles: int,
    ) -> list[str]:
        node = self.state.nodes[self.plan.by_id[name]]
        return self.tell(
            NodeFailed(
                at_ms=at_ms,
                node_id=name,
                run_index=node.run_index,
                attempt=attempt or node.attempt or 1,
                code=code,
                message="it broke",
                duration_ms=1,
                retryable=retryable,
                handles=handles,
            )
        )

    def resume(self, epoch: int = 2) -> list[str]:
        return self.tell(ExecutionResumed(at_ms=2, epoch=epoch))

    def begin(self, name: str, at_ms: int = 1) -> list[str]:
        """The start of what is visible outside is recorded."""
        return self.tell(NodeStarted(at_ms=at_ms, **self._present(name)))

    def wait(self, name: str, until_ms: int = 0) -> list[str]:
        wait = self.state.nodes[self.plan.by_id[name]].waits
        return self.tell(NodeWaiting(at_ms=2, **self._present(name), wait=wait, until_ms=until_ms))

    def wake(self, name: str, cause: Wake = Wake.SIGNAL, at_ms: int = 2) -> list[str]:
        wait = self.state.nodes[self.plan.by_id[name]].waits
        return self.tell(NodeWoken(at_ms=at_ms, **self._present(name), wait=wait, cause=cause))

    def recover(self, name: str, decision: Recovery, **handles: int) -> list[str]:
        return self.tell(NodeRecovered(at_ms=2, **self._present(name), decision=decision, handles=handles))

    def pause(self) -> list[str]:
        return self.tell(PauseRequested(at_ms=2, by="me"))

    def go_on(self) -> list[str]:
        return self.tell(ResumeRequested(at_ms=2, by="me"))

    def rest(self) -> list[str]:
        return self.tell(ExecutionPaused(at_ms=2) if self.state.paused else ExecutionWaiting(at_ms=2))

    def _present(self, name: str) -> dict[str, Any]:
        node = self.state.nodes[self.plan.by_id[name]]
        return {"node_id": name, "run_index": node.run_index, "attempt": node.attempt}

    def cancel(self) -> list[str]:
        return self.tell(CancelRequested(at_ms=2, by="me"))

    def time_over(self) -> list[str]:
        return self.tell(ExecutionTimedOut(at_ms=2))

    def finish(self, status: ExecutionStatus) -> list[str]:
        return self.tell(ExecutionFinished(at_ms=3, status=status))

    def given(self, name: str) -> list[tuple[str, int]]:
        """Where the items of the node's present run come from: (source, run index)."""
        index = self.plan.by_id[name]
        inputs = self.state.inputs[index, self.state.nodes[index].run_index]
        arrivals = [*inputs.entered, *inputs.collected[: inputs.count]]
        return [(self.plan.nodes[self.plan.edges[a.edge].source].id, a.run_index) for a in arrivals]

    def _words(self, command: Command) -> str:
        match command:
            case StartNode(node, run_index, attempt, not_before_ms):
                run = f" run {run_index}" if run_index else ""
                later = f" at {not_before_ms}" if not_before_ms else ""
                return f"start {self.plan.nodes[node].id}{run}" + (f" #{attempt}" if attempt > 1 else "") + later
            case AbortNode(node):
                return f"abort {self.plan.nodes[node].id}"
            case SkipNode(node, run_index):
                return f"skip {self.plan.nodes[node].id}" + (f" run {run_index}" if run_index else "")
            case FailNode(node, _, _, code):
                return f"fail {self.plan.nodes[node].id} {code}"
            case AskRecovery(node, _, ordinal):
                until = f" until {command.until_ms}" if command.until_ms else ""
                return f"ask about {self.plan.nodes[node].id}" + (f" again ({ordinal})" if ordinal > 1 else "") + until
            case FinishExecution(status, code):
                return f"finish {status.value}" + (f" {code}" if code else "")
