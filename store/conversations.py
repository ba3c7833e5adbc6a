"""Conversations in PostgreSQL. What an execution changes is changed with the note of its effect, in one transaction: once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from store.arrays import texts
from store.engine import Pool
from store.outages import connection_of
from store.paging import SortedPage, bounded, not_a_cursor, read_cursor, write_cursor
from workflow.conversations import Conversation, Said, Saying
from workflow.errors import NotFound
from workflow.ids import derived_id
from workflow.models import Role
from workflow.values import encode, storable

SORT = "updated_at"
FIRST_TIME = """
INSERT INTO effect_results (execution_id, key, workspace_id, result) VALUES (%(execution)s, %(key)s, %(workspace)s, %(result)s::json)
ON CONFLICT DO NOTHING RETURNING key
"""
GAVE = "UPDATE effect_results SET result = %(result)s::json WHERE execution_id = %(execution)s AND key = %(key)s"
GIVEN = "SELECT result::text FROM effect_results WHERE execution_id = %(execution)s AND key = %(key)s AND workspace_id = %(workspace)s"
ADD = """
WITH grown AS (
    INSERT INTO conversations AS c (id, workspace_id, conversation_id, message_count)
    VALUES (%(id)s, %(workspace)s, %(conversation)s, %(count)s)
    ON CONFLICT (workspace_id, conversation_id)
        DO UPDATE SET message_count = c.message_count + %(count)s, updated_at = clock_timestamp()
    RETURNING id, message_count - %(count)s AS before, updated_at
)
INSERT INTO conversation_messages (conversation, sequence, user_id, workflow_id, execution_id, role, content, metadata, created_at)
SELECT grown.id, grown.before + v.place, %(user)s, %(workflow)s, %(execution)s, v.role, v.content, v.metadata::json, grown.updated_at
FROM grown, unnest(%(roles)s::text[], %(contents)s::text[], %(metadata)s::text[]) WITH ORDINALITY AS v (role, content, metadata, place)
"""
DELETE = """
DELETE FROM conversations WHERE workspace_id = %(workspace)s AND conversation_id = %(conversation)s RETURNING message_count
"""
MESSAGE = "m.sequence, m.role, m.content, m.metadata::text, (extract(epoch FROM m.created_at) * 1000)::bigint"
MESSAGES = """FROM conversations c JOIN conversation_messages m ON m.conversation = c.id
WHERE c.workspace_id = %(workspace)s AND c.conversation_id = %(conversation)s"""
LAST = f"SELECT {MESSAGE} {MESSAGES} ORDER BY m.sequence DESC LIMIT %(limit)s"
PAGE = f"SELECT {MESSAGE} {MESSAGES} AND m.sequence > %(after)s ORDER BY m.sequence LIMIT %(limit)s"
EXISTS = "SELECT FROM conversations WHERE workspace_id = %(workspace)s AND conversation_id = %(conversation)s"
LIST = """
SELECT conversation_id, message_count, (extract(epoch FROM created_at) * 1000)::bigint,
    (extract(epoch FROM updated_at) * 1000)::bigint, updated_at, id
