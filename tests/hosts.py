"""More hosts for a `RunningInstance`: each a raylet of its own on this machine that joins the instance's Ray head.

What a host is to Ray is a raylet; everything else on it (workers, agents) ends by itself when that dies, which is the fault.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.instance import Known, Lease, RunningInstance, known_as, until

PORTS_FROM = range(30000, 32500, 500)
"""Blocks above the ports of instances (20000-29999) and below those that the kernel gives to outgoing connections."""
SERVERS = (
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
UP_LIMIT_S = 60
GONE_LIMIT_S = 30


class ExtraHost:
    """A second host of a running instance. It may be killed and started again; a new raylet is a new host to Ray."""

    def __init__(
        self,
        instance: RunningInstance,
        *,
        num_cpus: int = 1,
        num_gpus: int = 0,
        object_store_mb: int = 100,
        resources: dict[str, float] | None = None,
    ) -> None:
        self._instance = instance
        self._flags: dict[str, Any] = {
            "num-cpus": num_cpus,
            "num-gpus": num_gpus,
            "object-store-memory": object_store_mb * 1024 * 1024,
            "resources": json.dumps(resources or {}),
            "include-log-monitor": "false",
            "log-color": "false",
            # One of its own: the keeper reads from the head's folder which of its servers have died.
            "temp-dir": instance.root / "x",
        }
        self._start: subprocess.Popen[bytes] | None = None
        self._session: set[Known] = set()
        self._counted = False
        self.raylet: Known

    def __enter__(self) -> "ExtraHost":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Join the head, and return when the actors of this host are members of the pool."""
        self.join()
        size = int(str(self._instance.settings["POOL__SIZE"]))
        until(lambda: len(self.leases()) == size, UP_LIMIT_S, "the actors of the new host live", every_s=0.1)
        self._remember()

    def join(self) -> None:
        """Join the head, and return when there is a raylet. What is left of a former one is ended."""
        self.stop()
        first = _free_block()
        ports = {name: first + number for number, name in enumerate(SERVERS)}
        workers = {"min-worker-port": first + len(SERVERS), "max-worker-port": first + PORTS_FROM.step - 1}
        flags = {"address": address_of_head(self._instance), **self._flags, **ports, **workers}
        log = self._instance.root / "extra-host.log"
        with log.open("ab") as output:
            self._start = subprocess.Popen(
                [self._instance.python, "-P", "-m", "ray.scripts.scripts", "start", "--block"]
                + [f"--{name}={value}" for name, value in flags.items()],
                env=environment_of_head(self._instance),
                cwd=self._instance.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.raylet = until(self._found_raylet, UP_LIMIT_S, f"a raylet comes up: {log.read_text()[-2000:]}")
        self._count(there=True)

    def leases(self) -> list[Lease]:
        """Return the living leases of pool actors on this host."""
        return self.of(self._instance.leases())

    def of(self, leases: Iterable[Lease]) -> list[Lease]:
        """Return those of these leases whose actors are on this host."""
        mine = {known.pid for known in self._instance.children(self.raylet.pid)}
        return [lease for lease in leases if lease.pid in mine]

    @property
    def alive(self) -> bool:
        return self._start is not None and self.raylet.alive

    def working(self) -> list[Known]:
        """Return its processes that do a node's work in a Ray task just now."""
        return [known for known in self._instance.children(self.raylet.pid) if known.what.startswith("ray::node/")]

    def kill(self) -> None:
        """Kill -9 the raylet, and nothing else: the rest of the host is left to notice."""
        self._remember()
        self.raylet.kill()
        self._count(there=False)

    def until_gone(self, limit_s: float = GONE_LIMIT_S) -> None:
        """Return when no process of this host is left."""
        try:
            until(lambda: not self.remains(), limit_s)
        except AssertionError:
            raise AssertionError(f"{limit_s} s after its raylet these live on: {self.remains()}") from None
        if self._start is not None:
            self._start.wait(10)
            self._start = None

    def remains(self) -> list[Known]:
        """Return what lives of this host."""
        return [known for known in self._session if known.alive]

    def stop(self) -> None:
        """End all of it, whatever it is like."""
        if self._start is None:
            return
        if self.alive:
            self._remember()
        self._count(there=False)
        for known in self._session:
            known.send(signal.SIGKILL)
        self._start.kill()
        self.until_gone()

    def _count(self, *, there: bool) -> None:
        """Let the instance know how many hosts it has: also when this one went down with everything else."""
        self._instance.hosts += int(there) - int(self._counted)
        self._counted = there

    def _found_raylet(self) -> Known | None:
        assert self._start is not None
        assert self._start.poll() is None, f"`ray start` has ended with {self._start.returncode}"
        for known in self._instance.children(self._start.pid):
            with contextlib.suppress(psutil.Error):
                if psutil.Process(known.pid).name() == "raylet":
                    return known_as(known.pid, "raylet")
        return None

    def _remember(self) -> None:
        if self._start is not None:
            self._session.update(self._instance.children(self._start.pid))


def environment_of_head(instance: RunningInstance) -> dict[str, str]:
    """Return what every process that joins this head needs, and by which the instance knows it for its own."""
    entries = Path(f"/proc/{instance.part('ray').pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def address_of_head(instance: RunningInstance) -> str:
    return (instance.home / "ray" / "ray_current_cluster").read_text().strip()


def _free_block() -> int:
    """Return the first port of a block of which nobody uses the servers' ports, beginning where other test runs do not."""
    blocks = list(PORTS_FROM)
    turn = os.getpid() % len(blocks)
    for first in blocks[turn:] + blocks[:turn]:
        if all(_is_free(first + number) for number in range(len(SERVERS) + 8)):
            return first
    raise AssertionError("no block of ports is free for another host")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True
