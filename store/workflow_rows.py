"""Workflows as values: what a person wrote, and what the rows of the tables say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from store.tables import workflows
from workflow.lifecycle import WorkflowStatus

JsonObject = Mapping[str, Any]

SUMMARY_COLUMNS = (
    workflows.c.id,
    workflows.c.name,
    workflows.c.slug,
    workflows.c.description,
    workflows.c.status,
    workflows.c.version,
    workflows.c.tags,
    workflows.c.is_template,
    workflows.c.created_at,
    workflows.c.updated_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a person wrote: everything of a workflow that is not given by the system.

    `viewport`, `description` and `tags` are None where nothing is said of them: a new workflow has none then, a next version
    leaves them.
    `triggered` says whether it compiles to something with a trigger, which an active workflow must have.
    """

    name: str
    nodes: Sequence[Any]
    connections: Sequence[Any]
    settings: JsonObject = field(default_factory=dict)
    viewport: JsonObject | None = None
    input_schema: JsonObject = field(default_factory=dict)
    description: str | None = None
    tags: Sequence[str] | None = None
    is_template: bool = False
    triggered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSummary:
    """A workflow in a list."""

    id: UUID
    name: str
    slug: str
    description: str
    status: WorkflowStatus
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
class VersionSummary:
    """A version in a list."""

    version: int
    name: str
    created_by: UUID | None
    change_message: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, as it was and will be."""

    workflow_id: UUID
    definition: JsonObject
    summary: VersionSummary


def draft_columns(draft: Draft) -> dict[str, Any]:
    """Return the columns of `workflows` that a draft fills, without those that it leaves as they are."""
    columns: dict[str, Any] = {
        "name": draft.name,
        "nodes": list(draft.nodes),
        "connections": list(draft.connections),
        "settings": dict(draft.settings),
        "input_schema": dict(draft.input_schema),
        "is_template": draft.is_template,
    }
    if draft.viewport is not None:
        columns["viewport"] = dict(draft.viewport)
    if draft.description is not None:
        columns["description"] = draft.description
    if draft.tags is not None:
        columns["tags"] = list(draft.tags)
    return columns


def version_columns(draft: Draft) -> dict[str, Any]:
    """Return the columns of `workflow_versions` that a draft fills."""
    return {
        "name": draft.name,
        "nodes": list(draft.nodes),
        "connections": list(draft.connections),
        "settings": dict(draft.settings),
        "input_schema": dict(draft.input_schema),
    }


def document_of(row: Row[Any]) -> dict[str, Any]:
    """Return the document in a row of either table, without the viewport, which is not of a version."""
    parts = ("name", "nodes", "connections", "settings", "input_schema")
    return {part: getattr(row, part) for part in parts}


def summary_of(row: Row[Any]) -> WorkflowSummary:
    """Return the summary that `SUMMARY_COLUMNS` of a row describe."""
    return WorkflowSummary(
        id=row.id,
        name=row.name,
        slug=row.slug,
        description=row.description,
        status=WorkflowStatus(row.status),
        version=row.version,
        tags=tuple(row.tags),
        is_template=row.is_template,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def version_summary_of(row: Row[Any]) -> VersionSummary:
    """Return the version in a row, without its document."""
    return VersionSummary(
        version=row.version,
        name=row.name,
        created_by=row.created_by,
        change_message=row.change_message,
        created_at=row.created_at,
    )
