"""Concurrency keys: who may go on and who is held, decided under a lock of the key, one after the other.

Under way is what has not ended and is not held. Only two things add to that, and both hold the key's lock until they have
committed: placing what was just inserted, and letting go what was held. An end only takes away; it takes no lock, and whoever
notices it lets the next one go. So a key that nobody looked after is made good by the next look, whenever that is.

The locks are taken in the order of their numbers and before any row is: nobody who holds a row waits for one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from store.arrays import ints, texts, uuids
from store.engine import Pool
from store.outages import connection_of
from workflow.ports import Concurrency, OnLimit

OPEN = "e.concurrency_key <> '' AND e.status IN ('queued', 'running', 'waiting', 'paused')"
UNREAD_CANCEL = "EXISTS (SELECT FROM signals s WHERE s.execution_id = e.id AND s.read_at IS NULL AND s.kind = 'cancel')"

LOCK = """
SELECT pg_advisory_xact_lock(l.number) FROM (
    SELECT DISTINCT hashtextextended(k.workspace_id::text || k.key, 8) AS number
    FROM unnest(%(workspaces)s::uuid[], %(keys)s::text[]) AS k (workspace_id, key) ORDER BY number
) l
"""

STANDING_ALL = f"""
SELECT e.id, e.workspace_id, e.concurrency_key, e.held, e.owner, {UNREAD_CANCEL}
FROM unnest(%(workspaces)s::uuid[], %(keys)s::text[]) AS k (workspace_id, key)
JOIN executions e ON e.workspace_id = k.workspace_id AND e.concurrency_key = k.key AND {OPEN}
ORDER BY e.id
"""
STANDING = STANDING_ALL.replace("ORDER BY", "WHERE NOT e.held ORDER BY")
"""What is under way: all that it takes to count."""

PLACE = """
UPDATE executions e SET concurrency_key = p.key, concurrency_limit = p.most, held = p.held = 1
FROM unnest(%(ids)s::uuid[], %(keys)s::text[], %(limits)s::int[], %(held)s::int[]) AS p (id, key, most, held)
WHERE e.id = p.id
"""

REMOVE = """
WITH gone AS (
    DELETE FROM executions e USING unnest(%(ids)s::uuid[]) AS g (id) WHERE e.id = g.id RETURNING e.id
)
DELETE FROM idempotency_keys k USING gone g WHERE k.execution_id = g.id
"""

SUPERSEDE = """
INSERT INTO signals (id, workspace_id, execution_id, kind, body)
SELECT gen_random_uuid(), t.workspace_id, t.id, 'cancel', '{"by": "a newer execution"}'
FROM unnest(%(ids)s::uuid[], %(workspaces)s::uuid[]) AS t (id, workspace_id) ORDER BY t.id
ON CONFLICT DO NOTHING
"""

ROOM = f"""GREATEST(0, (
        SELECT n.most FROM (
            (SELECT e.id, e.concurrency_limit AS most FROM executions e
            WHERE e.workspace_id = %s AND e.concurrency_key = %s AND {OPEN} AND e.held ORDER BY e.id DESC LIMIT 1)
            UNION ALL
            (SELECT e.id, e.concurrency_limit FROM executions e
            WHERE e.workspace_id = %s AND e.concurrency_key = %s AND {OPEN} AND NOT e.held ORDER BY e.id DESC LIMIT 1)
        ) n ORDER BY n.id DESC LIMIT 1
    ) - (
        SELECT count(*) FROM executions e
        WHERE e.workspace_id = %s AND e.concurrency_key = %s AND {OPEN} AND NOT e.held
    ))"""
"""How many more may be under way, by the limit of the newest; held ones are not counted one by one, for they may be many."""

RELEASE = f"""
WITH next AS MATERIALIZED (
    SELECT e.id FROM executions e
    WHERE e.workspace_id = %(workspace)s AND e.concurrency_key = %(key)s AND e.status = 'queued' AND e.held
        AND NOT {UNREAD_CANCEL}
    ORDER BY e.priority DESC, e.id LIMIT (SELECT {ROOM % (("%(workspace)s", "%(key)s") * 3)})
    FOR NO KEY UPDATE OF e SKIP LOCKED
)
UPDATE executions e SET held = false FROM next n WHERE e.id = n.id RETURNING e.id
"""

ROOMY = f"""
WITH RECURSIVE keys (workspace_id, key, place) AS (
    (SELECT e.workspace_id, e.concurrency_key, 1 FROM executions e
    WHERE e.status = 'queued' AND e.held AND (e.workspace_id, e.concurrency_key) > (%(workspace)s, %(key)s)
    ORDER BY e.workspace_id, e.concurrency_key LIMIT 1)
    UNION ALL
    SELECT n.workspace_id, n.concurrency_key, k.place + 1 FROM keys k CROSS JOIN LATERAL (
        SELECT e.workspace_id, e.concurrency_key FROM executions e
        WHERE e.status = 'queued' AND e.held AND (e.workspace_id, e.concurrency_key) > (k.workspace_id, k.key)
        ORDER BY e.workspace_id, e.concurrency_key LIMIT 1
    ) n WHERE k.place < %(most)s
)
SELECT k.workspace_id, k.key, {ROOM % (("k.workspace_id", "k.key") * 3)} > 0 FROM keys k ORDER BY k.place
"""
"""The next keys that hold something, found by a loose index scan, each with whether it has room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An execution that was inserted in this transaction and has yet to be placed."""

    id: UUID
    workspace_id: UUID
    concurrency: Concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What became of arrivals: those that were refused (nothing of them is left), that are held, and whom each has asked to stop, with
    owners.
    """

    refused: frozenset[UUID]
    held: frozenset[UUID]
    superseded: Mapping[UUID, tuple[tuple[UUID, UUID | None], ...]]


