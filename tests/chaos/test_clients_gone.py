"""A client disconnects while it waits, behind HAProxy; `test_default_proxy.py` has the same for Ray's own proxy."""

import pytest

from tests.chaos.clients import FAR_AND_NEAR, disconnect_while_waiting
from tests.chaos.work import assert_each_completed_once, epochs

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def test_an_execution_goes_on_when_its_client_disconnects(instance):
    begun = {disconnect_while_waiting(instance): 1 for _ in range(3)}
    assert_each_completed_once(instance, begun, 30, FAR_AND_NEAR)
    assert set(epochs(instance, begun).values()) == {1}, "nobody had to take it over"
    tasks = instance.rows(
        "SELECT placement, status FROM node_executions WHERE execution_id = ANY(%s) AND node_id = 'far'", list(begun)
    )
    assert tasks == [("task", "completed")] * 3
