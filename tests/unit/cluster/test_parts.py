import json
import sys
import threading

import pytest

from cluster.compose import DriverPlan, read_plan
from cluster.database_part import CHECK_EVERY_S, MISSES_MAX, EmbeddedDatabase, GivenDatabase
from cluster.driver_part import SILENCE_LIMIT_S, DriverProcess
from cluster.home import write_json
from cluster.parts import Condition, Launch, end_process, sentence, start_process, tail
from cluster.ray_part import GivenCluster, OwnHead
from workflow.errors import Unavailable

from .fakes import Clock, FakeProcess, FakeStarter


def until(part, condition):
    """Wait for a part that works in a thread."""
    waiting = threading.Event()
    for _ in range(500):
        if part.poll().condition is condition:
            return part.poll()
        waiting.wait(0.01)
    raise AssertionError(part.poll())


class FakeServer:
    dsn = "postgresql://x"
    pid = 5

    def __init__(self):
        self.answers = True
        self.error = None
        self.journal = []

    def start(self):
        self.journal.append("start")
        if self.error:
            raise self.error

    def stop(self):
        self.journal.append("stop")

    def alive(self):
        return self.answers


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    return FakeServer()


def test_the_database_is_ready_when_it_is_prepared(server, clock):
    gate = threading.Event()
    prepared = []

    def prepare(dsn):
        gate.wait(5)
        prepared.append(dsn)

    part = EmbeddedDatabase(server, prepare, lambda _pid: True, clock)
    part.begin()
    assert part.poll().condition is Condition.STARTING
    gate.set()
    assert until(part, Condition.READY).pid == 5
    assert prepared == ["postgresql://x"]


def test_a_database_that_does_not_start_says_why(server, clock):
    server.error = Unavailable("initdb failed: no space left")
    part = EmbeddedDatabase(server, lambda _dsn: None, lambda _pid: True, clock)
    part.begin()
    assert until(part, Condition.DEAD).reason == "initdb failed: no space left"


def test_a_database_whose_process_has_gone_is_dead(server, clock):
    there = [True]
    part = EmbeddedDatabase(server, lambda _dsn: None, lambda _pid: there[0], clock)
    part.begin()
    until(part, Condition.READY)
    there[0] = False
    assert part.poll().reason == "PostgreSQL has ended"


def test_a_mute_database_is_given_time_to_recover(server, clock):
    part = EmbeddedDatabase(server, lambda _dsn: None, lambda _pid: True, clock)
    part.begin()
    until(part, Condition.READY)
    server.answers = False
    for _ in range(MISSES_MAX - 1):
        clock.pass_s(CHECK_EVERY_S)
        assert part.poll().condition is Condition.READY
    clock.pass_s(CHECK_EVERY_S)
    assert part.poll().condition is Condition.DEAD
    server.answers = True
    part.end()
    part.begin()
    until(part, Condition.READY)
    assert server.journal == ["start", "stop", "start"]


def test_a_given_database_is_prepared_and_never_stopped():
    prepared = []
    part = GivenDatabase("postgresql://theirs", prepared.append)
    part.begin()
    until(part, Condition.READY)
    part.end()
    assert prepared == ["postgresql://theirs"]


class HeadScene:
    def __init__(self, tmp_path):
        self.starter = FakeStarter()
        self.address = None
        self.swept = []
        self.left = []
        self.died = ""
        self.log = tmp_path / "ray.log"
        launch = Launch(command=("ray",), environment={}, folder=tmp_path, log=self.log)
        self.part = OwnHead(
            launch,
            self.starter,
            prepare=lambda: self.swept.append("prepare"),
            address=lambda: self.address,
            obituary=lambda: self.died,
            sweep=lambda: self.swept.append("sweep") or self.left,
        )


@pytest.fixture
def head(tmp_path):
    return HeadScene(tmp_path)


def test_the_head_is_ready_when_it_has_written_its_address(head):
    head.part.begin()
    assert head.part.poll().condition is Condition.STARTING
    head.address = "10.0.0.1:20001"
    assert head.part.poll().condition is Condition.READY
    assert head.part.address == "10.0.0.1:20001"


def test_a_head_that_has_ended_says_which_server_died_or_what_it_last_said(head):
    head.part.begin()
    head.starter.processes[0].code = 1
    head.log.write_text("starting\nValueError: Failed to bind to 127.0.0.1:8265\n")
    assert head.part.poll().reason == "Ray has ended with code 1: ValueError: Failed to bind to 127.0.0.1:8265"
    head.died = "raylet [exit code=-9 (signal 9)]"
    assert "raylet [exit code=-9" in head.part.poll().reason


def test_the_end_of_the_head_sweeps_what_it_has_left(head):
    head.part.begin()
    head.part.end()
    assert head.starter.processes[0].journal == ["kill"]
    assert head.swept == ["prepare", "sweep"]
    head.left = [17]
    with pytest.raises(Unavailable, match="cannot be ended: 17"):
        head.part.end()


