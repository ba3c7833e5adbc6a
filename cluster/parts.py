"""What a keeper keeps: parts, and the child processes that they consist of.

A part knows how to begin without blocking, how it is doing, and how to end with nothing left over; when to do so is the
keeper's business.
"""

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol

from workflow.errors import RayloomError

TAIL_BYTES = 4000


class Condition(StrEnum):
    """How a part is doing."""

    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a part is doing, and if it is dead, why. `pid` is that of its main process; `seconds` are per finished
    stage.
    """

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
        """Begin to start; everything needed is ready. Raises `RayloomError` or `OSError`."""
        ...

    def poll(self) -> State:
        """Say how it is doing."""
        ...

    def end(self) -> None:
        """End it, in whatever condition it is, with all that it started. Raises `RayloomError` when something
        remains.
        """
        ...


class Process(Protocol):
    """What a part needs of a child process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    @property
    def stdin(self) -> IO[bytes] | None:
        """The pipe to its standard input, if one was wanted."""
        ...

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        ...

    def terminate(self) -> None:
        """Ask it to stop."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to start. `log` receives its output; `wants_input` keeps a pipe to its standard input."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    wants_input: bool = False


def start_process(launch: Launch) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own: no signal of our terminal reaches it, and the session's id tells its
    family.
    """
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


def end_process(process: Process, grace_s: float) -> None:
    """Ask the process to stop, kill it after `grace_s`, and collect it."""
    if process.stdin is not None:
        try:
            process.stdin.close()
        except OSError:
            pass  # It has gone without reading all of it.
    if process.poll() is not None:
        return
    if grace_s > 0:
        process.terminate()
        try:
            process.wait(timeout=grace_s)
            return
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    process.wait()


Starter = Callable[[Launch], Process]


class Background:
    """Work that blocks, in a thread; its outcome is polled."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def finished(self) -> bool:
        """Whether the work is over."""
        return not self._thread.is_alive()

    def error(self) -> Exception | None:
        """What the work raised, once it is over."""
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
    """Return an error as one line."""
    text = error.message if isinstance(error, RayloomError) else f"{type(error).__name__}: {error}"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def tail(log: Path, lines: int = 20) -> list[str]:
    """Return the last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
