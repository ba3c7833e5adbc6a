"""What is answered about workflows: the JSON of workflows, versions, differences and findings, and their models."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from serve_app.models import Described
from store.workflow_rows import Version, VersionSummary, Workflow, WorkflowSummary
from workflow.lifecycle import WorkflowStatus


class FindingOut(Described):
    """One thing that compiling found."""

    severity: str
    """`error`, which blocks, or `warning`, which does not"""
    code: str
    """what it is; stable"""
    message: str
    """a sentence for the person who wrote the document"""
    node_id: str
    """the node it is about, or empty"""
    field: str
    """the place in the node or document, with dots, or empty"""


class WorkflowSummaryOut(Described):
    """A workflow in a list."""

    id: UUID
    """the workflow's id"""
    name: str
    """the name in its document"""
    slug: str
    """the name made fit for an address; unique in the workspace, and stays when the name changes"""
    description: str
    """what its authors say of it"""
    status: WorkflowStatus
    """draft and active ones can be executed, paused and archived ones cannot"""
    version: int
    """the number of the current version"""
    tags: list[str]
    """its tags"""
    created_at: datetime
    """when it was made"""
    updated_at: datetime
    """when it got its current version or state"""


class WorkflowOut(WorkflowSummaryOut):
    """A workflow with the document of its current version."""

    workspace_id: UUID
    """the workspace that it belongs to"""
    created_by: UUID | None
    """the user who made it"""
    definition: dict[str, Any]
    """the document of the current version"""
    execution_count: int
    """how many executions of it there have been"""
    last_executed_at: datetime | None
    """when the last of them was accepted"""
    warnings: list[FindingOut] = Field(default_factory=list)
    """what compiling it found, after a write"""


class WorkflowsOut(Described):
    """A page of workflows."""

    items: list[WorkflowSummaryOut]
    """the workflows, in the order that was asked for"""
    next_cursor: str | None
    """asks for the next page; null on the last"""


class TagOut(Described):
    """A tag."""

    tag: str
    """the tag"""
    count: int
    """how many workflows that are not archived have it"""


class TagsOut(Described):
    """All tags of a workspace's workflows."""

    items: list[TagOut]
    """the tags, in the order of the alphabet"""
    next_cursor: str | None
    """always null: there is one page"""


class VersionSummaryOut(Described):
    """A version in a list."""

    version: int
    """its number, from 1"""
    name: str
    """the workflow's name at that time"""
    created_by: UUID | None
    """the user who made it"""
    change_message: str
    """what its author said of the change"""
    created_at: datetime
    """when it was made"""


class VersionOut(VersionSummaryOut):
    """A version with its document."""

    workflow_id: UUID
    """the workflow"""
    definition: dict[str, Any]
    """the document, without a viewport: that is of the workflow"""


class VersionsOut(Described):
    """A page of versions, newest first."""

    items: list[VersionSummaryOut]
    """the versions"""
    next_cursor: str | None
    """asks for the next page; null on the last"""


class ChangeOut(Described):
    """A field that differs."""

    field: str
    """its name; that of a setting begins with `settings.`"""
    before: Any
    """its value before; null where there was none"""
    after: Any
    """its value after; null where there is none"""


class NodeChangeOut(Described):
    """A node that differs."""

    node_id: str
    """the node"""
    fields: list[ChangeOut]
    """the fields of it that differ"""


class DiffOut(Described):
    """The difference between two versions."""

    before: int
    """the version compared with"""
    after: int
    """the version that was asked about"""
    functional: bool
    """whether anything differs besides positions, names and the viewport"""
    nodes_added: list[dict[str, Any]]
    """the nodes that only the version has that was asked about"""
    nodes_removed: list[dict[str, Any]]
    """the nodes that only the other version has"""
    nodes_changed: list[NodeChangeOut]
    """the nodes that both have, and that differ"""
    connections_added: list[dict[str, Any]]
    """the connections that only the version has that was asked about"""
    connections_removed: list[dict[str, Any]]
    """the connections that only the other version has"""
    fields_changed: list[ChangeOut]
    """the name, the input schema and the settings, as far as they differ"""
    order_changed: bool
    """whether nodes or connections that both have come in another order"""


class ValidationOut(Described):
    """What validating a document found."""

    valid: bool
    """whether it could be stored: there is no finding of severity `error`"""
    findings: list[FindingOut]
    """errors first, then warnings; at most 200"""


class ExportOut(Described):
    """A workflow to be taken elsewhere."""

    format: str
    """`rayloom.workflow`"""
    format_version: int
    """the version of this format"""
    name: str
    """the workflow's name"""
    description: str
    """what its authors say of it"""
    tags: list[str]
    """its tags"""
    definition: dict[str, Any]
    """the document, without references to credentials and other workflows and without secrets"""
    removed: list[str]
    """the places in the document that were emptied"""


class ImportedOut(Described):
    """The workflows that an import made."""

    items: list[WorkflowOut]
    """the workflows, in the order of the import, each under a name that no other has"""


def summary(found: WorkflowSummary) -> dict[str, Any]:
    """Return a workflow as a list shows it."""
    return {
        "id": found.id,
        "name": found.name,
        "slug": found.slug,
        "description": found.description,
        "status": found.status.value,
        "version": found.version,
        "tags": list(found.tags),
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def workflow(found: Workflow, warnings: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Return a workflow with its document; after a write with its warnings."""
    shown = {
        **summary(found.summary),
        "workspace_id": found.workspace_id,
        "created_by": found.created_by,
        "definition": found.definition,
        "execution_count": found.execution_count,
        "last_executed_at": found.last_executed_at,
    }
    return shown if warnings is None else {**shown, "warnings": warnings}


def version_summary(found: VersionSummary) -> dict[str, Any]:
    """Return a version as a list shows it."""
    return {
        "version": found.version,
        "name": found.name,
        "created_by": found.created_by,
        "change_message": found.change_message,
        "created_at": found.created_at,
    }


def version(found: Version) -> dict[str, Any]:
    """Return a version with its document."""
    return {**version_summary(found.summary), "workflow_id": found.workflow_id, "definition": found.definition}
