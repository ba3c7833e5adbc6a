"""Workflows and their immutable versions. A change makes a version; executions go on with the one they have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.fresh import fresh_id
from store.outages import transaction
from store.paging import Page, bounded
from store.slugs import slug_of
from store.tables import executions, workflow_versions, workflows
from workflow.errors import Conflict, NotFound

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a person wrote: everything of a workflow that is not given by the system."""

    name: str
    nodes: Sequence[Any]
    connections: Sequence[Any]
    settings: JsonObject = field(default_factory=dict)
    viewport: JsonObject = field(default_factory=dict)
    input_schema: JsonObject = field(default_factory=dict)
    description: str = ""
    tags: Sequence[str] = ()
    is_template: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSummary:
    """A workflow in a list."""

    id: UUID
    name: str
    slug: str
    description: str
    status: str
    version: int
    tags: Sequence[str]
    is_template: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow with its current document. Executions are counted as far as they are still kept."""

    summary: WorkflowSummary
    workspace_id: UUID
    created_by: UUID | None
    definition: JsonObject
    execution_count: int
    last_executed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, as it was and will be."""

    workflow_id: UUID
    version: int
    definition: JsonObject
    created_by: UUID | None
    change_message: str
    created_at: datetime


class Workflows:
    """The workflows of workspaces. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine, *, new_id: Callable[[], UUID] = fresh_id) -> None:
        self._engine = engine
        self._new_id = new_id

    async def create(
        self, workspace_id: UUID, draft: Draft, *, created_by: UUID | None = None, status: str = "active"
    ) -> Workflow:
        """Make a workflow with version 1."""
        workflow_id = self._new_id()
        row = {
            "id": workflow_id,
            "workspace_id": workspace_id,
            "created_by": created_by,
            "slug": slug_of(draft.name, workflow_id),
            "status": status,
            "version": 1,
            **_columns(draft),
        }
        async with transaction(self._engine) as connection:
            await connection.execute(insert(workflows).values(row))
            await self._add_version(connection, workflow_id, 1, draft, created_by, "")
            return await _read(connection, workspace_id, workflow_id)

    async def get(self, workspace_id: UUID, workflow_id: UUID) -> Workflow:
        """Return a workflow. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            return await _read(connection, workspace_id, workflow_id)

    async def current_version(self, workspace_id: UUID, workflow_id: UUID) -> int:
        """Return the number of the current version, and nothing that takes longer to find. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            version = await connection.scalar(select(workflows.c.version).where(_mine(workspace_id, workflow_id)))
        if version is None:
            raise _absent(workflow_id)
        return int(version)

    async def page(
        self, workspace_id: UUID, *, limit: int = 50, before: UUID | None = None, status: str | None = None
    ) -> Page[WorkflowSummary]:
        """Return workflows, newest first; archived ones only when asked for by status."""
        wanted = [workflows.c.workspace_id == workspace_id]
        wanted.append(workflows.c.status == status if status else workflows.c.status != "archived")
        if before is not None:
            wanted.append(workflows.c.id < before)
        size = bounded(limit)
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                select(workflows).where(*wanted).order_by(workflows.c.id.desc()).limit(size + 1)
            )
            items = [_summary(row) for row in rows]
        return Page(items=items[:size], next_before=items[size - 1].id if len(items) > size else None)

    async def update(
        self,
        workspace_id: UUID,
        workflow_id: UUID,
        draft: Draft,
        *,
        expected_version: int,
        changed_by: UUID | None = None,
        change_message: str = "",
    ) -> Workflow:
        """Make the next version. Raises `NotFound`, or `Conflict` when the current one is not the expected one."""
        mine = _mine(workspace_id, workflow_id)
        async with transaction(self._engine) as connection:
            current = await connection.scalar(select(workflows.c.version).where(mine).with_for_update())
            if current is None:
                raise _absent(workflow_id)
            if current != expected_version:
                raise Conflict(f"somebody else made version {current} meanwhile", fields={"current_version": current})
            changes = {**_columns(draft), "version": current + 1, "updated_at": func.now()}
            await connection.execute(update(workflows).where(mine).values(changes))
            await self._add_version(connection, workflow_id, current + 1, draft, changed_by, change_message)
            return await _read(connection, workspace_id, workflow_id)

    async def set_status(self, workspace_id: UUID, workflow_id: UUID, status: str) -> None:
        """Make it draft, active, paused or archived; an archived one accepts no executions. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            done = await connection.execute(
                update(workflows).where(_mine(workspace_id, workflow_id)).values(status=status, updated_at=func.now())
            )
            if done.rowcount == 0:
                raise _absent(workflow_id)

    async def get_version(self, workspace_id: UUID, workflow_id: UUID, version: int) -> Version:
        """Return one version. Raises `NotFound`."""
        wanted = and_(_mine(workspace_id, workflow_id), workflow_versions.c.version == version)
        async with transaction(self._engine) as connection:
            row = (await connection.execute(_versions().where(wanted))).first()
        if row is None:
            raise NotFound("there is no such version", fields={"workflow_id": str(workflow_id), "version": version})
        return _version(row)

    async def versions(
        self, workspace_id: UUID, workflow_id: UUID, *, limit: int = 50, before: int | None = None
    ) -> list[Version]:
        """Return versions below `before`, newest first; none for a workflow that is not there."""
        wanted = [_mine(workspace_id, workflow_id)]
        if before is not None:
            wanted.append(workflow_versions.c.version < before)
        newest = workflow_versions.c.version.desc()
        async with transaction(self._engine) as connection:
            rows = await connection.execute(_versions().where(*wanted).order_by(newest).limit(bounded(limit)))
            return [_version(row) for row in rows]

    async def _add_version(
        self,
        connection: AsyncConnection,
        workflow_id: UUID,
        version: int,
        draft: Draft,
        created_by: UUID | None,
        change_message: str,
    ) -> None:
        row = {
            "id": self._new_id(),
            "workflow_id": workflow_id,
            "version": version,
            "name": draft.name,
            "nodes": list(draft.nodes),
            "connections": list(draft.connections),
            "settings": dict(draft.settings),
            "input_schema": dict(draft.input_schema),
            "created_by": created_by,
            "change_message": change_message,
        }
        await connection.execute(insert(workflow_versions).values(row))


