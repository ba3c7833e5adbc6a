"""The error workflow: another workflow that is executed when an execution ends badly."""

from collections.abc import Mapping

import orjson
import structlog

from actors.outside import ERROR_TRIGGER, Outside
from workflow.commands import FinishExecution
from workflow.document import ErrorTrigger
from workflow.errors import NodeError
from workflow.plan import Plan
from workflow.ports import Claimed
from workflow.states import ExecutionStatus

ENDS_BY_TRIGGER = {
    ErrorTrigger.ON_FAILURE: {ExecutionStatus.FAILED},
    ErrorTrigger.ON_TIMEOUT: {ExecutionStatus.TIMEOUT},
    ErrorTrigger.ON_ALL: {ExecutionStatus.FAILED, ExecutionStatus.TIMEOUT},
}


def reports(plan: Plan, claimed: Claimed, status: ExecutionStatus) -> bool:
    """Whether this end of an execution begins its error workflow. One that is itself an error workflow begins none."""
    ends = ENDS_BY_TRIGGER[plan.error_trigger]
    return plan.error_workflow is not None and claimed.trigger_type != ERROR_TRIGGER and status in ends


async def report(
    outside: Outside, plan: Plan, claimed: Claimed, end: FinishExecution, started_ms: int
) -> Mapping[str, str]:
    """Execute the error workflow, once however often this is repeated; return its `execution_id`, or the code of what it is `refused` for.

    It is given one object: `execution` (`id`, `status`, `started_ms`, `error` with `code`, `message`, `node_id`) and
    `workflow` (`id`, `name`, `version`).
    """
    if plan.error_workflow is None:
        return {}
    node_id = plan.nodes[end.node].id if end.node is not None else ""
    data = {
        "execution": {
            "id": str(claimed.id),
            "status": end.status.value,
            "started_ms": started_ms,
            "error": {"code": end.code, "message": end.message, "node_id": node_id},
        },
        "workflow": {
            "id": None if claimed.workflow_id is None else str(claimed.workflow_id),
            "name": claimed.workflow_name,
            "version": claimed.workflow_version,
        },
    }
    try:
        begun = await outside.begin_error_workflow(claimed, plan.error_workflow, orjson.dumps(data))
    except NodeError as refused:
        log = structlog.get_logger("rayloom.execution")
        log.warning("execution.error_workflow_refused", execution_id=str(claimed.id), error=refused.message)
        return {"refused": refused.code}
    return {"execution_id": str(begun)}
