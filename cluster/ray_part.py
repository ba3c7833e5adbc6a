"""Ray as a part: a head of our own, or a cluster that was given by `RAY_ADDRESS`."""

from collections.abc import Callable
from pathlib import Path

from cluster.parts import Condition, Launch, Process, Starter, State, end_process, tail
from workflow.errors import Unavailable


class OwnHead:
    """A Ray head that we start with `ray start --block`, which lives as long as all of its servers do.

    `prepare` makes room for a session; `address` tells where it listens once it is up; `obituary` says which of its
    servers has died, if Ray has noted that; `sweep` kills every process of this instance, HAProxy and workers too,
    and returns the pids of those that remain.
    """

    name = "ray"

    def __init__(
        self,
        launch: Launch,
        starter: Starter,
        *,
        prepare: Callable[[], None],
        address: Callable[[], str | None],
        obituary: Callable[[], str],
        sweep: Callable[[], list[int]],
    ) -> None:
        self._launch = launch
        self._starter = starter
        self._prepare = prepare
        self._address = address
        self._obituary = obituary
        self._sweep = sweep
        self._process: Process | None = None

    @property
    def address(self) -> str:
        """The address for drivers, known when the part is ready."""
        return self._address() or ""

    def warm(self) -> None:
        """Nothing needs to come before."""

    def begin(self) -> None:
        """Start the head."""
        self._prepare()
        _empty(self._launch.log)
        self._process = self._starter(self._launch)

    def poll(self) -> State:
        """Ready when the head has written its address; dead when `ray start` has ended."""
        if self._process is None:
            return State(condition=Condition.DEAD, reason="not started")
        code = self._process.poll()
        if code is not None:
            cause = self._obituary() or " ".join(tail(self._launch.log, 1))
            return State(condition=Condition.DEAD, reason=f"Ray has ended with code {code}: {cause}")
        condition = Condition.READY if self._address() else Condition.STARTING
        return State(condition=condition, pid=self._process.pid)

    def end(self) -> None:
        """Kill the head and everything on it.

        A polite stop takes 18 s, because the replicas are given time to drain, and still leaves HAProxy running
        (measured).
        """
        if self._process is not None:
            end_process(self._process, grace_s=0.0)
            self._process = None
        if left := self._sweep():
            raise Unavailable(f"processes of Ray cannot be ended: {', '.join(map(str, left))}", "leftovers")


class GivenCluster:
    """Somebody else's cluster: it is there, or the driver will say that it is not."""

    name = "ray"

    def __init__(self, address: str) -> None:
        self.address = address

    def warm(self) -> None:
        """Nothing needs to come before."""

    def begin(self) -> None:
        """Nothing is started."""

    def poll(self) -> State:
        """Always ready."""
        return State(condition=Condition.READY)

    def end(self) -> None:
        """Nothing of it is ours to end."""


def _empty(log: Path) -> None:
    log.write_bytes(b"")
