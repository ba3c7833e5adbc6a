"""The keeper's process (`python -m cluster.keep`): one per home, plain, without Ray, started by `rayloom up` or by a
service manager.

It takes the home's lock, ends what a killed predecessor has left, adopts its database, and then keeps the parts until
SIGTERM. Exit codes: 0 stopped when asked, 1 the first start failed (the record says why), 3 another keeper has the
home.
"""

import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from cluster.compose import base_url, dashboard_url
from cluster.home import Home
from cluster.instance import Instance, make_parts, open_instance, settle_ports
from cluster.keeper import GaveUp, Keeper
from cluster.parts import sentence, start_process
from cluster.ports import Ports
from cluster.processes import created_s, end_all
from cluster.ray_start import head_address
from cluster.record import KeeperPhase, KeeperRecord, part_records, read_record, write_record
from workflow.errors import RayloomError

TICK_S = 0.2
LOG_BYTES_MAX = 8 * 1024 * 1024
TRIM_EVERY_S = 60.0

log = logging.getLogger("rayloom.keeper")


class KeeperProcess:
    """The keeper with its record, logs and signals."""

    def __init__(self, instance: Instance, ports: Ports, sessions: tuple[int, ...], stop: threading.Event) -> None:
        self._instance = instance
        self._ports = ports
        self._sessions = set(sessions)
        self._stop = stop
        self._keeper = Keeper(make_parts(instance, ports, start_process, log.info), time.monotonic, log.info)
        self._written: KeeperRecord | None = None

    def run(self) -> int:
        """Keep the parts until asked to stop. Returns the exit code."""
        trimmed_s = time.monotonic()
        try:
            while not self._stop.is_set():
                self._keeper.tick()
                self._record(self._phase())
                if time.monotonic() - trimmed_s > TRIM_EVERY_S:
                    trimmed_s = time.monotonic()
                    trim_logs(self._instance.home)
                self._stop.wait(TICK_S)
        except GaveUp as error:
            self._keeper.stop()
            self._record(KeeperPhase.FAILED, sentence(error))
            return 1
        self._record(KeeperPhase.STOPPING)
        problems = self._keeper.stop()
        self._record(KeeperPhase.STOPPED, "; ".join(problems))
        return 1 if problems else 0

    def _phase(self) -> KeeperPhase:
        if self._keeper.ready:
            return KeeperPhase.READY
        return KeeperPhase.DEGRADED if self._keeper.was_ready else KeeperPhase.STARTING

    def _record(self, phase: KeeperPhase, reason: str = "") -> None:
        home, chosen = self._instance.home, self._instance.settings
        parts = part_records(self._keeper.kept)
        self._sessions.update(part.pid for part in parts if part.pid is not None and part.name != "database")
        record = KeeperRecord(
            pid=os.getpid(),
            created_s=created_s(os.getpid()),
            phase=phase,
            reason=reason or "; ".join(f"{part.name}: {part.reason}" for part in parts if part.reason),
            base_url=base_url(chosen, self._ports),
            dashboard_url=dashboard_url(chosen, self._ports),
            ray_address=chosen.ray.address or head_address(home) or "",
            proxy=chosen.serve.proxy,
            ports=self._ports.as_json(),
            sessions=tuple(sorted(self._sessions)),
            parts=parts,
        )
        if record != self._written:
            write_record(home, record)
            self._written = record


def trim_logs(home: Home) -> None:
    """Cut every log that has grown too large, keeping one predecessor. Their writers append, so that they may go on
    writing.
    """
    for path in home.logs.glob("*.log"):
        if path.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(path, Path(f"{path}.1"))
            Path(f"{path}.1").chmod(0o600)
            os.truncate(path, 0)


def keep(instance: Instance, stop: threading.Event) -> int:
    """Be the keeper of this instance until `stop`. Raises `Conflict` when there is one, and `RayloomError` when
    nothing can start.
    """
    home = instance.home
    with home.keeping():
        previous = read_record(home)
        sessions = previous.sessions if previous else ()
        write_record(home, KeeperRecord(pid=os.getpid(), created_s=created_s(os.getpid()), phase=KeeperPhase.STARTING))
        if left := end_all(instance.identity, sessions):
            log.warning("processes of an earlier keeper remain: %s", left)
        try:
            ports = settle_ports(instance)
            return KeeperProcess(instance, ports, (), stop).run()
        except RayloomError as error:
            failed = KeeperRecord(pid=os.getpid(), created_s=None, phase=KeeperPhase.FAILED, reason=sentence(error))
            write_record(home, failed)
            raise


def main() -> int:
    """Run the keeper in the foreground."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    stop = threading.Event()

    def asked_to_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked_to_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return keep(open_instance(), stop)
    except RayloomError as error:
        log.error("%s", sentence(error))  # noqa: TRY400 - a sentence, not a traceback
        return 3 if error.code == "already_kept" else 1


if __name__ == "__main__":
    sys.exit(main())
