"""What Ray raises for a task whose process, host or result has gone is a lost worker, which the engine begins again elsewhere."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from actors import remote
from actors.work import WorkerLost
from tests.unit.actors.test_room import call
from workflow.errors import NodeError

pytestmark = [pytest.mark.ray]


class Breaking:
    """Stands for the remote function: every task of it breaks."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def options(self, **_options: Any) -> "Breaking":
        return self

    def remote(self, _call: bytes) -> "asyncio.Future[bytes]":
        broken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        broken.set_exception(self._error)
        return broken


GONE = (
    WorkerCrashedError(),
    NodeDiedError("its node died"),
    LocalRayletDiedError(),
    ObjectLostError("00", None, ""),
    OwnerDiedError("00", None, ""),
    OutOfMemoryError("killed"),
    TaskCancelledError(),
)


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
async def test_what_was_lost_with_a_process_or_a_host_is_a_lost_worker(monkeypatch, error):
    monkeypatch.setattr(remote, "RUN_NODE", Breaking(error))
    with pytest.raises(WorkerLost, match=type(error).__name__):
        await remote.RayTasks().run(call(1, 0))


async def test_what_the_task_itself_raised_is_the_failure_of_its_node(monkeypatch):
    monkeypatch.setattr(remote, "RUN_NODE", Breaking(RayTaskError("run_node", "trace", ValueError("no"))))
    with pytest.raises(NodeError) as caught:
        await remote.RayTasks().run(call(1, 0))
    assert caught.value.code == "task_failed"
