"""API keys: shown once, kept as a SHA-256 (a key is 32 random bytes, so a slow hash would add nothing but load)."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from store.accounts import Role
from store.fresh import fresh_id
from store.outages import transaction
from store.tables import api_keys, users, workspace_members
from workflow.errors import NotFound, Unauthorized

PREFIX = "rl_"
SHOWN_CHARS = 10
USE_NOTED_EVERY_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking, in which workspace, with what rights."""

    user_id: UUID
    workspace_id: UUID
    role: Role
    key_id: UUID
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it may be shown: `key_prefix` is its beginning."""

    id: UUID
    user_id: UUID
    name: str
    key_prefix: str
    scopes: Sequence[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def new_key() -> str:
    """Return a fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


class ApiKeys:
    """The keys of workspaces. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine, *, new_id: Callable[[], UUID] = fresh_id) -> None:
        self._engine = engine
        self._new_id = new_id

    async def create(
        self,
        workspace_id: UUID,
        user_id: UUID,
        name: str,
        *,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key for a member; the second value is the key, which cannot be read again. Raises `NotFound`."""
        key = new_key()
        member = and_(workspace_members.c.workspace_id == workspace_id, workspace_members.c.user_id == user_id)
        row = {
            "id": self._new_id(),
            "user_id": user_id,
            "workspace_id": workspace_id,
            "name": name,
            "key_prefix": key[:SHOWN_CHARS],
            "key_hash": key_hash(key),
            "scopes": list(scopes),
            "expires_at": expires_at,
        }
        async with transaction(self._engine) as connection:
            if await connection.scalar(select(workspace_members.c.id).where(member)) is None:
                raise NotFound("there is no such member", fields={"user_id": str(user_id)})
            made = await connection.execute(insert(api_keys).values(row).returning(api_keys))
            return _api_key(made.one()), key

    async def all_of(self, workspace_id: UUID) -> list[ApiKey]:
        """Return the keys of a workspace, also the revoked ones, oldest first."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                select(api_keys).where(api_keys.c.workspace_id == workspace_id).order_by(api_keys.c.id)
            )
            return [_api_key(row) for row in rows]

    async def revoke(self, workspace_id: UUID, key_id: UUID) -> None:
        """End a key at once; doing it again changes nothing. Raises `NotFound`."""
        wanted = and_(api_keys.c.workspace_id == workspace_id, api_keys.c.id == key_id)
        async with transaction(self._engine) as connection:
            done = await connection.execute(
                update(api_keys).where(wanted).values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
            )
            if done.rowcount == 0:
                raise NotFound("there is no such key", fields={"key_id": str(key_id)})

    async def authenticate(self, key: str) -> Principal:
        """Return whose key this is. Raises `Unauthorized` for an unknown, revoked or expired one, or an inactive user.

        Notes the use at most once a minute.
        """
        member = and_(
            workspace_members.c.workspace_id == api_keys.c.workspace_id,
            workspace_members.c.user_id == api_keys.c.user_id,
        )
        stale = or_(
            api_keys.c.last_used_at.is_(None),
            api_keys.c.last_used_at < func.now() - text(f"interval '{USE_NOTED_EVERY_S} seconds'"),
        )
        wanted = and_(
            api_keys.c.key_hash == key_hash(key),
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
            users.c.status == "active",
        )
        found = (
            select(api_keys, workspace_members.c.role, stale.label("stale"))
            .join(users, users.c.id == api_keys.c.user_id)
            .join(workspace_members, member)
            .where(wanted)
        )
        async with transaction(self._engine) as connection:
            row = (await connection.execute(found)).first()
            if row is None:
                raise Unauthorized("unknown, revoked or expired key")
            if row.stale:
                await connection.execute(
                    update(api_keys).where(api_keys.c.id == row.id, stale).values(last_used_at=func.now())
                )
        return Principal(
            user_id=row.user_id,
            workspace_id=row.workspace_id,
            role=Role(row.role),
            key_id=row.id,
            scopes=frozenset(row.scopes),
        )


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        key_prefix=row.key_prefix,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
