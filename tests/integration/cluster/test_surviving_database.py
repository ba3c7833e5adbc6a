"""A database that has outlived its keeper: the next start knows where it listens."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.compose import driver_plan
from cluster.home import open_home
from cluster.instance import Instance, embedded_server, settle_ports
from cluster.processes import Identity
from configs.settings import load
from store.embedded import EmbeddedServer
from tests.conftest import free_port, guardian


@pytest.fixture
def instance(server_root: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    chosen = load({"home": server_root / secrets.token_hex(4), "serve": {"port": free_port()}})
    home = open_home(chosen.home, secrets.token_hex)
    return Instance(settings=chosen, home=home, identity=Identity(instance=home.instance, folder=home.work))


@pytest.fixture
def database(instance: Instance) -> Iterator[EmbeddedServer]:
    server = embedded_server(instance, settle_ports(instance).postgres)
    server.start()
    with guardian(server.pid, instance.home.root):
        yield server
        server.stop()


def test_the_port_of_our_own_running_database_is_kept(instance: Instance, database: EmbeddedServer) -> None:
    again = settle_ports(instance)

    assert again.postgres == database.port
    assert instance.home.remembered_ports()["postgres"] == database.port
    plan = driver_plan(instance.settings, instance.home, again, database.dsn, "")
    assert (database.port, database.port) in plan.pool["own_ports"]


def test_a_port_that_a_setting_asks_for_gives_way_to_that_of_the_running_database(
    instance: Instance, database: EmbeddedServer
) -> None:
    chosen = load({"home": instance.home.root, "serve": {"port": free_port()}, "database": {"port": free_port()}})

    assert settle_ports(replace(instance, settings=chosen)).postgres == database.port


def test_a_stopped_database_takes_no_port(instance: Instance, database: EmbeddedServer) -> None:
    assert database.running_port() == database.port
    database.stop()

    assert database.running_port() is None
