"""The requests of a workspace as people see them: listed, shown, answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from store.engine import Pool
from store.literals import ENDED
from store.outages import connection_of
from store.paging import Page, bounded
from workflow.answers import Answer, Decision, Open, closed, judge, roles_asked
from workflow.errors import Conflict, NotFound
from workflow.waiting import RequestStatus, RequestType

# As it stands by the database's clock: what is over is, though its owner has not come to it yet (it is paused, or has no place).
STATUS = f"""CASE WHEN r.status <> 'pending' THEN r.status WHEN e.status IN ({ENDED}) THEN 'cancelled'
    WHEN r.expires_at <= clock_timestamp() THEN 'timeout' ELSE 'pending' END"""
# Until it was closed: LEAST passes over what is null.
OPEN_UNTIL = "LEAST(clock_timestamp(), r.responded_at, r.expires_at)"
ESCALATED = f"(r.created_at + r.escalate_after_seconds * interval '1 second') <= {OPEN_UNTIL}"
REMINDED = f"""({STATUS}) = 'pending'
    AND (r.created_at + r.remind_after_seconds * interval '1 second') <= clock_timestamp()"""

COLUMNS = f"""
SELECT r.id, r.workspace_id, r.execution_id, r.workflow_id, r.node_id, r.run_index, r.ordinal, r.request_type, r.title,
    r.message, r.options::text, r.form_schema::text, r.context_data::text, r.allowed_roles, r.approvals_required,
    r.answers::text, {STATUS},
    r.response::text, r.user_id, r.auto_action, r.escalate_to, COALESCE({ESCALATED}, false), COALESCE({REMINDED}, false),
    (extract(epoch FROM r.created_at) * 1000)::bigint, (extract(epoch FROM r.expires_at) * 1000)::bigint,
    (extract(epoch FROM r.responded_at) * 1000)::bigint
FROM hitl_requests r JOIN executions e ON e.id = r.execution_id
"""

LIST = f"""{COLUMNS}
WHERE r.workspace_id = %(workspace)s AND (%(before)s::uuid IS NULL OR r.id < %(before)s)
    AND (%(statuses)s::text[] IS NULL OR r.status = ANY (%(kept)s) AND ({STATUS}) = ANY (%(statuses)s))
    AND (%(types)s::text[] IS NULL OR r.request_type = ANY (%(types)s))
    AND (%(execution)s::uuid IS NULL OR r.execution_id = %(execution)s)
ORDER BY r.id DESC LIMIT %(limit)s
"""
GET = f"{COLUMNS} WHERE r.id = %(id)s AND r.workspace_id = %(workspace)s"
BY_TOKEN = f"{COLUMNS} WHERE r.token_hash = %(token_hash)s"

# The execution's row is locked first, as a flush that ends it does: so no answer is taken for one that is just ending.
LOCK = "SELECT FROM executions WHERE id = %(execution)s FOR SHARE"
LOCK_REQUEST = "SELECT FROM hitl_requests WHERE id = %(id)s FOR UPDATE"

DECIDE = """
WITH decided AS (
    UPDATE hitl_requests SET status = %(status)s, answers = %(answers)s::json, response = %(response)s::json,
        user_id = %(user)s, responded_at = CASE WHEN %(status)s <> 'pending' THEN clock_timestamp() END
    WHERE id = %(id)s AND status = 'pending' AND (expires_at IS NULL OR expires_at > clock_timestamp())
    RETURNING *
), woken AS (
    INSERT INTO signals (id, workspace_id, execution_id, kind, node_id, run_index, body)
    SELECT gen_random_uuid(), workspace_id, execution_id, 'wake', node_id, run_index, '{}' FROM decided
    WHERE status <> 'pending'
)
INSERT INTO audit_entries (id, workspace_id, user_id, workflow_id, execution_id, node_id, action_type, request_details,
    response, response_time_ms, ip_address, user_agent)
SELECT %(audit)s, workspace_id, %(user)s, workflow_id, execution_id, node_id, request_type,
    json_build_object('request_id', id, 'title', title), %(answer)s::json,
    (extract(epoch FROM clock_timestamp() - created_at) * 1000)::bigint, %(ip)s, %(agent)s
FROM decided
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as people see it."""

    id: UUID
    workspace_id: UUID
    execution_id: UUID
    workflow_id: UUID | None
    node_id: str
    run_index: int
    ordinal: int
    title: str
    message: str
    context: Any
    response: Any
    user_id: UUID | None
    auto_action: str
    escalated: bool
    reminded: bool
    created_ms: int
    expires_ms: int | None
    responded_ms: int | None
    open: Open


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Where an answer came from, for the audit."""

    ip_address: str = ""
    user_agent: str = ""


