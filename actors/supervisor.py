"""The supervisor: keeps the pool, notices deaths, reaps leases, gives dedicated executions an actor. No Ray, no SQL.

Its actors are its children: they share warm task workers, and they die with it. So when it begins, all former ones are gone,
and their leases can be ended at once instead of waiting for their time to run out.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import structlog

from actors.members import ActorFactory, ActorHandle, Member
from workflow.errors import StoreUnavailable
from workflow.ports import Executions, LeaseEnd, Leases

T = TypeVar("T")

STATUS_EVERY_S = 1.0
STUCK_S = 20.0
"""So long after its lease has run out an actor that has begun no other one is ended: its loop or its process hangs."""
DEATH_BACKOFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
DEDICATED_AT_ONCE_MAX = 8
HELD_KEYS_AT_ONCE = 128
HELD_EVERY_S = 1.0
"""How long room that nobody has given on stays unused: it takes a crash between an end and what follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """How many actors per host, and how often to look."""

    cluster_id: str
    size: int
    executions_max: int
    lease_ttl_ms: int
    poll_ms: int


@dataclass(slots=True)
class _Child:
    handle: ActorHandle
    host: str
    member: Member
    broken: "asyncio.Task[None]"
    silent: bool = False
    """Whether it did not answer when it was last asked."""


