"""What `rayloom doctor` looks at: whatever has made an instance fail, each with what to do about it."""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from actors.packages import verify_packages
from cluster.instance import Instance, embedded_server
from cluster.parts import sentence
from cluster.ports import is_free
from cluster.processes import belonging, find, listener_on
from cluster.record import KeeperRecord, read_record
from workflow.errors import RayloomError

PYTHON_MIN = (3, 11)
RAY_WANTED = "2.60"
DISK_FREE_MIN_BYTES = 2 * 1024**3
# Ray falls back to the disk, without a word to the caller, when this is too small.
SHARED_MEMORY_MIN_BYTES = 512 * 1024**2
OPEN_FILES_MIN = 4096
CONNECT_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `detail` says what was found, and what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str


def examine(instance: Instance) -> list[Check]:
    """Return all checks of this host and instance."""
    record = read_record(instance.home)
    keeper = find(record.pid, record.created_s) if record else None
    looks: list[Callable[[], Iterator[Check]]] = [
        _packages,
        _versions,
        lambda: _home(instance),
        lambda: _room(instance),
        lambda: _leftovers(instance, record, keeper),
        lambda: _ports(instance, record, keeper),
        lambda: _database(instance, record, keeper),
    ]
    checks: list[Check] = []
    for look in looks:
        try:
            checks.extend(look())
        except (RayloomError, OSError, psutil.Error) as error:
            checks.append(Check(name="doctor", ok=False, detail=sentence(error)))
    return checks


def _packages() -> Iterator[Check]:
    findings = verify_packages()
    detail = "; ".join(finding.message for finding in findings) or "all seven are ours"
    advice = ". Install Rayloom into a virtual environment of its own" if findings else ""
    yield Check(name="packages", ok=not findings, detail=detail + advice)


def _versions() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Check(name="python", ok=sys.version_info[:2] >= PYTHON_MIN, detail=found)
    try:
        ray = version("ray")
    except PackageNotFoundError:
        ray = "not installed"
    yield Check(name="ray", ok=ray.startswith(f"{RAY_WANTED}."), detail=f"{ray} (wanted: {RAY_WANTED}.x)")


def _home(instance: Instance) -> Iterator[Check]:
    home = instance.home
    home.secrets()
    if home.admin_file.exists():
        home.admin()
    yield Check(name="home", ok=True, detail=f"{home.root} is private")


def _room(instance: Instance) -> Iterator[Check]:
    free = shutil.disk_usage(instance.home.root).free
    yield Check(name="disk", ok=free >= DISK_FREE_MIN_BYTES, detail=f"{free / 1024**3:.1f} GiB free, at least 2 wanted")
    shared = shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else 0  # noqa: S108 - its size is asked for
    advice = "" if shared >= SHARED_MEMORY_MIN_BYTES else "; in Docker: --shm-size=2g"
    yield Check(
        name="shared memory",
        ok=shared >= SHARED_MEMORY_MIN_BYTES,
        detail=f"{shared / 1024**3:.1f} GiB of /dev/shm, at least 0.5 wanted{advice}",
    )
    files, _ = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)
    enough = files < 0 or files >= OPEN_FILES_MIN
    yield Check(
        name="open files", ok=enough, detail=f"limit {files}, at least {OPEN_FILES_MIN} wanted: ulimit -n 65535"
    )


def _leftovers(instance: Instance, record: KeeperRecord | None, keeper: psutil.Process | None) -> Iterator[Check]:
    if keeper is not None and record is not None:
        yield Check(name="keeper", ok=True, detail=f"runs with pid {keeper.pid}, {record.phase}")
        return
    left = belonging(instance.identity, record.sessions if record else ())
    pids = ", ".join(str(process.pid) for process in left)
    detail = (
        f"no keeper, but processes remain: {pids}; end them with: rayloom down" if left else "not up, nothing remains"
    )
    yield Check(name="keeper", ok=not left, detail=detail)


def _ports(instance: Instance, record: KeeperRecord | None, keeper: psutil.Process | None) -> Iterator[Check]:
    if keeper is not None and record is not None:
        yield Check(
            name="ports", ok=True, detail=f"API {record.base_url}, dashboard {record.dashboard_url or 'elsewhere'}"
        )
        return
    port = instance.settings.serve.port or instance.home.remembered_ports().get("api", 0)
    taken = port != 0 and not is_free(port)
    detail = f"{port} is taken by {listener_on(port)}; choose another with RAYLOOM_SERVE__PORT" if taken else "free"
    yield Check(name="ports", ok=not taken, detail=f"API port {detail}")


def _database(instance: Instance, record: KeeperRecord | None, keeper: psutil.Process | None) -> Iterator[Check]:
    if instance.settings.database.url is not None:
        yield _answers(instance.settings.database.url, "DATABASE_URL")
        return
    if keeper is None or record is None:
        yield Check(name="database", ok=True, detail="embedded, not up")
        return
    server = embedded_server(instance, record.ports["postgres"])
    answers = server.alive()
    detail = "the embedded server answers" if answers else "the embedded server does not answer; see postgres.log"
    yield Check(name="database", ok=answers, detail=detail)
    part = next((part for part in record.parts if part.name == "database"), None)
    if part is not None and part.pid is not None:
        user = psutil.Process(part.pid).username()
        yield Check(name="database user", ok=user != "root", detail=f"PostgreSQL runs as {user}")


def _answers(url: str, name: str) -> Check:
    place = urlsplit(url)
    host, port = place.hostname or "localhost", place.port or 5432
    try:
        socket.create_connection((host, port), timeout=CONNECT_LIMIT_S).close()
    except OSError as error:
        return Check(name="database", ok=False, detail=f"{name}: {host}:{port} cannot be reached: {error}")
    return Check(name="database", ok=True, detail=f"{name}: {host}:{port} accepts connections")