FROM conversations
WHERE workspace_id = %(workspace)s AND (%(at)s::timestamptz IS NULL OR (updated_at, id) < (%(at)s, %(id)s::uuid))
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who changes conversations: an execution, of a workflow, for a user."""

    workspace_id: UUID
    execution_id: UUID
    workflow_id: UUID | None = None
    user_id: UUID | None = None


class StoredConversations:
    """Conversations of all workspaces. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def last(self, workspace_id: UUID, conversation_id: str, limit: int) -> list[Said]:
        """Return the last messages, oldest first."""
        parameters = {"workspace": workspace_id, "conversation": conversation_id, "limit": limit}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(LAST, parameters)).fetchall()
        return [_said(row) for row in reversed(rows)]

    async def add(self, speaker: Speaker, conversation_id: str, messages: Sequence[Saying], key: str) -> int:
        """Add messages, once under the key; how many these were."""
        parameters = {
            "id": derived_id(speaker.execution_id, key),
            "workspace": speaker.workspace_id,
            "execution": speaker.execution_id,
            "workflow": speaker.workflow_id,
            "user": speaker.user_id,
            "conversation": conversation_id,
            "count": len(messages),
            "roles": texts(message.role.value for message in messages),
            "contents": texts(storable(message.content) for message in messages),
            "metadata": texts(encode(dict(message.metadata)).decode() for message in messages),
            "key": key,
            "result": str(len(messages)),
        }
        async with connection_of(self._pool) as connection, connection.transaction():
            if (given := await _given(connection, parameters)) is not None:
                return given
            await connection.execute(ADD, parameters)
        return len(messages)

    async def clear(self, speaker: Speaker, conversation_id: str, key: str) -> int:
        """Delete a conversation, once under the key; how many messages it had."""
        parameters = {
            "workspace": speaker.workspace_id,
            "execution": speaker.execution_id,
            "conversation": conversation_id,
            "key": key,
            "result": "0",
        }
        async with connection_of(self._pool) as connection, connection.transaction():
            if (given := await _given(connection, parameters)) is not None:
                return given
            row = await (await connection.execute(DELETE, parameters)).fetchone()
            count = 0 if row is None else int(row[0])
            await connection.execute(GAVE, {**parameters, "result": str(count)})
        return count

    async def delete(self, workspace_id: UUID, conversation_id: str) -> None:
        """Delete a conversation with its messages. Raises `NotFound`."""
        parameters = {"workspace": workspace_id, "conversation": conversation_id}
        async with connection_of(self._pool) as connection:
            if await (await connection.execute(DELETE, parameters)).fetchone() is None:
                raise _not_found(conversation_id)

    async def messages(
        self, workspace_id: UUID, conversation_id: str, *, after: int = 0, limit: int = 50
    ) -> SortedPage[Said]:
        """Return messages numbered above `after`, oldest first. Raises `NotFound`."""
        count = bounded(limit)
        parameters = {"workspace": workspace_id, "conversation": conversation_id, "after": after, "limit": count + 1}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(PAGE, parameters)).fetchall()
            if not rows and await (await connection.execute(EXISTS, parameters)).fetchone() is None:
                raise _not_found(conversation_id)
        items = [_said(row) for row in rows[:count]]
        return SortedPage(items=items, next_cursor=str(items[-1].number) if len(rows) > count else None)

    async def page(self, workspace_id: UUID, *, cursor: str | None = None, limit: int = 50) -> SortedPage[Conversation]:
        """Return conversations, the one that was added to last first. Raises `Unprocessable` for a cursor of another list."""
        at, identity = (None, None) if cursor is None else _behind(cursor)
        count = bounded(limit)
        parameters = {"workspace": workspace_id, "at": at, "id": identity, "limit": count + 1}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(LIST, parameters)).fetchall()
        items = [
            Conversation(conversation_id=name, message_count=messages, created_ms=created, updated_ms=updated)
            for name, messages, created, updated, _, _ in rows[:count]
        ]
        *_, at, identity = rows[count - 1] if len(rows) > count else (None, None)
        return SortedPage(items=items, next_cursor=at and write_cursor(SORT, at.isoformat(), identity))


async def _given(connection: AsyncConnection[Any], parameters: dict[str, Any]) -> int | None:
    """Return what was given under the key before; None for the first time, which is noted. Whoever comes at once waits."""
    if await (await connection.execute(FIRST_TIME, parameters)).fetchone() is not None:
        return None
    row = await (await connection.execute(GIVEN, parameters)).fetchone()
    return 0 if row is None else int(row[0])


def _behind(cursor: str) -> tuple[datetime, UUID]:
    value, identity = read_cursor(cursor, SORT)
    try:
        return datetime.fromisoformat(value), identity
    except ValueError:
        raise not_a_cursor() from None


def _said(row: tuple[Any, ...]) -> Said:
    number, role, content, metadata, at_ms = row
    return Said(number=number, role=Role(role), content=content, metadata=orjson.loads(metadata), at_ms=at_ms)


def _not_found(conversation_id: str) -> NotFound:
    return NotFound("there is no such conversation", fields={"conversation_id": conversation_id})
