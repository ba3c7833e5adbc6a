"""How long after a fault executions go on: polled from the database, by one thread for all faults."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from tests.storm.database import Reader

POLL_S = 0.05
GIVE_UP_S = 150.0

RUNNING = "SELECT id, epoch, last_seq FROM executions WHERE status = 'running'"
OWNED = f"{RUNNING} AND owner = ANY(%s)"
# The planner is given the ids as a table: `= ANY` would look into every month.
STANDING = """
SELECT e.id, e.epoch, e.last_seq, e.status NOT IN ('queued', 'running'),
    (SELECT COALESCE(max(s.seq), 0) FROM stream_events s WHERE s.execution_id = v.id AND s.kind IN ('node.completed', 'node.failed'))
FROM unnest(%s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id
"""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where an execution stood when it was hit."""

    epoch: int
    last_seq: int


Affected = dict[UUID, Stand]


@dataclass(slots=True)
class Fault:
    """A fault: what it hit, when (Unix seconds), and when all was well again.

    `first_s` is from the fault to the next committed node result or end of one of the affected executions, `all_s` until each of
    them had something committed by its next owner (or had ended).
    """

    kind: str
    target: str
    at_s: float
    affected: int = 0
    healed_s: float | None = None
    first_s: float | None = None
    all_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Now:
    """How an execution stands: `result_seq` is the number of the last event that is a node's result."""

    epoch: int
    last_seq: int
    ended: bool
    result_seq: int


@dataclass(slots=True)
class _Watch:
    fault: Fault
    affected: Affected
    moved: bool
    """Whether they go on under another epoch."""
    first_only: bool
    since_s: float
    left: set[UUID]

    def take(self, now: Mapping[UUID, _Now], at_s: float) -> None:
        """Hold how executions stand now against how they stood."""
        for identity in self.left & now.keys():
            before, found = self.affected[identity], now[identity]
            if self.moved and found.epoch <= before.epoch and not found.ended:
                continue
            if self.fault.first_s is None and (found.result_seq > before.last_seq or found.ended):
                self.fault.first_s = at_s - self.since_s
            if found.last_seq > before.last_seq or found.ended:
                self.left.discard(identity)
        if self.first_only:
            if self.fault.first_s is not None:
                self.left.clear()
        elif not self.left:
            self.fault.all_s = at_s - self.since_s


class Watcher:
    """Watches what faults have hit until it goes on."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._reader = Reader(dsn)
        self._watches: list[_Watch] = []
        self._returns: list[Fault] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def watch(self, fault: Fault, affected: Affected, *, moved: bool, first_only: bool = False) -> None:
        """Watch these from now on, until the first or each of them goes on; `moved`: under another owner."""
        fault.affected = len(affected)
        if affected:
            with self._lock:
                self._watches.append(_Watch(fault, affected, moved, first_only, fault.at_s, set(affected)))

    def watch_return(self, fault: Fault) -> None:
        """Watch all executions from the moment at which the database accepts connections again; counted from that moment."""
        with self._lock:
            self._returns.append(fault)

    def settled(self) -> bool:
        """Whether nothing is watched any more."""
        with self._lock:
            return not self._watches and not self._returns

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._reader.close()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self._look()
            except psycopg.Error:
                continue  # it is away: that is part of what is measured

    def _look(self) -> None:
        self._begin_returns()
        with self._lock:
            watches = list(self._watches)
        ids = sorted(set().union(*(watch.left for watch in watches)))
        now = {row[0]: _Now(*row[1:]) for row in self._reader.rows(STANDING, ids)} if ids else {}
        for watch in watches:
            watch.take(now, time.time())
        with self._lock:
            self._watches = [watch for watch in self._watches if watch.left and time.time() - watch.since_s < GIVE_UP_S]

    def _begin_returns(self) -> None:
        with self._lock:
            returned = list(self._returns)
        if returned:
            running = standing(self._reader.rows(RUNNING))
            for fault in returned:
                fault.healed_s = time.time()
                fault.affected = len(running)
                with self._lock:
                    self._returns.remove(fault)
                    self._watches.append(_Watch(fault, running, False, False, fault.healed_s, set(running)))


def standing(rows: list[tuple[Any, ...]]) -> Affected:
    """Return rows of (id, epoch, last_seq) as what is affected."""
    return {identity: Stand(epoch, last_seq) for identity, epoch, last_seq in rows}


def quantiles(values: list[float]) -> Mapping[str, float] | None:
    """Return p50, p99 and the largest of some seconds; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    at = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {**{name: round(value, 3) for name, value in at.items()}, "max": round(ordered[-1], 3)}
