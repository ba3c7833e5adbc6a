"""Writes that were asked for with an Idempotency-Key, and their answers.

The answer's body is compressed by PostgreSQL where it is long. A row under way is updated twice in a few milliseconds: room is
left in its page, so that this touches no index.
"""

from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = """
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
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)


def downgrade() -> None:
    """Take it away again: every key is free then."""
    op.execute("DROP TABLE idempotent_writes")
