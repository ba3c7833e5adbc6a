"""What models were asked and what that used: for people, never for the engine, which asks `store.ledger`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.outages import transaction
from store.paging import Page, bounded
from store.reading import absent

GROUPS_MAX = 1_000


class By(StrEnum):
    """What calls are summed up by."""

    DAY = "day"
    WORKFLOW = "workflow"
    NODE = "node"
    MODEL = "model"
    USER = "user"


KEYS: Mapping[By, str] = MappingProxyType(
    {
        By.DAY: "(created_at AT TIME ZONE 'UTC')::date",
        By.WORKFLOW: "workflow_id",
        By.NODE: "NULLIF(node_id, '')",
        By.MODEL: "provider || '/' || model",
        By.USER: "user_id",
    }
)

SUMS = """
    count(*) AS calls,
    COALESCE(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
    COALESCE(sum(completion_tokens), 0)::bigint AS completion_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS costs_unknown,
    count(*) FILTER (WHERE estimated) AS estimates
"""
SHOWN = "calls, prompt_tokens, completion_tokens, trim_scale(cost_usd)::text AS cost_usd, costs_unknown, estimates"

# The calls are then looked up by the execution alone: with the workspace as well, a plan may walk through all calls of that.
EXISTS = "SELECT 1 FROM executions WHERE id = :execution AND workspace_id = :workspace"

CALLS = """
SELECT id, node_id, run_index, attempt, kind, provider, model, device, host, gpu_ids, batch_sizes, prompt_tokens,
    completion_tokens, estimated, trim_scale(cost_usd)::text AS cost_usd, duration_ms, created_at
FROM model_calls
WHERE execution_id = :execution AND (CAST(:after AS uuid) IS NULL OR id > :after)
ORDER BY id LIMIT :size
"""

TOTAL = f"""
WITH sums AS (SELECT {SUMS} FROM model_calls WHERE execution_id = :execution)
SELECT {SHOWN} FROM sums
"""


def sums_by(by: By) -> str:
    """Return the statement that sums up calls, whose first row is the sum of all."""
    name = "(SELECT w.name FROM workflows w WHERE w.id = key AND w.workspace_id = :workspace)"
    order = "key" if by is By.DAY else "sums.cost_usd DESC, prompt_tokens + completion_tokens DESC, key"
    return f"""
WITH sums AS (
    SELECT {KEYS[by]} AS key, GROUPING({KEYS[by]}) AS whole, {SUMS}
    FROM model_calls
    WHERE workspace_id = :workspace AND created_at >= :since AND created_at < :until
        AND (CAST(:workflow AS uuid) IS NULL OR workflow_id = :workflow)
    GROUP BY GROUPING SETS (({KEYS[by]}), ())
)
SELECT key::text, {name if by is By.WORKFLOW else "NULL"} AS name, {SHOWN}
FROM sums ORDER BY whole DESC, {order} LIMIT :size
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """What some calls used. `cost_usd` leaves out the `costs_unknown`; of `estimates` the tokens were not counted by the provider."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    costs_unknown: int
    estimates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGroup:
    """The calls that have a key in common; None: those that have none. `name` is that of a workflow."""

    key: str | None
    name: str | None
    sum: UsageSum


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used: all of it, and its groups. Days come in order, others by cost; `more` says that there are others."""

    total: UsageSum
    groups: Sequence[UsageGroup]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call as it was noted."""

    id: UUID
    node_id: str
    run_index: int
    attempt: int
    kind: str
    provider: str
    model: str
    device: str
    host: str
    gpu_ids: Sequence[str]
    batch_sizes: Sequence[int]
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost_usd: str | None
    duration_ms: float
    created_at: datetime


class Accountant:
    """Reads what was noted of calls. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def calls(
        self, workspace_id: UUID, execution_id: UUID, *, after: UUID | None, limit: int
    ) -> tuple[Page[CallRow], UsageSum]:
        """Return calls of an execution in the order in which they were made, and the sum of all. Raises `NotFound`."""
        size = bounded(limit)
        asked = {"workspace": workspace_id, "execution": execution_id}
        async with transaction(self._engine) as connection:
            if (await connection.execute(text(EXISTS), asked)).first() is None:
                raise absent(execution_id)
            found = await connection.execute(text(CALLS), {**asked, "after": after, "size": size + 1})
            rows = found.mappings().all()
            total = (await connection.execute(text(TOTAL), asked)).one()
        items = [CallRow(**row) for row in rows[:size]]
        return Page(items=items, next_before=items[-1].id if len(rows) > size else None), _sum(total)

    async def usage(
        self, workspace_id: UUID, first: date, last: date, by: By, workflow_id: UUID | None = None
    ) -> Usage:
        """Return what a workspace, or one of its workflows, used from one day (UTC) to another, both included."""
        asked = {
            "workspace": workspace_id,
            "since": datetime.combine(first, time(), UTC),
            "until": datetime.combine(last + timedelta(days=1), time(), UTC),
            "workflow": workflow_id,
            "size": GROUPS_MAX + 2,
        }
        async with transaction(self._engine) as connection:
            whole, *rows = (await connection.execute(text(sums_by(by)), asked)).all()
        groups = [UsageGroup(key=row.key, name=row.name, sum=_sum(row)) for row in rows[:GROUPS_MAX]]
        return Usage(total=_sum(whole), groups=groups, more=len(rows) > GROUPS_MAX)


def _sum(row: Row[Any]) -> UsageSum:
    return UsageSum(
        calls=row.calls,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_usd=row.cost_usd,
        costs_unknown=row.costs_unknown,
        estimates=row.estimates,
    )
