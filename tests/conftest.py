"""One PostgreSQL server for the test run, one fresh database for each test that asks for one."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from store.embedded import EmbeddedServer
from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.migrate import migrate

TEMPLATE = "template_migrated"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server_root() -> Iterator[Path]:
    """A directory that PostgreSQL's user can walk into, unlike pytest's own."""
    root = Path(tempfile.mkdtemp(prefix="rayloom-test-", dir="/tmp"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_root: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(server_root / "session", port=free_port(), password=secrets.token_hex(16), for_tests=True)
    server.start()
    with guardian(server.pid, server_root):
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedServer) -> str:
    dsn = database_dsn(postgres_server, TEMPLATE)
    run_sql(postgres_server.dsn, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(dsn)
    return TEMPLATE


@pytest.fixture
def dsn(postgres_server: EmbeddedServer, template_database: str) -> Iterator[str]:
    """A fresh, migrated database."""
    with copied(postgres_server, template_database) as dsn:
        yield dsn


@contextmanager
def copied(server: EmbeddedServer, template: str) -> Iterator[str]:
    """Make a database like another one, to which nobody is connected; drop it at the end."""
    name = f"test_{os.getpid()}_{secrets.token_hex(6)}"
    database = sql.Identifier(name)
    run_sql(server.dsn, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(database, sql.Identifier(template)))
    yield database_dsn(server, name)
    run_sql(server.dsn, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    opened = make_pool(StoreConfig(dsn=dsn, application_name="test-pool"))
    await opened.open(wait=True)
    yield opened
    await opened.close()


@pytest.fixture
def pg_store(pool: Pool) -> PostgresExecutions:
    return PostgresExecutions(pool)


@contextmanager
def guardian(pid: int | None, folder: Path) -> Iterator[None]:
    """Stop the server when this process dies without doing it: the guardian's input ends with who holds the pipe."""
    script = 'read -r line && exit; kill -INT "$1"; while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"'
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", script, "guardian", str(pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield
    watcher.communicate(b"done\n")


def database_dsn(server: EmbeddedServer, name: str) -> str:
    return f"{server.dsn.rpartition('/')[0]}/{name}"


def run_sql(dsn: str, statement: sql.Composable | str, *parameters: object) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        done = connection.execute(statement, parameters or None)
        return done.fetchall() if done.description else []