async def _read(connection: AsyncConnection, workspace_id: UUID, workflow_id: UUID) -> Workflow:
    row = (await connection.execute(select(workflows).where(_mine(workspace_id, workflow_id)))).first()
    if row is None:
        raise _absent(workflow_id)
    kept = select(func.count(), func.max(executions.c.queued_at)).where(executions.c.workflow_id == workflow_id)
    count, last_at = (await connection.execute(kept)).one()
    document = _document(row)
    document["viewport"] = row.viewport
    return Workflow(
        summary=_summary(row),
        workspace_id=row.workspace_id,
        created_by=row.created_by,
        definition=document,
        execution_count=row.execution_count + count,
        last_executed_at=last_at or row.last_executed_at,
    )


def _columns(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "description": draft.description,
        "nodes": list(draft.nodes),
        "connections": list(draft.connections),
        "settings": dict(draft.settings),
        "viewport": dict(draft.viewport),
        "input_schema": dict(draft.input_schema),
        "tags": list(draft.tags),
        "is_template": draft.is_template,
    }


def _mine(workspace_id: UUID, workflow_id: UUID) -> Any:
    return and_(workflows.c.id == workflow_id, workflows.c.workspace_id == workspace_id)


def _versions() -> Select[Any]:
    return select(workflow_versions).join(workflows, workflows.c.id == workflow_versions.c.workflow_id)


def _absent(workflow_id: UUID) -> NotFound:
    return NotFound("there is no such workflow", fields={"workflow_id": str(workflow_id)})


def _document(row: Row[Any]) -> dict[str, Any]:
    parts = ("name", "nodes", "connections", "settings", "input_schema")
    return {part: getattr(row, part) for part in parts}


def _summary(row: Row[Any]) -> WorkflowSummary:
    return WorkflowSummary(
        id=row.id,
        name=row.name,
        slug=row.slug,
        description=row.description,
        status=row.status,
        version=row.version,
        tags=tuple(row.tags),
        is_template=row.is_template,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _version(row: Row[Any]) -> Version:
    return Version(
        workflow_id=row.workflow_id,
        version=row.version,
        definition=_document(row),
        created_by=row.created_by,
        change_message=row.change_message,
        created_at=row.created_at,
    )
