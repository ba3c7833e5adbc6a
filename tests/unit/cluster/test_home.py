import itertools
import json
import os
import stat

import pytest

from cluster import home as home_module
from cluster.home import UnsafeHome, open_home, read_json, write_json
from workflow.errors import Conflict, Unavailable


def counting():
    numbers = itertools.count(1)
    return lambda size: f"{next(numbers):0{size * 2}x}"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "home"


def test_everything_in_a_new_home_is_closed_to_others(root):
    old = os.umask(0)
    try:
        made = open_home(root, counting())
    finally:
        os.umask(old)
    for folder in (root, made.logs, made.work, made.postgres, made.ray_dir.parent):
        assert mode(folder) == 0o700, folder
    for file in root.glob("*.*"):
        if file.is_file():
            assert mode(file) == 0o600, file


def test_opening_twice_changes_nothing(root):
    chance = counting()
    first = open_home(root, chance)
    contents = {path: path.read_bytes() for path in root.iterdir() if path.is_file()}
    second = open_home(root, chance)
    assert second.instance == first.instance
    assert second.secrets() == first.secrets()
    assert {path: path.read_bytes() for path in root.iterdir() if path.is_file()} == contents


def test_secrets_are_all_different(root):
    made = open_home(root, counting())
    secrets = made.secrets()
    drawn = [secrets.postgres_password, secrets.password, secrets.api_key, made.token_file.read_text(), made.instance]
    assert len(set(drawn)) == len(drawn)


def test_the_first_key_looks_like_every_other_key(root):
    from store.api_keys import PREFIX

    assert open_home(root, counting()).secrets().api_key.startswith(PREFIX)


@pytest.mark.parametrize("name", ["secrets.json", "ray.token"])
def test_a_secret_that_others_may_read_is_refused_with_its_cure(root, name):
    open_home(root, counting())
    (root / name).chmod(0o640)
    with pytest.raises(UnsafeHome, match=f"chmod 600 {root / name}"):
        open_home(root, counting())


def test_a_home_that_others_may_enter_is_refused(root):
    open_home(root, counting())
    root.chmod(0o755)
    with pytest.raises(UnsafeHome, match="chmod 700"):
        open_home(root, counting())


def test_a_linked_secret_is_refused(root, tmp_path):
    open_home(root, counting())
    (root / "ray.token").rename(tmp_path / "elsewhere")
    (root / "ray.token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeHome, match="is a link"):
        open_home(root, counting())


def test_a_folder_of_another_user_is_refused(root, monkeypatch):
    open_home(root, counting())
    monkeypatch.setattr(home_module.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnsafeHome, match="belongs to user"):
        open_home(root, counting())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(root, monkeypatch):
    open_home(root, counting())
    write_json(root / "ports.json", {"gcs": 1})
    before = sorted(path.name for path in root.iterdir())

    def no_rename(*_):
        raise OSError("disk full")

    monkeypatch.setattr(home_module.Path, "replace", no_rename)
    with pytest.raises(OSError, match="disk full"):
        write_json(root / "ports.json", {"gcs": 2})
    monkeypatch.undo()
    assert read_json(root / "ports.json") == {"gcs": 1}
    assert sorted(path.name for path in root.iterdir()) == before


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_file_is_named(root, content):
    made = open_home(root, counting())
    (root / "ports.json").write_text(content)
    with pytest.raises(Unavailable, match=r"ports\.json is damaged"):
        made.remembered_ports()


def test_one_keeper_per_home(root):
    made = open_home(root, counting())
    other = open_home(root, counting())
    assert not other.is_kept()
    with made.keeping():
        assert other.is_kept()
        with pytest.raises(Conflict), other.keeping():
            pass
    assert not other.is_kept()


def test_rays_folder_is_short_enough_for_every_socket(tmp_path):
    deep = tmp_path / ("x" * 60)
    short = tmp_path / "t"
    short.mkdir()
    made = open_home(deep, counting(), temporary=short)
    assert made.ray_dir.is_relative_to(short)
    assert mode(made.ray_dir.parent) == 0o700
    assert open_home(deep, counting(), temporary=short).ray_dir == made.ray_dir


def test_a_short_home_keeps_rays_folder_inside(monkeypatch):
    assert (
        home_module._ray_dir(home_module.Path("/home/me/.rayloom"), home_module.Path("/tmp")).parent.name == ".rayloom"
    )
    longest = "/h/" + "f" * 56 + "/a.4194304.tmp"
    assert home_module.RAY_DIR_BYTES_MAX + len(longest) == 107


def test_without_a_first_start_there_is_no_admin(root):
    made = open_home(root, counting())
    with pytest.raises(Unavailable, match="rayloom up"):
        made.admin()
    write_json(made.admin_file, {"api_key": "k"})
    assert made.admin() == json.loads(made.admin_file.read_text())
