"""The states of a workflow: every pair of state and action either has a row in the table or is a conflict that says so."""

import itertools

import pytest

from workflow.errors import Conflict
from workflow.lifecycle import (
    EXECUTABLE,
    WORKFLOW_STATES,
    WORKFLOW_TRANSITIONS,
    WorkflowAction,
    WorkflowStatus,
    after,
    require_changeable,
)


def test_every_state_has_a_paragraph_and_can_be_reached():
    assert set(WORKFLOW_STATES) == set(WorkflowStatus)
    assert set(WORKFLOW_TRANSITIONS.values()) == set(WorkflowStatus)


@pytest.mark.parametrize(("status", "action"), list(itertools.product(WorkflowStatus, WorkflowAction)))
def test_an_action_follows_the_table_or_is_a_conflict(status: WorkflowStatus, action: WorkflowAction):
    reached = WORKFLOW_TRANSITIONS.get((status, action))
    if reached is not None:
        assert after(status, action) is reached
        return
    with pytest.raises(Conflict) as caught:
        after(status, action)
    assert caught.value.code == "workflow_state_conflict"
    assert caught.value.fields == {"state": status.value, "action": action.value}


def test_only_drafts_and_active_ones_are_executed_and_archived_ones_are_not_changed():
    assert {WorkflowStatus.DRAFT, WorkflowStatus.ACTIVE} == EXECUTABLE
    for status in set(WorkflowStatus) - {WorkflowStatus.ARCHIVED}:
        require_changeable(status)
    with pytest.raises(Conflict):
        require_changeable(WorkflowStatus.ARCHIVED)
