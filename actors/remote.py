"""The Ray module of this package: actor classes, names, options, connecting. Everything else here is plain Python.

Facts about Ray that this relies on, each with a test: a child of the supervisor dies with it; a never-ending call breaks within
milliseconds of the actor's death; a concurrency group of an async actor has its own thread and loop, so `ctl` answers while the
default loop is busy; with the default proxy a client that goes away cancels the actor's call, so `run` only waits for a task
that was made in an empty context. Retries belong to the engine: `max_retries=0`, `max_task_retries=0` everywhere.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

import orjson
import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.collector import calm_collector
from actors.config import PoolConfig
from actors.line import Line, LineLost
from actors.logging import configure_logging
from actors.members import Member, Reply
from actors.model_hosts import RayModels
from actors.packages import require_own_packages
from actors.process import ExecutionProcess, SupervisorProcess, TaskHost
from actors.room import may_lack_room, options_for
from actors.wire import carried, pack, unpack
from actors.work import Outcome, TaskCall, WorkerLost
from workflow.errors import NodeError, Unavailable
from workflow.ports import Claimed

SUPERVISOR = "supervisor"
CTL = "ctl"
READY_TIMEOUT_S = 60
HEAD = "node:__internal_head__"
"""The resource by which Ray marks the head. Who asks for some of it lives there; unlike with a node's id, also on the next head."""
LOST = (
    WorkerCrashedError,
    NodeDiedError,
    LocalRayletDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    TaskCancelledError,
)
"""What Ray raises when the process or the host that did the work has gone, or what it gave with it."""

T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


def ctl(method: M) -> M:
    """Let a method of an actor run on the control group's own thread and loop."""
    return cast("M", ray.method(concurrency_group=CTL)(method))


def connect(address: str, namespace: str) -> None:
    """Connect this process to a Ray cluster as a driver. Raises `Unavailable`."""
    require_own_packages()
    try:
        ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise Unavailable(f"there is no Ray cluster at {address}: {error}") from error


def ensure_supervisor(config: PoolConfig) -> None:
    """Make the supervisor, if there is none, and return when its pool is full. Raises `Unavailable`."""
    supervisor = SUPERVISOR_ACTOR.options(name=SUPERVISOR, lifetime="detached", get_if_exists=True).remote(config)
    try:
        ray.get(supervisor.full.remote(), timeout=READY_TIMEOUT_S)
        warm = [RUN_NODE.options(num_cpus=1, name="warm-up").remote(pack(None)) for _ in range(config.size)]
        ray.get(warm, timeout=READY_TIMEOUT_S)
    except (RayActorError, RayTaskError, ray.exceptions.GetTimeoutError) as error:
        raise Unavailable(f"the pool did not come up: {error}") from error


def remove_supervisor() -> None:
    """End the supervisor and its pool; nothing happens when there is none."""
    with contextlib.suppress(ValueError):
        supervisor = ray.get_actor(SUPERVISOR)
        with contextlib.suppress(RayActorError, ray.exceptions.GetTimeoutError):
            ray.get(supervisor.close.remote(), timeout=20)
        ray.kill(supervisor)


