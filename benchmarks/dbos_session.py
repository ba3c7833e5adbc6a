"""DBOS as a peer: its environment, made once, and a session with the program that runs in it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.instance import ROOT

ENVIRONMENT = ROOT / ".bench" / "dbos-venv"
PROGRAM = Path(__file__).parent / "peers" / "dbos_peer.py"
REQUIREMENT = "dbos>=3.4,<4"
INSTALL_LIMIT_S = 600
POOL_SIZE = 20
TRIAL_WORKFLOWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What DBOS shall do: one of the program's words, how often, and with its threads or with asyncio."""

    do: str
    count: int
    mode: str


class DbosSession:
    """A running DBOS program on a database of its own."""

    def __init__(self, dsn: str) -> None:
        python = _installed()
        self._process = subprocess.Popen(
            [str(python), "-P", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version: str = self._say({"dsn": dsn, "pool_size": POOL_SIZE})["version"]
        self._modes: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """The pid of the program."""
        return self._process.pid

    def measure(self, do: str, count: int) -> float:
        """Return the figure of one job, in the mode that is the faster one for it."""
        return self._run(Job(do=do, count=count, mode=self._modes.get(do, "asyncio")))

    def choose_mode(self, do: str, count: int, *, higher_is_better: bool) -> str:
        """Try both modes twice, keep the better one for all that follows, and return it."""
        best = max if higher_is_better else min
        trials = {
            mode: best(self._run(Job(do=do, count=count, mode=mode)) for _ in range(2))
            for mode in ("threads", "asyncio")
        }
        self._modes[do] = best(trials, key=lambda mode: trials[mode])
        return self._modes[do]

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _run(self, job: Job) -> float:
        return float(self._say({"do": job.do, "count": job.count, "mode": job.mode})["value"])

    def _say(self, document: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the DBOS program has ended; its error is above")
        found: dict[str, Any] = json.loads(line)
        return found


def _installed() -> Path:
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        commands = (
            [sys.executable, "-m", "venv", str(ENVIRONMENT)],
            [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT],
        )
        for command in commands:
            subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S)
        (ENVIRONMENT / ".installed").touch()
    return python
