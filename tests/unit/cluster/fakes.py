"""A clock that only tests move, and parts and processes that only do what tests say."""

import io
import subprocess
from dataclasses import dataclass, field

from cluster.parts import Condition, State


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self):
        return self.now_s

    def pass_s(self, seconds):
        self.now_s += seconds


@dataclass
class FakePart:
    """Writes down what the keeper does; `state` is what it sees."""

    name: str
    journal: list
    state: State = field(default_factory=lambda: State(condition=Condition.STARTING))
    begin_error: Exception | None = None
    end_error: Exception | None = None

    def warm(self):
        self.journal.append(f"warm {self.name}")

    def begin(self):
        self.journal.append(f"begin {self.name}")
        if self.begin_error is not None:
            raise self.begin_error
        self.state = State(condition=Condition.STARTING)

    def poll(self):
        return self.state

    def end(self):
        self.journal.append(f"end {self.name}")
        if self.end_error is not None:
            raise self.end_error

    def becomes_ready(self, **seconds):
        self.state = State(condition=Condition.READY, pid=7, seconds=seconds)

    def dies(self, reason="killed"):
        self.state = State(condition=Condition.DEAD, reason=reason)


class Pipe(io.BytesIO):
    """A pipe whose content outlives its end."""

    content = b""

    def close(self):
        if not self.closed:
            self.content = self.getvalue()
        super().close()


@dataclass
class FakeProcess:
    pid: int
    stdin: Pipe = field(default_factory=Pipe)
    code: int | None = None
    deaf: bool = False
    journal: list = field(default_factory=list)

    def poll(self):
        return self.code

    def terminate(self):
        self.journal.append("terminate")
        if not self.deaf:
            self.code = 0

    def kill(self):
        self.journal.append("kill")
        self.code = -9

    def wait(self, timeout=None):
        if self.code is None:
            raise subprocess.TimeoutExpired("fake", timeout)
        return self.code


class FakeStarter:
    """Starts fake processes, numbered from 1000."""

    def __init__(self):
        self.launches = []
        self.processes = []

    def __call__(self, launch):
        self.launches.append(launch)
        self.processes.append(FakeProcess(pid=1000 + len(self.processes)))
        return self.processes[-1]
