"""The first user, workspace and key of a fresh database. Safe to repeat at every start and from several processes."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from store.accounts import Role
from store.api_keys import SHOWN_CHARS, key_hash
from store.fresh import fresh_id
from store.outages import outages
from store.passwords import hash_password
from store.slugs import slug_of

LOCK_KEY = 0x5261_796C_6F6F_6D42


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """Who and what there is to begin with."""

    user_id: UUID
    workspace_id: UUID


def bootstrap(dsn: str, *, email: str, password: str, workspace_name: str, api_key: str) -> Bootstrapped:
    """Make what is missing of: the user, the workspace that it owns, and the key (as `api_keys.new_key` makes one).

    What exists stays as it is, the password too. Raises `StoreUnavailable`.
    """
    with outages(), psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        user_id = _user(connection, email, password)
        workspace_id = _workspace(connection, user_id, workspace_name)
        connection.execute(
            "INSERT INTO api_keys (id, user_id, workspace_id, name, key_prefix, key_hash) "
            "VALUES (%s, %s, %s, 'bootstrap', %s, %s) ON CONFLICT (key_hash) DO NOTHING",
            (fresh_id(), user_id, workspace_id, api_key[:SHOWN_CHARS], key_hash(api_key)),
        )
    return Bootstrapped(user_id=user_id, workspace_id=workspace_id)


def _user(connection: Connection[TupleRow], email: str, password: str) -> UUID:
    known = connection.execute("SELECT id FROM users WHERE lower(email) = lower(%s)", (email,)).fetchone()
    if known is not None:
        return UUID(str(known[0]))
    user_id = fresh_id()
    connection.execute(
        "INSERT INTO users (id, email, password_hash) VALUES (%s, %s, %s)", (user_id, email, hash_password(password))
    )
    return user_id


def _workspace(connection: Connection[TupleRow], user_id: UUID, name: str) -> UUID:
    known = connection.execute("SELECT id FROM workspaces WHERE owner_id = %s ORDER BY id", (user_id,)).fetchone()
    if known is not None:
        return UUID(str(known[0]))
    workspace_id = fresh_id()
    connection.execute(
        "INSERT INTO workspaces (id, owner_id, name, slug) VALUES (%s, %s, %s, %s)",
        (workspace_id, user_id, name, slug_of(name, workspace_id)),
    )
    connection.execute(
        "INSERT INTO workspace_members (id, workspace_id, user_id, role) VALUES (%s, %s, %s, %s)",
        (fresh_id(), workspace_id, user_id, Role.OWNER.value),
    )
    return workspace_id
