"""Indexes for sorted lists of workflows, and for deleting what belongs to an execution."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = """
CREATE INDEX workflows_created ON workflows (workspace_id, created_at, id);
CREATE INDEX workflows_updated ON workflows (workspace_id, updated_at, id);
CREATE INDEX workflows_name ON workflows (workspace_id, lower(name), id);
CREATE INDEX idempotency_keys_execution ON idempotency_keys (execution_id);
CREATE INDEX signals_execution ON signals (execution_id);
DROP INDEX workflows_workspace;
"""

INDEXES_UNDONE = """
CREATE INDEX workflows_workspace ON workflows (workspace_id, id);
DROP INDEX workflows_created, workflows_updated, workflows_name, idempotency_keys_execution, signals_execution;
"""


def upgrade() -> None:
    """Make the indexes."""
    op.execute(INDEXES)


def downgrade() -> None:
    """Take them away again."""
    op.execute(INDEXES_UNDONE)
