"""The embedded server through its life: started, killed, recovered, adopted, shared with nobody."""

import os
import secrets
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from store.embedded import EmbeddedServer
from store.server_place import settle
from store.server_process import processes_in
from tests.conftest import free_port, guardian
from workflow.errors import Unavailable

PASSWORD = "p@ss/w:rd"
pytestmark = pytest.mark.chaos


class Keeper:
    """Makes servers on one data root, as one keeper after the other would."""

    def __init__(self, root: Path, shelter: Path) -> None:
        self.root = root
        self.shelter = shelter
        self.servers: list[EmbeddedServer] = []

    def server(self, password: str = PASSWORD, *, for_tests: bool = True) -> EmbeddedServer:
        made = EmbeddedServer(self.root, port=free_port(), password=password, for_tests=for_tests, shelter=self.shelter)
        self.servers.append(made)
        return made

    def die(self, server: EmbeddedServer) -> None:
        """Let go of the lock without stopping, as a kill -9 of the keeper does."""
        server._drop_lock()
        server._process = None

    def stop_all(self) -> None:
        for server in self.servers:
            self.die(server)
        if (self.root / "place.json").is_file():
            self.server().stop()


@pytest.fixture
def keeper(server_root: Path) -> Iterator[Keeper]:
    folder = server_root / secrets.token_hex(4)
    folder.mkdir(mode=0o755)
    made = Keeper(folder / "data", folder / "shelter")
    yield made
    made.stop_all()
    assert processes_in(settle(made.root, made.shelter).data_dir) == []


def query(server: EmbeddedServer, statement: str) -> object:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchone() if done.description else None


def test_start_stop_start_keeps_the_data(keeper: Keeper) -> None:
    server = keeper.server()
    server.start()
    with guardian(server.pid, keeper.root):
        query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        listeners = psutil.Process(server.pid).net_connections("inet")
        server.stop()
        stopped = (server.alive(), server.pid)
        server.start()

        assert [(at.laddr.ip, at.laddr.port) for at in listeners if at.status == "LISTEN"] == [
            ("127.0.0.1", server.port)
        ]
        assert stopped == (False, None)
        assert query(server, "SELECT answer FROM kept") == (42,)
        assert query(server, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == (1,)
        assert query(server, "SHOW shared_preload_libraries") == ("pg_stat_statements",)


def test_it_asks_for_the_password(keeper: Keeper) -> None:
    server = keeper.server()
    server.start()

    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(server.dsn.replace("p%40ss", "other"))
    with pytest.raises(Unavailable, match="looks after"):
        keeper.server().start()
    keeper.die(server)
    with pytest.raises(Unavailable, match="another password"):
        keeper.server("other").start()
    assert server.alive()


def test_the_server_is_not_root_and_outlives_a_ctrl_c(keeper: Keeper) -> None:
    server = keeper.server()
    server.start()
    assert server.pid is not None
    process = psutil.Process(server.pid)

    assert process.uids().real != 0
    assert os.getsid(server.pid) != os.getsid(0)
    assert "PATH" in process.environ()
    assert "HOME" not in process.environ()


def test_after_kill_9_of_the_main_process_it_recovers(keeper: Keeper) -> None:
    server = keeper.server(for_tests=False)
    server.start()
    query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    busy = psycopg.connect(server.dsn, autocommit=True)
    orphan = psutil.Process(busy.info.backend_pid)
    # A backend that is stopped cannot notice the death of its parent: the start has to end it first.
    orphan.send_signal(signal.SIGSTOP)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(server.pid)] if psutil.pid_exists(server.pid) else [], timeout=10)
    was_alive = server.alive()
    orphan_lived = orphan.is_running()
    server.start()

    assert (was_alive, orphan_lived) == (False, True)
    assert not orphan.is_running()
    assert query(server, "SELECT answer FROM kept") == (42,)
    busy.close()


def test_a_later_keeper_adopts_a_living_server(keeper: Keeper) -> None:
    first = keeper.server()
    first.start()
    pid = first.pid
    keeper.die(first)
    second = keeper.server()
    second.start()

    assert (second.pid, second.port) == (pid, first.port)
    assert second.alive()
    second.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stale_pid_file_that_names_another_process_is_no_obstacle(keeper: Keeper) -> None:
    server = keeper.server()
    server.start()
    server.stop()
    data_dir = settle(keeper.root, keeper.shelter).data_dir
    (data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n0\n{free_port()}\n\n\n\n")
    server.start()

    assert server.alive()


def test_an_interrupted_initdb_leaves_no_trace(keeper: Keeper) -> None:
    keeper.root.mkdir()
    (keeper.root / "initdb-left").mkdir()
    (keeper.root / "initdb-left" / "PG_VERSION").write_text("18")
    server = keeper.server()
    server.start()

    assert server.alive()
    assert not (keeper.root / "initdb-left").exists()


def test_a_folder_that_is_something_else_is_left_alone(keeper: Keeper) -> None:
    (keeper.root / "pgdata").mkdir(parents=True)
    (keeper.root / "pgdata" / "thesis.txt").write_text("precious")

    with pytest.raises(Unavailable, match="neither empty"):
        keeper.server().start()
    assert (keeper.root / "pgdata" / "thesis.txt").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the data to another user")
def test_below_a_closed_folder_of_root_the_data_go_to_the_shelter(keeper: Keeper) -> None:
    keeper.root.mkdir(mode=0o700)
    keeper.server().start()
    keeper.die(keeper.servers[0])
    again = keeper.server()
    again.start()
    place = settle(keeper.root, keeper.shelter)

    assert place.data_dir.is_relative_to(keeper.shelter)
    assert stat.S_IMODE(keeper.root.stat().st_mode) == 0o700
    assert again.alive()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the data to another user")
def test_data_that_are_gone_are_not_silently_made_anew(keeper: Keeper) -> None:
    keeper.root.mkdir(mode=0o700)
    server = keeper.server()
    server.start()
    server.stop()
    record = (keeper.root / "place.json").read_text()
    (keeper.root / "place.json").write_text('{"home": "/nowhere"}')
    with pytest.raises(Unavailable, match="gone"):
        keeper.server().start()
    (keeper.root / "place.json").write_text(record)
    server.start()

    assert server.alive()
