"""The GPUs that a node's work had as a Ray task."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the column."""
    op.execute("ALTER TABLE node_executions ADD COLUMN gpu_ids text NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Take it away again."""
    op.execute("ALTER TABLE node_executions DROP COLUMN gpu_ids")