class Inbox:
    """The requests of workspaces. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool, new_id: Callable[[], UUID]) -> None:
        self._pool = pool
        self._new_id = new_id

    async def page(
        self,
        workspace_id: UUID,
        *,
        statuses: Sequence[RequestStatus] = (),
        types: Sequence[RequestType] = (),
        execution_id: UUID | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> Page[Asked]:
        """Return requests of a workspace, newest first."""
        size = bounded(limit)
        parameters = {
            "workspace": workspace_id,
            "before": before,
            "statuses": [status.value for status in statuses] or None,
            "kept": _kept(statuses),
            "types": [each.value for each in types] or None,
            "execution": execution_id,
            "limit": size + 1,
        }
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(LIST, parameters)).fetchall()
        items = [_asked(row) for row in rows]
        return Page(items=items[:size], next_before=items[size - 1].id if len(items) > size else None)

    async def get(self, workspace_id: UUID, request_id: UUID) -> Asked:
        """Return a request. Raises `NotFound`."""
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(GET, {"id": request_id, "workspace": workspace_id})).fetchall()
        if not rows:
            raise _absent()
        return _asked(rows[0])

    async def by_token(self, token_hash: bytes) -> Asked:
        """Return the request whose link this is. Raises `NotFound`."""
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(BY_TOKEN, {"token_hash": token_hash})).fetchall()
        if not rows:
            raise _absent()
        return _asked(rows[0])

    async def respond(self, asked: Asked, answer: Answer, origin: From) -> Asked:
        """Take an answer, wake the node if it decides, and note it in the audit: all or nothing, and the first decision wins.

        Raises what `judge` raises, `Conflict` also when the execution has ended or the time is over, and `NotFound` when the request is
        gone.
        """
        key = {"id": asked.id, "workspace": asked.workspace_id, "execution": asked.execution_id}
        async with connection_of(self._pool) as connection, connection.transaction():
            await connection.execute(LOCK, key)
            await connection.execute(LOCK_REQUEST, key)
            rows = await (await connection.execute(GET, key)).fetchall()
            if not rows:
                raise _absent()
            decision = judge(_asked(rows[0]).open, answer)
            noted = await connection.execute(DECIDE, self._parameters(asked.id, answer, decision, origin))
            rows = await (await connection.execute(GET, key)).fetchall()
        if not rows:
            raise Conflict("the request is gone", "request_closed")
        found = _asked(rows[0])
        if not noted.rowcount:  # its time was over in between
            raise closed(found.open.status)
        return found

    def _parameters(self, request_id: UUID, answer: Answer, decision: Decision, origin: From) -> dict[str, Any]:
        return {
            "id": request_id,
            "status": decision.status.value,
            "answers": orjson.dumps(list(decision.answers)).decode(),
            "response": None if decision.response is None else orjson.dumps(decision.response).decode(),
            "user": answer.user_id,
            "audit": self._new_id(),
            "answer": orjson.dumps({"action": answer.action, "comment": answer.comment}).decode(),
            "ip": origin.ip_address,
            "agent": origin.user_agent[:500],
        }


def _asked(row: tuple[Any, ...]) -> Asked:
    return Asked(
        id=row[0],
        workspace_id=row[1],
        execution_id=row[2],
        workflow_id=row[3],
        node_id=row[4],
        run_index=row[5],
        ordinal=row[6],
        title=row[8],
        message=row[9],
        context=orjson.loads(row[12]),
        response=None if row[17] is None else orjson.loads(row[17]),
        user_id=row[18],
        auto_action=row[19],
        escalated=row[21],
        reminded=row[22],
        created_ms=row[23],
        expires_ms=row[24],
        responded_ms=row[25],
        open=Open(
            type=RequestType(row[7]),
            status=RequestStatus(row[16]),
            options=orjson.loads(row[10]),
            form_schema=orjson.loads(row[11]),
            roles=roles_asked(row[13], row[20] if row[21] else ""),
            approvals_required=row[14],
            answers=orjson.loads(row[15]),
        ),
    )


def _kept(statuses: Sequence[RequestStatus]) -> list[str]:
    """Return what is stored of requests that stand so: some are still kept as pending."""
    late = {RequestStatus.TIMEOUT, RequestStatus.CANCELLED} & set(statuses)
    return sorted({*statuses, *([RequestStatus.PENDING] if late else [])})


def _absent() -> NotFound:
    return NotFound("there is no such request")