@dataclass(slots=True)
class Standing:
    """Those of one key that have not ended, as (execution, owner) from the oldest to the newest; without those asked to stop."""

    under_way: int = 0
    open: list[tuple[UUID, UUID | None]] = field(default_factory=list)

    def add(self, execution_id: UUID, owner: UUID | None, *, held: bool, stopping: bool) -> None:
        """Count one, newer than those before."""
        self.under_way += not held
        if not stopping:
            self.open.append((execution_id, owner))

    def place(self, new: UUID, concurrency: Concurrency) -> tuple[bool, tuple[tuple[UUID, UUID | None], ...]]:
        """Add one where there is room; else tell that there is none, and whom to ask to stop so that there will be."""
        room = self.under_way < concurrency.limit
        self.under_way += room
        surplus = 0
        if not room and concurrency.on_limit is OnLimit.CANCEL_RUNNING:
            surplus = max(0, len(self.open) - concurrency.limit + 1)
        stopped, self.open = self.open[:surplus], self.open[surplus:]
        if room or concurrency.on_limit is not OnLimit.REJECT:
            self.open.append((new, None))
        return room, tuple(stopped)


async def lock_keys(connection: AsyncConnection[TupleRow], keys: Iterable[tuple[UUID, str]]) -> None:
    """Take the locks of these keys until the transaction ends. Statements after this one see what former holders have committed."""
    named = sorted(set(keys))
    parameters = {"workspaces": uuids(each for each, _ in named), "keys": texts(key for _, key in named)}
    await connection.execute(LOCK, parameters)


async def place_arrivals(connection: AsyncConnection[TupleRow], arrivals: Sequence[Arrival]) -> Placing:
    """Let the arrivals go on, hold or refuse them, in order. Their keys are locked, and they have no key yet."""
    if not arrivals:
        return Placing(refused=frozenset(), held=frozenset(), superseded={})
    standing = await _standing(connection, arrivals)
    refused: set[UUID] = set()
    superseded: dict[UUID, tuple[tuple[UUID, UUID | None], ...]] = {}
    placed: list[tuple[Arrival, bool]] = []
    for each in arrivals:
        room, stopped = standing[each.workspace_id, each.concurrency.key].place(each.id, each.concurrency)
        if not room and each.concurrency.on_limit is OnLimit.REJECT:
            refused.add(each.id)
            continue
        placed.append((each, not room))
        if stopped:
            superseded[each.id] = stopped
    if refused:
        await connection.execute(REMOVE, {"ids": uuids(sorted(refused))})
    await _write(connection, placed)
    await _stop(connection, arrivals, superseded)
    held = frozenset(each.id for each, is_held in placed if is_held)
    return Placing(refused=frozenset(refused), held=held, superseded=superseded)


async def release_held(pool: Pool, workspace_id: UUID, key: str) -> int:
    """Let go what the key holds and has room for; how many these were."""
    async with connection_of(pool) as connection, connection.transaction():
        await lock_keys(connection, [(workspace_id, key)])
        return (await connection.execute(RELEASE, {"workspace": workspace_id, "key": key})).rowcount


async def keys_that_hold(pool: Pool, after: tuple[UUID, str], most: int) -> list[tuple[UUID, str, bool]]:
    """Return the next keys after this one that hold something, at most so many, each with whether it has room."""
    async with connection_of(pool) as connection:
        found = await connection.execute(ROOMY, {"workspace": after[0], "key": after[1], "most": most})
        return [(workspace_id, key, bool(roomy)) for workspace_id, key, roomy in await found.fetchall()]


async def _standing(
    connection: AsyncConnection[TupleRow], arrivals: Sequence[Arrival]
) -> dict[tuple[UUID, str], Standing]:
    keys = sorted({(each.workspace_id, each.concurrency.key) for each in arrivals})
    whole = any(each.concurrency.on_limit is OnLimit.CANCEL_RUNNING for each in arrivals)
    parameters: dict[str, Any] = {
        "workspaces": uuids(workspace for workspace, _ in keys),
        "keys": texts(key for _, key in keys),
    }
    standing: dict[tuple[UUID, str], Standing] = defaultdict(Standing)
    rows = await (await connection.execute(STANDING_ALL if whole else STANDING, parameters)).fetchall()
    for identity, workspace, key, held, owner, stopping in rows:
        standing[workspace, key].add(identity, owner, held=held, stopping=stopping)
    return standing


async def _write(connection: AsyncConnection[TupleRow], placed: Sequence[tuple[Arrival, bool]]) -> None:
    ordered = sorted(placed, key=lambda one: one[0].id)
    parameters = {
        "ids": uuids(each.id for each, _ in ordered),
        "keys": texts(each.concurrency.key for each, _ in ordered),
        "limits": ints(each.concurrency.limit for each, _ in ordered),
        "held": ints(int(held) for _, held in ordered),
    }
    await connection.execute(PLACE, parameters)


async def _stop(
    connection: AsyncConnection[TupleRow],
    arrivals: Sequence[Arrival],
    superseded: Mapping[UUID, tuple[tuple[UUID, UUID | None], ...]],
) -> None:
    workspaces = {each.id: each.workspace_id for each in arrivals}
    named = sorted((old, workspaces[new]) for new, stopped in superseded.items() for old, _ in stopped)
    if named:
        parameters = {"ids": uuids(old for old, _ in named), "workspaces": uuids(each for _, each in named)}
        await connection.execute(SUPERSEDE, parameters)
