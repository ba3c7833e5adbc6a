"""How long after a fault executions go on: polled from the database, by one thread for all faults."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from tests.storm.database import Reader

POLL_S = 0.025
GIVE_UP_S = 150.0

RUNNING = "SELECT id, epoch, last_seq FROM executions WHERE status = 'running'"
OWNED = f"{RUNNING} AND owner = ANY(%s)"
# The planner is given the ids as a table: `= ANY` would look into every month.
STANDING = """
SELECT e.id, e.epoch, e.last_seq, e.status NOT IN ('queued', 'running'), EXISTS (
    SELECT FROM stream_events s WHERE s.execution_id = v.id AND s.seq > v.seq AND s.kind LIKE 'node.%%' AND s.kind <> 'node.started')
FROM unnest(%s::uuid[], %s::bigint[]) AS v (id, seq) JOIN executions e ON e.id = v.id
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


@dataclass(slots=True)
class _Watch:
    fault: Fault
    affected: Affected
    moved: bool
    """Whether they go on under another epoch."""
    since_s: float
    left: set[UUID] = field(default_factory=set)


class Watcher:
    """Watches what faults have hit until it goes on."""

    def __init__(self, dsn: str) -> None:
        self._reader = Reader(dsn)
        self._watches: list[_Watch] = []
        self._returns: list[Fault] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def watch(self, fault: Fault, affected: Affected, *, moved: bool) -> None:
        """Watch these from now on; `moved` says that another owner has to take them over."""
        fault.affected = len(affected)
        if affected:
            with self._lock:
                self._watches.append(_Watch(fault, affected, moved, fault.at_s, set(affected)))

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
        with self._lock:
            returned, self._returns = self._returns, []
        if returned:
            try:
                running = standing(self._reader.rows(RUNNING))
            except psycopg.Error:
                with self._lock:
                    self._returns += returned
                raise
            for fault in returned:
                fault.healed_s = time.time()
                fault.affected = len(running)
                with self._lock:
                    self._watches.append(_Watch(fault, running, False, fault.healed_s, set(running)))
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            self._look_at(watch)
        with self._lock:
            self._watches = [watch for watch in self._watches if watch.left and time.time() - watch.since_s < GIVE_UP_S]

    def _look_at(self, watch: _Watch) -> None:
        asked = [(identity, watch.affected[identity].last_seq) for identity in watch.left]
        rows = self._reader.rows(STANDING, *map(list, zip(*asked, strict=True)))
        now_s = time.time()
        for identity, epoch, last_seq, ended, has_result in rows:
            before = watch.affected[identity]
            if watch.moved and epoch <= before.epoch and not ended:
                continue
            if watch.fault.first_s is None and (has_result or ended):
                watch.fault.first_s = now_s - watch.since_s
            if (last_seq > before.last_seq and watch.fault.first_s is not None) or ended:
                watch.left.discard(identity)
        if not watch.left:
            watch.fault.all_s = now_s - watch.since_s


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
