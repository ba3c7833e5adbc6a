"""Writes that were asked for with an Idempotency-Key: who performs one, and what was answered.

A key belongs to the first request that came with it for 24 hours. That request is reserved by whoever performs it, for a few
seconds that are renewed as long as it takes; a reservation that ran out, or was given back, may be taken over by the same
request, and by no other. All times are the database's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from store.engine import Pool
from store.outages import connection_of
from workflow.ports import IdempotencyKey

KEPT_HOURS = 24
FORGOTTEN_AT_ONCE = 2_000

OLD = f"created_at <= now() - interval '{KEPT_HOURS} hours'"
UNDER_WAY = "w.status IS NULL AND w.reserved_until > now()"

FREE = f"NOT ({UNDER_WAY}) AND (w.{OLD} OR (w.status IS NULL AND w.fingerprint = {{fingerprint}}))"

RESERVE = f"""
WITH mine AS (
    INSERT INTO idempotent_writes AS w (workspace_id, key, fingerprint, id, holder, reserved_until)
    VALUES (%(workspace)s, %(key)s, %(fingerprint)s, %(id)s, %(holder)s, now() + %(ms)s * interval '1 millisecond')
    ON CONFLICT (workspace_id, key) DO UPDATE SET
        fingerprint = EXCLUDED.fingerprint, holder = EXCLUDED.holder, reserved_until = EXCLUDED.reserved_until,
        id = CASE WHEN w.{OLD} THEN EXCLUDED.id ELSE w.id END,
        created_at = CASE WHEN w.{OLD} THEN EXCLUDED.created_at ELSE w.created_at END,
        status = NULL, headers = NULL, body = NULL, body_bytes = NULL
    WHERE {FREE.format(fingerprint="EXCLUDED.fingerprint")}
    RETURNING w.id
)
SELECT true, id, NULL::bytea, NULL::smallint, NULL::text, NULL::bytea, NULL::bigint FROM mine
UNION ALL
SELECT false, id, fingerprint, status, headers::text, body, body_bytes FROM idempotent_writes w
WHERE workspace_id = %(workspace)s AND key = %(key)s AND NOT EXISTS (SELECT FROM mine)
    AND NOT ({FREE.format(fingerprint="%(fingerprint)s")})
"""
"""Take the key, or look who has it. No row: it came into being, or was taken, after the statement had begun."""

MINE = "workspace_id = %(workspace)s AND key = %(key)s AND holder = %(holder)s AND status IS NULL"

RENEW = f"""
UPDATE idempotent_writes SET reserved_until = now() + %(ms)s * interval '1 millisecond' WHERE {MINE}
"""

GIVE_BACK = f"UPDATE idempotent_writes SET reserved_until = now() WHERE {MINE}"

ANSWER = f"""
UPDATE idempotent_writes SET reserved_until = NULL, status = %(status)s, headers = %(headers)s::json, body = %(body)s,
    body_bytes = %(body_bytes)s
WHERE {MINE}
"""

FORGET = """
WITH old AS MATERIALIZED (
    SELECT workspace_id, key FROM {table} w WHERE {old} ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
DELETE FROM {table} w USING old o WHERE w.workspace_id = o.workspace_id AND w.key = o.key
"""
FORGET_EACH = (
    FORGET.format(table="idempotent_writes", old=f"{OLD} AND NOT ({UNDER_WAY})"),
    FORGET.format(table="idempotency_keys", old=OLD),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The caller performs the write. `id` is the write's own, the same whoever performs it: what it makes derives its ids from it."""

    workspace_id: UUID
    key: str
    holder: UUID
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered. `body` is None where it was not kept, `body_bytes` where nobody knew how long it would be."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    body_bytes: int | None


class Refused(StrEnum):
    """Why a write is not to be performed now."""

    UNDER_WAY = "under_way"
    OTHER_REQUEST = "other_request"


class IdempotentWrites:
    """Keyed writes in PostgreSQL. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reserve(
        self, workspace_id: UUID, key: IdempotencyKey, *, write_id: UUID, holder: UUID, ms: int
    ) -> Reserved | Answer | Refused:
        """Take a key for so many milliseconds, or return what was answered under it, or why it cannot be had.

        `write_id` becomes the write's id if it is the first under the key.
        """
        asked = {
            "workspace": workspace_id,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "id": write_id,
            "holder": holder,
            "ms": ms,
        }
        while True:
            async with connection_of(self._pool) as connection:
                row = await (await connection.execute(RESERVE, asked)).fetchone()
            if row is not None:  # else it came just now, or went: the next look finds it, or takes the key
                break
        mine, found_id, fingerprint, status, headers, body, body_bytes = row
        if mine:
            return Reserved(workspace_id=workspace_id, key=key.key, holder=holder, id=found_id)
        if bytes(fingerprint) != key.fingerprint:
            return Refused.OTHER_REQUEST
        if status is None:
            return Refused.UNDER_WAY
        kept = None if body is None else bytes(body)
        return Answer(status=status, headers=orjson.loads(headers), body=kept, body_bytes=body_bytes)

    async def renew(self, reserved: Reserved, ms: int) -> bool:
        """Prolong a reservation; whether it was still the caller's."""
        return await self._change(RENEW, reserved, {"ms": ms})

    async def give_back(self, reserved: Reserved) -> bool:
        """Let the same request be performed again at once; whether the reservation was still the caller's."""
        return await self._change(GIVE_BACK, reserved, {})

    async def answer(self, reserved: Reserved, answer: Answer) -> bool:
        """Keep what is answered; whether the reservation was still the caller's, else nothing is kept."""
        kept = {
            "status": answer.status,
            "headers": orjson.dumps(dict(answer.headers)).decode(),
            "body": answer.body,
            "body_bytes": answer.body_bytes,
        }
        return await self._change(ANSWER, reserved, kept)

    async def forget(self) -> int:
        """Free the keys of writes and of executions that are older than 24 hours, in batches; how many there were."""
        total = 0
        for statement in FORGET_EACH:
            count = FORGOTTEN_AT_ONCE
            while count == FORGOTTEN_AT_ONCE:
                async with connection_of(self._pool) as connection:
                    count = (await connection.execute(statement, {"limit": FORGOTTEN_AT_ONCE})).rowcount
                total += count
        return total

    async def _change(self, statement: str, reserved: Reserved, values: Mapping[str, Any]) -> bool:
        mine = {"workspace": reserved.workspace_id, "key": reserved.key, "holder": reserved.holder}
        async with connection_of(self._pool) as connection:
            return (await connection.execute(statement, {**mine, **values})).rowcount == 1
