"""What the end of an attempt means: the rows that keep it, and the event that says so."""

from actors.attempts import Attempt
from actors.journal import Journal
from actors.results import Results
from actors.rows import Rows, Stored, readable
from actors.work import Outcome
from workflow.commands import FailNode, StartNode
from workflow.document import OnError
from workflow.errors import BadInput, Bug, NodeError
from workflow.events import NodeCompleted, NodeFailed, NodeWaiting
from workflow.machine import may_retry
from workflow.plan import Plan
from workflow.state import State
from workflow.values import encode

RETRY_AFTER_MS_MAX = 3_600_000
"""A failure may ask for a later attempt, as HTTP servers do; it is not listened to beyond this."""


class Settling:
    """Notes how attempts of one execution end. What it returns is for the machine, in the same breath."""

    def __init__(self, plan: Plan, results: Results, rows: Rows, journal: Journal) -> None:
        self._plan = plan
        self._results = results
        self._rows = rows
        self._journal = journal

    def of_attempt(self, state: State, attempt: Attempt, now_ms: int) -> NodeCompleted | NodeFailed | NodeWaiting:
        """Check what an attempt under way has given, and note it; what cannot be kept is a failure."""
        command, outcome, error = attempt.command, attempt.outcome, attempt.error
        if outcome is not None and outcome.suspend is not None:
            if self._plan.nodes[command.node].type.spec.suspends:
                wait = state.nodes[command.node].waits
                return self._waiting(attempt, wait, outcome.suspend.until_ms, now_ms)
            error = NodeError("a node of this type does not wait", "suspended", {"retryable": False})
        elif outcome is not None:
            bytes_max = self._journal.output_bytes_max
            try:
                counts, data = self._results.accept(
                    command.node, command.run_index, outcome.outputs, bytes_max, outcome.data
                )
            except (BadInput, NodeError) as refused:
                logs = {**refused.fields, "logs": outcome.logs, "retryable": False}
                error = NodeError(refused.message, refused.code, logs)
            else:
                return self._completed(attempt, outcome, counts, data, now_ms)
        if error is None:
            raise Bug("an attempt ends with an outcome or an error")
        return self.failed(state, command, error, attempt.duration_ms, attempt.started_ms, now_ms)

    def failed(
        self,
        state: State,
        command: StartNode | FailNode,
        error: NodeError,
        duration_ms: float,
        started_ms: int | None,
        now_ms: int,
    ) -> NodeFailed:
        """Note that an attempt under way has failed: whether another one follows, somebody is asked, or it is for good."""
        index, run_index = command.node, command.run_index
        node = self._plan.nodes[index]
        outputs = self._results.error_outputs(state, index, error)
        counts = {handle: len(items) for handle, items in outputs.items()}
        event = NodeFailed(
            at_ms=now_ms,
            node_id=node.id,
            run_index=run_index,
            attempt=command.attempt,
            code=error.code,
            message=readable(error.message),
            duration_ms=round(duration_ms, 3),
            retryable=bool(error.fields.get("retryable", True)),
            retry_after_ms=_retry_after_ms(error),
            handles=counts,
        )
        begun_ms = started_ms or now_ms
        if may_retry(state, event):
            row = self._rows.retrying(index, run_index, command.attempt + 1, error, now_ms)
        elif node.on_error is OnError.ASK:
            row = self._rows.waiting(index, run_index, command.attempt, begun_ms, (error.code, error.message))
        else:
            stored = Stored()
            if outputs:
                data = encode(outputs)
                self._results.keep_failed(index, run_index, outputs, data)
                stored = self._journal.stored(data, counts)
            row = self._rows.failed(index, run_index, command.attempt, error, (begun_ms, now_ms), duration_ms, stored)
        self._journal.node(row)
        return event

    def _completed(
        self, attempt: Attempt, outcome: Outcome, counts: dict[str, int], data: bytes, now_ms: int
    ) -> NodeCompleted:
        command = attempt.command
        times_ms, stored = (attempt.started_ms, now_ms), self._journal.stored(data, counts)
        row = self._rows.completed(
            command.node, command.run_index, command.attempt, outcome, stored, times_ms, attempt.duration_ms
        )
        self._journal.node(row, self._results.completed_count)
        return NodeCompleted(
            at_ms=now_ms,
            node_id=self._plan.nodes[command.node].id,
            run_index=command.run_index,
            attempt=command.attempt,
            handles=counts,
            duration_ms=round(attempt.duration_ms, 3),
            text=readable(outcome.answer),
        )

    def _waiting(self, attempt: Attempt, wait: int, until_ms: int | None, now_ms: int) -> NodeWaiting:
        command = attempt.command
        self._journal.node(self._rows.waiting(command.node, command.run_index, command.attempt, attempt.started_ms))
        return NodeWaiting(
            at_ms=now_ms,
            node_id=self._plan.nodes[command.node].id,
            run_index=command.run_index,
            attempt=command.attempt,
            wait=wait,
            until_ms=until_ms or 0,
        )


def _retry_after_ms(error: NodeError) -> int:
    wanted = error.fields.get("retry_after_ms", 0)
    return min(wanted, RETRY_AFTER_MS_MAX) if isinstance(wanted, int) and wanted > 0 else 0
