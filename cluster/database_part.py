"""The database as a part: the embedded server, or one that was given by `DATABASE_URL`, migrated and with its first
administrator.
"""

import time
from collections.abc import Callable
from typing import Protocol

from cluster.parts import Background, Condition, State, sentence
from workflow.errors import Unavailable

CHECK_EVERY_S = 5.0
MISSES_MAX = 3
PREPARE_PATIENCE_S = 130.0


class Server(Protocol):
    """What this part needs of `store.embedded.EmbeddedServer`."""

    @property
    def dsn(self) -> str:
        """The connection string, known after `start`."""
        ...

    @property
    def pid(self) -> int | None:
        """The main process, while it is ours."""
        ...

    def start(self) -> None:
        """Start or adopt the server; blocks."""
        ...

    def stop(self) -> None:
        """Stop the server, adopted or not; blocks."""
        ...

    def alive(self) -> bool:
        """Whether it accepts connections."""
        ...


class EmbeddedDatabase:
    """The embedded server. `prepare(dsn)` brings schema and first administrator up to date; it runs at every start."""

    name = "database"

    def __init__(
        self,
        server: Server,
        prepare: Callable[[str], None],
        exists: Callable[[int], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._prepare = prepare
        self._exists = exists
        self._now_s = monotonic_s
        self._start: Background | None = None
        self._checked_s = 0.0
        self._misses = 0

    @property
    def dsn(self) -> str:
        """The connection string, known when the part is ready."""
        return self._server.dsn

    def warm(self) -> None:
        """Nothing needs to come before."""

    def begin(self) -> None:
        """Start the server in a thread."""
        self._misses = 0
        self._checked_s = self._now_s()
        self._start = Background(self._bring_up, "database-start")

    def poll(self) -> State:
        """Ready when the server accepts connections and is prepared; dead when its main process has gone or it stays
        mute.
        """
        if self._start is None:
            return State(condition=Condition.DEAD, reason="not started")
        if not self._start.finished():
            return State(condition=Condition.STARTING)
        if (error := self._start.error()) is not None:
            return State(condition=Condition.DEAD, reason=sentence(error))
        pid = self._server.pid
        if pid is not None and not self._exists(pid):
            return State(condition=Condition.DEAD, reason="PostgreSQL has ended")
        # A server that recovers from the crash of one of its processes refuses connections for a moment: no reason to
        # end it.
        if self._now_s() - self._checked_s >= CHECK_EVERY_S:
            self._checked_s = self._now_s()
            self._misses = 0 if self._server.alive() else self._misses + 1
        if self._misses >= MISSES_MAX:
            return State(condition=Condition.DEAD, reason="PostgreSQL does not answer", pid=pid)
        return State(condition=Condition.READY, pid=pid)

    def end(self) -> None:
        """Stop the server, also one that an earlier keeper has left."""
        if self._start is not None:
            self._start.join(PREPARE_PATIENCE_S)
            if not self._start.finished():
                raise Unavailable("PostgreSQL is still starting; it cannot be stopped now")
            self._start = None
        self._server.stop()

    def _bring_up(self) -> None:
        self._server.start()
        self._prepare(self._server.dsn)


class GivenDatabase:
    """Somebody else's server: prepared, and then left alone. Whether it answers is the API's health."""

    name = "database"

    def __init__(self, dsn: str, prepare: Callable[[str], None]) -> None:
        self.dsn = dsn
        self._prepare = prepare
        self._start: Background | None = None

    def warm(self) -> None:
        """Nothing needs to come before."""

    def begin(self) -> None:
        """Prepare the database in a thread."""
        self._start = Background(lambda: self._prepare(self.dsn), "database-prepare")

    def poll(self) -> State:
        """Ready when it is prepared."""
        if self._start is None or not self._start.finished():
            return State(condition=Condition.STARTING)
        if (error := self._start.error()) is not None:
            return State(condition=Condition.DEAD, reason=sentence(error))
        return State(condition=Condition.READY)

    def end(self) -> None:
        """Nothing of it is ours to end."""
        self._start = None