def test_a_given_cluster_is_always_ready():
    part = GivenCluster("10.0.0.1:6379")
    part.begin()
    assert part.poll().condition is Condition.READY


PLAN = DriverPlan(
    address="10.0.0.1:20001",
    namespace="rayloom",
    pool={"dsn": "postgresql://x"},
    application={},
    models={"embedding": "", "embeddings": []},
    builder="serve_app.deployment:build",
    host="127.0.0.1",
    port=8000,
    base_url="http://127.0.0.1:8000",
    report_file="driver.json",
    joined=False,
)


class DriverScene:
    def __init__(self, tmp_path, clock):
        self.starter = FakeStarter()
        self.report_file = tmp_path / "driver.json"
        self.clock = clock
        self.log = tmp_path / "driver.log"
        launch = Launch(command=("driver",), environment={}, folder=tmp_path, log=self.log, wants_input=True)
        self.part = DriverProcess(
            launch,
            self.starter,
            plan=lambda: PLAN,
            report_file=self.report_file,
            grace_s=0.0,
            monotonic_s=clock,
        )

    def reports(self, pid=1000, **fields):
        report = {"pid": pid, "phase": "ready", "reason": "", "beat_s": self.clock(), "seconds": {}}
        write_json(self.report_file, {**report, **fields})


@pytest.fixture
def driver(tmp_path, clock):
    return DriverScene(tmp_path, clock)


def test_the_driver_is_started_early_and_told_its_plan_later(driver):
    driver.part.warm()
    driver.part.warm()
    assert len(driver.starter.processes) == 1
    pipe = driver.starter.processes[0].stdin
    driver.part.begin()
    assert pipe.closed
    assert read_plan(json.loads(pipe.content)) == PLAN


def test_the_plan_goes_in_by_the_pipe_only(driver):
    driver.part.begin()
    launch = driver.starter.launches[0]
    assert "postgresql://" not in " ".join(launch.command) + json.dumps(dict(launch.environment))


def test_a_driver_that_died_while_it_was_warm_is_started_again(driver):
    driver.part.warm()
    driver.starter.processes[0].code = 1
    driver.part.begin()
    assert len(driver.starter.processes) == 2


def test_the_report_of_an_earlier_driver_does_not_count(driver):
    driver.part.begin()
    driver.reports(pid=999)
    assert driver.part.poll().condition is Condition.STARTING
    driver.reports(seconds={"pool": 1.0})
    state = driver.part.poll()
    assert state.condition is Condition.READY
    assert state.seconds == {"pool": 1.0}


def test_a_driver_that_has_ended_says_why(driver):
    driver.part.begin()
    driver.reports(phase="failed", reason="the pool did not come up")
    driver.starter.processes[0].code = 1
    assert driver.part.poll().reason == "the pool did not come up"


def test_a_driver_that_aborted_leaves_its_last_line(driver):
    driver.part.begin()
    driver.log.write_text("gcs_rpc_client.h: Failed to connect to GCS within 60 seconds\n")
    driver.starter.processes[0].code = -6
    assert "Failed to connect to GCS" in driver.part.poll().reason


def test_a_silent_driver_is_dead(driver, clock):
    driver.part.begin()
    driver.reports()
    clock.pass_s(SILENCE_LIMIT_S - 1)
    assert driver.part.poll().condition is Condition.READY
    clock.pass_s(2)
    assert driver.part.poll().condition is Condition.DEAD


def test_a_process_is_asked_before_it_is_killed():
    polite = FakeProcess(pid=1)
    end_process(polite, grace_s=1)
    assert polite.journal == ["terminate"]
    deaf = FakeProcess(pid=2, deaf=True)
    end_process(deaf, grace_s=1)
    assert deaf.journal == ["terminate", "kill"]


def test_a_started_process_has_its_own_session_and_appends_to_its_log(tmp_path):
    log = tmp_path / "child.log"
    log.write_text("before\n")
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ['GIVEN'], os.getcwd())"
    process = start_process(
        Launch(command=(sys.executable, "-c", code), environment={"GIVEN": "yes"}, folder=tmp_path, log=log)
    )
    assert process.wait(timeout=20) == 0
    assert log.read_text() == f"before\nTrue yes {tmp_path}\n"


def test_the_tail_of_a_log(tmp_path):
    log = tmp_path / "x.log"
    assert tail(log) == []
    log.write_text("\n".join(f"line {number}" for number in range(1000)) + "\n\n")
    assert tail(log, 2) == ["line 998", "line 999"]


def test_an_error_is_one_line():
    assert sentence(Unavailable("first\nsecond")) == "first"
    assert sentence(ValueError("")) == "ValueError:"