class Supervisor:
    """Keeps `size` execution actors on each host."""

    def __init__(
        self,
        config: SupervisorConfig,
        factory: ActorFactory,
        leases: Leases,
        executions: Executions,
        *,
        new_name: Callable[[], str],
        maintain: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._factory = factory
        self._leases = leases
        self._executions = executions
        self._new_name = new_name
        self._maintain = maintain
        self._children: dict[str, _Child] = {}
        self._keeping: dict[str, list[asyncio.Task[None]]] = {}
        self._dedicated: dict[UUID, asyncio.Task[None]] = {}
        self._dedicated_on: dict[UUID, str] = {}
        self._dedicated_children: dict[UUID, _Child] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._closing = False
        self._one_writer = asyncio.Lock()
        self._poke = asyncio.Event()
        self._full = asyncio.Event()
        self._log = structlog.get_logger("rayloom.supervisor")

    @property
    def members(self) -> list[Member]:
        """The pool's members with their last known load; one that does not answer, though others do, is to be given nothing new."""
        children = self._children.values()
        heard = any(not child.silent for child in children)
        return [replace(child.member, draining=True) if child.silent and heard else child.member for child in children]

    async def start(self) -> None:
        """End the leases of former actors, make the pool, begin to look after it."""
        await self._until_stored(lambda: self._write(self._leases.end_cluster, self._config.cluster_id))
        for work in (
            self._hosts_for_ever(),
            self._reap_for_ever(),
            self._status_for_ever(),
            self._dedicated_for_ever(),
            self._held_for_ever(),
        ):
            self._spawn(work)

    async def full(self) -> None:
        """Return when every host has had its actors once."""
        await self._full.wait()

    async def close(self) -> None:
        """End every actor."""
        self._closing = True
        for task in [*self._background, *self._dedicated.values(), *(t for ts in self._keeping.values() for t in ts)]:
            task.cancel()
        await asyncio.gather(*(child.handle.close() for child in self._children.values()), return_exceptions=True)

    def wake_dedicated(self) -> None:
        """Look for dedicated executions now."""
        self._poke.set()

    async def _hosts_for_ever(self) -> None:
        while True:
            try:
                hosts = self._factory.hosts()
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("hosts.unknown")
                hosts = list(self._keeping)
            for host in hosts:
                if host not in self._keeping:
                    self._keeping[host] = [self._spawn(self._keep_for_ever(host)) for _ in range(self._config.size)]
            for host in set(self._keeping) - set(hosts):
                for task in self._keeping.pop(host):
                    task.cancel()
            await asyncio.sleep(STATUS_EVERY_S)

    async def _keep_for_ever(self, host: str) -> None:
        while True:
            try:
                await self._keep(host)
            except Exception:  # noqa: BLE001 - a place in the pool that nobody keeps any more would never be filled again
                self._log.exception("place.not_kept", host=host)
                await asyncio.sleep(STATUS_EVERY_S)

    async def _keep(self, host: str) -> None:
        """Keep one place in the pool filled: replace an actor that died, or that has done its share."""
        child: _Child | None = None
        deaths = 0
        try:
            while True:
                if child is None:
                    await asyncio.sleep(DEATH_BACKOFF_S[min(deaths, len(DEATH_BACKOFF_S) - 1)])
                    child = await self._join(host)
                if child is None:
                    deaths += 1
                elif await self._due_or_broken(child):
                    successor = await self._join(
                        host
                    )  # before the old one goes, so that the pool stays as large as it is
                    self._spawn(self._retire(child))
                    child = successor
                else:
                    await self._bury(child)
                    deaths = deaths + 1 if child.member.taken == 0 else 0
                    child = None
        except asyncio.CancelledError:
            if child is not None and not self._closing:
                self._spawn(self._bury(child))  # its host is gone
            raise

    async def _join(self, host: str) -> _Child | None:
        child = await self._create(self._new_name(), host, None)
        if child is not None:
            self._children[child.handle.name] = child
            self._note_full()
        return child

    async def _create(self, name: str, host: str, dedicated_to: UUID | None) -> _Child | None:
        handle = None
        try:
            handle = self._factory.create(name, host, dedicated_to)
            member = await handle.start()
        except asyncio.CancelledError:
            if handle is not None:
                handle.kill()
            raise
        except Exception as error:  # noqa: BLE001 - whatever kept it from starting, another try is all there is
            self._log.warning("actor.not_started", name=name, host=host, error=f"{type(error).__name__}: {error}")
            if handle is not None:
                handle.kill()
            return None
        return _Child(handle, host, member, self._spawn(handle.hold()))

    async def _due_or_broken(self, child: _Child) -> bool:
        """Wait until an actor has done its share (True) or is gone (False)."""
        while not child.broken.done():
            if child.member.taken >= self._config.executions_max:
                return True
            await asyncio.wait({child.broken}, timeout=STATUS_EVERY_S)
        return False

    async def _retire(self, child: _Child) -> None:
        child.member = replace(child.member, draining=True)
        try:
            await child.handle.drain()
            await child.handle.close()
        except Exception as error:  # noqa: BLE001 - it died meanwhile: then it is buried like any other
            self._log.warning("actor.retired_early", name=child.handle.name, error=type(error).__name__)
            await self._bury(child)
        self._children.pop(child.handle.name, None)
        child.handle.kill()

    async def _bury(self, child: _Child) -> None:
        """An actor is gone: end its lease at once, so that others take over what it owned."""
        self._children.pop(child.handle.name, None)
        self._log.warning("actor.gone", name=child.handle.name, pid=child.member.pid)
        lease_id = child.member.lease_id
        await self._until_stored(lambda: self._write(self._leases.end, lease_id, LeaseEnd.CRASHED))
        self._wake_all()
        child.handle.kill()

    async def _status_for_ever(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(child) for child in list(self._children.values())))
            await asyncio.sleep(STATUS_EVERY_S)

    async def _ask(self, child: _Child) -> None:
        try:
            async with asyncio.timeout(2 * STATUS_EVERY_S):
                status = await child.handle.status()
        except Exception:  # noqa: BLE001 - the held call says whether it is gone; this only says that it is slow
            child.silent = True
            return
        child.silent = False
        child.member = replace(status, draining=status.draining or child.member.draining)

    async def _reap_for_ever(self) -> None:
        hourly = 0.0
        while True:
            try:
                ended = await self._write(self._leases.reap, self._config.lease_ttl_ms)
                if ended:
                    self._wake_all()
                self._look_after(ended)
                if hourly <= 0:
                    await self._maintain()
                    hourly = 3_600_000
            except StoreUnavailable as error:
                self._log.warning("reap.store_unavailable", error=error.message)
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("reap.failed")
            hourly -= self._config.poll_ms
            await asyncio.sleep(self._config.poll_ms / 1000)

    def _look_after(self, ended: Sequence[UUID]) -> None:
        """See to it that the children whose leases have run out begin others, or end."""
        for child in (*self._children.values(), *self._dedicated_children.values()):
            if child.member.lease_id in ended:
                self._spawn(self._end_if_stuck(child, child.member.lease_id))

    async def _end_if_stuck(self, child: _Child, lapsed: UUID) -> None:
        """An actor that lives begins another lease when it is heard again. One that hangs would keep its place for ever."""
        await asyncio.sleep(STUCK_S)
        try:
            async with asyncio.timeout(2 * STATUS_EVERY_S):
                stuck = (await child.handle.status()).lease_id == lapsed
        except Exception:  # noqa: BLE001 - whatever keeps it from answering
            stuck = True
        if stuck and not child.broken.done():
            self._log.error("actor.stuck", name=child.handle.name, pid=child.member.pid, host=child.host)
            child.handle.kill()

    async def _dedicated_for_ever(self) -> None:
        while True:
            try:
                for execution_id in await self._executions.claimable_dedicated(DEDICATED_AT_ONCE_MAX):
                    if execution_id not in self._dedicated and len(self._dedicated) < DEDICATED_AT_ONCE_MAX:
                        self._dedicated[execution_id] = self._spawn(self._give_dedicated(execution_id))
            except StoreUnavailable as error:
                self._log.warning("dedicated.store_unavailable", error=error.message)
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("dedicated.failed")
            self._poke.clear()
            try:
                async with asyncio.timeout(self._config.poll_ms / 1000):
                    await self._poke.wait()
            except TimeoutError:
                pass

    async def _held_for_ever(self) -> None:
        while True:
            try:
                if await self._executions.release_all_held(HELD_KEYS_AT_ONCE):
                    self._wake_all()
            except StoreUnavailable as error:
                self._log.warning("held.store_unavailable", error=error.message)
            except Exception:  # noqa: BLE001 - logged with its trace; the loop must go on
                self._log.exception("held.failed")
            await asyncio.sleep(HELD_EVERY_S)

    async def _give_dedicated(self, execution_id: UUID) -> None:
        child = None
        try:
            child = await self._create_dedicated(execution_id)
            if child is None:
                return
            self._dedicated_children[execution_id] = child
            done = asyncio.ensure_future(child.handle.drain())
            await asyncio.wait({done, child.broken}, return_when=asyncio.FIRST_COMPLETED)
            if child.broken.done() or done.exception() is not None:  # either may be the first to hear of its death
                done.cancel()
                await self._bury(child)
            else:
                await child.handle.close()
        finally:
            if child is not None:
                child.handle.kill()
            self._dedicated_children.pop(execution_id, None)
            self._dedicated_on.pop(execution_id, None)
            self._dedicated.pop(execution_id, None)

    async def _create_dedicated(self, execution_id: UUID) -> _Child | None:
        """Make an actor for one execution, where few have theirs; None when it does not start.

        A host that has gone is noticed by its actors' silence, seconds before Ray says so; what is starting there is given up.
        """
        hosts = self._factory.hosts()
        taken = Counter(self._dedicated_on.values())
        host = min([each for each in hosts if self._answers(each)] or hosts, key=lambda each: taken[each])
        self._dedicated_on[execution_id] = host
        starting = asyncio.ensure_future(self._create(f"execution:{execution_id}", host, execution_id))
        while not (await asyncio.wait({starting}, timeout=STATUS_EVERY_S))[0]:
            if not self._answers(host):
                self._log.warning("dedicated.given_up", execution_id=str(execution_id), host=host)
                starting.cancel()
                await asyncio.wait({starting})
                return None
        return starting.result()

    def _answers(self, host: str) -> bool:
        """Whether an actor of the pool on this host answers, or none does anywhere."""
        answering = {child.host for child in self._children.values() if not child.silent}
        return not answering or host in answering

    def _wake_all(self) -> None:
        for child in self._children.values():
            child.handle.wake()
        self._poke.set()

    def _note_full(self) -> None:
        if self._keeping and len(self._children) >= self._config.size * len(self._keeping):
            self._full.set()

    async def _write(self, write: Callable[..., T], *arguments: object) -> T:
        async with self._one_writer:  # the connection of the leases is for one thread at a time
            return await asyncio.to_thread(write, *arguments)

    async def _until_stored(self, write: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await write()
            except StoreUnavailable as error:
                self._log.warning("supervisor.store_unavailable", error=error.message)
                await asyncio.sleep(0.2)
            else:
                return

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        async def quietly() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - a held call breaks with whatever Ray raises
                self._log.debug("supervisor.work_ended", error=type(error).__name__)

        task = asyncio.get_running_loop().create_task(quietly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
