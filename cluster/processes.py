"""Which processes belong to an instance, and how they are ended.

`ray stop` ends every Ray of the machine but leaves HAProxy running, so we do it ourselves, and touch nothing of other
instances. A process is ours when its environment carries our mark. Some of Ray's processes overwrite their
environment when they set their title: these are ours when they belong to the session (`setsid`) of a marked process
and work in our folder.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "RAYLOOM_INSTANCE"
REAP_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the processes of one instance have in common."""

    instance: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the mark that every process of the instance inherits."""
        return {MARK: self.instance}


def belonging(identity: Identity, sessions: Iterable[int] = ()) -> list[psutil.Process]:
    """Return the living processes of the instance, without this one and the ones above it.

    `sessions` are the ids of sessions that the instance is known to have had.
    """
    spared = _ourselves()
    marked: list[psutil.Process] = []
    others: list[psutil.Process] = []
    for process in psutil.process_iter():
        if process.pid in spared or not is_alive(process):
            continue
        (marked if _is_marked(process, identity) else others).append(process)
    known = {*sessions, *(session for process in marked if (session := _session(process)) is not None)}
    return marked + [one for one in others if _session(one) in known and _works_in(one, identity.folder)]


def end(processes: Sequence[psutil.Process], *, grace_s: float = 0.0) -> list[psutil.Process]:
    """End the processes: asked for `grace_s`, then killed. Returns the ones that are still there.

    The state of an execution is in the database at every moment, so a kill loses nothing that a polite stop would keep.
    """
    left = list(processes)
    if grace_s > 0:
        _signal(left, kill=False)
        left = _wait(left, grace_s)
    _signal(left, kill=True)
    return _wait(left, REAP_PATIENCE_S)


def end_all(identity: Identity, sessions: Iterable[int] = ()) -> list[int]:
    """Kill every process of the instance, also those that come while we do. Returns the pids of those that remain."""
    known = tuple(sessions)
    left: list[psutil.Process] = []
    for _ in range(5):
        found = belonging(identity, known)
        if not found:
            return []
        left = end(found)
    return [process.pid for process in left]


def find(pid: int | None, created_s: float | None) -> psutil.Process | None:
    """Return the process that had this pid when it was made at `created_s` (seconds since 1970), if it still lives."""
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        if created_s is not None and abs(process.create_time() - created_s) > 1.0:
            return None
    except psutil.Error:
        return None
    return process if is_alive(process) else None


def created_s(pid: int) -> float | None:
    """Return when the process was made, in seconds since 1970: with the pid, a name that is never given twice."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; one that is only waiting to be collected by its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listener_on(port: int) -> str:
    """Say which process listens on the port, as far as we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # Other users' processes may be hidden from us: then the port alone has to do.
    return "another process"


def _ourselves() -> frozenset[int]:
    me = psutil.Process()
    return frozenset({me.pid, *(parent.pid for parent in me.parents())})


def _is_marked(process: psutil.Process, identity: Identity) -> bool:
    try:
        return process.environ().get(MARK) == identity.instance
    except (psutil.Error, OSError):
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _signal(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        try:
            (process.kill if kill else process.terminate)()
        except psutil.Error:
            pass  # It is gone, which is what we wanted, or is another user's: then it shows up among those that remain.


def _wait(processes: Sequence[psutil.Process], patience_s: float) -> list[psutil.Process]:
    _, left = psutil.wait_procs(processes, timeout=patience_s)
    return [process for process in left if is_alive(process)]
