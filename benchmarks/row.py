"""What a row of the results is, and what all rows are given."""

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.api import Api
from benchmarks.bare_serve import bare_endpoint
from benchmarks.dbos_session import DbosSession
from benchmarks.instance import Running


@dataclass(slots=True, kw_only=True)
class Row:
    """One line of the table. `ratio` is what `target` speaks about; `met` is None where there is no target."""

    name: str
    unit: str
    ours: float
    peers: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    rounds: list[dict[str, float]] = field(default_factory=list)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return asdict(self)


class Bench:
    """What the rows share: the instance, how long and how often, and the peers, started when first asked for."""

    def __init__(self, running: Running, api: Api, data_dir: Path, *, rounds: int, seconds: float) -> None:
        self.running = running
        self.api = api
        self.data_dir = data_dir
        self.rounds = rounds
        self.seconds = seconds
        self.found: dict[str, float] = {}
        """Figures that a later row compares itself with."""
        self._open = ExitStack()

    @cached_property
    def dbos(self) -> DbosSession:
        """DBOS on a database of its own."""
        return self._open.enter_context(closing(DbosSession(self.running.make_database("dbos_peer"))))

    @cached_property
    def bare_url(self) -> str:
        """The address of a bare endpoint in the same Serve."""
        return self._open.enter_context(bare_endpoint(self.running))

    def peer_pids(self) -> dict[str, int]:
        """Return the pids of the peers' programs that run."""
        return {"dbos": self.dbos.pid} if "dbos" in self.__dict__ else {}

    def close(self) -> None:
        """End the peers."""
        self._open.close()
