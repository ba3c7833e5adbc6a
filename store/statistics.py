"""How a workspace's executions went in the last hour, day, week or month."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from store.listing import ExecutionFilter, conditions
from store.outages import transaction
from store.tables import executions
from workflow.states import ExecutionStatus

WINDOWS: Mapping[str, tuple[timedelta, timedelta]] = MappingProxyType(
    {
        "1h": (timedelta(hours=1), timedelta(minutes=1)),
        "24h": (timedelta(days=1), timedelta(hours=1)),
        "7d": (timedelta(days=7), timedelta(hours=6)),
        "30d": (timedelta(days=30), timedelta(days=1)),
    }
)
"""How far each window reaches back, and how long its buckets are."""
CLOCKS_APART = timedelta(minutes=1)
"""An id is made on the clock of a replica, the time of acceptance is the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Milliseconds from start to end of the executions that have ended; None where none has."""

    average_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The executions that were accepted from `start` on, for the length of a bucket."""

    start: datetime
    counts: Mapping[ExecutionStatus, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What became of the executions accepted between `since` and `until`."""

    since: datetime
    until: datetime
    bucket: timedelta
    counts: Mapping[ExecutionStatus, int]
    durations: Durations
    buckets: Sequence[Bucket]

    @property
    def total(self) -> int:
        """How many were accepted."""
        return sum(self.counts.values())

    @property
    def success_rate(self) -> float | None:
        """The share of the completed among those that ended and were not cancelled; None where there is none."""
        ended = {
            status: count
            for status, count in self.counts.items()
            if status.terminal and status is not ExecutionStatus.CANCELLED
        }
        total = sum(ended.values())
        return ended.get(ExecutionStatus.COMPLETED, 0) / total if total else None


class Statistician:
    """Counts executions. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def look_back(self, workspace_id: UUID, window: str, workflow_id: UUID | None = None) -> Statistics:
        """Return what happened in one of the `WINDOWS`; reads all its executions, without their data."""
        length, width = WINDOWS[window]
        took_ms = func.extract("epoch", executions.c.completed_at - executions.c.started_at) * 1000
        async with transaction(self._engine) as connection:
            until: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            since = until - length
            wanted = ExecutionFilter(workflow_id=workflow_id, created_after=since - CLOCKS_APART)
            wished = [*conditions(workspace_id, wanted), executions.c.queued_at >= since]
            start = func.date_bin(cast(width, Interval), executions.c.queued_at, literal(since)).label("start")
            found = await connection.execute(
                select(executions.c.status, start, func.count())
                .where(*wished)
                .group_by(tuple_(executions.c.status, start))
            )
            durations = await connection.execute(
                select(
                    func.avg(took_ms),
                    func.percentile_cont(0.5).within_group(took_ms),
                    func.percentile_cont(0.95).within_group(took_ms),
                ).where(*wished)
            )
            rows, (average, p50, p95) = found.all(), durations.one()
        return _statistics(
            since, until, width, rows, Durations(average_ms=_ms(average), p50_ms=_ms(p50), p95_ms=_ms(p95))
        )


def _statistics(
    since: datetime, until: datetime, width: timedelta, rows: Sequence[Any], durations: Durations
) -> Statistics:
    counts: dict[ExecutionStatus, int] = defaultdict(int)
    by_start: dict[int, dict[ExecutionStatus, int]] = defaultdict(dict)
    for name, start, count in rows:
        status = ExecutionStatus(name)
        counts[status] += count
        place = round((start - since) / width)
        by_start[place][status] = by_start[place].get(status, 0) + count
    places = -(-(until - since) // width)
    buckets = [Bucket(start=since + place * width, counts=by_start.get(place, {})) for place in range(places)]
    return Statistics(since=since, until=until, bucket=width, counts=dict(counts), durations=durations, buckets=buckets)


def _ms(value: Any) -> float | None:
    return None if value is None else round(float(value), 3)
