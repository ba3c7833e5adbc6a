"""Writes that were asked for with an Idempotency-Key, and their answers; an index to count what is queued.

The answer's body is compressed by PostgreSQL where it is long. A row under way is updated twice in a few milliseconds: room is
left in its page, so that this touches no index.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE idempotent_writes (
    workspace_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    id uuid NOT NULL,
    holder uuid NOT NULL,
    reserved_until timestamptz,
    status smallint,
    headers json,
    body bytea,
    body_bytes bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, key),
    CHECK ((status IS NULL) = (reserved_until IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX idempotent_writes_age ON idempotent_writes (created_at);
CREATE INDEX executions_queued_apart ON executions (workspace_id)
    WHERE status = 'queued' AND (isolation = 'dedicated' OR held);
"""

UNDONE = """
DROP INDEX executions_queued_apart;
DROP TABLE idempotent_writes;
"""


def upgrade() -> None:
    """Make the table and the index."""
    op.execute(TABLES)


def downgrade() -> None:
    """Take them away again: every key is free then."""
    op.execute(UNDONE)
