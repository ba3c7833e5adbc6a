"""What executions ask of people and of other systems: opened by the owner of an execution, answered by whoever may.

Only a pending request changes, and in one statement, so the first decision wins. Whatever decides leaves a wake-up for the
node's run in the same statement.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from uuid import UUID

import orjson

from store.arrays import ints, texts
from store.engine import Pool
from store.outages import connection_of
from workflow.errors import Fenced
from workflow.ports import Claimed
from workflow.values import storable
from workflow.waiting import Going, NewRequest, NodeRun, Request, RequestStatus

COLUMNS = """id, status, response::text, user_id, (extract(epoch FROM expires_at) * 1000)::bigint,
    (extract(epoch FROM responded_at) * 1000)::bigint"""

OPEN = f"""
WITH own AS MATERIALIZED (
    SELECT id, workspace_id, workflow_id, epoch, status FROM executions WHERE id = %(execution)s FOR SHARE
), opened AS (
    INSERT INTO hitl_requests (id, workspace_id, execution_id, workflow_id, node_id, run_index, ordinal, request_type,
        title, message, options, form_schema, context_data, allowed_roles, approvals_required, timeout_seconds,
        auto_action, remind_after_seconds, escalate_after_seconds, escalate_to, token_hash, expires_at)
    SELECT %(id)s, workspace_id, id, workflow_id, %(node)s, %(run)s, %(ordinal)s, %(type)s, %(title)s, %(message)s,
        %(options)s::json, %(form_schema)s::json, %(context)s::json, %(roles)s::text[], %(approvals)s,
        %(timeout_s)s, %(auto_action)s, %(remind_s)s, %(escalate_s)s, %(escalate_to)s, %(token_hash)s,
        to_timestamp(%(expires_ms)s / 1000.0)
    FROM own WHERE epoch = %(epoch)s AND status = 'running'
    ON CONFLICT DO NOTHING
    RETURNING *
)
SELECT {COLUMNS} FROM opened
"""
"""The share lock keeps the fence: whoever claims the execution meanwhile waits for this insert, or refuses it."""

LOOK = f"""
SELECT {COLUMNS} FROM hitl_requests
WHERE execution_id = %(execution)s AND node_id = %(node)s AND run_index = %(run)s AND ordinal = %(ordinal)s
"""

EXPIRE = """
WITH expired AS (
    UPDATE hitl_requests SET status = 'timeout', responded_at = clock_timestamp(),
        response = CASE WHEN auto_action <> '' THEN json_build_object('action', auto_action, 'automatic', true) END
    WHERE execution_id = %(execution)s AND node_id = %(node)s AND run_index = %(run)s AND ordinal = %(ordinal)s
        AND status = 'pending' AND expires_at <= to_timestamp(%(now_ms)s / 1000.0)
    RETURNING *
)
INSERT INTO audit_entries (id, workspace_id, workflow_id, execution_id, node_id, action_type, request_details, response,
    response_time_ms)
SELECT %(audit)s, workspace_id, workflow_id, execution_id, node_id, request_type,
    json_build_object('request_id', id, 'title', title), json_build_object('action', auto_action, 'automatic', true),
    (extract(epoch FROM responded_at - created_at) * 1000)::bigint
FROM expired
"""
"""What the time decides is noted like what a person does, in the same statement."""

WITHDRAW = """
UPDATE hitl_requests r SET status = 'cancelled', responded_at = clock_timestamp()
WHERE r.execution_id = %(execution)s AND r.status = 'pending' AND NOT EXISTS (
    SELECT FROM unnest(%(nodes)s::text[], %(runs)s::int[], %(places)s::int[]) AS kept (node_id, run_index, places_from)
    WHERE kept.node_id = r.node_id AND kept.run_index = r.run_index AND (r.ordinal > 0 OR r.ordinal <= -kept.places_from))
"""


class PostgresRequests:
    """The requests of executions, for their owners. `new_id` gives the ids of what is noted in the audit."""

    def __init__(self, pool: Pool, new_id: Callable[[], UUID]) -> None:
        self._pool = pool
        self._new_id = new_id

    async def open(
        self,
        claimed: Claimed,
        run: NodeRun,
        ordinal: int,
        new: NewRequest,
        *,
        request_id: UUID,
        token_hash: bytes,
        now_ms: int,
    ) -> Request:
        """Make the request, or return the one that was made for this run and ordinal. Raises `Fenced`."""
        key = {"execution": claimed.id, "node": run[0], "run": run[1], "ordinal": ordinal}
        parameters = {
            **key,
            **_parameters(new, now_ms),
            "id": request_id,
            "epoch": claimed.epoch,
            "token_hash": token_hash,
        }
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(OPEN, parameters)).fetchall()
            if not rows:
                rows = await (await connection.execute(LOOK, key)).fetchall()
        if not rows:
            raise Fenced("another owner has this execution", fields={"execution_id": str(claimed.id)})
        return _request(rows[0])

    async def look(
        self, execution_id: UUID, run: NodeRun, ordinal: int, *, expire: bool, now_ms: int
    ) -> Request | None:
        """Return the request as it stands; with `expire`, one that is pending and over at `now_ms` times out first."""
        key = {"execution": execution_id, "node": run[0], "run": run[1], "ordinal": ordinal}
        async with connection_of(self._pool) as connection:
            if expire:
                await connection.execute(EXPIRE, {**key, "now_ms": now_ms, "audit": self._new_id()})
            rows = await (await connection.execute(LOOK, key)).fetchall()
        return _request(rows[0]) if rows else None

    async def withdraw(self, execution_id: UUID, keep: Collection[Going]) -> int:
        """Cancel what is pending, apart from what these runs still want; how many. What is asked about their failures they want."""
        kept = sorted(keep)
        parameters = {
            "execution": execution_id,
            "nodes": texts(going.node_id for going in kept),
            "runs": ints(going.run_index for going in kept),
            "places": ints(going.places_from for going in kept),
        }
        async with connection_of(self._pool) as connection:
            return (await connection.execute(WITHDRAW, parameters)).rowcount


def _parameters(new: NewRequest, now_ms: int) -> dict[str, Any]:
    return {
        "type": new.type.value,
        "title": storable(new.title),
        "message": storable(new.message),
        "options": _json(list(map(dict, new.options))),
        "form_schema": _json(dict(new.form_schema)),
        "context": _json(dict(new.context)),
        "roles": list(new.allowed_roles),
        "approvals": new.approvals_required,
        "timeout_s": _seconds(new.timeout_ms),
        "auto_action": new.auto_action,
        "remind_s": _seconds(new.remind_after_ms),
        "escalate_s": _seconds(new.escalate_after_ms),
        "escalate_to": new.escalate_to,
        "expires_ms": _expires_ms(new, now_ms),
    }


def _expires_ms(new: NewRequest, now_ms: int) -> int | None:
    if new.expires_ms is not None:
        return new.expires_ms
    return None if new.timeout_ms is None else now_ms + new.timeout_ms


def _seconds(ms: int | None) -> int | None:
    return None if ms is None else max(1, round(ms / 1000))


def _json(value: Mapping[str, Any] | list[Any]) -> str:
    return orjson.dumps(value).decode()


def _request(row: tuple[Any, ...]) -> Request:
    identity, status, response, user_id, expires_ms, responded_ms = row
    return Request(
        id=identity,
        status=RequestStatus(status),
        response=None if response is None else orjson.loads(response),
        user_id=user_id,
        expires_ms=expires_ms,
        responded_ms=responded_ms,
    )
