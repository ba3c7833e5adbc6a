"""Concurrency keys: the limit of each execution that has one, and indexes to count and to find those that are held.

Nothing is a trigger: what ends makes room, which its owner gives on, and a sweep finds room that nobody gave on. A trigger would
have to take the key's lock within a flush, and two flushes of several keys would wait for each other in a circle.
"""

from alembic import op
from sqlalchemy import Boolean, column, table, update

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MADE = """
ALTER TABLE executions ADD COLUMN concurrency_limit integer NOT NULL DEFAULT 0;
CREATE INDEX executions_concurrency ON executions (workspace_id, concurrency_key, held, id)
    WHERE concurrency_key <> '' AND status IN ('queued', 'running', 'waiting', 'paused');
CREATE INDEX executions_held ON executions (workspace_id, concurrency_key, priority DESC, id)
    WHERE status = 'queued' AND held;
"""

UNDONE = """
DROP INDEX executions_held, executions_concurrency;
ALTER TABLE executions DROP COLUMN concurrency_limit;
"""


def upgrade() -> None:
    """Make the column and the indexes."""
    op.execute(MADE)


def downgrade() -> None:
    """Take them away again: nothing is held then."""
    executions = table("executions", column("held", Boolean))
    op.execute(update(executions).where(executions.c.held).values(held=False))
    op.execute(UNDONE)
