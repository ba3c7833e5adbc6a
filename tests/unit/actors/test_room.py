"""Work that fits on no host fails at once."""

from typing import Any

import pytest

from actors.ids import new_id
from actors.room import may_lack_room, options_for
from actors.work import SandboxElsewhere, TaskCall
from workflow.document import Resources
from workflow.errors import NodeError
from workflow.models import Gpu
from workflow.spec import Config, NodeContext

HOSTS = [{"CPU": 2.0, "memory": 8e9}, {"CPU": 16.0, "memory": 1e9}, {"memory": 64e9}]


def call(cpu: float, memory_bytes: int, **gpu: Any) -> TaskCall:
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
        node_type="action.code", context=context, config=Config({}), items=[], cpu=cpu, memory_bytes=memory_bytes, **gpu
    )


@pytest.mark.parametrize(("cpu", "memory"), [(1, 0), (2, 8_000_000_000), (16, 0), (0.5, 1)])
def test_work_that_fits_on_one_host_is_let_through(cpu, memory):
    options_for(call(cpu, memory), HOSTS)


@pytest.mark.parametrize(("cpu", "memory"), [(17, 0), (16, 2_000_000_000), (1, 10**15), (1, 64_000_000_000)])
def test_work_that_fits_on_none_is_refused(cpu, memory):
    with pytest.raises(NodeError) as caught:
        options_for(call(cpu, memory), HOSTS)
    assert (caught.value.code, caught.value.fields["retryable"]) == ("resources_unavailable", True)
    assert "16 CPUs and 64000000000 bytes" in caught.value.message


WITH_GPUS = [
    {"CPU": 2.0, "GPU": 1.0, "accelerator_type:T4": 1.0},
    {"CPU": 1.0, "GPU": 2.0, "accelerator_type:A100": 1.0},
]


@pytest.mark.parametrize(
    ("wanted", "hosts", "options"),
    [
        ({"gpu": Gpu.REQUIRED, "gpus": 0.5}, WITH_GPUS, {"num_gpus": 0.5}),
        ({"gpu": Gpu.REQUIRED, "gpus": 2.0}, WITH_GPUS, {"num_gpus": 2.0}),
        ({"gpu": Gpu.PREFERRED, "gpus": 1.0}, WITH_GPUS, {"num_gpus": 1.0}),
        ({"gpu": Gpu.PREFERRED, "gpus": 1.0}, HOSTS, {}),
        ({"gpu": Gpu.PREFERRED, "gpus": 3.0}, WITH_GPUS, {}),
        (
            {"gpu": Gpu.REQUIRED, "gpus": 1.0, "accelerator": "A100"},
            WITH_GPUS,
            {"num_gpus": 1.0, "accelerator_type": "A100"},
        ),
        ({"gpu": Gpu.NONE}, WITH_GPUS, {}),
    ],
)
def test_work_gets_the_gpu_that_it_wants_where_there_is_one(wanted, hosts, options):
    assert options_for(call(1, 0, **wanted), hosts) == {"num_cpus": 1, **options}


@pytest.mark.parametrize(
    ("wanted", "hosts", "said"),
    [
        ({"gpus": 1.0}, HOSTS, "the most that a host has is 0"),
        ({"gpus": 3.0}, WITH_GPUS, "the most that a host has is 2"),
        ({"gpus": 1.0, "accelerator": "H100"}, WITH_GPUS, "of the types A100,T4"),
    ],
)
def test_a_gpu_that_is_required_and_is_not_there_is_an_error_at_once(wanted, hosts, said):
    with pytest.raises(NodeError) as caught:
        options_for(call(1, 0, gpu=Gpu.REQUIRED, **wanted), hosts)
    assert (caught.value.code, caught.value.retryable) == ("gpu_unavailable", False)
    assert said in caught.value.message


def test_work_that_prefers_a_gpu_does_without_where_its_host_is_too_small():
    assert options_for(call(16, 0, gpu=Gpu.PREFERRED, gpus=1.0), [*HOSTS, *WITH_GPUS]) == {"num_cpus": 16}
    with pytest.raises(NodeError, match="asks for 16 CPUs"):
        options_for(call(16, 0, gpu=Gpu.REQUIRED, gpus=1.0), [*HOSTS, *WITH_GPUS])


@pytest.mark.parametrize(
    ("asked", "wish", "gpus", "moves"),
    [
        ({}, Gpu.NONE, 0.0, False),
        ({"gpu": "required"}, Gpu.REQUIRED, 1.0, True),
        ({"gpu": "preferred"}, Gpu.PREFERRED, 1.0, True),
        ({"gpu": "none"}, Gpu.NONE, 0.0, False),
        ({"gpus": 0.5}, Gpu.REQUIRED, 0.5, True),
        ({"gpus": 0.5, "gpu": "preferred"}, Gpu.PREFERRED, 0.5, True),
        ({"accelerator": "T4"}, Gpu.REQUIRED, 1.0, True),
        ({"cpu": 1}, Gpu.NONE, 0.0, True),
    ],
)
def test_what_a_document_asks_for(asked, wish, gpus, moves):
    resources = Resources(**asked)
    assert (resources.gpu_wish, resources.gpus_wanted, resources.moves) == (wish, gpus, moves)


def test_a_share_of_several_gpus_is_none():
    with pytest.raises(ValueError, match="whole ones"):
        Resources(gpus=1.5)


def test_hosts_are_looked_at_only_where_that_can_tell_something():
    assert [may_lack_room(call(*wanted)) for wanted in ((1, 0), (0.5, 0), (1.5, 0), (1, 1))] == [
        False,
        False,
        True,
        True,
    ]
