"""The parts that a keeper keeps: database, Ray, driver. Each begins without blocking and is polled.

A part knows how to begin, how it is doing, and how to end with nothing left over; when to do so is the keeper's business.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol

from cluster.processes import Identity, created_s
from workflow.errors import RayloomError


class Condition(StrEnum):
    """How a part is doing."""

    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a part is doing, and if it is dead, why. `pid` is that of its main process; `seconds` are per finished stage."""

    condition: Condition
    reason: str = ""
    pid: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


class Part(Protocol):
    """Something that is started, watched and restarted."""

    @property
    def name(self) -> str:
        """The part's name in the record and on the screen."""
        ...

    def warm(self) -> None:
        """Do what can be done before the parts that this one needs are ready. May be called again and again."""
        ...

    def begin(self) -> None:
        """Begin to start; everything needed is ready. Raises `RayloomError`."""
        ...

    def poll(self) -> State:
        """Say how it is doing."""
        ...

    def end(self) -> None:
        """End it, in whatever condition it is, with everything that it started. Raises `RayloomError` when something remains."""
        ...


class Process(Protocol):
    """What a part needs of a child process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to start. `log` receives its output, from its end on; `wants_input` keeps a pipe to its standard input."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    wants_input: bool = False


class Starter(Protocol):
    """Starts processes: the real one, or a test's."""

    def __call__(self, launch: Launch) -> Process:
        """Start the process in a session of its own. Raises `OSError`."""
        ...


def start_process(launch: Launch) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that no signal of our terminal reaches it."""
    # Opened for appending: the keeper may cut the file while the process writes to it.
    with launch.log.open("ab") as output:
        return subprocess.Popen(
            launch.command,
            env=dict(launch.environment),
            cwd=launch.folder,
            stdin=subprocess.PIPE if launch.wants_input else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class Background:
    """A part whose start blocks: it runs in a thread, and its outcome is polled."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def finished(self) -> bool:
        """Whether the work is over."""
        return not self._thread.is_alive()

    def error(self) -> Exception | None:
        """What the work raised."""
        return self._error

    def join(self, patience_s: float) -> None:
        """Wait for the end of the work."""
        self._thread.join(patience_s)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - carried to the keeper, which decides
            self._error = error


def sentence(error: BaseException) -> str:
    """Return an error as one clear sentence."""
    text = error.message if isinstance(error, RayloomError) else str(error)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if isinstance(error, RayloomError) is False and len(lines) > 1 else lines[0]
