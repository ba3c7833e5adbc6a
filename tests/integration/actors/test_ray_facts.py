"""The facts about Ray that the design relies on (DESIGN 4), so that an upgrade of Ray that breaks one is noticed here.

Bounds are generous: these are about what happens, not about how fast.
"""

import asyncio
import os
import signal
import time

import psutil
import pytest
import ray

from tests.instance import until
from tests.integration.actors.ray_actors import CHILD, Parent, fail
from workflow import errors

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def parent(ray_cluster):
    made = Parent.options(name="facts-parent", lifetime="detached").remote(2)
    yield made
    ray.kill(made)


@pytest.fixture
def child(ray_cluster):
    made = CHILD.remote()
    yield made
    ray.kill(made)


def test_children_of_one_supervisor_share_warm_task_workers(parent):
    ray.get(parent.tasks.remote(0, 2), timeout=30)  # the first one starts the worker
    found = [run for child in (0, 1, 0, 1) for run in ray.get(parent.tasks.remote(child, 5), timeout=30)]
    pids = {pid for pid, _ in found}
    assert len(pids) <= 2, "no more workers than CPUs: nobody has private ones"
    warm = [seconds for _, seconds in found if seconds < 0.3]
    assert len(warm) >= 18, f"tasks begin in warm workers: {[round(s, 3) for _, s in found]}"


def test_a_held_call_breaks_when_the_child_is_killed(parent):
    pids = ray.get(parent.pids.remote(), timeout=30)
    broken = parent.until_broken.remote(1)
    assert ray.wait([broken], timeout=0.3)[0] == [], "a held call holds"
    killed_s = time.monotonic()
    os.kill(pids[1], signal.SIGKILL)
    assert ray.get(broken, timeout=10) - killed_s < 2
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(parent.pids.remote(), timeout=10)


def test_children_die_with_their_supervisor_which_comes_back_with_new_ones(ray_cluster):
    made = Parent.options(name="facts-mortal", lifetime="detached").remote(2)
    try:
        own, before = ray.get([made.pid.remote(), made.pids.remote()], timeout=30)
        handles = ray.get(made.children.remote(), timeout=10)
        os.kill(own, signal.SIGKILL)
        until(lambda: all(is_gone(pid) for pid in before), 10, "its children die with it")

        def after():
            try:
                return ray.get([made.pid.remote(), made.pids.remote()], timeout=20)
            except ray.exceptions.RayActorError:
                return None

        again, children = until(after, 30, "it comes back")
        assert again != own
        assert set(children).isdisjoint(before)
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(handles[0].pid.remote(), timeout=10)
    finally:
        ray.kill(made)


def test_the_control_group_answers_while_the_default_loop_is_blocked(child):
    ray.get(child.ping.remote(), timeout=30)
    blocked = child.block.remote(3)
    began_s = time.monotonic()
    assert ray.get(child.ping.remote(), timeout=2.5) == "pong"
    assert time.monotonic() - began_s < 2
    assert ray.wait([blocked], timeout=0)[0] == [], "it was blocked all the time"
    ray.get(blocked, timeout=10)


async def test_work_in_an_empty_context_goes_on_when_its_caller_is_cancelled(child, tmp_path):
    place = tmp_path / "work"
    call = child.work.remote(str(place), 0.5)
    until((tmp_path / "work.begun").exists, 10)
    ray.cancel(call)
    with pytest.raises((ray.exceptions.TaskCancelledError, asyncio.CancelledError)):
        await call
    assert not place.exists(), "the caller was cancelled before the work was done"
    until(place.exists, 10, "the work goes on")


async def test_a_cancelled_task_is_stopped_with_its_process(child, tmp_path):
    place = tmp_path / "burner"
    await child.burn.remote(str(place))
    until(lambda: place.exists() and place.read_text(), 30, "the task runs")
    burner = psutil.Process(int(place.read_text()))
    assert burner.cpu_percent(0.2) > 30
    await child.stop_burning.remote()
    until(lambda: is_gone(burner.pid), 5, "forced, it ends with its process")


ERRORS = [
    errors.NodeError("it broke", "boom", {"item_index": 3, "logs": "line\n"}),
    errors.Fenced("another owner has it", fields={"execution_id": "x"}),
    errors.StoreUnavailable("the database does not answer"),
    errors.InvalidDefinition("two findings", fields={"findings": [{"code": "a"}]}),
    errors.Unavailable("not there"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_our_errors_arrive_whole_at_the_caller(ray_cluster, error):
    with pytest.raises(ray.exceptions.RayTaskError) as caught:
        ray.get(fail.remote(error), timeout=30)
    assert isinstance(caught.value, type(error)), "it can be caught by its own name"
    assert caught.value.cause == error
    assert (caught.value.cause.code, caught.value.cause.fields) == (error.code, error.fields)
