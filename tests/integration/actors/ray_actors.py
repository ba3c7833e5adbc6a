"""Small actors and tasks with which the facts about Ray are tested. A module of its own: workers import it."""

import asyncio
import contextlib
import contextvars
import os
import time
from pathlib import Path

import ray

from workflow.errors import RayloomError


def leave_word(place: str, word: str) -> None:
    Path(place).write_text(word)


@ray.remote(max_retries=0, num_cpus=1)
def pid_of_task() -> int:
    return os.getpid()


@ray.remote(max_retries=0, num_cpus=1)
def burn_for_ever(place: str) -> None:
    """Write down who we are, and use a CPU until we are killed."""
    leave_word(place, str(os.getpid()))
    while True:
        pass


@ray.remote(max_retries=0, num_cpus=0)
def fail(error: RayloomError) -> None:
    raise error


class Child:
    """An async actor as our execution actors are: a default loop, and a control group."""

    async def pid(self) -> int:
        return os.getpid()

    async def tasks(self, count: int) -> list[tuple[int, float]]:
        """Run tasks one after the other; the pid of each worker and the seconds that each took."""
        found = []
        for _ in range(count):
            began_s = time.perf_counter()
            pid = await pid_of_task.remote()
            found.append((pid, time.perf_counter() - began_s))
        return found

    async def block(self, seconds: float) -> None:
        """Block the default loop."""
        time.sleep(seconds)  # noqa: ASYNC251 - blocking is the point

    async def work(self, place: str, seconds: float) -> str:
        """Do as `ExecutionActor.run` does: only wait for a task that goes on by itself."""

        async def longer() -> str:
            await asyncio.sleep(seconds)
            leave_word(place, "done")
            return "done"

        task = asyncio.get_running_loop().create_task(longer(), context=contextvars.Context())
        leave_word(place + ".begun", "")
        return await asyncio.shield(task)

    async def burn(self, place: str) -> None:
        """Begin a task that never ends, as `RayTasks` does; cancelled, it is ended."""

        async def wait() -> None:
            reference = burn_for_ever.remote(place)
            try:
                await reference
            except asyncio.CancelledError:
                ray.cancel(reference, force=True)
                raise

        self._burning = asyncio.get_running_loop().create_task(wait())

    async def stop_burning(self) -> None:
        self._burning.cancel()

    @ray.method(concurrency_group="ctl")
    async def ping(self) -> str:
        return "pong"

    @ray.method(concurrency_group="ctl")
    async def hold(self) -> None:
        await asyncio.Event().wait()


CHILD = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, concurrency_groups={"ctl": 4})(Child)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)
class Parent:
    """A detached actor with children."""

    def __init__(self, count: int) -> None:
        self._children = [CHILD.remote() for _ in range(count)]

    async def pid(self) -> int:
        return os.getpid()

    async def pids(self) -> list[int]:
        return list(await asyncio.gather(*(child.pid.remote() for child in self._children)))

    async def tasks(self, child: int, count: int) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = await self._children[child].tasks.remote(count)
        return found

    async def children(self) -> list:
        return self._children

    async def until_broken(self, child: int) -> float:
        """Hold a child by a call that never ends; the monotonic time at which it broke."""
        with contextlib.suppress(ray.exceptions.RayActorError):
            await self._children[child].hold.remote()
        return time.monotonic()
