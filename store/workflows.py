"""Workflows and their immutable versions. A change makes a version; executions go on with the one they have."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_find
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from store.fresh import fresh_id
from store.outages import transaction
from store.paging import bounded
from store.slugs import slug_of
from store.tables import executions, workflow_versions, workflows, workspaces
from store.workflow_names import free_name
from store.workflow_rows import (
    Draft,
    Version,
    VersionSummary,
    Workflow,
    document_of,
    draft_columns,
    summary_of,
    version_columns,
    version_summary_of,
)
from workflow.errors import Conflict, NotFound, Unprocessable
from workflow.lifecycle import WorkflowAction, WorkflowStatus, after, require_changeable

NewId = Callable[[], UUID]


class Workflows:
    """The workflows of workspaces. Every method raises `StoreUnavailable` when the database does not answer.

    What makes something takes `ids`, where the ids of what it makes come from. If they give the same ones again, nothing is made
    a second time: what was made with them is returned, as it is now.
    """

    def __init__(self, engine: AsyncEngine, *, new_id: NewId = fresh_id) -> None:
        self._engine = engine
        self._new_id = new_id

    async def create(
        self, workspace_id: UUID, draft: Draft, *, created_by: UUID | None = None, ids: NewId | None = None
    ) -> Workflow:
        """Make a workflow with version 1, as a draft."""
        async with transaction(self._engine) as connection:
            workflow_id = await self._insert(connection, workspace_id, draft, created_by, ids=ids)
            return await _read(connection, workspace_id, workflow_id)

    async def create_apart(
        self,
        workspace_id: UUID,
        drafts: Sequence[Draft],
        *,
        created_by: UUID | None = None,
        change_message: str = "",
        ids: NewId | None = None,
    ) -> list[Workflow]:
        """Make all of the workflows or none, in order, each under a name that no other in the workspace has."""
        async with transaction(self._engine) as connection:
            # One at a time in a workspace, or two would choose the same name.
            await connection.execute(
                select(workspaces.c.id).where(workspaces.c.id == workspace_id).with_for_update(key_share=True)
            )
            listed = and_(workflows.c.workspace_id == workspace_id, workflows.c.status != WorkflowStatus.ARCHIVED.value)
            taken = set((await connection.execute(select(workflows.c.name).where(listed))).scalars())
            made = []
            for draft in drafts:
                name = free_name(draft.name, taken)
                taken.add(name)
                identity = await self._insert(
                    connection, workspace_id, draft, created_by, change_message=change_message, name=name, ids=ids
                )
                made.append(await _read(connection, workspace_id, identity))
            return made

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

    async def status(self, workspace_id: UUID, workflow_id: UUID) -> WorkflowStatus:
        """Return the state that it is in. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            status = await connection.scalar(select(workflows.c.status).where(_mine(workspace_id, workflow_id)))
        if status is None:
            raise _absent(workflow_id)
        return WorkflowStatus(status)

    async def update(
        self,
        workspace_id: UUID,
        workflow_id: UUID,
        draft: Draft,
        *,
        expected_version: int | None = None,
        changed_by: UUID | None = None,
        change_message: str = "",
        ids: NewId | None = None,
    ) -> Workflow:
        """Make the next version. Without an expected version it follows whatever is current.

        Raises `NotFound`; `Conflict` when another version is current, or the workflow is archived; `Unprocessable` when
        it is active and the draft has no trigger.
        """
        mine = _mine(workspace_id, workflow_id)
        version_id = (ids or self._new_id)()
        async with transaction(self._engine) as connection:
            status, current = await _locked(connection, workspace_id, workflow_id)
            if ids is not None and await _has_version(connection, workflow_id, version_id):
                return await _read(connection, workspace_id, workflow_id)
            require_changeable(status)
            _require_version(current, expected_version)
            if status is WorkflowStatus.ACTIVE and not draft.triggered:
                raise no_trigger()
            changes = {**draft_columns(draft), "version": current + 1, "updated_at": func.now()}
            await connection.execute(update(workflows).where(mine).values(changes))
            await _add_version(connection, version_id, workflow_id, current + 1, draft, changed_by, change_message)
            return await _read(connection, workspace_id, workflow_id)

    async def change_status(
        self, workspace_id: UUID, workflow_id: UUID, action: WorkflowAction, *, expected_version: int | None = None
    ) -> Workflow:
        """Do what the action says. Raises `NotFound`, or `Conflict` when it does not apply or the version is another."""
        async with transaction(self._engine) as connection:
            status, current = await _locked(connection, workspace_id, workflow_id)
            reached = after(status, action)
            _require_version(current, expected_version)
            if reached is not status:
                changes = {"status": reached.value, "updated_at": func.now()}
                await connection.execute(update(workflows).where(_mine(workspace_id, workflow_id)).values(changes))
            return await _read(connection, workspace_id, workflow_id)

    async def get_version(self, workspace_id: UUID, workflow_id: UUID, version: int) -> Version:
        """Return one version. Raises `NotFound`."""
        wanted = and_(_mine(workspace_id, workflow_id), workflow_versions.c.version == version)
        async with transaction(self._engine) as connection:
            row = (await connection.execute(_of_versions(select(workflow_versions)).where(wanted))).first()
        if row is None:
            raise NotFound("there is no such version", fields={"workflow_id": str(workflow_id), "version": version})
        return Version(workflow_id=row.workflow_id, definition=document_of(row), summary=version_summary_of(row))

    async def versions(
        self, workspace_id: UUID, workflow_id: UUID, *, limit: int = 50, before: int | None = None
    ) -> tuple[list[VersionSummary], int | None]:
        """Return versions below `before`, newest first, and where the next page begins. Raises `NotFound`."""
        columns = workflow_versions.c
        shown = select(
            columns.version, columns.name, columns.created_by, columns.change_message, columns.created_at
        ).order_by(columns.version.desc())
        wanted = [_mine(workspace_id, workflow_id)]
        if before is not None:
            wanted.append(columns.version < before)
        size = bounded(limit)
        async with transaction(self._engine) as connection:
            found = (await connection.execute(_of_versions(shown).where(*wanted).limit(size + 1))).all()
            if not found and not await connection.scalar(
                select(workflows.c.id).where(_mine(workspace_id, workflow_id))
            ):
                raise _absent(workflow_id)
        items = [version_summary_of(row) for row in found]
        return items[:size], items[size - 1].version if len(items) > size else None

    async def _insert(
        self,
        connection: AsyncConnection,
        workspace_id: UUID,
        draft: Draft,
        created_by: UUID | None,
        *,
        change_message: str = "",
        name: str | None = None,
        ids: NewId | None = None,
    ) -> UUID:
        """Return the id of a workflow that was made now, or with the same id before."""
        next_id = ids or self._new_id
        workflow_id, version_id = next_id(), next_id()
        chosen = {} if name is None else {"name": name}
        row = {
            "id": workflow_id,
            "workspace_id": workspace_id,
            "created_by": created_by,
            "slug": slug_of(name or draft.name, workflow_id),
            "status": WorkflowStatus.DRAFT.value,
            "version": 1,
            **draft_columns(draft),
            **chosen,
        }
        made = insert_or_find(workflows).values(row).on_conflict_do_nothing(index_elements=[workflows.c.id])
        if await connection.scalar(made.returning(workflows.c.id)) is not None:
            await _add_version(connection, version_id, workflow_id, 1, draft, created_by, change_message, chosen)
        return workflow_id


