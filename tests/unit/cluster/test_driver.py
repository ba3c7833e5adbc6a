import json
import sys
import types

import pytest

from cluster import driver as driver_module
from cluster.compose import APPLICATION, DriverPlan
from cluster.driver import Driver
from cluster.home import read_json
from workflow.errors import Unavailable

from .fake_api import running_api
from .fakes import Clock

MODELS = {
    "embedding": "mini",
    "embeddings": [{"source": {"name": "mini", "source": "package:x/y"}, "gpu": 0.5}],
    "ranking": "",
    "rankers": [],
    "language": [],
    "provider": "",
    "providers": [],
    "prices": {},
    "budgets": {},
}


class FakeRay:
    """The modules that a driver imports when it deploys, as one journal of calls."""

    def __init__(self, monkeypatch):
        self.journal = []
        self.pool_error = None
        remote = types.ModuleType("actors.remote")
        remote.connect = lambda address, namespace: self.journal.append(("connect", address, namespace))
        remote.ensure_supervisor = self._ensure
        remote.remove_supervisor = lambda: self.journal.append(("remove",))
        serve = types.ModuleType("ray.serve")
        serve.start = lambda **options: self.journal.append(("start", options["http_options"]))
        serve.run = lambda app, **options: self.journal.append(("run", app, options["name"]))
        serve.delete = lambda name: self.journal.append(("delete", name))
        ray = types.ModuleType("ray")
        ray.serve = serve
        model_hosts = types.ModuleType("actors.model_hosts")
        model_hosts.deploy = lambda config: self.journal.append(("models", config.embedding))
        model_hosts.remove = lambda config: self.journal.append(("no models", config.embedding))
        application = types.ModuleType("fake_application")
        application.build = lambda given: ("application", given["replicas"])
        for name, module in {
            "actors.remote": remote,
            "actors.model_hosts": model_hosts,
            "ray": ray,
            "ray.serve": serve,
            "fake_application": application,
        }.items():
            monkeypatch.setitem(sys.modules, name, module)
        import actors

        monkeypatch.setattr(actors, "remote", remote, raising=False)
        monkeypatch.setattr(actors, "model_hosts", model_hosts, raising=False)

    def _ensure(self, config):
        self.journal.append(("pool", config.size))
        if self.pool_error:
            raise self.pool_error


@pytest.fixture
def ray(monkeypatch):
    return FakeRay(monkeypatch)


@pytest.fixture
def api():
    with running_api() as running:
        running.answer("GET", "/health/ready", 503, {}, (503, {}), (200, {}))
        yield running


@pytest.fixture
def make(tmp_path, api):
    def plan(**fields):
        return DriverPlan(
            **{
                "address": "10.0.0.1:20001",
                "namespace": "rayloom",
                "pool": {"dsn": "postgresql://x", "cluster_id": "c", "size": 2},
                "application": {"replicas": 2},
                "models": MODELS,
                "builder": "fake_application:build",
                "host": "127.0.0.1",
                "port": 8000,
                "base_url": api.base_url,
                "report_file": str(tmp_path / "driver.json"),
                "joined": False,
                **fields,
            }
        )

    return lambda **fields: Driver(plan(**fields), Clock())


def test_it_connects_makes_the_pool_deploys_and_waits_until_the_api_is_ready(ray, make, tmp_path, api):
    make().deploy()
    assert ray.journal[0] == ("connect", "10.0.0.1:20001", "rayloom")
    assert ("pool", 2) in ray.journal
    assert ("start", {"host": "127.0.0.1", "port": 8000}) in ray.journal
    assert ray.journal[-2:] == [("run", ("application", 2), APPLICATION), ("models", "mini")]
    assert len(api.asked) == 3
    report = read_json(tmp_path / "driver.json")
    assert report["phase"] == "ready"
    assert set(report["seconds"]) == {"connect", "pool", "api"}


def test_a_supervisor_of_an_earlier_driver_is_replaced(ray, make):
    make().deploy()
    assert ray.journal.index(("remove",)) < ray.journal.index(("pool", 2))


def test_the_application_is_not_deployed_without_a_pool(ray, make):
    ray.pool_error = Unavailable("the pool did not come up")
    with pytest.raises(Unavailable, match="the pool"):
        make().deploy()
    assert not [entry for entry in ray.journal if entry[0] == "run"]


def test_a_deployment_that_fails_tells_what_its_replica_said(ray, make):
    serve = sys.modules["ray.serve"]

    def run(_app, **_options):
        raise RuntimeError("Failed to update the deployments ['api'].")

    api = types.SimpleNamespace(message="Traceback:\n  File x\nImportError: no module named y\n")
    application = types.SimpleNamespace(deployments={"api": api})
    serve.run = run
    serve.status = lambda: types.SimpleNamespace(applications={APPLICATION: application})
    with pytest.raises(Unavailable, match="the API cannot be deployed: ImportError: no module named y"):
        make().deploy()


def test_it_leaves_a_cluster_of_others_as_it_was(ray, make):
    make(joined=True).leave()
    assert ray.journal == [("delete", APPLICATION), ("no models", "mini"), ("remove",)]
    ray.journal.clear()
    make(joined=False).leave()
    assert ray.journal == []


def test_a_failure_is_one_sentence_in_the_report(make, tmp_path):
    make().fail(RuntimeError("Failed to get cluster ID\n  at 0x7f\n"))
    assert read_json(tmp_path / "driver.json")["reason"] == "RuntimeError: Failed to get cluster ID"
    make().fail(Unavailable("there is no Ray cluster at x"))
    assert read_json(tmp_path / "driver.json")["reason"] == "there is no Ray cluster at x"


def test_it_reports_until_it_is_stopped(make, tmp_path, monkeypatch):
    monkeypatch.setattr(driver_module, "BEAT_S", 0.0)
    made = make()
    seen = []

    def say(phase):
        seen.append(phase)
        if len(seen) == 12:
            made.stop()

    monkeypatch.setattr(made, "_say", say)
    made.stay()
    assert seen == ["ready"] * 12


def test_a_keeper_that_goes_away_before_the_plan_ends_the_driver(monkeypatch, ray):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(readline=str))
    assert driver_module.main() == 0
    assert json.dumps(ray.journal) == "[]"
