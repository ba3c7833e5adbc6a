"""Executions may end as `timeout`, and that is as final as every other end."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ENDS = "'completed', 'failed', 'cancelled'"


def upgrade() -> None:
    """Let the status be `timeout`."""
    _allow(f"{ENDS}, 'timeout'")


def downgrade() -> None:
    """Refuse it again; fails while an execution has ended so."""
    _allow(ENDS)


def _allow(ends: str) -> None:
    op.execute(
        f"""
ALTER TABLE executions DROP CONSTRAINT executions_status_check;
ALTER TABLE executions ADD CONSTRAINT executions_status_check CHECK (status IN ('queued', 'running', {ends}));
DROP TRIGGER executions_terminal ON executions;
CREATE TRIGGER executions_terminal BEFORE UPDATE OF status ON executions FOR EACH ROW
    WHEN (OLD.status IN ({ends}) AND NEW.status <> OLD.status)
    EXECUTE FUNCTION refuse_change_of_terminal_status();
"""
    )
