"""The connected driver: a process that creates the supervisor, deploys the API, and then stays.

It stays because Ray kills the idle task workers of a job whose driver has gone: every burst after a pause would start
cold, at 0.55-0.9 s per task instead of 4 ms (measured). It is a process of its own, not a thread of the keeper,
because the Ray library aborts its process when the head dies, and the keeper is there to survive that.

The plan comes as one line of JSON on standard input (it holds the database's password, so it is neither an argument
nor a file); until then Ray is imported, so that this time overlaps the start of the head. The report file says how
far we are.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from cluster.client import is_ready
from cluster.compose import APPLICATION, DriverPlan, read_plan
from cluster.home import write_json
from workflow.errors import RayloomError, Unavailable

BEAT_S = 1.0
HEALTH_EVERY_BEATS = 5
READY_LIMIT_S = 60.0
READY_POLL_S = 0.05
HEALTH_LIMIT_S = 3.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What the driver says about itself. `beat_s` is on the host's monotonic clock; `seconds` is per finished stage."""

    pid: int
    phase: str = "connecting"
    reason: str = ""
    beat_s: float = 0.0
    api_ready: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


class Driver:
    """Carries out a plan, reporting as it goes."""

    def __init__(self, plan: DriverPlan, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._now_s = monotonic_s
        self._report = Report(pid=os.getpid())
        self._stop = threading.Event()
        self._stage_began_s = monotonic_s()

    def stop(self) -> None:
        """Let `stay` return."""
        self._stop.set()

    def deploy(self) -> None:
        """Connect, create the pool, deploy the API and wait until it answers. Raises what went wrong."""
        from actors import remote

        self._say("connecting")
        remote.connect(self._plan.address, self._plan.namespace)
        self._done("connect", "pool")
        with ThreadPoolExecutor(max_workers=1) as beside:
            # Most of either is waiting for processes to import their modules, so they wait together.
            pool = beside.submit(self._create_pool)
            _start_serve(self._plan)
            pool.result()
        self._done("pool", "api")
        _run_application(self._plan)
        _deploy_models(self._plan)
        self._await_ready()
        self._report.api_ready = True
        self._done("api", "ready")

    def stay(self) -> None:
        """Remain connected and report every second, until stopped."""
        beats = 0
        while not self._stop.wait(BEAT_S):
            beats += 1
            if beats % HEALTH_EVERY_BEATS == 0:
                self._report.api_ready = is_ready(self._plan.base_url, HEALTH_LIMIT_S)
            self._say("ready")

    def leave(self) -> None:
        """Take what is ours off a cluster that goes on without us. On a head of our own the keeper ends everything
        anyway.
        """
        if not self._plan.joined:
            return
        from ray import serve

        from actors import model_hosts, remote
        from actors.models import ModelsConfig

        serve.delete(APPLICATION)
        model_hosts.remove(ModelsConfig.of(self._plan.models))
        remote.remove_supervisor()

    def fail(self, error: BaseException) -> None:
        """Report why this driver ends."""
        reason = error.message if isinstance(error, RayloomError) else f"{type(error).__name__}: {error}"
        self._report.reason = reason.strip().splitlines()[0] if reason.strip() else type(error).__name__
        self._say("failed")

    def _create_pool(self) -> None:
        from actors import remote
        from actors.config import PoolConfig
        from actors.models import ModelsConfig

        # One that an earlier driver made would have no warm task workers any more: its job is over.
        remote.remove_supervisor()
        models = ModelsConfig.of(self._plan.models)
        remote.ensure_supervisor(PoolConfig(**self._plan.pool, models=models))

    def _await_ready(self) -> None:
        deadline_s = self._now_s() + READY_LIMIT_S
        while not is_ready(self._plan.base_url, HEALTH_LIMIT_S):
            if self._now_s() > deadline_s:
                raise Unavailable(f"the API is deployed, but {self._plan.base_url}/health/ready does not answer 200")
            self._say("api")
            self._stop.wait(READY_POLL_S)

    def _done(self, stage: str, following: str) -> None:
        now_s = self._now_s()
        self._report.seconds[stage] = round(now_s - self._stage_began_s, 2)
        self._stage_began_s = now_s
        self._say(following)

    def _say(self, phase: str) -> None:
        self._report.phase = phase
        self._report.beat_s = self._now_s()
        write_json(Path(self._plan.report_file), asdict(self._report))


def _start_serve(plan: DriverPlan) -> None:
    from ray import serve

    # Named explicitly: with it HAProxy and the replicas listen there only. Serve's access log stalls requests for up to
    # 28 ms when its buffer is written; the API writes its own line.
    # The API lives on the head; a proxy on another host, where replicas of models are, would be one that nobody asks.
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": plan.host, "port": plan.port},
        logging_config={"enable_access_log": False},
    )


def _run_application(plan: DriverPlan) -> None:
    from ray import serve

    module, _, name = plan.builder.partition(":")
    build: Callable[[dict[str, Any]], Any] = getattr(importlib.import_module(module), name)
    application = build(plan.application)
    try:
        serve.run(application, name=APPLICATION, route_prefix="/", blocking=False)
    except RuntimeError as error:
        raise Unavailable(f"the API cannot be deployed: {_cause() or error}", "not_deployed") from error


def _deploy_models(plan: DriverPlan) -> None:
    from actors import model_hosts
    from actors.models import ModelsConfig

    model_hosts.deploy(ModelsConfig.of(plan.models))


def _cause() -> str:
    """Return what the last replica that failed said: Serve's own exception names the deployment only."""
    from ray import serve

    found = serve.status().applications.get(APPLICATION)
    texts = [deployment.message for deployment in found.deployments.values()] if found else []
    lines = [line.strip() for text in texts for line in text.splitlines() if "Error: " in line]
    return lines[-1] if lines else ""


def main() -> int:
    """Run the driver. The exit code is 0 when it was asked to stop and 1 when it could not do its work."""
    import ray
    import ray.serve  # noqa: F401 - imported now, while the head is starting

    line = sys.stdin.readline()
    if not line:
        return 0
    driver = Driver(read_plan(json.loads(line)))

    def asked_to_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        driver.stop()

    signal.signal(signal.SIGTERM, asked_to_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        driver.deploy()
        driver.stay()
        driver.leave()
    except Exception as error:
        driver.fail(error)
        raise
    return 0


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    finally:
        sys.stderr.flush()
        # Ray's exit handlers wait for servers that may be gone already.
        if code == 0:
            os._exit(0)
