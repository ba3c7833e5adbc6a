"""A real Ray head, started and ended by our code, with either proxy; and the facts about Ray 2.60 that this code
relies on.
"""

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx2
import psutil
import pytest

from cluster.client import is_ready
from cluster.home import open_home
from cluster.instance import Instance, make_parts, settle_ports
from cluster.parts import Condition, Launch, start_process, tail
from cluster.ports import REPLICA_PORTS
from cluster.processes import Identity, belonging
from cluster.ray_start import head_address
from configs.settings import RAY_WORKER_PORTS, load

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

TINY_DRIVER = Path(__file__).with_name("tiny_driver.py")
# Replicas listen for each other's calls on ports that the kernel gives them; the token guards these.
KERNEL_PORTS = range(*(int(part) for part in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()))


class Scene:
    """An instance with a home of its own; `seconds` are what each stage took."""

    def __init__(self, root, proxy):
        settings = load(
            {
                "home": root / "home",
                "serve": {"proxy": proxy, "port": 0},
                "ray": {"dashboard_port": 0, "num_cpus": 2, "object_store_mb": 100},
            }
        )
        home = open_home(settings.home, secrets.token_hex)
        self.home = home
        self.instance = Instance(
            settings=settings, home=home, identity=Identity(instance=home.instance, folder=home.work)
        )
        self.ports = settle_ports(self.instance)
        parts = {one.name: one.part for one in make_parts(self.instance, self.ports, self.start, print)}
        self.head = parts["ray"]
        self.launch = parts["driver"]._launch
        self.process = None
        self.sessions = []
        self.seconds = {}

    def start(self, launch):
        self.process = start_process(launch)
        self.sessions.append(self.process.pid)
        return self.process

    def processes(self):
        return belonging(self.instance.identity, self.sessions)

    def begin(self):
        began_s = time.monotonic()
        self.head.begin()
        until(lambda: self.head.poll().condition is not Condition.STARTING, 60)
        assert self.head.poll().condition is Condition.READY, tail(self.home.log("ray"))
        self.seconds["ray"] = time.monotonic() - began_s

    def serve(self):
        command = (sys.executable, "-P", str(TINY_DRIVER), head_address(self.home), str(self.ports.api))
        began_s = time.monotonic()
        driver = start_process(
            Launch(
                command=command,
                environment=self.launch.environment,
                folder=self.home.work,
                log=self.home.log("driver"),
            )
        )
        self.sessions.append(driver.pid)
        url = f"http://127.0.0.1:{self.ports.api}"
        until(lambda: is_ready(url, 2) or driver.poll() is not None, 90)
        assert driver.poll() is None, tail(self.home.log("driver"))
        self.seconds["driver and api"] = time.monotonic() - began_s
        return driver

    def listeners(self):
        """Ports by process name."""
        found = defaultdict(set)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        found[process.name()].add(connection.laddr.port)
        return found

    def names(self):
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(process.name())
        return found


def until(condition, limit_s):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {limit_s} s"
        time.sleep(0.05)


@pytest.fixture(params=["haproxy", "ray"])
def scene(request, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    root = Path(tempfile.mkdtemp(prefix="rl-", dir="/tmp"))
    made = Scene(root, request.param)
    yield made
    made.head.end()
    shutil.rmtree(root, ignore_errors=True)


def test_a_head_comes_up_serves_dies_and_leaves_nothing(scene, record_property):
    scene.begin()
    driver = scene.serve()
    with_haproxy = scene.instance.settings.serve.proxy == "haproxy"

    # Without the token nobody gets in; nothing listens where we did not say so.
    bare = httpx2.get(f"http://127.0.0.1:{scene.ports.dashboard}/api/version", trust_env=False)
    assert bare.status_code in (401, 403)
    ours = set(scene.ports.as_json().values())
    for first in (scene.ports.replica_http, scene.ports.replica_grpc):
        ours |= set(range(first, first + REPLICA_PORTS))
    strays = {
        name: left
        for name, numbers in scene.listeners().items()
        if (left := {n for n in numbers if n not in ours and n not in RAY_WORKER_PORTS and n not in KERNEL_PORTS})
    }
    assert not strays
    assert 10001 not in set().union(*scene.listeners().values()), "the Ray Client server runs"

    # Every process is known as ours: those that forgot their environment by their session.
    names = scene.names()
    assert {"raylet", "gcs_server"} <= names
    assert ("haproxy" in names) == with_haproxy
    assert len(scene.processes()) > len(belonging(Identity(instance="nobody", folder=scene.home.work)))

    # The kernel ends the head's servers with `ray start`, but not HAProxy, which would go on answering.
    scene.process.send_signal(signal.SIGKILL)
    until(lambda: scene.head.poll().condition is Condition.DEAD, 10)
    until(lambda: not {"raylet", "gcs_server"} & scene.names(), 10)
    if with_haproxy:
        assert "haproxy" in scene.names()

    scene.head.end()
    driver.wait(timeout=10)
    assert scene.processes() == []
    # Connections of this test to servers that were killed may linger for a minute; what counts is who listens.
    listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening.isdisjoint(scene.ports.as_json().values())
    for stage, taken_s in scene.seconds.items():
        record_property(stage, round(taken_s, 1))


@pytest.mark.parametrize("scene", ["haproxy"], indirect=True)
def test_a_head_whose_server_dies_ends_and_comes_back(scene):
    scene.begin()
    raylet = next(process for process in scene.processes() if process.name() == "raylet")
    raylet.kill()
    until(lambda: scene.head.poll().condition is Condition.DEAD, 15)
    assert "raylet [exit code=-9" in scene.head.poll().reason
    scene.head.end()
    assert scene.processes() == []
    scene.begin()
