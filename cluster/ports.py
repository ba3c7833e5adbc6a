"""Which ports an instance listens on. Picked once, remembered, and picked anew only where a stranger has taken one.

Several instances may live on one machine, and Ray's own defaults are fixed numbers, so every listener gets a number
of ours. They lie in 20000-29999: outside Ray's worker range (a GCS port inside it makes `ray start` fail) and below
the range that the kernel gives to outgoing connections (which would take a remembered port away between two starts).

| name | listener | address | protection |
|---|---|---|---|
| api | HAProxy or Serve's proxy | `serve.host` | our own |
| postgres | embedded PostgreSQL | loopback | password |
| dashboard | Ray dashboard and job API | loopback | token |
| gcs, node_manager, object_manager, agent_grpc | Ray | all | token |
| agent_http, runtime_env_agent | Ray agents | host and loopback | token |
| metrics_export, autoscaler_metrics, dashboard_metrics | Prometheus | all | none: counters only |
| haproxy_metrics, haproxy_stats | HAProxy | all | none: counters only |
| fallback_http, fallback_grpc | Serve's own proxy behind HAProxy | `serve.host` | our own |
| replica_http, replica_grpc (a block each) | replicas behind HAProxy | `serve.host`; gRPC all | our own; token |
| 10002-19999 | Ray workers | all | token |
"""

import itertools
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from workflow.errors import Unavailable

PICKED_FROM = range(20000, 30000)
BLOCK = 100
REPLICA_PORTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The port of every listener; `replica_http` and `replica_grpc` are the first of `REPLICA_PORTS` each."""

    api: int
    postgres: int
    gcs: int
    dashboard: int
    agent_http: int
    agent_grpc: int
    runtime_env_agent: int
    metrics_export: int
    node_manager: int
    object_manager: int
    autoscaler_metrics: int
    dashboard_metrics: int
    haproxy_metrics: int
    haproxy_stats: int
    fallback_http: int
    fallback_grpc: int
    replica_http: int
    replica_grpc: int

    def as_json(self) -> dict[str, int]:
        """Return the ports by name."""
        return asdict(self)

    def ranges(self) -> list[tuple[int, int]]:
        """Return all ports as ranges (first, last)."""
        return [
            (port, port + (REPLICA_PORTS - 1 if name in _BLOCKS else 0))
            for name, port in sorted(self.as_json().items())
        ]


_BLOCKS = ("replica_http", "replica_grpc")


def settle(
    remembered: Mapping[str, int],
    wanted: Mapping[str, int],
    place: Path,
    free: Callable[[int], bool],
) -> Ports:
    """Return a port for every name: the wanted, else the remembered if it is free, else the next free one.

    `wanted` holds the numbers that a setting gives (0 = pick one); they are taken as they are, free or not, except
    `dashboard`, which is only a preference. The search begins at a point that depends on `place`, so that instances
    started together do not meet. Raises `Unavailable` when no port is left.
    """
    first = PICKED_FROM.start + zlib.crc32(str(place).encode()) % (len(PICKED_FROM) // BLOCK - 3) * BLOCK
    chosen: dict[str, int] = {name: port for name, port in wanted.items() if port and name != "dashboard"}
    if (preferred := wanted.get("dashboard", 0)) and free(preferred):
        chosen["dashboard"] = preferred
    names = [field.name for field in fields(Ports)]
    # First all that can stay, so that no new one takes the place of an old one.
    for name in names:
        old = remembered.get(name, 0)
        if name not in chosen and old and _fits(old, _width(name), free, frozenset(_spread(chosen))):
            chosen[name] = old
    for name in names:
        if name not in chosen:
            chosen[name] = _next(first, _width(name), free, frozenset(_spread(chosen)))
    return Ports(**chosen)


def is_free(port: int) -> bool:
    """Whether nobody listens on the port, on any address of this host."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this, connections of a listener that has just gone would count as a listener for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - only bound, never listened on
        except OSError:
            return False
    return True


def _width(name: str) -> int:
    return REPLICA_PORTS if name in _BLOCKS else 1


def _spread(chosen: Mapping[str, int]) -> Iterator[int]:
    for name, port in chosen.items():
        yield from range(port, port + _width(name))


def _fits(port: int, width: int, free: Callable[[int], bool], taken: frozenset[int]) -> bool:
    numbers = range(port, port + width)
    # A replica tries the next number when one is taken, so a block needs its first only.
    return port in PICKED_FROM and port + width <= PICKED_FROM.stop and taken.isdisjoint(numbers) and free(port)


def _next(first: int, width: int, free: Callable[[int], bool], taken: frozenset[int]) -> int:
    for port in itertools.chain(range(first, PICKED_FROM.stop), range(PICKED_FROM.start, first)):
        if _fits(port, width, free, taken):
            return port
    raise Unavailable(f"no free port in {PICKED_FROM.start}-{PICKED_FROM.stop - 1}", "no_port")
