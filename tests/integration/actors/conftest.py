"""One Ray cluster for the pytest process, on free ports, without a dashboard; its workers import what we import."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.embedded import EmbeddedServer
from tests.conftest import database_dsn, run_sql

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray head with two CPUs; this process is its driver."""
    import ray

    if ray.is_initialized():
        yield
        return
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    # The environment of a head is that of its workers, which must find our packages and these tests.
    os.environ |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    folder = tempfile.mkdtemp(prefix="rlr-", dir="/tmp")
    try:
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            namespace="rayloom",
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def database(postgres_server: EmbeddedServer, template_database: str) -> Iterator[str]:
    """A migrated database for all tests of a module, since a pool of actors works on it."""
    name = f"pool_{os.getpid()}"
    run_sql(postgres_server.dsn, f"CREATE DATABASE {name} TEMPLATE {template_database}")  # type: ignore[arg-type]
    yield database_dsn(postgres_server, name)
    run_sql(postgres_server.dsn, f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]
