"""The rows that keep what became of a node's run."""

from typing import Any, NamedTuple

from actors.work import Outcome
from workflow.blobs import BlobRef
from workflow.errors import NodeError
from workflow.plan import Plan
from workflow.ports import NodeRow
from workflow.states import NodeStatus
from workflow.values import storable

TEXT_CHARS_MAX = 65_536


class Stored(NamedTuple):
    """JSON as a row keeps it: itself, or where it is too large the reference to it."""

    output: bytes | None = None
    reference: BlobRef | None = None


class Rows:
    """Makes the rows of one execution."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def started(self, index: int, run_index: int, attempt: int, now_ms: int) -> NodeRow:
        """Return the row of an attempt under way."""
        return self._row(index, run_index, NodeStatus.RUNNING, attempt, now_ms, None)

    def completed(
        self,
        index: int,
        run_index: int,
        attempt: int,
        outcome: Outcome,
        stored: Stored,
        times_ms: tuple[int, int],
        duration_ms: float,
    ) -> NodeRow:
        """Return the row of a result; `times_ms` are start and end."""
        return self._row(
            index,
            run_index,
            NodeStatus.COMPLETED,
            attempt,
            *times_ms,
            duration_ms=duration_ms,
            output=stored.output,
            output_ref=stored.reference,
            logs=readable(outcome.logs),
            placement=outcome.placement.value,
            pid=outcome.pid,
            host=outcome.host,
            gpu_ids=",".join(outcome.gpu_ids),
        )

    def failed(
        self,
        index: int,
        run_index: int,
        attempt: int,
        error: NodeError,
        times_ms: tuple[int, int],
        duration_ms: float,
        stored: Stored,
    ) -> NodeRow:
        """Return the row of a failure; `times_ms` are start and end; `stored` are the error items that it gives, if any."""
        return self._row(
            index,
            run_index,
            NodeStatus.FAILED,
            attempt,
            *times_ms,
            duration_ms=duration_ms,
            output=stored.output,
            output_ref=stored.reference,
            error_code=error.code,
            error_message=readable(error.message),
            logs=readable(str(error.fields.get("logs", ""))),
        )

    def retrying(self, index: int, run_index: int, attempt: int, error: NodeError, now_ms: int) -> NodeRow:
        """Return the row of a run whose next attempt, of this number, will follow a failed one."""
        return self._row(
            index,
            run_index,
            NodeStatus.RUNNING,
            attempt,
            now_ms,
            None,
            error_code=error.code,
            error_message=readable(error.message),
            logs=readable(str(error.fields.get("logs", ""))),
        )

    def waiting(
        self, index: int, run_index: int, attempt: int, started_ms: int, error: tuple[str, str] = ("", "")
    ) -> NodeRow:
        """Return the row of an attempt that waits; with code and message where somebody is asked about its failure."""
        code, message = error
        return self._row(
            index,
            run_index,
            NodeStatus.WAITING,
            attempt,
            started_ms,
            None,
            error_code=code,
            error_message=readable(message),
        )

    def cancelled(self, index: int, run_index: int, attempt: int, now_ms: int) -> NodeRow:
        """Return the row of an attempt that was aborted."""
        return self._row(index, run_index, NodeStatus.CANCELLED, attempt, None, now_ms)

    def skipped(self, index: int, run_index: int) -> NodeRow:
        """Return the row of a node that nothing can reach."""
        return self._row(index, run_index, NodeStatus.SKIPPED, 0, None, None)

    def _row(
        self,
        index: int,
        run_index: int,
        status: NodeStatus,
        attempt: int,
        started_ms: int | None,
        completed_ms: int | None,
        **rest: Any,
    ) -> NodeRow:
        node = self._plan.nodes[index]
        return NodeRow(
            node_id=node.id,
            run_index=run_index,
            node_type=node.type.spec.type,
            node_name=node.name,
            status=status,
            attempt=attempt,
            started_ms=started_ms,
            completed_ms=completed_ms,
            **rest,
        )


def readable(text: str) -> str:
    """Return the text as PostgreSQL can keep it: no NUL, no lone surrogates, not endless."""
    clean = storable(text)
    return clean if len(clean) <= TEXT_CHARS_MAX else clean[:TEXT_CHARS_MAX] + " … (cut)"
