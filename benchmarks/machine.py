"""What the figures were measured on: the header of the results."""

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.figures import median
from benchmarks.instance import Running
from benchmarks.processes import machine_cpu_s

SYNCS = 200
QUIET_S = 3.0
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")


def fdatasync_ms(folder: Path) -> float:
    """Return the median time of a small write and fdatasync on the disk of the folder."""
    path = folder / "rayloom-bench-fdatasync"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    taken = []
    try:
        for _ in range(SYNCS):
            os.pwrite(descriptor, b"x" * 8192, 0)
            began_s = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - began_s) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(taken)


def cores_busy(seconds: float = QUIET_S) -> float:
    """Return how many cores are busy while we do nothing: with an idle instance, what others take from the figures."""
    before_s, began_s = machine_cpu_s(), time.perf_counter()
    time.sleep(seconds)
    return (machine_cpu_s() - before_s) / (time.perf_counter() - began_s)


def header(running: Running, data_dir: Path) -> dict[str, Any]:
    """Return date, versions, machine and the settings that the figures depend on."""
    with psycopg.connect(running.dsn()) as connection:
        rows = connection.execute("SELECT name, setting FROM pg_settings").fetchall()
    settings = dict(rows)
    chosen = running.instance.settings
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "ray": version("ray"),
        "postgres": settings["server_version"],
        "fdatasync_ms": round(fdatasync_ms(data_dir), 3),
        "durability": {name: settings[name] for name in DURABILITY},
        "pool_size": chosen.pool.actors,
        "slots": chosen.pool.slots,
        "replicas": chosen.serve.replicas,
        "proxy": chosen.serve.proxy,
        "cores_busy_at_rest": round(cores_busy(), 2),
        "load_average": round(os.getloadavg()[0], 2),
    }