class _OwnLoop:
    """An event loop in a thread of its own, for an actor whose work must not wait for a first call."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="own-loop", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


class ExecutionActor:
    """One execution actor: `ExecutionProcess` with Ray around it."""

    def __init__(self, config: PoolConfig, name: str, dedicated_to: UUID | None) -> None:
        require_own_packages()
        configure_logging()
        context = ray.get_runtime_context()
        self._process = ExecutionProcess(
            config,
            RayTasks(),
            RayModels(config.models),
            actor_id=context.get_actor_id(),
            name=name,
            host=ray.util.get_node_ip_address(),
            pid=os.getpid(),
            dedicated_to=dedicated_to,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> bytes:
        """Begin the lease and the work on the default loop."""
        self._loop = asyncio.get_running_loop()
        await self._process.start()
        calm_collector()
        return pack(self._process.member)

    async def run(self, call: bytes) -> bytes:
        """Take up pushed executions and wait for the first ends."""
        return pack(await self._process.run(unpack(call)))

    async def outcomes(self, waiting: bytes) -> bytes:
        """Wait for the first ends among executions that were pushed here."""
        return pack(await self._process.outcomes(unpack(waiting)))

    @ctl
    async def hold(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    @ctl
    async def status(self) -> bytes:
        """Return the present load."""
        return pack(self._process.member)

    @ctl
    async def wake(self) -> None:
        """Look at the queue now."""
        self._main_loop.call_soon_threadsafe(self._process.wake)

    @ctl
    async def deliver(self, execution_id: bytes) -> None:
        """Read the signals of an execution now."""
        await self._on_main(self._process.deliver(UUID(bytes=execution_id)))

    @ctl
    async def drain(self) -> None:
        """Take nothing new; return when nothing is under way."""
        await self._on_main(self._process.drain())

    @ctl
    async def close(self) -> None:
        """End the lease and the subprocesses."""
        await self._on_main(self._process.close())

    @property
    def _main_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise Unavailable("the actor has not started")
        return self._loop

    def _on_main(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._main_loop))


EXECUTION_ACTOR: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, concurrency_groups={CTL: 32})(
    ExecutionActor
)


class SupervisorActor:
    """The supervisor: begins its work in the constructor, since nobody calls it after a restart."""

    def __init__(self, config: PoolConfig) -> None:
        require_own_packages()
        configure_logging()
        self._own = _OwnLoop()
        self._process = SupervisorProcess(config, RayFactory(config))
        self._started = asyncio.run_coroutine_threadsafe(self._process.start(), self._own.loop)

    async def full(self) -> None:
        """Return when the pool is full."""
        await asyncio.wrap_future(self._started)
        await self._own.run(self._process.full())

    async def members(self) -> bytes:
        """Return the pool's members."""
        return pack(self._process.members)

    async def wake_dedicated(self) -> None:
        """Look for dedicated executions now."""
        self._own.loop.call_soon_threadsafe(self._process.wake_dedicated)

    async def close(self) -> None:
        """End every actor of the pool."""
        await self._own.run(self._process.close())


# On the head: its children die with it, so the loss of any other host must not be its loss.
SUPERVISOR_ACTOR: Any = ray.remote(num_cpus=0, resources={HEAD: 0.001}, max_restarts=-1, max_task_retries=0)(
    SupervisorActor
)


class RayHandle:
    """An execution actor behind its Ray handle."""

    def __init__(self, name: str, actor: Any) -> None:
        self._name = name
        self._actor = actor

    @property
    def name(self) -> str:
        """The name under which it is found."""
        return self._name

    async def start(self) -> Member:
        """Begin its lease and its work."""
        member: Member = unpack(await self._actor.start.remote())
        return member

    async def hold(self) -> None:
        """Return only when the actor is gone."""
        with contextlib.suppress(RayActorError, RayTaskError):
            await self._actor.hold.remote()

    async def status(self) -> Member:
        """Return its present load."""
        member: Member = unpack(await self._actor.status.remote())
        return member

    def wake(self) -> None:
        """Let it look at the queue."""
        self._actor.wake.remote()

    async def drain(self) -> None:
        """Let it take nothing new; return when nothing is under way."""
        await self._actor.drain.remote()

    async def close(self) -> None:
        """End its lease and its subprocesses."""
        async with asyncio.timeout(10):
            await self._actor.close.remote()

    def kill(self) -> None:
        """End its process."""
        with contextlib.suppress(RayActorError, ValueError):
            ray.kill(self._actor)


class RayFactory:
    """Makes execution actors as named children of the supervisor, each on the host that was asked for."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config

    def hosts(self) -> list[str]:
        """Return the ids of the Ray nodes that are alive, the head's first."""
        alive = [node for node in ray.nodes() if node["Alive"]]
        return [node["NodeID"] for node in sorted(alive, key=lambda node: HEAD not in node["Resources"])]

    def create(self, name: str, host: str, dedicated_to: UUID | None) -> RayHandle:
        """Make an actor; without node affinity actors that take no CPU scatter unevenly."""
        strategy = NodeAffinitySchedulingStrategy(node_id=host, soft=False)
        actor = EXECUTION_ACTOR.options(name=name, scheduling_strategy=strategy).remote(
            self._config, name, dedicated_to
        )
        return RayHandle(name, actor)


