import json
import os
import secrets
from decimal import Decimal
from pathlib import Path

import pytest

from cluster import instance as instance_module
from cluster import keep
from cluster.compose import base_url, dashboard_url, driver_plan, read_plan
from cluster.home import open_home
from cluster.instance import Instance, make_parts, settle_ports
from cluster.ports import settle
from cluster.processes import Identity
from cluster.ray_part import GivenCluster, OwnHead
from cluster.ray_start import (
    head_address,
    obituary,
    prepare_ray_dir,
    ray_environment,
    start_command,
    without_client_server,
)
from configs.settings import InvalidSettingsError, load
from workflow.errors import Conflict

from .fakes import FakeStarter


@pytest.fixture
def make(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)

    def instance(**overrides):
        chosen = load({"home": tmp_path / "home", **overrides})
        home = open_home(chosen.home, secrets.token_hex)
        return Instance(settings=chosen, home=home, identity=Identity(instance=home.instance, folder=home.work))

    return instance


def ports_of(instance):
    wanted = {"api": 8000, "postgres": 0, "dashboard": 8265}
    return settle({}, wanted, instance.home.root, lambda _port: True)


def test_the_pool_gets_exactly_what_its_config_has(make):
    from actors.config import PoolConfig

    made = make(pool={"size": 3})
    plan = driver_plan(made.settings, made.home, ports_of(made), "postgresql://x", "10.0.0.1:1")
    config = PoolConfig(**plan.pool)
    assert (config.size, config.dsn, config.cluster_id) == (3, "postgresql://x", made.home.instance)
    assert {
        "dsn",
        "namespace",
        "replicas",
        "blobs_folder",
        "limits",
        "link_key",
        "public_url",
        "models",
    } == plan.application.keys()


def test_rankers_are_configured_like_embedding_models(make):
    from actors.models import ModelsConfig, ModelSource

    made = make(models={"ranking": "mine", "rankers": {"mine": {"source": "/models/mine", "gpu": 0.5, "batch_max": 8}}})
    plan = driver_plan(made.settings, made.home, ports_of(made), "postgresql://x", "10.0.0.1:1")

    ranker = ModelsConfig.of(plan.models).ranker_named("")

    assert (ranker.gpu, ranker.replicas_max) == (0.5, 1)
    assert ranker.source == ModelSource(name="mine", source="/models/mine", batch_max=8)


def test_workflows_may_be_let_at_the_own_api_whichever_port_it_has(make):
    made = make(outbound={"allow": ["127.77.0.1/32", "api"]})
    assert driver_plan(made.settings, made.home, ports_of(made), "postgresql://x", "a:1").pool["outbound_allow"] == [
        "127.77.0.1/32",
        "127.0.0.1:8000",
    ]


def test_a_plan_survives_its_journey(make):
    made = make()
    plan = driver_plan(made.settings, made.home, ports_of(made), "postgresql://x", "10.0.0.1:1")
    assert read_plan(plan.as_json()) == plan


def test_budgets_of_models_come_to_actors_and_replicas_as_they_were_set(make):
    from actors.models import ModelsConfig
    from workflow.budgets import Budget, Budgets

    def budgets(made) -> Budgets:
        plan = driver_plan(made.settings, made.home, ports_of(made), "postgresql://x", "a:1")
        assert plan.application["models"] == plan.models
        return ModelsConfig.of(json.loads(json.dumps(plan.models))).budgets

    assert budgets(make()) == Budgets()
    chosen = {"execution_usd": 0.1, "workspace_day_usd": "25.00", "workspace_day_tokens": 7}
    assert budgets(make(models={"budgets": chosen})) == Budgets(
        execution=Budget(usd=Decimal("0.1")), workspace_day=Budget(usd=Decimal(25), tokens=7)
    )


@pytest.mark.parametrize(
    "budget", [{"execution_usd": 0}, {"execution_tokens": -1}, {"workspace_day_usd": "NaN"}, {"a": 1}]
)
def test_a_budget_that_makes_no_sense_is_refused(make, budget):
    with pytest.raises(InvalidSettingsError, match=r"models\.budgets"):
        make(models={"budgets": budget})


def test_a_client_is_never_told_to_call_all_interfaces(make):
    made = make(serve={"host": "0.0.0.0"})
    assert base_url(made.settings, ports_of(made)) == "http://127.0.0.1:8000"
    joined = make(ray={"address": "10.0.0.1:6379"})
    assert dashboard_url(joined.settings, ports_of(joined)) == ""


def environment_of(made):
    return ray_environment(made.settings, made.home, ports_of(made), made.identity, {"PATH": "/bin"})