def no_trigger() -> Unprocessable:
    """Return the error of a workflow that should be active but has nothing that starts it."""
    return Unprocessable("an active workflow needs a trigger node, and this document has none", "no_trigger")


async def _locked(connection: AsyncConnection, workspace_id: UUID, workflow_id: UUID) -> tuple[WorkflowStatus, int]:
    wanted = select(workflows.c.status, workflows.c.version).where(_mine(workspace_id, workflow_id))
    row = (await connection.execute(wanted.with_for_update())).first()
    if row is None:
        raise _absent(workflow_id)
    return WorkflowStatus(row.status), row.version


async def _add_version(
    connection: AsyncConnection,
    version_id: UUID,
    workflow_id: UUID,
    version: int,
    draft: Draft,
    created_by: UUID | None,
    change_message: str,
    chosen: dict[str, str] | None = None,
) -> None:
    row = {
        "id": version_id,
        "workflow_id": workflow_id,
        "version": version,
        "created_by": created_by,
        "change_message": change_message,
        **version_columns(draft),
        **(chosen or {}),
    }
    await connection.execute(insert(workflow_versions).values(row))


async def _has_version(connection: AsyncConnection, workflow_id: UUID, version_id: UUID) -> bool:
    wanted = select(workflow_versions.c.id).where(
        workflow_versions.c.id == version_id, workflow_versions.c.workflow_id == workflow_id
    )
    return await connection.scalar(wanted) is not None


async def _read(connection: AsyncConnection, workspace_id: UUID, workflow_id: UUID) -> Workflow:
    row = (await connection.execute(select(workflows).where(_mine(workspace_id, workflow_id)))).first()
    if row is None:
        raise _absent(workflow_id)
    kept = select(func.count(), func.max(executions.c.queued_at)).where(executions.c.workflow_id == workflow_id)
    count, last_at = (await connection.execute(kept)).one()
    document = document_of(row)
    document["viewport"] = row.viewport
    return Workflow(
        summary=summary_of(row),
        workspace_id=row.workspace_id,
        created_by=row.created_by,
        definition=document,
        execution_count=row.execution_count + count,
        last_executed_at=last_at or row.last_executed_at,
    )


def _require_version(current: int, expected: int | None) -> None:
    if expected is not None and current != expected:
        raise Conflict(f"somebody else made version {current} meanwhile", fields={"current_version": current})


def _mine(workspace_id: UUID, workflow_id: UUID) -> Any:
    return and_(workflows.c.id == workflow_id, workflows.c.workspace_id == workspace_id)


def _of_versions(wanted: Select[Any]) -> Select[Any]:
    return wanted.join(workflows, workflows.c.id == workflow_versions.c.workflow_id)


def _absent(workflow_id: UUID) -> NotFound:
    return NotFound("there is no such workflow", fields={"workflow_id": str(workflow_id)})