class RayPool:
    """The pool, seen from an API replica."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._handles: dict[str, Any] = {}
        self._lines: dict[UUID, Line | None] = {}
        """Direct lines by lease; None where there is none, since the actor is on another host."""

    async def members(self) -> list[Member]:
        """Return the members. Raises when the supervisor does not answer."""
        supervisor = await asyncio.to_thread(ray.get_actor, SUPERVISOR, self._namespace)
        found: list[Member] = unpack(await supervisor.members.remote())
        names = {member.name for member in found}
        leases = {member.lease_id for member in found}
        self._lines = {
            lease_id: line
            for lease_id, line in self._lines.items()
            if lease_id in leases or (line is not None and not line.lost)
        }
        self._handles = {name: handle for name, handle in self._handles.items() if name in names}
        for name in names - set(self._handles):
            with contextlib.suppress(ValueError):
                self._handles[name] = await asyncio.to_thread(ray.get_actor, name, self._namespace)
        return [member for member in found if member.name in self._handles]

    async def run(self, member: Member, batch: Sequence[Claimed]) -> Sequence[Reply]:
        """Push executions. The call's name shows in the dashboard, for those that are the only one of their call."""
        line = await self._line(member)
        if line is not None:
            return await line.push(batch)
        method = self._handles[member.name].run
        if len(batch) == 1:
            method = method.options(name=f"execution:{batch[0].id}")
        replies: list[Reply] = unpack(await method.remote(pack(list(batch))))
        return replies

    def begin(self, member: Member, claimed: Claimed) -> Coroutine[Any, Any, Reply] | None:
        """Have an execution begun whose row is being inserted; None when there is no line to the actor (yet)."""
        line = self._lines.get(member.lease_id)
        return None if line is None or line.lost else line.begin(claimed)

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        """Say what became of the row of an execution that was begun."""
        line = self._lines.get(member.lease_id)
        if line is not None:
            line.settle(execution_id, accepted=accepted)

    async def outcomes(self, member: Member, waiting: Sequence[UUID]) -> Sequence[Reply]:
        """Wait for the first ends among executions that were pushed."""
        line = self._lines.get(member.lease_id)
        if line is not None:
            return await line.outcomes(waiting)
        replies: list[Reply] = unpack(await self._handles[member.name].outcomes.remote(pack(list(waiting))))
        return replies

    async def _line(self, member: Member) -> Line | None:
        line = self._lines.get(member.lease_id)
        if member.lease_id not in self._lines or (line is not None and line.lost):
            try:
                line = await Line.to(member.lease_id)
            except LineLost:
                line = None
            self._lines[member.lease_id] = line
        return line

    def deliver(self, actor_name: str, execution_id: UUID) -> None:
        """Tell an actor that a signal waits."""
        handle = self._handles.get(actor_name)
        if handle is None:
            with contextlib.suppress(ValueError):
                handle = ray.get_actor(actor_name, self._namespace)
        if handle is not None:
            handle.deliver.remote(execution_id.bytes)

    def wake_dedicated(self) -> None:
        """Tell the supervisor that an execution wants an actor of its own."""
        with contextlib.suppress(ValueError):
            ray.get_actor(SUPERVISOR, self._namespace).wake_dedicated.remote()


@cache
def _task_host() -> TaskHost:
    """Return this worker process's host of node work: one event loop and one sandbox, kept warm between tasks."""
    return TaskHost(host=ray.util.get_node_ip_address(), pid=os.getpid())


def run_node(call: bytes | memoryview) -> Any:
    """Do a node's work in a Ray task; what it gave goes back packed."""
    host = _task_host()
    task: TaskCall | None = unpack(call)
    done = None if task is None else host.run(task)
    if isinstance(done, Outcome):
        # They travel once, as JSON.
        done = replace(done, outputs={}, gpu_ids=tuple(map(str, ray.get_gpu_ids())))
    return carried(pack(done))


RUN_NODE: Any = ray.remote(max_retries=0, num_cpus=1)(run_node)


class RayTasks:
    """Runs nodes' work as Ray tasks."""

    async def run(self, call: TaskCall) -> Outcome:
        """Run the work, which ends by itself when it takes longer than its node may. Raises `NodeError` or `WorkerLost`."""
        hosts = await asyncio.to_thread(ray.nodes) if may_lack_room(call) else []
        options = options_for(call, [host["Resources"] for host in hosts if host["Alive"]])
        name = f"node/{call.node_type}:{call.context.node_id}"
        reference = RUN_NODE.options(name=name, **options).remote(carried(pack(call)))
        try:
            outcome: Outcome | NodeError = unpack(await reference)
        except asyncio.CancelledError:
            ray.cancel(reference, force=True)
            raise
        except RayTaskError as error:
            raise NodeError(f"the Ray task of {call.context.node_id!r} failed: {error.cause}", "task_failed") from error
        except LOST as error:
            raise WorkerLost(f"the worker process of {call.context.node_id!r} died: {type(error).__name__}") from error
        if isinstance(outcome, NodeError):
            raise outcome
        return outcome if outcome.data is None else replace(outcome, outputs=orjson.loads(outcome.data))