def test_haproxy_has_paths_and_ports_of_its_own(make):
    made = make(serve={"proxy": "haproxy"})
    given = environment_of(made)
    assert given["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    folder = str(made.home.haproxy_dir)
    paths = [value for name, value in given.items() if name.startswith("RAY_SERVE_HAPROXY") and value.startswith("/")]
    assert len(paths) == 5
    assert all(path.startswith(folder) for path in paths)


def test_rays_own_proxy_needs_none_of_it(make):
    given = environment_of(make(serve={"proxy": "ray"}))
    assert not [name for name in given if "HAPROXY" in name or "HA_PROXY" in name or "THROUGHPUT" in name]


def test_every_variable_of_serve_that_we_set_exists_in_this_ray(make):
    import ray

    text = (Path(ray.__file__).parent / "serve" / "_private" / "constants.py").read_text()
    for name in environment_of(make()):
        if name.startswith("RAY_SERVE_"):
            assert f'"{name}"' in text, name


def test_ray_gives_a_silent_host_up_in_time_and_knows_the_names_of_its_checks(make):
    import ray

    given = environment_of(make())
    period_ms, timeout_ms, failures = (
        int(given[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold")
    )
    assert failures * period_ms <= 3_000, "where it is killed, and refuses connections"
    assert failures * (period_ms + timeout_ms) <= 9_000, "where it does not answer"
    program = (Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server").read_bytes()
    for name in given:
        if name.startswith("RAY_health_check"):
            assert name.removeprefix("RAY_").encode() in program, name


def test_the_token_is_a_file_and_never_a_value(make):
    made = make()
    given = environment_of(made)
    assert given["RAY_AUTH_MODE"] == "token"
    assert Path(given["RAY_AUTH_TOKEN_PATH"]).stat().st_mode & 0o077 == 0
    assert made.home.token_file.read_text() not in " ".join([*given.values(), *start_command_of(made)])


def start_command_of(made):
    return start_command(made.settings, made.home, ports_of(made))


def test_every_listener_of_the_head_has_a_number_of_ours(make):
    flags = dict(part[2:].split("=") for part in start_command_of(make()) if part.startswith("--") and "=" in part)
    ports = {name: int(value) for name, value in flags.items() if name.endswith("port")}
    assert len(set(ports.values())) == len(ports)
    assert flags["dashboard-host"] == "127.0.0.1"
    assert "ray-client-server-port" not in flags


def test_the_hook_leaves_out_the_client_server():
    params = type("Params", (), {"ray_client_server_port": 10001})()
    without_client_server(params, True)
    assert params.ray_client_server_port is None


def test_old_sessions_go_and_the_address_of_the_last_head_is_forgotten(make):
    home = make().home
    for day in range(5):
        (home.ray_dir / f"session_2026-01-0{day + 1}_x" / "logs").mkdir(parents=True)
    (home.ray_dir / "session_latest").symlink_to(home.ray_dir / "session_2026-01-05_x")
    (home.ray_dir / "ray_current_cluster").write_text("10.0.0.1:20001")
    (home.ray_dir / "session_2026-01-05_x/logs/ray_process_exit.log").write_text(
        "2026 ERROR Some Ray subprocesses exited unexpectedly:\n  raylet [exit code=-9 (signal 9)]\n"
    )
    assert head_address(home) == "10.0.0.1:20001"
    assert obituary(home) == "raylet [exit code=-9 (signal 9)]"
    prepare_ray_dir(home)
    assert head_address(home) is None
    assert sorted(path.name for path in home.ray_dir.glob("session_2*")) == ["session_2026-01-05_x"]


def test_a_taken_api_port_is_told_with_its_cure(make, monkeypatch):
    made = make()
    monkeypatch.setattr(instance_module, "is_free", lambda port: port != 8000)
    with pytest.raises(Conflict, match=r"port 8000 is taken by .*RAYLOOM_SERVE__PORT"):
        settle_ports(made)


def test_parts_follow_the_settings(make):
    made = make()
    parts = make_parts(made, ports_of(made), FakeStarter(), print)
    assert [one.name for one in parts] == ["database", "ray", "driver"]
    assert isinstance(parts[1].part, OwnHead)
    joined = make(ray={"address": "10.0.0.1:6379"}, database={"url": "postgresql://theirs"})
    parts = make_parts(joined, ports_of(joined), FakeStarter(), print)
    assert isinstance(parts[1].part, GivenCluster)
    assert parts[0].part.dsn == "postgresql://theirs"


def test_a_joined_cluster_is_not_told_of_our_token(make, monkeypatch):
    made = make(ray={"address": "10.0.0.1:6379"})
    starter = FakeStarter()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/theirs")
    make_parts(made, ports_of(made), starter, print)[2].part.warm()
    given = starter.launches[0].environment
    assert given["RAY_AUTH_TOKEN_PATH"] == "/theirs"
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in given


def test_logs_are_cut_and_one_predecessor_is_kept(make, monkeypatch):
    home = make().home
    monkeypatch.setattr(keep, "LOG_BYTES_MAX", 10)
    home.log("driver").write_text("x" * 11)
    home.log("ray").write_text("x" * 10)
    with home.log("driver").open("ab") as writer:
        keep.trim_logs(home)
        writer.write(b"after")
    assert home.log("driver").read_bytes() == b"after"
    assert (home.logs / "driver.log.1").read_bytes() == b"x" * 11
    assert home.log("ray").stat().st_size == 10


def test_settings_reach_somebody():
    """Each setting is read somewhere: what nobody uses is not a setting."""
    source = "\n".join(path.read_text() for path in Path(keep.__file__).parent.glob("*.py"))
    settings = load()
    for section in ("database", "ray", "pool", "serve"):
        for name in type(getattr(settings, section)).model_fields:
            used = "actors" if (section, name) == ("pool", "size") else name
            assert f".{used}" in source, f"{section}.{name}"
