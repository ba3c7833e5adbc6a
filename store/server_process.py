"""The processes of an embedded server, as the operating system and `postmaster.pid` tell of them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from store.server_place import Account


def processes_in(data_dir: Path) -> list[psutil.Process]:
    """Return PostgreSQL processes that work in this data directory: each of them has it as its working directory."""
    wanted = str(data_dir.resolve())
    found = []
    for process in psutil.process_iter(["name", "cwd", "status"]):
        info = process.info
        if info["name"] == "postgres" and info["cwd"] == wanted and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def _line(data_dir: Path, index: int) -> int | None:
    try:
        return int((data_dir / "postmaster.pid").read_text().splitlines()[index])
    except (OSError, ValueError, IndexError):
        return None


def pid_in_file(data_dir: Path) -> int | None:
    """Return the pid that `postmaster.pid` names."""
    return _line(data_dir, 0)


def port_in_file(data_dir: Path) -> int | None:
    """Return the port that `postmaster.pid` names."""
    return _line(data_dir, 3)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process, unless it is gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def environment() -> Mapping[str, str]:
    """Return the whole environment of the server: nothing of ours leaks into it."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def run(command: Sequence[str], account: Account, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as the server\'s user and return what it said."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(),
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
    )
