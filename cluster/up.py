"""Start and stop of an instance from outside: begin a keeper and follow it, end it, and clear up after one that was
killed.
"""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from actors.packages import require_own_packages
from cluster.home import read_json
from cluster.instance import Instance, embedded_server
from cluster.parts import tail
from cluster.processes import belonging, end, end_all, find
from cluster.ray_start import CODE_ROOT
from cluster.record import KeeperPhase, KeeperRecord, read_record, write_record
from configs import environment
from workflow.errors import Unavailable

POLL_S = 0.1
UP_LIMIT_S = 300.0
DOWN_LIMIT_S = 60.0

STAGES = ("database", "ray", "connect", "pool", "api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An instance that is up. `fresh` says that we have started it."""

    record: KeeperRecord
    fresh: bool


def bring_up(instance: Instance, stage: Callable[[str, float], None]) -> Started:
    """Start the keeper unless there is one, and return when everything is ready; `stage(name, seconds)` hears of each
    stage.

    Raises `Unavailable` with the reason and `fields["log"]`, the last lines of the log that tells most.
    """
    require_own_packages()
    home = instance.home
    if home.is_kept():
        record = read_record(home)
        if record is not None and record.phase in (KeeperPhase.READY, KeeperPhase.DEGRADED):
            return Started(record=record, fresh=False)
        return Started(record=_follow(instance, None, stage), fresh=False)
    with home.log("keeper").open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "cluster.keep"],
            env={**environment.for_keeper(home.root), "PYTHONPATH": str(CODE_ROOT)},
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Started(record=_follow(instance, keeper, stage), fresh=True)


def bring_down(instance: Instance, say: Callable[[str], None]) -> bool:
    """Stop the instance; no process of it is left. Returns whether there was anything to stop. Raises `Unavailable`
    if some remain.
    """
    home = instance.home
    record = read_record(home)
    keeper = _keeper_of(record)
    found = keeper is not None
    if keeper is not None:
        keeper.send_signal(signal.SIGTERM)
        _await_end(keeper, DOWN_LIMIT_S)
        if keeper.is_running():
            say("the keeper does not stop; it is killed")
            end([keeper])
    sessions = record.sessions if record else ()
    if belonging(instance.identity, sessions):
        found = True
        say("processes without a keeper are ended")
        if left := end_all(instance.identity, sessions):
            raise Unavailable(f"these processes cannot be ended: {', '.join(map(str, left))}", "leftovers")
    found = _stop_database(instance) or found
    after = read_record(home)
    if after is not None and after.phase is KeeperPhase.STOPPED and after.reason and keeper is not None:
        raise Unavailable(after.reason, "leftovers")
    if record is not None and _keeper_of(record) is None:
        write_record(home, KeeperRecord(pid=record.pid, created_s=record.created_s, phase=KeeperPhase.STOPPED))
    return found


def _follow(
    instance: Instance, keeper: subprocess.Popen[bytes] | None, stage: Callable[[str, float], None]
) -> KeeperRecord:
    told: set[str] = set()
    deadline_s = time.monotonic() + UP_LIMIT_S
    while time.monotonic() < deadline_s:
        ended = keeper is not None and keeper.poll() is not None
        record = read_record(instance.home)
        if record is not None and (keeper is None or record.pid == keeper.pid):
            for name, seconds in _finished(record).items():
                if name not in told:
                    told.add(name)
                    stage(name, seconds)
            if record.phase is KeeperPhase.READY:
                return record
            if record.phase in (KeeperPhase.FAILED, KeeperPhase.STOPPED):
                raise _failure(instance, record.reason or "the keeper was stopped")
        if ended or (keeper is None and not instance.home.is_kept()):
            raise _failure(instance, "the keeper has ended")
        time.sleep(POLL_S)
    raise _failure(instance, f"not ready after {UP_LIMIT_S:.0f} s")


def _finished(record: KeeperRecord) -> dict[str, float]:
    seconds = record.seconds
    return {name: seconds[name] for name in STAGES if name in seconds}


def _failure(instance: Instance, reason: str) -> Unavailable:
    home = instance.home
    logs = {"database": home.postgres / "postgres.log", "ray": home.log("ray"), "driver": home.log("driver")}
    part = reason.partition(":")[0]
    log = logs.get(part, home.log("keeper"))
    return Unavailable(f"Rayloom did not start: {reason}", "not_started", {"log": tail(log), "log_file": str(log)})


def _keeper_of(record: KeeperRecord | None) -> psutil.Process | None:
    return None if record is None or record.created_s is None else find(record.pid, record.created_s)


def _await_end(process: psutil.Process, patience_s: float) -> None:
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(timeout=patience_s)


def _stop_database(instance: Instance) -> bool:
    if instance.settings.database.url is not None or not (instance.home.postgres / "place.json").exists():
        return False
    port = int(read_json(instance.home.root / "ports.json").get("postgres", 0))
    server = embedded_server(instance, port)
    was_alive = server.alive()
    server.stop()
    return was_alive
