"""Memory and CPU of the instance's processes, by what they are, read from /proc."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from benchmarks.instance import Running
from cluster.processes import belonging
from store.server_process import processes_in

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
IDLE_FIELDS = (3, 4)  # idle and iowait, of the `cpu` line of /proc/stat
GUEST_FIELDS = 2  # the last two are contained in others

# Looked for in a process's title, in this order.
GROUPS = (
    ("ServeReplica:rayloom:api", "api replicas"),
    ("ServeReplica:bare", "bare replica"),
    ("ExecutionActor", "execution actors"),
    ("SupervisorActor", "supervisor"),
    ("haproxy", "haproxy"),
    ("monty", "code sandboxes"),
    ("quickjs", "code sandboxes"),
    ("run_node", "ray task workers"),
    ("ray::IDLE", "ray task workers"),
    ("cluster.keep", "keeper"),
    ("cluster.driver", "driver"),
)


def instance_processes(running: Running, data_dir: Path) -> dict[str, list[psutil.Process]]:
    """Return the instance's processes by group; PostgreSQL's are found by their working directory."""
    groups: dict[str, list[psutil.Process]] = {"postgres": processes_in(data_dir)}
    for process in belonging(running.instance.identity, running.sessions()):
        try:
            title = " ".join(process.cmdline()) or process.name()
        except psutil.Error:
            continue
        group = next((name for part, name in GROUPS if part in title), "ray and serve")
        groups.setdefault(group, []).append(process)
    return groups


def pss_mib(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of the processes in MiB, shared pages counted once."""
    kib = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:  # it has ended meanwhile
            continue
        kib += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return kib / 1024


def pss_by_group(running: Running, data_dir: Path) -> dict[str, float]:
    """Return the memory of each group in MiB."""
    found = instance_processes(running, data_dir)
    return {name: round(pss_mib(processes), 1) for name, processes in sorted(found.items()) if processes}


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU seconds that the processes have used so far."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def machine_cpu_s() -> float:
    """Return the CPU seconds that the whole machine has used so far."""
    with open("/proc/stat") as file:
        ticks = [int(text) for text in file.readline().split()[1:]][:-GUEST_FIELDS]
    return sum(value for index, value in enumerate(ticks) if index not in IDLE_FIELDS) / TICKS_PER_S


class CpuWatch:
    """CPU seconds by group between two moments, this process's and the rest of the machine's included.

    A process that came in between counts with all it has used; one that has gone counts among the others.
    """

    def __init__(self, running: Running, data_dir: Path, peers: Callable[[], Mapping[str, int]] = dict) -> None:
        self._running = running
        self._data_dir = data_dir
        self._peers = peers
        self._began_s = time.perf_counter()
        self._before = self._now()

    def since(self) -> tuple[dict[str, float], float]:
        """Return the CPU seconds that each group has used since the beginning, and how many seconds that is ago.

        `others` are processes that are not ours.
        """
        used = self._now()
        used.subtract(self._before)
        machine = used.pop("machine")
        used["others"] = machine - sum(used.values())
        return {name: round(value, 3) for name, value in used.items()}, time.perf_counter() - self._began_s

    def others_cores(self) -> float:
        """Return how many cores others have used on average since the beginning."""
        used, seconds = self.since()
        return used["others"] / seconds

    def _now(self) -> Counter[str]:
        groups = instance_processes(self._running, self._data_dir)
        groups["load client"] = [psutil.Process()]
        for name, pid in self._peers().items():
            groups[name] = [psutil.Process(pid)]
        return Counter({**{name: cpu_s(found) for name, found in groups.items()}, "machine": machine_cpu_s()})
