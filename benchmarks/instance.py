"""A Rayloom of the benchmarks' own: a home in a temporary folder, ports of its own, stopped whatever happens."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cluster.home import read_json
from cluster.instance import Instance, open_instance
from cluster.ports import Ports
from cluster.processes import Identity, end_all
from cluster.ray_start import head_address, ray_environment
from cluster.record import read_record
from configs import environment
from store.server_place import settle

ROOT = Path(__file__).resolve().parent.parent
UP_LIMIT_S = 300
DOWN_LIMIT_S = 120
OUTBOUND = {"RAYLOOM_OUTBOUND__ALLOW": '["127.0.0.1/32"]'}
"""Workflows may reach the servers that a row starts on loopback."""
OWN_PORTS = {"RAYLOOM_SERVE__PORT": "0", "RAYLOOM_DATABASE__PORT": "0", "RAYLOOM_RAY__DASHBOARD_PORT": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An instance that is up."""

    instance: Instance
    base_url: str
    workspace_id: str
    api_key: str
    postgres_port: int
    up_log: str

    @property
    def workspace_url(self) -> str:
        """The address below which everything of the workspace lies."""
        return f"{self.base_url}/api/v1/workspaces/{self.workspace_id}"

    def dsn(self, database: str = "rayloom") -> str:
        """Return the connection string of a database on the instance's PostgreSQL."""
        password = self.instance.home.secrets().postgres_password
        return f"postgresql://rayloom:{password}@127.0.0.1:{self.postgres_port}/{database}"

    def make_database(self, name: str) -> str:
        """Make an empty database for a peer and return its connection string."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    def data_dir(self) -> Path:
        """Return the folder of PostgreSQL's data."""
        with psycopg.connect(self.dsn()) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        return Path(row[0])

    def ray_address(self) -> str:
        """Return the address of the instance's Ray cluster."""
        address = head_address(self.instance.home)
        assert address is not None
        return address

    def ray_environment(self) -> dict[str, str]:
        """Return the environment of a driver on the instance's Ray cluster, its token included."""
        home = self.instance.home
        ports = Ports(**home.remembered_ports())
        return ray_environment(self.instance.settings, home, ports, self.instance.identity, environment.for_ray())

    def sessions(self) -> tuple[int, ...]:
        """Return the sessions that the instance's processes belong to."""
        record = read_record(self.instance.home)
        return record.sessions if record else ()


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """Start an instance through the command line; stop it and remove its files at the end, also after a failure."""
    root = Path(tempfile.mkdtemp(prefix="rayloom-bench-"))
    variables = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "RAY_ADDRESS")}
    variables |= OWN_PORTS | OUTBOUND | {"RAYLOOM_HOME": str(root)}
    # A shell ignores SIGINT for what it starts in the background, and SIGTERM would skip everything that is cleared up here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        up = _cli("up", variables, UP_LIMIT_S)
        if up.returncode:
            raise RuntimeError(f"`rayloom up` failed: {up.stdout}{up.stderr}")
        yield _opened(variables, up.stdout)
    finally:
        _stop(root, variables)


def _cli(command: str, variables: dict[str, str], limit_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cluster.cli", command],
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def _opened(variables: dict[str, str], up_log: str) -> Running:
    # The settings are read from the environment, which is ours alone to change: this process is only the benchmark.
    os.environ.update({name: value for name, value in variables.items() if name.startswith("RAYLOOM_")})
    for name in ("DATABASE_URL", "RAY_ADDRESS"):
        os.environ.pop(name, None)
    instance = open_instance()
    admin = instance.home.admin()
    return Running(
        instance=instance,
        base_url=admin["base_url"],
        workspace_id=admin["workspace_id"],
        api_key=admin["api_key"],
        postgres_port=instance.home.remembered_ports()["postgres"],
        up_log=up_log,
    )


def _stop(root: Path, variables: dict[str, str]) -> None:
    data = _outside_data(root)
    with contextlib.suppress(subprocess.TimeoutExpired):
        _cli("down", variables, DOWN_LIMIT_S)
    mark = read_json(root / "instance.json").get("id")
    if mark and (left := end_all(Identity(instance=mark, folder=root / "work"))):
        raise RuntimeError(f"these processes cannot be ended: {left}")
    for folder in (data, root):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _outside_data(root: Path) -> Path | None:
    """Return the folder that root's PostgreSQL was given because its user may not enter ours, if there is one."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        parent = settle(root / "postgres").data_dir.parent
        return None if parent.is_relative_to(root) else parent
    return None
