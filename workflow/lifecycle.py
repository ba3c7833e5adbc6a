"""The states of a workflow, and the only changes between them. Data: `docs/states.md` is made from it.

Rule 1: a state changes only along a row of the table. Rule 2: executions that were accepted go on, whatever becomes of the
workflow; a state only decides what may begin.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from workflow.errors import Conflict


class WorkflowStatus(StrEnum):
    """Where a workflow stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class WorkflowAction(StrEnum):
    """What somebody does with a workflow."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"


EXECUTABLE = frozenset({WorkflowStatus.DRAFT, WorkflowStatus.ACTIVE})
"""The states in which an execution may be accepted."""

WORKFLOW_STATES: Mapping[WorkflowStatus, str] = MappingProxyType(
    {
        WorkflowStatus.DRAFT: (
            "Being written. It can be executed by hand and by the API, so that it can be tried; no trigger of it fires."
        ),
        WorkflowStatus.ACTIVE: (
            "In service: it compiles without errors, has a trigger, and every next version of it must, too. Its triggers fire."
        ),
        WorkflowStatus.PAUSED: (
            "Taken out of service for a while: nothing begins, neither by a trigger nor by hand. It can still be changed."
        ),
        WorkflowStatus.ARCHIVED: (
            "Deleted, as far as anybody who works with it sees: not listed, not executed, not changed. Its versions and executions "
            "are kept, and it can be brought back as a draft."
        ),
    }
)

WORKFLOW_TRANSITIONS: Mapping[tuple[WorkflowStatus, WorkflowAction], WorkflowStatus] = MappingProxyType(
    {
        (WorkflowStatus.DRAFT, WorkflowAction.ACTIVATE): WorkflowStatus.ACTIVE,
        (WorkflowStatus.PAUSED, WorkflowAction.ACTIVATE): WorkflowStatus.ACTIVE,
        (WorkflowStatus.ACTIVE, WorkflowAction.DEACTIVATE): WorkflowStatus.PAUSED,
        (WorkflowStatus.DRAFT, WorkflowAction.ARCHIVE): WorkflowStatus.ARCHIVED,
        (WorkflowStatus.ACTIVE, WorkflowAction.ARCHIVE): WorkflowStatus.ARCHIVED,
        (WorkflowStatus.PAUSED, WorkflowAction.ARCHIVE): WorkflowStatus.ARCHIVED,
        # Deleting again answers as the first time did, for a client that did not hear the first answer.
        (WorkflowStatus.ARCHIVED, WorkflowAction.ARCHIVE): WorkflowStatus.ARCHIVED,
        (WorkflowStatus.ARCHIVED, WorkflowAction.UNARCHIVE): WorkflowStatus.DRAFT,
    }
)


def after(status: WorkflowStatus, action: WorkflowAction) -> WorkflowStatus:
    """Return the state that an action leads to. Raises `Conflict` where the table has no such row."""
    reached = WORKFLOW_TRANSITIONS.get((status, action))
    if reached is None:
        raise state_conflict(status, action.value)
    return reached


def require_changeable(status: WorkflowStatus) -> None:
    """Raise `Conflict` when a workflow in this state takes no new version."""
    if status is WorkflowStatus.ARCHIVED:
        raise state_conflict(status, "update")


def state_conflict(status: WorkflowStatus, wanted: str) -> Conflict:
    """Return the error that says what was wanted and in which state the workflow is."""
    return Conflict(
        f"the workflow is {status.value}: {wanted} does not apply",
        "workflow_state_conflict",
        {"state": status.value, "action": wanted},
    )
