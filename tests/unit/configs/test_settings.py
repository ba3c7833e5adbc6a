import pytest
import yaml

from configs.environment import for_joining, for_keeper, for_ray
from configs.settings import DEFAULTS_FILE, InvalidSettingsError, Settings, load


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)


def test_every_default_stands_in_the_file_and_nothing_else_does():
    written = yaml.safe_load(DEFAULTS_FILE.read_text())
    known = {
        name: sorted(field.annotation.model_fields) if hasattr(field.annotation, "model_fields") else None
        for name, field in Settings.model_fields.items()
    }
    assert {name: sorted(value) if isinstance(value, dict) else None for name, value in written.items()} == known


def test_defaults():
    settings = load()
    assert settings.database.url is None
    assert settings.serve.port == 8000
    assert settings.serve.host == "127.0.0.1"
    assert settings.pool.actors >= 1
    assert settings.home.is_absolute()


def test_init_wins_over_the_environment_wins_over_the_chosen_file_wins_over_the_defaults(tmp_path, monkeypatch):
    chosen = tmp_path / "own.yaml"
    chosen.write_text("pool: {size: 3, slots: 4, poll_ms: 7}\n")
    monkeypatch.setenv("RAYLOOM_CONFIG", str(chosen))
    monkeypatch.setenv("RAYLOOM_POOL__SIZE", "5")
    monkeypatch.setenv("RAYLOOM_POOL__SLOTS", "6")
    settings = load({"pool": {"size": 8}})
    assert (settings.pool.size, settings.pool.slots, settings.pool.poll_ms) == (8, 6, 7)
    assert settings.pool.executions_max == 20000


def test_the_variables_that_the_world_sets_are_understood(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@db/x")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    settings = load()
    assert settings.database.url == "postgresql://u:p@db/x"
    assert settings.ray.address == "10.0.0.1:6379"
    monkeypatch.setenv("RAYLOOM_DATABASE__URL", "postgresql://other/x")
    assert load().database.url == "postgresql://other/x"


def test_null_in_the_environment_is_no_value(monkeypatch):
    monkeypatch.setenv("RAYLOOM_RAY__NUM_CPUS", "null")
    assert load().ray.num_cpus is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RAYLOOM_POOL__SIZ", "3", "pool.siz: there is no such setting"),
        ("RAYLOOM_POOLS__SIZE", "3", "there is no such setting: RAYLOOM_POOLS__SIZE"),
        ("RAYLOOM_POOL__SIZE", "0", "pool.size"),
        ("RAYLOOM_POOL__RENEW_MS", "5000", "renew_ms must be at most half"),
        ("RAYLOOM_SERVE__PORT", "15000", "Ray's workers use 10002-19999"),
        ("RAYLOOM_SERVE__PROXY", "nginx", "serve.proxy"),
        ("RAYLOOM_POOL", "nonsense", "pool"),
        ("RAYLOOM_CONFIG", "/nowhere.yaml", "/nowhere.yaml, which is not a file"),
        ("RAYLOOM_MODELS__RANKING", "mine", "ranking names 'mine', which is not among the rankers"),
        ("DATABASE_URL", "mysql://x/y", "must begin with postgresql://"),
    ],
)
def test_what_does_not_fit_is_named(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettingsError, match="(?s)" + said.replace(".", r"\.")):
        load()


def test_a_damaged_file_is_an_error_of_ours(tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("pool: [")
    monkeypatch.setenv("RAYLOOM_CONFIG", str(tmp_path / "bad.yaml"))
    with pytest.raises(InvalidSettingsError, match="cannot be read"):
        load()


def test_ray_gets_neither_the_database_nor_the_settings_of_another_cluster(monkeypatch):
    for name in ("DATABASE_URL", "RAYLOOM_HOME", "RAY_ADDRESS", "PGPASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    given = for_ray()
    assert given["LANG"] == "C.UTF-8"
    assert not {"DATABASE_URL", "RAYLOOM_HOME", "RAY_ADDRESS", "PGPASSWORD", "PYTHONPATH"} & given.keys()


def test_a_joining_driver_keeps_what_belongs_to_that_cluster(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/token")
    monkeypatch.setenv("DATABASE_URL", "postgresql://x/y")
    assert for_joining()["RAY_AUTH_TOKEN_PATH"] == "/token"
    assert "DATABASE_URL" not in for_joining()


def test_the_keeper_reads_the_same_settings_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYLOOM_CONFIG", "own.yaml")
    monkeypatch.setenv("RAYLOOM_HOME", "here")
    given = for_keeper(tmp_path / "here")
    assert given["RAYLOOM_CONFIG"] == str(tmp_path / "own.yaml")
    assert given["RAYLOOM_HOME"] == str(tmp_path / "here")
