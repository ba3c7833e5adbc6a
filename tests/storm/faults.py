"""How each kind of fault is done, and what is watched after it. All of it blocks, and runs in one thread at a time."""

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import psutil

from tests.hosts import ExtraHost
from tests.instance import Known, Lease, RunningInstance, until
from tests.storm.database import Reader
from tests.storm.recovery import OWNED, RUNNING, Affected, Fault, Watcher, standing
from tests.storm.schedule import ALONE, Kind

BACKENDS = "SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'rayloom%'"
FROZEN_S = (8.0, 10.0)
ORPHANED_S = 20.0
BUSY_WITHIN_S = 4.0
"""How long a fault waits for an owner that owns something: one that hits nothing tells nothing."""


@dataclass(frozen=True, slots=True)
class Woken:
    """An owner that was frozen past its lease: the local ports of its connections, and when it woke (Unix seconds)."""

    ports: frozenset[int]
    at_s: float


@dataclass(slots=True)
class Faults:
    """Hits a running instance."""

    instance: RunningInstance
    host: ExtraHost
    watcher: Watcher
    random: Random
    done: list[Fault] = field(default_factory=list)
    woken: list[Woken] = field(default_factory=list)
    frozen: dict[int, Known] = field(default_factory=dict)
    _reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = Reader(lambda: self.instance.dsn)

    def hit(self, kind: Kind) -> Fault | None:
        """Do a fault and begin to watch what it hit; None when there is nothing to hit just now."""
        how: dict[Kind, Callable[[], Fault | None]] = {
            Kind.ACTOR: self._actor,
            Kind.BACKEND: self._backend,
            Kind.WORKER: self._worker,
            Kind.REPLICA: lambda: self._one_of(Kind.REPLICA, self.instance.titled("ray::ServeReplica:rayloom:api")),
            Kind.PROXY: self._proxy,
            Kind.FROZEN: self._freeze,
            Kind.RAYLET: self._raylet,
            Kind.SUPERVISOR: self._supervisor,
            Kind.POSTGRESQL: self._postgresql,
            Kind.KEEPER: self._keeper,
            Kind.HEAD: self._head,
            Kind.EVERYTHING: self._everything,
        }
        fault = how[kind]()
        if fault is not None:
            self.done.append(fault)
            if kind in ALONE:
                self.host.stop()  # the cluster that it had joined is no more
        return fault

    def wake(self, fault: Fault, process: Known) -> None:
        """Let a frozen owner go on, which has lost its lease meanwhile."""
        ports: set[int] = set()
        with contextlib.suppress(psutil.Error):
            ports = {each.laddr.port for each in psutil.Process(process.pid).net_connections("tcp") if each.laddr}
        self.woken.append(Woken(frozenset(ports), time.time()))
        process.send(signal.SIGCONT)
        self.frozen.pop(process.pid, None)
        fault.healed_s = time.time()

    def up(self, fault: Fault) -> None:
        """Do what a person does after the loss of the keeper."""
        self.instance.up()
        fault.healed_s = time.time()

    def rejoin(self) -> None:
        """Let the killed host come back: to Ray it is another one."""
        self.host.join()

    def close(self) -> None:
        for process in list(self.frozen.values()):
            process.send(signal.SIGCONT)
        self._reader.close()

    def _leases(self) -> list[Lease]:
        rows = self._reader.steadily(
            "SELECT id, actor_name, pid, dedicated_to FROM leases WHERE ended_at IS NULL "
            "AND expires_at > clock_timestamp() AND dedicated_to IS NULL ORDER BY id"
        )
        return [Lease(*row) for row in rows]

    def _busy_leases(self) -> list[Lease]:
        """Return the leases that own something, as soon as there are any; after a while those that own nothing."""
        deadline_s = time.monotonic() + BUSY_WITHIN_S
        while True:
            leases = [lease for lease in self._leases() if lease.pid not in self.frozen]
            busy = [lease for lease in leases if self._owned([lease.id])]
            if busy or time.monotonic() > deadline_s:
                return busy or leases
            time.sleep(0.05)

    def _victim(self) -> tuple[Lease, Known] | None:
        leases = self._busy_leases()
        self.random.shuffle(leases)
        for lease in leases:
            with contextlib.suppress(psutil.Error):
                return lease, lease.process
        return None

    def _owned(self, leases: list[UUID]) -> Affected:
        return standing(self._reader.steadily(OWNED, leases))

    def _actor(self) -> Fault | None:
        victim = self._victim()
        if victim is None:
            return None
        lease, process = victim
        fault = Fault(Kind.ACTOR, f"{lease.actor_name}, pid {lease.pid}", time.time())
        process.kill()
        # Read at once: the rows name the dead owner until somebody claims them.
        self.watcher.watch(fault, self._owned([lease.id]), moved=True)
        return fault

    def _backend(self) -> Fault | None:
        backends = self._reader.steadily(BACKENDS)
        if not backends:
            return None
        pid, name = self.random.choice(backends)
        fault = Fault(Kind.BACKEND, f"{name}, backend {pid}", time.time())
        running = standing(self._reader.steadily(RUNNING))
        self._reader.steadily("SELECT pg_terminate_backend(%s)", pid)
        self.watcher.watch(fault, running, moved=False, first_only=True)
        return fault

    def _worker(self) -> Fault | None:
        busy = [known for known in self.instance.look() if known.what.startswith("ray::node/")]
        workers = busy or self.instance.titled("ray::IDLE")
        if not workers:
            return None
        victim = self.random.choice(workers)
        fault = Fault(Kind.WORKER, f"{victim.what.split(' ')[0]}, pid {victim.pid}", time.time())
        tasks = "SELECT e.id, e.epoch, e.last_seq FROM executions e JOIN node_executions n ON n.execution_id = e.id "
        affected = self._reader.steadily(
            tasks + "WHERE e.status = 'running' AND n.node_id = 'far' AND n.status = 'running'"
        )
        victim.kill()
        self.watcher.watch(fault, standing(affected) if busy else {}, moved=False)
        return fault

    def _one_of(self, kind: Kind, processes: list[Known]) -> Fault | None:
        if not processes:
            return None
        victim = self.random.choice(processes)
        fault = Fault(kind, f"{victim.what.split(' ')[0]}, pid {victim.pid}", time.time())
        victim.kill()
        return fault

    def _proxy(self) -> Fault | None:
        proxies = [known for known in self.instance.look() if "haproxy" in known.what.split(" ")[0]]
        if not proxies:
            return None
        fault = Fault(Kind.PROXY, ", ".join(f"haproxy, pid {known.pid}" for known in proxies), time.time())
        for known in proxies:
            known.kill()
        return fault

    def _freeze(self) -> Fault | None:
        victim = self._victim()
        if victim is None:
            return None
        lease, process = victim
        fault = Fault(Kind.FROZEN, f"{lease.actor_name}, pid {lease.pid}", time.time())
        self.frozen[process.pid] = process
        process.send(signal.SIGSTOP)
        self.watcher.watch(fault, self._owned([lease.id]), moved=True)
        return fault

    def _raylet(self) -> Fault | None:
        if not self.host.alive:
            return None
        self._busy_leases()
        leases = self.host.of(self._leases())
        actors = [lease.process for lease in leases]
        fault = Fault(Kind.RAYLET, f"raylet, pid {self.host.raylet.pid}", time.time())
        self.host.kill()
        # Its actors outlive it by a second, in which some of their executions still end.
        until(lambda: not any(actor.alive for actor in actors), ORPHANED_S, "the actors of a killed host end")
        self.watcher.watch(fault, self._owned([lease.id for lease in leases]), moved=True)
        return fault

    def _supervisor(self) -> Fault | None:
        supervisors = self.instance.titled("ray::SupervisorActor")
        self._busy_leases()
        leases = [lease.id for lease in self._leases()]
        fault = self._one_of(Kind.SUPERVISOR, supervisors)
        if fault is not None:
            self.watcher.watch(fault, self._owned(leases), moved=True)
        return fault

    def _postgresql(self) -> Fault | None:
        with contextlib.suppress(psutil.Error, StopIteration):
            server = self.instance.part("database")
            fault = Fault(Kind.POSTGRESQL, f"postmaster, pid {server.pid}", time.time())
            server.send(signal.SIGQUIT)
            until(lambda: not server.alive, 20, "an immediate stop ends it")
            self.watcher.watch_return(fault)
            return fault
        return None

    def _keeper(self) -> Fault | None:
        keeper = self.instance.keeper()
        fault = Fault(Kind.KEEPER, f"pid {keeper.pid}", time.time())
        running = standing(self._reader.steadily(RUNNING))
        keeper.kill()
        self.watcher.watch(fault, running, moved=True)
        return fault

    def _head(self) -> Fault | None:
        with contextlib.suppress(psutil.Error, StopIteration):
            head = self.instance.part("ray")
            running = standing(self._reader.steadily(RUNNING))
            below = self.instance.children(head.pid)
            fault = Fault(Kind.HEAD, f"ray start and {len(below)} below it, pid {head.pid}", time.time())
            for known in (head, *below):
                known.send(signal.SIGKILL)
            self.watcher.watch(fault, running, moved=True)
            return fault
        return None

    def _everything(self) -> Fault | None:
        running = standing(self._reader.steadily(RUNNING))
        everything = self.instance.look()
        keeper, server = self.instance.keeper(), self.instance.part("database")
        fault = Fault(Kind.EVERYTHING, f"{len(everything)} processes", time.time())
        # The keeper and the postmaster first, so that they start nothing again.
        for process in (keeper, server, *everything):
            process.send(signal.SIGKILL)
        until(lambda: not [left.send(signal.SIGKILL) for left in self.instance.look()], 20, "everything is dead")
        self.watcher.watch(fault, running, moved=True)
        return fault
