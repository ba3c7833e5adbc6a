"""The driver as a part: its process starts to import while the others start, and is told its plan when they are
ready.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.compose import DriverPlan
from cluster.home import read_json
from cluster.parts import Condition, Launch, Process, Starter, State, end_process, tail
from workflow.errors import RayloomError, Unavailable

SILENCE_LIMIT_S = 30.0


class DriverProcess:
    """The connected driver. `plan` is asked for when everything the driver needs is ready."""

    name = "driver"

    def __init__(
        self,
        launch: Launch,
        starter: Starter,
        *,
        plan: Callable[[], DriverPlan],
        report_file: Path,
        grace_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launch = launch
        self._starter = starter
        self._plan = plan
        self._report_file = report_file
        self._grace_s = grace_s
        self._now_s = monotonic_s
        self._process: Process | None = None

    def warm(self) -> None:
        """Start the process; it imports Ray and waits for its plan."""
        if self._process is None or self._process.poll() is not None:
            self._report_file.unlink(missing_ok=True)
            self._process = self._starter(self._launch)

    def begin(self) -> None:
        """Tell the driver its plan."""
        self.warm()
        pipe = self._process.stdin if self._process is not None else None
        if pipe is None:
            raise Unavailable("the driver has no standard input")
        pipe.write(json.dumps(self._plan().as_json()).encode() + b"\n")
        pipe.close()

    def poll(self) -> State:
        """Ready when it has reported so; dead when it has ended or has not reported for `SILENCE_LIMIT_S`."""
        if self._process is None:
            return State(condition=Condition.DEAD, reason="not started")
        report = self.report()
        seconds = report.get("seconds", {})
        if (code := self._process.poll()) is not None:
            reason = (
                report.get("reason") or " ".join(tail(self._launch.log, 1)) or f"the driver has ended with code {code}"
            )
            return State(condition=Condition.DEAD, reason=str(reason), seconds=seconds)
        if report and self._now_s() - float(report["beat_s"]) > SILENCE_LIMIT_S and report["phase"] == "ready":
            return State(condition=Condition.DEAD, reason="the driver does not report any more", pid=self._process.pid)
        condition = Condition.READY if report.get("phase") == "ready" else Condition.STARTING
        return State(condition=condition, pid=self._process.pid, seconds=seconds)

    def end(self) -> None:
        """End the process; on a cluster of others it takes away what is ours first."""
        if self._process is not None:
            end_process(self._process, self._grace_s)
            self._process = None

    def report(self) -> dict[str, Any]:
        """Return what the present process has reported, or nothing."""
        try:
            found = read_json(self._report_file)
        except RayloomError:
            return {}
        pid = None if self._process is None else self._process.pid
        return found if found.get("pid") == pid else {}
