"""A Rayloom of its own for a pytest process: driven through the command line, looked at through HTTP, SQL and `/proc`.

What it knows of its processes it finds out by itself (environment, parents, sessions), not with the code under test.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx2
import psutil
import psycopg

T = TypeVar("T")

COMMAND = Path(sys.executable).with_name("rayloom")
UP_LIMIT_S = 240
DOWN_LIMIT_S = 90
HEALTHY_LIMIT_S = 90
TERMINAL = ("completed", "failed", "cancelled", "timeout")


def until(look: Callable[[], T], limit_s: float, what: str = "it did not happen", every_s: float = 0.02) -> T:
    """Return the first true value that `look` gives; fail after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"not within {limit_s} s: {what}"
        time.sleep(every_s)
    return found


@dataclass(frozen=True)
class Known:
    """A process, named so that a reused pid is not taken for it."""

    pid: int
    created_s: float
    what: str = field(compare=False)

    @property
    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created_s and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def busy(self, over_s: float = 0.4) -> float:
        """Return how much of one CPU it uses just now."""
        try:
            process = psutil.Process(self.pid)
            return process.cpu_percent(over_s) / 100 if process.create_time() == self.created_s else 0.0
        except psutil.Error:
            return 0.0

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, and return when it has ended."""
        self.send(signal.SIGKILL)
        until(lambda: not self.alive, 10, f"{self} survives kill -9", every_s=0.002)


class Api:
    """The HTTP API as the first administrator sees it."""

    def __init__(self, base_url: str, workspace_id: str, api_key: str) -> None:
        self.workspace = f"/api/v1/workspaces/{workspace_id}"
        # No proxy of the environment, and no connection kept alive to a replica or proxy that a test has killed.
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=1)
        self.http = httpx2.Client(
            base_url=base_url, headers={"X-API-Key": api_key}, timeout=60, trust_env=False, limits=limits
        )

    def create_workflow(self, definition: dict[str, Any]) -> str:
        answer = self.http.post(f"{self.workspace}/workflows", json=definition)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def execute(
        self, workflow: str | dict[str, Any], given: Any = None, wait: float = 0, key: str | None = None
    ) -> httpx2.Response:
        """Ask for an execution of a stored workflow, by its id, or of a definition that is sent along."""
        headers = {"Idempotency-Key": key} if key else {}
        if isinstance(workflow, str):
            path, body = f"{self.workspace}/workflows/{workflow}/execute", {"input": given}
        else:
            path, body = f"{self.workspace}/executions", {"definition": workflow, "input": given}
        return self.http.post(path, json=body, params={"wait": wait}, headers=headers)

    def start(self, workflow: str | dict[str, Any], given: Any = None) -> UUID:
        """Start an execution and do not wait for it."""
        answer = self.execute(workflow, given)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    def execution(self, execution_id: UUID) -> dict[str, Any]:
        answer = self.http.get(f"{self.workspace}/executions/{execution_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cancel(self, execution_id: UUID) -> httpx2.Response:
        return self.control(execution_id, "cancel")

    def control(self, execution_id: UUID, what: str) -> httpx2.Response:
        """Cancel, pause or resume an execution."""
        return self.http.post(f"{self.workspace}/executions/{execution_id}/{what}")

    def respond(self, request_id: UUID, action: str) -> httpx2.Response:
        """Answer what an execution asks."""
        return self.http.post(f"{self.workspace}/hitl/{request_id}/respond", json={"action": action})


class RunningInstance:
    """One Rayloom with a home of its own; `settings` are environment variables without `RAYLOOM_`: `POOL__SIZE=2`.

    `command` is `rayloom` of the environment that it runs in.
    """

    def __init__(self, proxy: str = "haproxy", command: Path = COMMAND, **settings: object) -> None:
        self._command = command
        self.root = Path(tempfile.mkdtemp(prefix="rlt-", dir="/tmp"))
        self.home = self.root / "h"
        self.settings = {"SERVE__PROXY": proxy, "SERVE__PORT": 0, "RAY__DASHBOARD_PORT": 0, **settings}
        self.hosts = 1
        """How many hosts there are, each with a pool of `POOL__SIZE`."""
        self.api: Api
        self._password = ""
        self._database_port = 0
        self._known: set[Known] = set()
        self._sessions: set[int] = set()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    # the command line

    @property
    def python(self) -> Path:
        """The interpreter that its processes run in: a host that joins it needs the same packages."""
        return self._command.with_name("python")

    def command(self, *arguments: str, limit_s: float) -> str:
        """Run `rayloom …` and return what it said."""
        done = subprocess.run(
            [self._command, *arguments],
            env=self._environment(),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"rayloom {' '.join(arguments)} gave {done.returncode}:\n{said}"
        return said

    def script(self, file: Path, *arguments: str, limit_s: float) -> str:
        """Run a Python script as somebody would who uses this instance, and return what it said."""
        done = subprocess.run(
            [sys.executable, file, *arguments],
            env=self._environment() | {"COLUMNS": "160"},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{file.name} gave {done.returncode}:\n{said}"
        return said

    def up(self, **settings: object) -> float:
        """Start it and return after how many seconds it was up."""
        began_s = time.monotonic()
        self.settings |= settings
        self.command("up", limit_s=UP_LIMIT_S)
        took_s = time.monotonic() - began_s
        admin = json.loads((self.home / "admin.json").read_text())
        self.api = Api(admin["base_url"], admin["workspace_id"], admin["api_key"])
        self.workspace_id = UUID(admin["workspace_id"])
        self._password = json.loads((self.home / "secrets.json").read_text())["postgres_password"]
        self.look()
        return took_s

    def down(self) -> list[Known]:
        """Stop it and return what is left of it."""
        self.look()
        self.command("down", limit_s=DOWN_LIMIT_S)
        return self.remains()

    def close(self, *, keep_logs: bool = False) -> None:
        """Stop it, whatever it is like, and remove its files; fails when a process of it is left."""
        try:
            left = self.down()
        finally:
            if keep_logs:
                self._keep_logs()
            strays = [known for known in self.look() if known.alive]
            for known in strays:
                known.send(signal.SIGKILL)
            record = self.home / "postgres" / "place.json"
            if record.exists():
                shutil.rmtree(json.loads(record.read_text())["home"], ignore_errors=True)
            shutil.rmtree(self.root, ignore_errors=True)
        assert not left, f"`rayloom down` has left {left}"
        assert not strays, f"these were left: {strays}"

    def _keep_logs(self) -> None:
        kept = Path(tempfile.gettempdir()) / f"rayloom-test-logs-{self.root.name}"
        shutil.copytree(self.home / "logs", kept / "logs", dirs_exist_ok=True)
        for session in self.home.glob("ray/session_2*"):
            with contextlib.suppress(shutil.Error):
                shutil.copytree(session / "logs", kept / session.name, dirs_exist_ok=True)
        shutil.copy(self.home / "postgres" / "postgres.log", kept)
        print(f"\nthe logs are kept in {kept}")

    def until_healthy(self, limit_s: float = HEALTHY_LIMIT_S) -> None:
        """Return when everything is there: parts, the pool of every host, API."""

        def healthy() -> bool:
            with contextlib.suppress(httpx2.HTTPError, psycopg.Error):
                answer = self.api.http.get("/health/ready", timeout=3)
                live, size = len(self.leases()), self.hosts * int(str(self.settings["POOL__SIZE"]))
                return answer.status_code == 200 and answer.json()["actors"] == size and live == size
            return False

        until(healthy, limit_s, f"healthy again; {self.home}", every_s=0.1)
        self.look()

    # the truth

    @property
    def dsn(self) -> str:
        """The connection string of the database, as the server itself notes its port: a new keeper may give it another one."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            place = json.loads((self.home / "postgres" / "place.json").read_text())["home"]
            self._database_port = int((Path(place) / "pgdata" / "postmaster.pid").read_text().splitlines()[3])
        return f"postgresql://rayloom:{self._password}@127.0.0.1:{self._database_port}/rayloom"

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Read from the database, also while it comes back from a crash."""
        deadline_s = time.monotonic() + 40
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self.dsn, autocommit=True, connect_timeout=3)
                return self._connection.execute(statement, parameters or None).fetchall()
            except psycopg.OperationalError:
                self._connection = None
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)

    def leases(self) -> list["Lease"]:
        """Return the living leases of the pool."""
        return self._leases("dedicated_to IS NULL AND NOT draining")

    def dedicated_leases(self) -> list["Lease"]:
        """Return the living leases of actors that are for one execution; these take nothing else, so they drain."""
        return self._leases("dedicated_to IS NOT NULL")

    def _leases(self, which: str) -> list["Lease"]:
        found = self.rows(
            "SELECT id, actor_name, pid, dedicated_to FROM leases "
            f"WHERE ended_at IS NULL AND expires_at > clock_timestamp() AND {which} ORDER BY id"
        )
        return [Lease(*row) for row in found]

    def owned(self, lease_id: UUID) -> dict[UUID, int]:
        """Return what runs under a lease, with its epochs."""
        return dict(
            self.rows("SELECT id, epoch FROM executions WHERE owner = %s AND status = 'running'", lease_id)  # type: ignore[arg-type]
        )

    def states(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """Return the status of each of these executions."""
        return dict(
            self.rows(
                "SELECT e.id, e.status FROM unnest(%s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id", list(ids)
            )  # type: ignore[arg-type]
        )

    def until_terminal(self, ids: Sequence[UUID], limit_s: float) -> dict[UUID, str]:
        """Return the statuses when all have ended."""
        found: dict[UUID, str] = {}

        def ended() -> bool:
            found.update(self.states(ids))
            return len(found) == len(ids) and all(status in TERMINAL for status in found.values())

        try:
            until(ended, limit_s, every_s=0.05)
        except AssertionError:
            open_ones = [identity for identity in ids if found.get(identity) not in TERMINAL]
            raise AssertionError(f"not ended within {limit_s} s: {self.describe(open_ones)}") from None
        return found

    def describe(self, ids: Sequence[UUID]) -> str:
        """Return what the database says about some executions, for the message of a failure."""
        found = self.rows(
            "SELECT e.id, e.status, e.epoch, e.last_seq, e.losses, e.crashes, l.actor_name, l.pid, l.ended_at IS NULL "
            "FROM unnest(%s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id LEFT JOIN leases l ON l.id = e.owner",
            list(ids)[:5],
        )
        return f"{len(ids)} executions, such as {[tuple(map(str, row)) for row in found]} (home {self.home})"

    # processes

    def look(self) -> list[Known]:
        """Return the processes that there are, and remember them."""
        found = list(self._scan())
        self._known.update(found)
        return found

    def remains(self) -> list[Known]:
        """Return what lives of all the processes that it ever had, as far as we have seen them, and of new ones."""
        return [known for known in {*self._known, *self._scan()} if known.alive]

    def record(self) -> dict[str, Any]:
        """Return the keeper's record of itself."""
        return json.loads((self.home / "keeper.json").read_text())

    def part(self, name: str) -> Known:
        """Return the main process of a part of the keeper: database, ray, driver."""
        pid = next(part["pid"] for part in self.record()["parts"] if part["name"] == name)
        return known_as(pid, name)

    def keeper(self) -> Known:
        return known_as(self.record()["pid"], "keeper")

    def titled(self, title: str) -> list[Known]:
        """Return the processes with this title: `ray::SupervisorActor`."""
        return [known for known in self.look() if known.what.startswith(title)]

    def children(self, pid: int) -> list[Known]:
        """Return the processes below one: an actor's sandbox workers."""
        try:
            below = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return []
        found = [known for process in below if (known := _known(process)) is not None]
        self._known.update(found)
        return found

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAYLOOM_", "RAY_")) and name not in ("DATABASE_URL", "PYTHONPATH")
        }
        ours = {f"RAYLOOM_{name}": str(value) for name, value in self.settings.items()}
        return inherited | ours | {"RAYLOOM_HOME": str(self.home)}

    def _scan(self) -> Iterator[Known]:
        """Find our processes: by environment, by the sessions of those, by the database's folder, and what is below."""
        marks = {f"RAYLOOM_HOME={self.home}".encode()}
        with contextlib.suppress(OSError, ValueError):
            instance = json.loads((self.home / "instance.json").read_text())["id"]
            marks.add(f"RAYLOOM_INSTANCE={instance}".encode())
        data = ""
        with contextlib.suppress(OSError, ValueError):
            data = json.loads((self.home / "postgres" / "place.json").read_text())["home"]
        mine = os.getsid(0)
        processes, children, ours = {}, {}, set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                processes[process.pid] = process
                children.setdefault(process.ppid(), []).append(process.pid)
                marked = not marks.isdisjoint(Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"))
                if marked and os.getsid(process.pid) != mine:
                    self._sessions.add(os.getsid(process.pid))
                if marked or (data and process.name() == "postgres" and process.cwd().startswith(data)):
                    ours.add(process.pid)
        for pid in processes:
            with contextlib.suppress(OSError):
                if os.getsid(pid) in self._sessions:
                    ours.add(pid)
        waiting = list(ours)
        while waiting:
            below = [pid for pid in children.get(waiting.pop(), ()) if pid not in ours]
            ours.update(below)
            waiting.extend(below)
        for pid in ours - {os.getpid()}:
            if (known := _known(processes[pid])) is not None and known.alive:
                yield known


@dataclass(frozen=True)
class Lease:
    """A living lease."""

    id: UUID
    actor_name: str
    pid: int
    dedicated_to: UUID | None

    @property
    def process(self) -> Known:
        return known_as(self.pid, self.actor_name)


def known_as(pid: int, what: str) -> Known:
    return Known(pid, psutil.Process(pid).create_time(), what)


def busiest(processes: Iterable[Known]) -> tuple[float, str]:
    """Return how much of a CPU the busiest of these processes uses just now, and which one that is."""
    living = [(known, psutil.Process(known.pid).cpu_times()) for known in processes if known.alive]
    began_s = time.monotonic()
    time.sleep(0.5)
    shares = [(0.0, "")]
    for known, before in living:
        with contextlib.suppress(psutil.Error):
            after = psutil.Process(known.pid).cpu_times()
            used_s = after.user + after.system - before.user - before.system
            shares.append((used_s / (time.monotonic() - began_s), str(known)))
    return max(shares)


def _known(process: psutil.Process) -> Known | None:
    try:
        return Known(process.pid, process.create_time(), " ".join(process.cmdline()).strip()[:160] or process.name())
    except psutil.Error:
        return None
