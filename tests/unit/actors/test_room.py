"""Work that fits on no host fails at once."""

import pytest

from actors.ids import new_id
from actors.room import check_room, may_lack_room
from actors.work import SandboxElsewhere, TaskCall
from workflow.errors import NodeError
from workflow.spec import Config, NodeContext

HOSTS = [{"CPU": 2.0, "memory": 8e9}, {"CPU": 16.0, "memory": 1e9}, {"memory": 64e9}]


def call(cpu: float, memory_bytes: int) -> TaskCall:
    context = NodeContext(
        execution_id=new_id(),
        workflow_id=None,
        workflow_name="w",
        node_id="a",
        run_index=0,
        attempt=1,
        timeout_ms=1_000,
        sandbox=SandboxElsewhere(),
    )
    return TaskCall(
        node_type="action.code", context=context, config=Config({}), items=[], cpu=cpu, memory_bytes=memory_bytes
    )


@pytest.mark.parametrize(("cpu", "memory"), [(1, 0), (2, 8_000_000_000), (16, 0), (0.5, 1)])
def test_work_that_fits_on_one_host_is_let_through(cpu, memory):
    check_room(call(cpu, memory), HOSTS)


@pytest.mark.parametrize(("cpu", "memory"), [(17, 0), (16, 2_000_000_000), (1, 10**15), (1, 64_000_000_000)])
def test_work_that_fits_on_none_is_refused(cpu, memory):
    with pytest.raises(NodeError) as caught:
        check_room(call(cpu, memory), HOSTS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("resources_unavailable", True)
    assert "16 CPUs and 64000000000 bytes" in caught.value.message


def test_hosts_are_looked_at_only_where_that_can_tell_something():
    assert [may_lack_room(call(*wanted)) for wanted in ((1, 0), (0.5, 0), (1.5, 0), (1, 1))] == [
        False,
        False,
        True,
        True,
    ]
