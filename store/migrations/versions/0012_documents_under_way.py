"""An index of the documents that are not indexed yet: when an execution is deleted, those that it left behind are told why."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.execute("CREATE INDEX documents_under_way ON documents (execution_id) WHERE status IN ('pending', 'processing')")


def downgrade() -> None:
    """Take it away again."""
    op.execute("DROP INDEX documents_under_way")
