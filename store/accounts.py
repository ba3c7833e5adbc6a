"""Users, workspaces and who is a member of which, in which role."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from store.fresh import fresh_id
from store.outages import transaction
from store.passwords import COST, hash_in_thread, matches_in_thread
from store.slugs import slug_of
from store.tables import users, workspace_members, workspaces
from workflow.errors import Conflict, NotFound, Unauthorized


class Role(StrEnum):
    """What a member may do, from most to least."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user, without the secrets."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace."""

    id: UUID
    owner_id: UUID
    name: str
    slug: str
    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user in a workspace."""

    user_id: UUID
    email: str
    role: Role


class Accounts:
    """Users, workspaces, members. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(
        self, engine: AsyncEngine, *, new_id: Callable[[], UUID] = fresh_id, password_cost: int = COST
    ) -> None:
        self._engine = engine
        self._new_id = new_id
        self._password_cost = password_cost

    async def create_user(self, email: str, password: str, *, first_name: str = "", last_name: str = "") -> User:
        """Make a user. Raises `Conflict` when somebody has this address."""
        row = {
            "id": self._new_id(),
            "email": email,
            "password_hash": await hash_in_thread(password, self._password_cost),
            "first_name": first_name,
            "last_name": last_name,
        }
        try:
            async with transaction(self._engine) as connection:
                made = await connection.execute(insert(users).values(row).returning(users))
                return _user(made.one())
        except IntegrityError as error:
            raise Conflict("there is a user with this address", fields={"email": email}) from error

    async def get_user(self, user_id: UUID) -> User:
        """Return a user. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            row = (await connection.execute(select(users).where(users.c.id == user_id))).first()
        if row is None:
            raise NotFound("there is no such user", fields={"user_id": str(user_id)})
        return _user(row)

    async def check_password(self, email: str, password: str) -> User:
        """Return the active user of this address and password. Raises `Unauthorized`, whatever of it is wrong."""
        wanted = and_(func.lower(users.c.email) == email.lower(), users.c.status == "active")
        async with transaction(self._engine) as connection:
            row = (await connection.execute(select(users).where(wanted))).first()
        if not await matches_in_thread(password, row.password_hash if row else None) or row is None:
            raise Unauthorized("wrong address or password")
        return _user(row)

    async def create_workspace(self, owner_id: UUID, name: str) -> Workspace:
        """Make a workspace with its owner as the first member. Raises `NotFound` when there is no such user."""
        workspace_id = self._new_id()
        row = {"id": workspace_id, "owner_id": owner_id, "name": name, "slug": slug_of(name, workspace_id)}
        member = {"id": self._new_id(), "workspace_id": workspace_id, "user_id": owner_id, "role": Role.OWNER.value}
        try:
            async with transaction(self._engine) as connection:
                made = await connection.execute(insert(workspaces).values(row).returning(workspaces))
                await connection.execute(insert(workspace_members).values(member))
                return _workspace(made.one())
        except IntegrityError as error:
            raise NotFound("there is no such user", fields={"user_id": str(owner_id)}) from error

    async def workspaces_of(self, user_id: UUID) -> list[tuple[Workspace, Role]]:
        """Return the workspaces that a user is a member of, with the role, oldest first."""
        joined = select(workspaces, workspace_members.c.role).join(
            workspace_members, workspace_members.c.workspace_id == workspaces.c.id
        )
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                joined.where(workspace_members.c.user_id == user_id).order_by(workspaces.c.id)
            )
            return [(_workspace(row), Role(row.role)) for row in rows]

    async def members(self, workspace_id: UUID) -> list[Member]:
        """Return the members of a workspace, in the order in which they joined."""
        joined = select(workspace_members.c.user_id, users.c.email, workspace_members.c.role).join(
            users, users.c.id == workspace_members.c.user_id
        )
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                joined.where(workspace_members.c.workspace_id == workspace_id).order_by(workspace_members.c.id)
            )
            return [Member(user_id=row.user_id, email=row.email, role=Role(row.role)) for row in rows]

    async def role_of(self, workspace_id: UUID, user_id: UUID) -> Role:
        """Return the role of a member. Raises `NotFound` when there is no such workspace or membership."""
        async with transaction(self._engine) as connection:
            role = await connection.scalar(select(workspace_members.c.role).where(_membership(workspace_id, user_id)))
        if role is None:
            raise _no_member(user_id)
        return Role(role)

    async def add_member(self, workspace_id: UUID, user_id: UUID, role: Role) -> None:
        """Make a user a member. Raises `Conflict` for a member, and for a second owner; `NotFound` for no such user."""
        if role is Role.OWNER:
            raise Conflict("a workspace has one owner")
        row = {"id": self._new_id(), "workspace_id": workspace_id, "user_id": user_id, "role": role.value}
        try:
            async with transaction(self._engine) as connection:
                await connection.execute(insert(workspace_members).values(row))
        except IntegrityError as error:
            if "workspace_members_workspace_id_user_id_key" in str(error.orig):
                raise Conflict("the user is a member already") from error
            raise NotFound("there is no such workspace or user", fields={"user_id": str(user_id)}) from error

    async def change_role(self, workspace_id: UUID, user_id: UUID, role: Role) -> None:
        """Give a member another role. Raises `NotFound`; `Conflict` for the owner's role."""
        await self._change(workspace_id, user_id, role)

    async def remove_member(self, workspace_id: UUID, user_id: UUID) -> None:
        """End a membership; keys of that user stop working with it. Raises `NotFound`; `Conflict` for the owner."""
        await self._change(workspace_id, user_id, None)

    async def _change(self, workspace_id: UUID, user_id: UUID, role: Role | None) -> None:
        wanted = _membership(workspace_id, user_id)
        async with transaction(self._engine) as connection:
            known = await connection.scalar(select(workspace_members.c.role).where(wanted).with_for_update())
            if known is None:
                raise _no_member(user_id)
            if Role.OWNER in {known, role}:
                raise Conflict("a workspace has one owner, who stays")
            if role is None:
                await connection.execute(workspace_members.delete().where(wanted))
            else:
                await connection.execute(update(workspace_members).where(wanted).values(role=role.value))


def _membership(workspace_id: UUID, user_id: UUID) -> Any:
    return and_(workspace_members.c.workspace_id == workspace_id, workspace_members.c.user_id == user_id)


def _no_member(user_id: UUID) -> NotFound:
    return NotFound("there is no such member", fields={"user_id": str(user_id)})


def _user(row: Row[Any]) -> User:
    return User(id=row.id, email=row.email, first_name=row.first_name, last_name=row.last_name, status=row.status)


def _workspace(row: Row[Any]) -> Workspace:
    return Workspace(id=row.id, owner_id=row.owner_id, name=row.name, slug=row.slug, plan_id=row.plan_id)
